"""What an API key looks like, `xp_<id>_<secret>`, and what is kept of it: a code that cannot be turned back."""

import base64
import hashlib
import hmac
import re
import secrets

KEY = re.compile(r"xp_([a-z2-7]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
ID = re.compile(r"[a-z2-7]{12}", re.ASCII)
SECRET_BYTES = 32


def new_key() -> tuple[str, str]:
    """The id of a key that nobody has yet, and the key."""
    key_id = base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12]
    return key_id, f"xp_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"


def id_of(text: str) -> str | None:
    """The id in a key, or the id that the text is; None when it is neither."""
    if ID.fullmatch(text):
        return text
    return id_of_key(text)


def id_of_key(text: str) -> str | None:
    """The id in a key; None when the text has not the form of one."""
    found = KEY.fullmatch(text)
    return found[1] if found is not None else None


def mac_of(pepper: bytes, key: str) -> str:
    """What is kept of a key. A random key needs no slow hash, and who reads Redis alone lacks the pepper."""
    return hmac.new(pepper, key.encode(), hashlib.sha256).hexdigest()


def mark_of(pepper: bytes) -> str:
    """Tells peppers apart and says nothing about them."""
    return hmac.new(pepper, b"mark", hashlib.sha256).hexdigest()[:16]
