"""Script calls about API keys: create, revoke, look up."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from explaind_jobs.keys.key_format import mark_of
from explaind_jobs.keys.pepper import PepperError
from explaind_jobs.keys.records import ApiKey, Keys, KeyState, NewKey, Scope
from explaind_jobs.redis_scripts.script import Argument, ScriptCall, text
from explaind_jobs.store.records import Allowance

Revoked = Literal["revoked", "already", "unknown"]

OTHER_PEPPER = (
    "The keys in this Redis were made with another pepper. Use the EXPLAIND_DATA_DIR (its file `pepper`) or the "
    "EXPLAIND_PEPPER of the service. If that one is lost, `explaind keys create --replace-pepper` starts anew: keys "
    "made with it never work again."
)


# Record read in place of a missing key, for constant-time checks.
NOBODY = [b"a" * 12, b"active", b"0" * 64, b"nobody", b"read,write", b"1", b"", b"", b"0", b"1", b"0", b"0"]


def create(new: NewKey, pepper: bytes, *, replace_pepper: bool = False) -> ScriptCall[bool]:
    """Store a key, and require keys from now on; False if another key has its id.

    Raises:
        PepperError: existing keys were made with another pepper, and `replace_pepper` is not given.
    """

    def parse(reply: Any) -> bool:
        outcome = text(reply)
        if outcome == "pepper":
            raise PepperError(OTHER_PEPPER)
        return outcome == "created"

    lifetime = "" if new.lifetime_s is None else round(new.lifetime_s * 1000)
    allowance = new.allowance
    args: list[Argument] = [new.id, new.mac, new.name, ",".join(sorted(new.scopes)), lifetime]
    args += [allowance.requests_per_minute, allowance.burst, allowance.max_queued, allowance.max_running]
    return ScriptCall("apikey_create", [*args, mark_of(pepper), int(replace_pepper)], parse)


def revoke(key_id: str) -> ScriptCall[Revoked]:
    """Revoke a key for good."""

    def parse(reply: Any) -> Revoked:
        word = text(reply)
        return next(known for known in get_args(Revoked) if known == word)

    return ScriptCall("apikey_revoke", [key_id], parse)


def look_up(key_id: str) -> ScriptCall[Keys]:
    """One key, and whether keys are required. Takes as long for an unknown id as for a known one."""

    def parse(reply: Any) -> Keys:
        known = _keys(reply)
        if not known.found:
            _key(NOBODY)
        return known

    return ScriptCall("apikey_list", [key_id], parse)


def look_at_all() -> ScriptCall[Keys]:
    """Every key ever made, oldest first."""
    return ScriptCall("apikey_list", [], _keys)


def _keys(reply: Any) -> Keys:
    mark, *rows = reply
    found = sorted((_key(row) for row in rows), key=lambda key: (key.created_at, key.id))
    return Keys(found=found, mark=text(mark) or None)


def _key(row: Sequence[bytes]) -> ApiKey:
    key_id, state, mac, name, scopes, created, expires, revoked, *limits = (text(word) for word in row)
    per_minute, burst, max_queued, max_running = (int(limit) for limit in limits)
    return ApiKey(
        id=key_id,
        mac=mac,
        name=name,
        scopes=frozenset(Scope(scope) for scope in scopes.split(",")),
        created_at=_time(created),
        expires_at=_time(expires) if expires else None,
        revoked_at=_time(revoked) if revoked else None,
        state=next(known for known in get_args(KeyState) if known == state),
        allowance=Allowance(per_minute, burst, max_queued, max_running),
    )


def _time(ms: str) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
