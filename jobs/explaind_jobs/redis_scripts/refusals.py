"""Error replies of Redis, translated: what is wrong, and what is to be done."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
import redis.exceptions

from explaind.contract.errors import StoreUnavailable

RETRY_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of error reply; `passes` if Redis recovers by itself or once space is freed."""

    why: str
    remedy: str
    passes: bool = True


SILENT = Refusal("it cannot be reached", "See whether Redis runs, and whether EXPLAIND_REDIS_URL leads to it.", False)
UNKNOWN = Refusal("for a reason that explaind does not know", "The log of Redis has the rest.")
PASSWORD = Refusal("it does not accept the password", "Mend EXPLAIND_REDIS_URL or EXPLAIND_REDIS_PASSWORD_FILE.", False)
CLUSTER = Refusal("it is a node of a cluster", "explaind needs one Redis that is no cluster: mend EXPLAIND_REDIS_URL.")
NOT_PRIMARY = Refusal(
    "it is a replica, which takes no writes", "Let EXPLAIND_REDIS_URL lead to the primary, or promote this one."
)

REFUSALS = {
    "MISCONF": Refusal(
        "it cannot save its data: its disk is full, broken or read-only",
        "Free space on the disk of Redis, or make its directory writable; it then takes writes again by itself.",
    ),
    "OOM": Refusal(
        "its memory is full", "Raise the maxmemory of Redis, delete jobs that have ended, or keep them shorter."
    ),
    "NOPERM": Refusal(
        "its user may not run a command or touch a key that explaind needs",
        "Give the user of EXPLAIND_REDIS_URL the commands and keys back (ACL SETUSER).",
    ),
    "NOREPLICAS": Refusal(
        "too few replicas follow it", "Bring the replicas back, or lower the min-replicas-to-write of Redis."
    ),
    "LOADING": Refusal("it is still loading its data", "It answers once that is done."),
    "BUSY": Refusal("a script keeps it busy", "It answers once that ends; `SCRIPT KILL` ends one that does not."),
    "READONLY": NOT_PRIMARY,
    "MASTERDOWN": Refusal("it is a replica that lost its primary", "Bring the primary back, or promote this one."),
    "CLUSTERDOWN": Refusal("its cluster is down", "Bring the missing nodes of the cluster back."),
    "TRYAGAIN": Refusal("its cluster moves keys", "It answers once they are moved."),
    "MOVED": CLUSTER,
    "ASK": CLUSTER,
    "CROSSSLOT": CLUSTER,
    "REDIRECT": NOT_PRIMARY,
    "UNBLOCKED": Refusal("it has just become a replica", NOT_PRIMARY.remedy),
    "DENIED": Refusal("it is in protected mode", "Give Redis a password, or let it listen for explaind alone.", False),
    "NOAUTH": PASSWORD,
    "WRONGPASS": PASSWORD,
    "MAXCLIENTS": Refusal("it has as many clients as it takes", "Raise the maxclients of Redis."),
    "NOTREDIS": Refusal("what listens there is not a Redis", "Mend EXPLAIND_REDIS_URL.", False),
    "DBINDEX": Refusal("it has no database of that number", "Mend the database in EXPLAIND_REDIS_URL.", False),
    "NOCOMMAND": Refusal(
        "it lacks a command that explaind needs", "Use Valkey or Redis 6.2 or newer, without renamed commands.", False
    ),
}

# Codes of redis-py's exception classes, which strip the code from the message. The first match counts.
_CODES_OF_CLASSES: tuple[tuple[type[redis.RedisError], str], ...] = (
    (redis.BusyLoadingError, "LOADING"),
    (redis.AuthenticationError, "WRONGPASS"),
    (redis.exceptions.AuthenticationWrongNumberOfArgsError, "WRONGPASS"),
    (redis.exceptions.AuthorizationError, "WRONGPASS"),
    (redis.ReadOnlyError, "READONLY"),
    (redis.OutOfMemoryError, "OOM"),
    (redis.exceptions.NoPermissionError, "NOPERM"),
    (redis.exceptions.MasterDownError, "MASTERDOWN"),
    (redis.exceptions.ClusterDownError, "CLUSTERDOWN"),
    (redis.exceptions.TryAgainError, "TRYAGAIN"),
    (redis.exceptions.MovedError, "MOVED"),
    (redis.exceptions.AskError, "ASK"),
    (redis.exceptions.ClusterCrossSlotError, "CROSSSLOT"),
    (redis.InvalidResponse, "NOTREDIS"),
)
# Codes of replies without one, by their text.
_CODES_OF_WORDS = (
    ("max number of clients", "MAXCLIENTS"),
    ("acl failure in script", "NOPERM"),
    ("can't run this command or subcommand", "NOPERM"),
    ("can't access at least one of the keys", "NOPERM"),
    ("unknown command", "NOCOMMAND"),
    ("unknown redis command", "NOCOMMAND"),
    ("db index is out of range", "DBINDEX"),
)
# Replies to an invalid call: bugs of ours, which no waiting cures.
_OURS = {"ERR", "WRONGTYPE", "NOSCRIPT", "EXECABORT", "NOPROTO", "BUSYGROUP", "NOGROUP", "BUSYKEY", "NOTBUSY"}
_CODE = re.compile(r"([A-Z]{2,})(?: |$)")
# Before version 7 the error of a call inside a script stands at the end of the script's error.
_NESTED = re.compile(r"@user_script: ?\d+: -?([A-Z]{2,}) ")


@contextmanager
def translated() -> Iterator[None]:
    """Turns connection errors and refusals of Redis into StoreUnavailable, with the reason."""
    try:
        yield
    except redis.RedisError as error:
        code = code_of(error)
        if code is None:
            raise
        raise _unavailable(error, code) from error


def code_of(error: redis.RedisError) -> str | None:
    """The code of a refusal, such as MISCONF; "" if Redis did not answer; None for a bug of ours."""
    told = getattr(error, "status_code", None)
    if told in REFUSALS:
        return told
    for kind, code in _CODES_OF_CLASSES:
        if isinstance(error, kind):
            return code
    words = str(error).lower()
    for part, code in _CODES_OF_WORDS:
        if part in words:
            return code
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        refused = error.__cause__  # set when the first PING of a new connection was refused
        return (code_of(refused) or "") if isinstance(refused, redis.RedisError) else ""
    if not isinstance(error, redis.ResponseError):
        return None
    found = _NESTED.search(str(error)) or _CODE.match(str(error))
    code = found[1] if found else None
    return None if code in _OURS else code


def refusal_of(error: StoreUnavailable) -> Refusal:
    """The refusal behind an error made by `translated`; SILENT for any other."""
    cause = error.__cause__
    code = code_of(cause) if isinstance(cause, redis.RedisError) else ""
    return REFUSALS.get(code, UNKNOWN) if code else SILENT


def _unavailable(error: redis.RedisError, code: str) -> StoreUnavailable:
    if not code:
        return StoreUnavailable(
            f"The job store does not answer ({type(error).__name__}).",
            hint="Nothing was lost. Try again in a moment.",
            retry_after=RETRY_AFTER_S,
        )
    refusal = REFUSALS.get(code, UNKNOWN)
    return StoreUnavailable(
        f"The job store refuses to work ({code}): {refusal.why}.",
        hint=f"Nothing that was accepted is lost. Try again in a moment. Whoever runs the service: {refusal.remedy}",
        retry_after=RETRY_AFTER_S,
    )
