"""Gives every result its notes: the method's own first, then those that hold for all methods."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from pydantic import BaseModel

from explaind.contract.base import MethodResult
from explaind_worker.notes.precision import precision_notes
from explaind_worker.notes.prompt import prompt_notes
from explaind_worker.notes.target import target_notes
from explaind_worker.session.session import Session

Implementation = Callable[[Any, Session], BaseModel]


def with_notes(run: Implementation) -> Implementation:
    """The method `run`, whose result gains the notes on its prompts, targets and precision.

    A method that is run by another one of the same job leaves that to it.
    """

    @wraps(run)
    def noted(params: Any, session: Session) -> BaseModel:
        if session.job.noted:
            return run(params, session)
        session.job.noted = True
        try:
            result = run(params, session)
        finally:
            session.job.noted = False
        scored = target_notes(session)
        return result if session.job.dry_run else gathered(result, session, scored=scored)

    return noted


def gathered(result: BaseModel, session: Session, *, scored: list[str] | None = None) -> BaseModel:
    """The result with the notes of its session, each once: of the method, the prompts, `scored` texts, precision."""
    if not isinstance(result, MethodResult):
        return result
    access = session.model_access
    prompts = prompt_notes(access.record, access.encoder) if access.record.prompts else []
    notes = [*result.notes, *prompts, *(scored or []), *precision_notes(result, session)]
    return result.model_copy(update={"notes": list(dict.fromkeys(notes))})
