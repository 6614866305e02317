"""Checks the layer and head indices of a request, before the weights are loaded."""

from collections.abc import Sequence

from explaind.contract.errors import InvalidRequest


def chosen(wanted: Sequence[int] | None, count: int, pointer: str, what: str) -> list[int]:
    """The requested indices, or all `count` of them; `what` names them in errors.

    Raises:
        InvalidRequest: an index is out of range.
    """
    for place, index in enumerate(wanted or ()):
        refuse_absent(index, count, f"{pointer}/{place}", what)
    return list(range(count)) if wanted is None else list(wanted)


def refuse_absent(index: int, count: int, pointer: str, what: str) -> None:
    """Checks that the index of a `what` is below `count`.

    Raises:
        InvalidRequest: it is not.
    """
    if index >= count:
        raise InvalidRequest.at(pointer, f"There is no {what} {index}: there are {count}, counted from 0.")
