"""Runs a claimed job: its method on its model; returns the outcome."""

import logging
from typing import Any

import transformers
from pydantic import ValidationError

from explaind.contract.errors import InvalidRequest, OutOfMemory, field_errors
from explaind.contract.job import JobState
from explaind.contract.method import Method
from explaind.contract.registry import find_method
from explaind.contract.request import ModelRequest
from explaind_jobs.catalogue import Catalogue
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.methods.registry import implementation_of
from explaind_worker.models.device_errors import DevicePoisoned, out_of_memory, poisoned, release_memory
from explaind_worker.models.pool.memory_budget import MemoryBudget
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.pool.stats import PoolStats
from explaind_worker.notes.gather import gathered
from explaind_worker.runtime.job_control import JobControl
from explaind_worker.session.estimate import record_measurement
from explaind_worker.session.provenance import provenance_of, timing_of
from explaind_worker.session.session import Session
from explaind_worker.stops import Cancelled

logger = logging.getLogger(__name__)


class Runner:
    """Holds a worker's models and runs jobs on them; `run` may be called from several threads."""

    def __init__(self, settings: JobsSettings, catalogue: Catalogue) -> None:
        transformers.logging.disable_progress_bar()  # a worker's log is not a terminal
        self._catalogue = catalogue
        self._pool = ModelPool(MemoryBudget(settings.memory_bytes))

    def run(self, claim: Claim, control: JobControl) -> Outcome:
        """The outcome of a claimed job.

        Raises:
            ExplaindError: the job failed; an error of the contract.
            DevicePoisoned: the device is broken for this process, which must end; the job must run elsewhere.
        """
        method = find_method(claim.method)
        params = _parse(method, claim.request)
        try:
            entry = self._catalogue.find(params.model)
            with Session(entry, self._pool, control.report_progress, files=control.files) as session:
                state = JobState.SUCCEEDED
                try:
                    result = implementation_of(method)(params, session)
                    record_measurement(session)
                except Cancelled:
                    if session.job.make_partial_result is None:
                        raise
                    state, result = JobState.CANCELLED, session.job.make_partial_result()
                    result = gathered(result, session)
                return Outcome(
                    state=state,
                    result=result.model_dump_json().encode(),
                    provenance=provenance_of(session, method, params),
                    timing=timing_of(session, queued_s=claim.queued_s),
                    revision=self._revision(session, params),
                    progress=session.job.ended if state is JobState.SUCCEEDED else None,
                )
        except Exception as error:
            _end_if_poisoned(error)
            if not out_of_memory(error):
                raise
        # Outside of `except`, whose traceback references the job's tensors.
        release_memory()
        raise OutOfMemory(
            f"The device ran out of memory for {claim.method} on {params.model}.",
            hint="Try again when the device is less busy, or send a shorter prompt.",
        )

    def _revision(self, session: Session, params: ModelRequest) -> str | None:
        """The revision for caching the result; None if the prompt depends on the date, or no model was used."""
        access = session.model_access
        return self._pool.revision_of(params.model) if access.loaded and access.prompts_constant else None

    def resident(self) -> list[str]:
        """Names of the models in memory."""
        return self._pool.resident()

    def loading(self) -> list[str]:
        """Names of the models being loaded."""
        return self._pool.loading()

    def revisions(self) -> dict[str, str]:
        """The revision that results depend on, for each model in memory: "fingerprint|dtype|quantization"."""
        return self._pool.revisions()

    def memory(self) -> PoolStats:
        """Memory statistics of the models."""
        return self._pool.stats()

    def warm(self) -> None:
        """Preloads models as the catalogue says; one that cannot be loaded fails its jobs, not the worker.

        Raises:
            DevicePoisoned: the device is broken for this process, which must end.
        """
        for entry in self._catalogue.entries:
            if entry.preload:
                try:
                    self._pool.model(entry)
                except Exception as error:  # no request whose text it could quote
                    _end_if_poisoned(error)
                    logger.exception("could not preload %s: %s", entry.name, error)


def _end_if_poisoned(error: Exception) -> None:
    if poisoned(error):
        # Without its message, which may contain values.
        logger.critical("the device is broken for this process (%s)", type(error).__name__)
        raise DevicePoisoned("The device is broken for this process.") from error


def _parse(method: Method[..., Any], request: bytes) -> ModelRequest:
    try:
        return method.params_model.model_validate_json(request)
    except ValidationError as error:
        raise InvalidRequest(
            "The stored request does not fit this worker's contract.",
            hint="Service and workers must be of one version.",
            errors=field_errors(error.errors()),
        ) from error
