"""What can be done with the keys in Redis: made, revoked, looked up."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from explaind_jobs.call import Argument, Call, text
from explaind_jobs.keys.form import mark_of
from explaind_jobs.keys.record import ApiKey, Keys, KeyState, NewKey, Scope
from explaind_jobs.pepper import PepperError
from explaind_jobs.record import Allowance

Revoked = Literal["revoked", "already", "unknown"]

OTHER_PEPPER = (
    "The keys in this Redis were made with another pepper. Use the EXPLAIND_DATA_DIR (its file `pepper`) or the "
    "EXPLAIND_PEPPER of the service. If that one is lost, `explaind keys create --replace-pepper` starts anew: keys "
    "made with it never work again."
)


def create(new: NewKey, pepper: bytes, *, replace_pepper: bool = False) -> Call[bool]:
    """Keep a key, and ask for keys from now on; False when another key has its id.

    Raises:
        PepperError: the keys that are there were made with another pepper, and `replace_pepper` is not given.
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
    return Call("apikey_create", [*args, mark_of(pepper), int(replace_pepper)], parse)


def revoke(key_id: str) -> Call[Revoked]:
    """End a key for good."""

    def parse(reply: Any) -> Revoked:
        word = text(reply)
        return next(known for known in get_args(Revoked) if known == word)

    return Call("apikey_revoke", [key_id], parse)


def look_up(key_id: str) -> Call[Keys]:
    """One key, and whether keys are asked for."""
    return Call("apikeys", [key_id], _keys)


def look_at_all() -> Call[Keys]:
    """Every key ever made, oldest first."""
    return Call("apikeys", [], _keys)


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
