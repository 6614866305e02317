"""Verifies API keys: looked up in Redis, cached for a second, compared in constant time."""

import logging
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from hmac import compare_digest

from explaind.contract.errors import StoreUnavailable, Unauthenticated
from explaind_jobs.keys import scripts
from explaind_jobs.keys.key_format import mac_of, mark_of
from explaind_jobs.keys.records import ApiKey, Keys
from explaind_jobs.store.job_store import AsyncJobStore

logger = logging.getLogger(__name__)

REMEMBERED_S = 1.0
MAX_REMEMBERED = 1024
HOW = (
    "Send `Authorization: Bearer xp_…`; the SDK and the command line take the key from EXPLAIND_API_KEY. "
    "`explaind keys create` makes one."
)


class KeyVerifier:
    """Verifies API keys.

    Look-ups are cached for one second, which bounds how long a revoked key still works.
    """

    def __init__(self, store: AsyncJobStore, pepper: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._pepper = pepper
        self._mark = mark_of(pepper)
        # Compared with for unknown ids, so that they take as long as a wrong secret.
        self._nobody = secrets.token_hex(32)
        self._clock = clock
        self._remembered: OrderedDict[str, tuple[float, Keys]] = OrderedDict()
        self._told_of_pepper = False

    async def look_up(self, key_id: str, *, outlast_s: float = 0.0) -> Keys:
        """The key with that id ("": none), and whether keys are required.

        Args:
            key_id: the id.
            outlast_s: age in seconds up to which a cached answer is used while Redis does not answer.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        now = self._clock()
        said_at, said = self._remembered.get(key_id, (-math.inf, None))
        if said is not None and now - said_at < REMEMBERED_S:
            return said
        try:
            known = await self._ask(key_id)
        except StoreUnavailable:
            if said is not None and now - said_at < outlast_s:
                return said
            raise
        self._remembered.pop(key_id, None)
        if known.found or not key_id:  # unknown ids would only evict known ones
            self._remembered[key_id] = (now, replace(known, remembered=True))
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        self._tell_of_pepper(known)
        return known

    def verified(self, presented: str, known: Keys) -> ApiKey:
        """The presented key, if valid.

        Raises:
            Unauthenticated: it is unknown, wrong, expired or revoked. The reason is given only for a right secret.
        """
        key = known.found[0] if known.found else None
        matches = compare_digest(mac_of(self._pepper, presented), key.mac if key is not None else self._nobody)
        if key is None or not matches:
            raise Unauthenticated("This API key is not known here.", hint=HOW)
        if key.state != "active":
            ended = "was revoked" if key.state == "revoked" else f"expired on {key.expires_at:%Y-%m-%d at %H:%M} UTC"
            raise Unauthenticated(f"This API key {ended}.", hint=HOW)
        return key

    async def even_out(self, known: Keys) -> None:
        """Before a refusal based on a cached answer: queries Redis, as is done for an unknown id.

        So every refusal costs one comparison and one query, and its timing does not reveal which ids exist.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        if known.remembered:
            await self._ask(known.found[0].id if known.found else "")

    async def _ask(self, key_id: str) -> Keys:
        return await self._store.run(scripts.look_up(key_id))

    def _tell_of_pepper(self, known: Keys) -> None:
        if known.mark not in {None, self._mark} and not self._told_of_pepper:
            self._told_of_pepper = True
            logger.error("No API key will be known: %s", scripts.OTHER_PEPPER)
