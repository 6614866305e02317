"""How much of the disk uploads may take that are coming in, or wait to be read: all together, and one key's."""

from collections import Counter

from explaind.contract.errors import CapacityError

# In datasets of the largest size; most uploads are far smaller.
ALL_UPLOADS, ONE_KEYS = 16, 8


class UploadSpace:
    """Counts the bytes of uploads that are not stored yet."""

    def __init__(self, dataset_bytes: int) -> None:
        self._most = ALL_UPLOADS * dataset_bytes
        self._most_of_one = ONE_KEYS * dataset_bytes
        self._taken: Counter[str] = Counter()

    def take(self, owner: str, size: int) -> None:
        """Count so many bytes more.

        Raises:
            CapacityError: then there would be too many.
        """
        if self._taken[owner] + size > self._most_of_one or self._taken.total() + size > self._most:
            raise CapacityError("Too many large uploads are coming in at a time.", hint="Send it again in a moment.")
        self._taken[owner] += size

    def give_back(self, owner: str, size: int) -> None:
        """Bytes that were taken are free again."""
        self._taken[owner] -= size
        if self._taken[owner] <= 0:
            del self._taken[owner]
