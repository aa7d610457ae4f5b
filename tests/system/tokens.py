# SPDX-License-Identifier: MIT
"""Tokens for the system tests, signed with a secret of theirs (RFC 7515, HS256)."""
import base64
import hashlib
import hmac
import json
import time

SECRET = "a secret of the tests, 32 bytes or more"
FLAGS = {"auth": "token", "auth_secret": SECRET}  # of a node that believes them


def _part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mint(user="ann", seconds=600, rooms=None, secret=SECRET, head=None, **claims):
    """A token of `user` for so many seconds from now, by default with all rights in all rooms. A claim of None is
    left out."""
    body = {"sub": user, "exp": time.time() + seconds, "direct": True, "rooms": {"*": "*"} if rooms is None else rooms,
            **claims}
    body = {key: value for key, value in body.items() if value is not None}
    signed = ".".join(_part(json.dumps(part).encode()) for part in (head or {"alg": "HS256"}, body))
    return f"{signed}.{_part(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"
