"""Builds a session's value function: for either kind of model, within the available memory."""

from collections.abc import Sequence

from explaind_worker.engine.scoring.masker import Masker
from explaind_worker.engine.scoring.score_query import TokenIds
from explaind_worker.engine.scoring.value_function import ValueFunction
from explaind_worker.session.fast_model import FastModel, fast_model
from explaind_worker.session.session import Session


def value_function(
    session: Session, players: Masker, continuations: Sequence[TokenIds], *, fast: FastModel | None = None
) -> ValueFunction:
    """Scores of the continuations (for a classifier: the classes), for coalitions [coalition, unit] of the players.

    With `fast`, uses that model and its products.

    Raises:
        RequestTooLarge: not even one row would fit in the memory.
        ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: the model cannot be loaded.
    """
    reads = max(len(continuation) for continuation in continuations)
    limits = session.model_access.batch_limits(players.longest + reads, reads=reads)
    return ValueFunction(
        session.model_access.either_model() if fast is None else fast.model,
        players,
        continuations,
        meter=session.job.meter,
        report_progress=session.job.report_progress,
        limits=limits,
        products=None if fast is None else fast.way,
    )


def fast_model_for(session: Session, players: Masker, continuations: Sequence[TokenIds]) -> FastModel:
    """The session's model with its fastest matrix products, leaving memory for one of these rows.

    Raises:
        As `value_function`.
    """
    reads = max(len(continuation) for continuation in continuations)
    return fast_model(session, tokens=players.longest + reads, reads=reads)
