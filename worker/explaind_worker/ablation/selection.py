"""The parts of a model that a request names, checked before its weights are touched."""

from collections.abc import Sequence

from explaind.contract.errors import InvalidRequest


def chosen(wanted: Sequence[int] | None, count: int, pointer: str, what: str) -> list[int]:
    """The indices that were asked for, or all of them; each is a `what`, of which there are `count`.

    Raises:
        InvalidRequest: one of them is not there.
    """
    for place, index in enumerate(wanted or ()):
        refuse_absent(index, count, f"{pointer}/{place}", what)
    return list(range(count)) if wanted is None else list(wanted)


def refuse_absent(index: int, count: int, pointer: str, what: str) -> None:
    """Refuses the index of a `what` past the `count` there are.

    Raises:
        InvalidRequest: it is.
    """
    if index >= count:
        raise InvalidRequest.at(pointer, f"There is no {what} {index}: there are {count}, counted from 0.")
