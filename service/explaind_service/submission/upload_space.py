"""Disk space of uploads in progress or waiting to be encoded: limits in total and per API key."""

from collections import Counter

from explaind.contract.errors import CapacityError

# In units of the maximum dataset size; most uploads are far smaller.
ALL_UPLOADS, ONE_KEYS = 16, 8


class UploadSpace:
    """Counts the bytes of uploads not yet stored."""

    def __init__(self, dataset_bytes: int) -> None:
        self._most = ALL_UPLOADS * dataset_bytes
        self._most_of_one = ONE_KEYS * dataset_bytes
        self._taken: Counter[str] = Counter()

    def take(self, owner: str, size: int) -> None:
        """Reserve `size` bytes.

        Raises:
            CapacityError: the limit would be exceeded.
        """
        if self._taken[owner] + size > self._most_of_one or self._taken.total() + size > self._most:
            raise CapacityError("Too many large uploads are coming in at a time.", hint="Send it again in a moment.")
        self._taken[owner] += size

    def give_back(self, owner: str, size: int) -> None:
        """Release reserved bytes."""
        self._taken[owner] -= size
        if self._taken[owner] <= 0:
            del self._taken[owner]
