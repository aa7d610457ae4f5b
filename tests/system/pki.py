# SPDX-License-Identifier: MIT
"""Authorities and certificates for tests, made with openssl(1), and clients that speak TLS."""
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile

from clients import RawClient
from harness import DEADLINE

_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Pki:
    """A directory with the authorities `ca` and `other`, and certificates that they gave."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="chatnode-pki-"))
        for name in ("ca", "other"):
            self._openssl("req", "-x509", *_NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", "30",
                          "-subj", f"/CN={name}")

    def _openssl(self, *words):
        done = self._try(*words)
        assert done.returncode == 0, done.stderr

    def _try(self, *words):
        return subprocess.run(["openssl", *[str(word) for word in words]], cwd=self.dir, capture_output=True, text=True,
                              check=False)

    def path(self, file):
        return self.dir / file

    def issue(self, name, by="ca", alt="DNS:localhost,IP:127.0.0.1", days=30):
        """NAME.crt and NAME.key. With `days` below 0 it has expired already. Returns both paths."""
        (self.dir / f"{name}.ext").write_text(f"subjectAltName={alt}\n")
        self._openssl("req", "-new", *_NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ["x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-CAcreateserial",
                "-extfile", f"{name}.ext", "-out", f"{name}.crt"]
        # Days below 0 are not taken from OpenSSL 3.4 on; before that, moments are not.
        if days >= 0 or self._try(*sign, "-days", days).returncode != 0:
            self._openssl(*sign, *(["-days", days] if days >= 0 else
                                   ["-not_before", "20200101000000Z", "-not_after", "20200102000000Z"]))
        return self.path(f"{name}.crt"), self.path(f"{name}.key")

    def install(self, name, place="live"):
        """Puts the certificate and its key where a node reads them; returns both paths."""
        for kind in ("crt", "key"):
            shutil.copy(self.path(f"{name}.{kind}"), self.path(f"{place}.{kind}"))
        return self.path(f"{place}.crt"), self.path(f"{place}.key")

    def serial(self, name):
        """The serial number of a certificate, as an int."""
        done = subprocess.run(["openssl", "x509", "-in", self.path(f"{name}.crt"), "-noout", "-serial"],
                              capture_output=True, text=True, check=True)
        return int(done.stdout.split("=")[1], 16)

    def client_context(self, cert=None, authority="ca"):
        """What a client believes, and shows."""
        context = ssl.create_default_context(cafile=self.path(f"{authority}.crt"))
        if cert:
            context.load_cert_chain(self.path(f"{cert}.crt"), self.path(f"{cert}.key"))
        return context

    def stop(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def tls_connect(port, context, rcvbuf=None, name="localhost"):
    """A TLS socket to the port; raises what ssl raises."""
    plain = socket.socket()
    if rcvbuf:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    plain.settimeout(DEADLINE)
    plain.connect(("127.0.0.1", port))
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


class TlsClient(RawClient):
    """As RawClient, with TLS; the server's certificate is for localhost."""

    def __init__(self, port, context, rcvbuf=None):
        super().__init__(port, rcvbuf)
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")

    @property
    def serial(self):
        """Of the certificate that the server showed."""
        return int(self.sock.getpeercert()["serialNumber"], 16)
