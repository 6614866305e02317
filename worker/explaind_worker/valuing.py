"""The value function that suits a session's model: the one place where its kind decides how coalitions are scored."""

from collections.abc import Callable, Sequence

from explaind_worker.engine.classes import ClassValueFunction
from explaind_worker.engine.players import BoolArray, Players
from explaind_worker.engine.question import TokenIds
from explaind_worker.engine.value import TokenScores, ValueFunction
from explaind_worker.session import Session


def value_function(
    session: Session, players: Players, continuations: Sequence[TokenIds]
) -> Callable[[BoolArray], TokenScores]:
    """Scores of the continuations (of a classifier: the classes), for coalitions [coalition, unit] of the players.

    Raises:
        RequestTooLarge: not even one row would fit in the memory.
        ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: why the model cannot be had.
    """
    meter, checkpoint = session.meter, session.checkpoint
    if session.kind == "classifier":
        limits = session.room(players.longest)
        return ClassValueFunction(
            session.classifier(), players, continuations, meter=meter, checkpoint=checkpoint, limits=limits
        )
    target = max(len(continuation) for continuation in continuations)
    limits = session.room(players.longest + target, reads=target)
    return ValueFunction(session.model(), players, continuations, meter=meter, checkpoint=checkpoint, limits=limits)
