# SPDX-License-Identifier: MIT
"""The images that our files start from: pulled, or made here from Debian's packages."""

import os
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
MAKE_ROOT = HERE.parent / "debian13" / "make_root.sh"
DEBIAN = "debian:trixie-slim"
# How each behaves like the image of that name, as far as docker-compose.yml relies on it.
STAND_INS = {
    "redis:8": f"""
        FROM {DEBIAN}
        RUN apt-get update && apt-get install -y --no-install-recommends redis-server \\
            && mkdir -p /data && chown redis:redis /data
        VOLUME /data
        WORKDIR /data
        EXPOSE 6379
        CMD ["redis-server"]
        """,
    "haproxy:3.0": f"""
        FROM {DEBIAN}
        RUN apt-get update && apt-get install -y --no-install-recommends haproxy
        STOPSIGNAL SIGUSR1
        USER haproxy
        WORKDIR /var/lib/haproxy
        CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
        """,
}


def docker(host, *args, **options):
    env = dict(os.environ, DOCKER_BUILDKIT="0")
    if host:
        env["DOCKER_HOST"] = host
    return subprocess.run(["docker", *args], env=env, **options)


def there(host, image):
    return docker(host, "image", "inspect", image, capture_output=True).returncode == 0


def all_there_or_pulled(host):
    for image in (DEBIAN, *STAND_INS):
        if not there(host, image) and docker(host, "pull", image, capture_output=True).returncode:
            return False
    return True


def make(host, cache):
    """Debian by debootstrap, then the others on top of it. Only what is not there yet."""
    tar = cache / "trixie.tar"
    subprocess.run(["bash", str(MAKE_ROOT), "trixie", str(tar)], check=True)
    if not there(host, DEBIAN):
        docker(host, "import", "--change", 'CMD ["bash"]', str(tar), DEBIAN, check=True)
    for image, recipe in STAND_INS.items():
        if not there(host, image):
            build = ("build", "--network", "host", "-t", image, "-")
            docker(host, *build, input=recipe.encode(), check=True)
