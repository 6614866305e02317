"""A session's value function: its model, whichever kind it is, within the memory there is."""

from collections.abc import Sequence

from explaind_worker.engine.scoring.masker import Masker
from explaind_worker.engine.scoring.score_query import TokenIds
from explaind_worker.engine.scoring.value_function import ValueFunction
from explaind_worker.session.session import Session


def value_function(
    session: Session, players: Masker, continuations: Sequence[TokenIds], *, products: str | None = None
) -> ValueFunction:
    """Scores of the continuations (of a classifier: the classes), for coalitions [coalition, unit] of the players.

    Raises:
        RequestTooLarge: not even one row would fit in the memory.
        ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: why the model cannot be loaded.
    """
    reads = max(len(continuation) for continuation in continuations)
    limits = session.model_access.batch_limits(players.longest + reads, reads=reads)
    return ValueFunction(
        session.model_access.either_model(),
        players,
        continuations,
        meter=session.job.meter,
        report_progress=session.job.report_progress,
        limits=limits,
        products=products,
    )
