# SPDX-License-Identifier: MIT
"""HTTP servers that nodes ask: they say what a test wants, when it wants."""
import http.server
import json
import ssl
import subprocess
import threading

from harness import DEADLINE


class Backend:
    """A server on loopback. `answer(path, body)` gives (status, body), or None to hang up; while `open` is clear
    requests wait."""

    def __init__(self, answer=None, certificate=None):
        self.answer = answer or (lambda path, body: (404, ""))
        self.open = threading.Event()
        self.open.set()
        self.requests = []  # (path, body, headers)
        self.waiting = self.most_waiting = 0
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def url(self, path="/keys", host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.port}{path}"

    def stop(self):
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE)

    def _count(self, step):
        with self._lock:
            self.waiting += step
            self.most_waiting = max(self.most_waiting, self.waiting)

    def _handler(self):
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One request."""
            protocol_version = "HTTP/1.1"

            def respond(self):
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length).decode()
                backend.requests.append((self.path, body, dict(self.headers)))
                backend._count(1)
                backend.open.wait(DEADLINE * 4)
                backend._count(-1)
                answer = backend.answer(self.path, body)
                self.close_connection = True
                if answer is None:
                    return
                status, text = answer
                data = (text if isinstance(text, str) else json.dumps(text)).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.send_header("connection", "close")
                if 300 <= status < 400:
                    self.send_header("location", "/elsewhere")
                self.end_headers()
                try:
                    self.wfile.write(data)
                except OSError:
                    pass  # the node has had enough

            do_GET = do_POST = respond

            def log_message(self, *_):
                pass

        return Handler


def make_certificate(folder, *names):
    """(certificate, key) for these names, such as DNS:localhost; it is its own authority."""
    certificate, key = folder / "certificate.pem", folder / "certificate.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=test", "-addext", "subjectAltName=" + ",".join(names), "-keyout", str(key),
                    "-out", str(certificate)], check=True, capture_output=True, timeout=DEADLINE)
    return certificate, key
