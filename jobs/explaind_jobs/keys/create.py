"""Creates API keys."""

from dataclasses import dataclass, field

from explaind_jobs.keys import scripts
from explaind_jobs.keys.key_format import mac_of, new_key
from explaind_jobs.keys.records import ApiKey, NewKey, Scope
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import Allowance


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key; the key itself is available only here."""

    key: str = field(repr=False)
    record: ApiKey


def issue_key(
    store: JobStore,
    pepper: bytes,
    *,
    name: str,
    scopes: frozenset[Scope],
    lifetime_s: float | None = None,
    allowance: Allowance = Allowance(),  # noqa: B008 - frozen
    replace_pepper: bool = False,
) -> IssuedKey:
    """Create a key and store its MAC.

    Raises:
        PepperError: existing keys were made with another pepper, and `replace_pepper` is not given.
        StoreUnavailable: Redis does not answer.
    """
    while True:
        key_id, key = new_key()
        new = NewKey(key_id, mac_of(pepper, key), name, scopes, lifetime_s, allowance)
        if store.run(scripts.create(new, pepper, replace_pepper=replace_pepper)):
            return IssuedKey(key, store.run(scripts.look_up(key_id)).found[0])
