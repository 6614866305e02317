"""Format of an API key, `xp_<id>_<secret>`, and the MAC that is stored in its place."""

import base64
import hashlib
import hmac
import re
import secrets

KEY = re.compile(r"xp_([a-z2-7]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
ID = re.compile(r"[a-z2-7]{12}", re.ASCII)
SECRET_BYTES = 32


def new_key() -> tuple[str, str]:
    """A fresh id, and the key that contains it."""
    key_id = base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12]
    return key_id, f"xp_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"


def id_of(text: str) -> str | None:
    """The id in a key, or the text itself if it is an id; None if it is neither."""
    if ID.fullmatch(text):
        return text
    return id_of_key(text)


def id_of_key(text: str) -> str | None:
    """The id in a key; None if the text is not formatted as one."""
    found = KEY.fullmatch(text)
    return found[1] if found is not None else None


def mac_of(pepper: bytes, key: str) -> str:
    """The stored MAC of a key. Keys are random, so no slow hash is needed; without the pepper it cannot be tested."""
    return hmac.new(pepper, key.encode(), hashlib.sha256).hexdigest()


def mark_of(pepper: bytes) -> str:
    """A fingerprint that tells peppers apart and reveals nothing about them."""
    return hmac.new(pepper, b"mark", hashlib.sha256).hexdigest()[:16]
