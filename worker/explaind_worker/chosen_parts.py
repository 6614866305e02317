"""The parts of a model that a request names, checked before its weights are touched."""

from collections.abc import Sequence

from explaind.contract.errors import InvalidRequest
from explaind_worker.models.anatomy import Anatomy
from explaind_worker.models.sketch import Sketch
from explaind_worker.session import Session


def anatomy_without_weights(session: Session) -> Anatomy:
    """The parts of the session's model, as its config describes them.

    Raises:
        WrongModelKind: it is a classifier.
    """
    sketch = session.pool.sketch(session.entry)
    return sketch.anatomy if isinstance(sketch, Sketch) else session.model().anatomy  # which says why not


def chosen(wanted: Sequence[int] | None, count: int, pointer: str, what: str) -> list[int]:
    """The indices that were asked for, or all of them; `what` there are `count` of.

    Raises:
        InvalidRequest: one of them is not there.
    """
    for place, index in enumerate(wanted or ()):
        refuse_absent(index, count, f"{pointer}/{place}", what)
    return list(range(count)) if wanted is None else list(wanted)


def refuse_absent(index: int, count: int, pointer: str, what: str) -> None:
    """Refuses an index past the `count` of `what` there is.

    Raises:
        InvalidRequest: it is.
    """
    if index >= count:
        raise InvalidRequest.at(pointer, f"There is no number {index}: there are {count} {what}, counted from 0.")
