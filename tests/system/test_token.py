# SPDX-License-Identifier: MIT
"""chatctl token: makes tokens and keys with the real program, and looks into tokens."""
import base64
import hashlib
import hmac
import json
import os
import pathlib
import stat
import subprocess
import time

import pytest

from harness import CHATNODE, SLOW

CHATCTL = pathlib.Path(CHATNODE).parent / "chatctl"
SECRET = "0123456789abcdef0123456789abcdef"


def token_command(*words, stdin=None):
    """Runs `chatctl token`; (exit code, stdout, stderr)."""
    argv = [str(word) for word in (CHATCTL, "token", *words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30 * SLOW, check=False, input=stdin)
    return done.returncode, done.stdout, done.stderr


def right(*words, stdin=None):
    """The output of a call that must succeed."""
    code, out, errors = token_command(*words, stdin=stdin)
    assert code == 0 and not errors, errors
    return out.strip()


def wrong(*words, code):
    """What a call that must fail says."""
    done, out, errors = token_command(*words)
    assert done == code and not out, (done, out, errors)
    assert errors.startswith("chatctl token: ")
    return errors


def part(token, index):
    text = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


@pytest.fixture(name="secret")
def make_secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return path


def test_a_token_says_what_was_asked_for(secret):
    token = right("--user", "ann", "--room", "team.*=join,send,history", "--room=lobby=*", "--secret-file", secret,
                  "--ttl", "15m", "--name", "Ann Lee", "--issuer", "me", "--audience", "chat", "--jti", "t1", "--direct",
                  "--admin", "--kid", "k1")
    assert part(token, 0) == {"alg": "HS256", "typ": "JWT", "kid": "k1"}
    claims = part(token, 1)
    assert abs(claims["iat"] - time.time()) < 60 * SLOW and claims["exp"] - claims["iat"] == 900
    del claims["iat"], claims["exp"]
    assert claims == {"sub": "ann", "name": "Ann Lee", "iss": "me", "aud": "chat", "jti": "t1", "direct": True, "admin": True,
                      "rooms": {"team.*": ["join", "send", "history"], "lobby": ["join", "send", "history", "presence"]}}
    signed, signature = token.rsplit(".", 1)
    mac = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64encode(mac).decode().rstrip("=") == signature


def test_nothing_is_granted_unless_asked_for(secret):
    first, second = (part(right("--user", "ann", "--secret-file", secret), 1) for _ in range(2))
    assert first["direct"] is False and "admin" not in first and first["rooms"] == {}
    assert first["exp"] - first["iat"] == 3600
    assert len(first["jti"]) == 32 and first["jti"] != second["jti"]


@pytest.mark.parametrize("kind, alg", [("ed25519", "EdDSA"), ("es256", "ES256"), ("rs256", "RS256")])
def test_a_new_key_signs_and_its_set_verifies(tmp_path, kind, alg):
    key, keys = tmp_path / "key.pem", tmp_path / "keys.json"
    jwks = right("--new-key", kind, "--out", key, "--kid", "2026")
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    assert "PRIVATE KEY" in key.read_text()
    entry, = json.loads(jwks)["keys"]
    assert entry["alg"] == alg and entry["kid"] == "2026" and "d" not in entry
    keys.write_text(jwks)
    token = right("--user", "ann", "--room", "lobby=join", "--key", key, "--kid", "2026")
    shown = right("--verify", token, "--keys-file", keys)
    assert '"sub": "ann"' in shown and f'"alg": "{alg}"' in shown
    assert right("--verify", "-", "--keys-file", keys, stdin=token + "\n") == shown
    other = right("--user", "ann", "--key", key, "--kid", "2027")
    assert "unknown_key" in wrong("--verify", other, "--keys-file", keys, code=1)
    assert "exist" in wrong("--new-key", kind, "--out", key, code=1).lower()


def test_a_new_secret_signs_and_verifies(tmp_path):
    path = tmp_path / "new"
    code, out, errors = token_command("--new-key", "hs256", "--out", path)
    assert code == 0 and not out and "--auth-secret-file" in errors
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and len(path.read_text()) >= 32
    assert '"sub": "bob"' in right("--verify", right("--user", "bob", "--secret-file", path), "--secret-file", path)


def test_verifying_says_what_is_wrong(secret, tmp_path):
    token = right("--user", "ann", "--secret-file", secret, "--audience", "chat")
    right("--verify", token, "--secret-file", secret, "--audience", "chat")
    assert "audience: aud does not name us" in wrong("--verify", token, "--secret-file", secret, "--audience", "mail", code=1)
    assert "issuer" in wrong("--verify", token, "--secret-file", secret, "--issuer", "x", code=1)
    bent = token[:-3] + ("A" if token[-3] != "A" else "B") + token[-2:]
    assert "signature" in wrong("--verify", bent, "--secret-file", secret, code=1)
    assert "malformed" in wrong("--verify", "a.b", "--secret-file", secret, code=1)
    weak = tmp_path / "weak"
    weak.write_text("short")
    assert "too short" in wrong("--verify", token, "--secret-file", weak, code=1)
    assert "too short" in wrong("--user", "ann", "--secret-file", weak, code=1)


def test_decoding_is_safe_for_a_terminal(secret):
    token = right("--user", "ann", "--name", "\u00c4nn\u202e", "--secret-file", secret)
    shown = right("--decode", token)
    assert shown.isascii() and "\\u202E" in shown
    assert "not a token" in wrong("--decode", "x", code=1)


@pytest.mark.parametrize("words, part_of_error", [
    ((), "--user"),
    (("--user", "ann"), "--secret-file"),
    (("--usr", "ann"), "is no option"),
    (("--user",), "needs a value"),
    (("--direct=1",), "takes no value"),
    (("--user", "a b", "--secret-file", "SECRET"), "sub is not"),
    (("--user", "ann", "--room", "lobby", "--secret-file", "SECRET"), "PATTERN=RIGHTS"),
    (("--user", "ann", "--room", "lobby=joi", "--secret-file", "SECRET"), "PATTERN=RIGHTS"),
    (("--user", "ann", "--room", "a b=*", "--secret-file", "SECRET"), "a pattern is not"),
    (("--user", "ann", "--ttl", "1", "--secret-file", "SECRET"), "--ttl"),
    (("--user", "ann", "--ttl", "-1h", "--secret-file", "SECRET"), "--ttl"),
    (("--user", "ann", "--ttl", "99999999999999d", "--secret-file", "SECRET"), "--ttl"),
    (("--user", "ann", "--name", "x" * 129, "--secret-file", "SECRET"), "name or jti"),
    (("--new-key", "ed25519"), "--out"),
    (("--new-key", "rsa", "--out", "/dev/null"), "kind of key"),
])
def test_wrong_words_are_explained(secret, words, part_of_error):
    assert part_of_error in wrong(*(secret if word == "SECRET" else word for word in words), code=64)


def test_help_names_every_option():
    shown = right("--help")
    for name in ("--user", "--room", "--ttl", "--verify", "--decode", "--new-key", "--out", "--kid"):
        assert name in shown
