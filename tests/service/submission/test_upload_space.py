"""The disk that uploads take while they come in is bounded, for all and for each."""

import pytest

from explaind.contract.errors import CapacityError
from explaind_service.submission.upload_space import ALL_UPLOADS, ONE_KEYS, UploadSpace


def test_one_key_does_not_take_it_all() -> None:
    space = UploadSpace(10)
    space.take("a", 10 * ONE_KEYS)
    with pytest.raises(CapacityError):
        space.take("a", 1)
    space.take("b", 10 * (ALL_UPLOADS - ONE_KEYS))
    with pytest.raises(CapacityError):
        space.take("c", 1)
    space.give_back("a", 1)
    space.take("c", 1)


def test_who_has_given_all_back_is_forgotten() -> None:
    space = UploadSpace(10)
    for owner in ("a", "b"):
        space.take(owner, 5)
        space.give_back(owner, 5)
    assert not space._taken
