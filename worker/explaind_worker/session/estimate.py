"""estimate/{verb}/{method}: what a job would cost, by running its method on a model that is only sketched."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from explaind.contract.blocks.subject import GeneratedTarget, ModelRequest
from explaind.contract.estimate import Estimate
from explaind.contract.method import Method
from explaind_worker.models.loading.meta_model import AnySketch
from explaind_worker.models.pool.memory_budget import in_words
from explaind_worker.models.pool.memory_forecast import MemoryForecast
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.pool.timing_model import TimingModel
from explaind_worker.session.session import Session
from explaind_worker.session.speed_calibration import assumed, calibrated

Implementation = Callable[[Any, Session], BaseModel]


def estimate_of(method: Method[..., Any], run: Implementation, params: ModelRequest, session: Session) -> Estimate:
    """What `run(params, …)` would cost. The weights are not touched, but for timing them where they are in memory.

    Raises:
        InvalidRequest: the request would be refused for the same reason.
    """
    pool, entry = session.pool, session.entry
    with Session(entry, pool, session.checkpoint, rehearsing=True, files=session.kept_files) as rehearsal:
        result = run(params, rehearsal)
        session.encoded = rehearsal.encoded
        meter, least = rehearsal.meter, rehearsal.least_bytes
        weights_needed = rehearsal.loaded
    sketch, prospect = pool.sketch(entry), pool.prospect(entry, least)
    pace, work = pace_of(pool, sketch, prospect), meter.work
    fits = not weights_needed or (prospect.weights_fit and least <= prospect.most_room)
    return Estimate(
        method=method.path,
        forwards=meter.forwards,
        tokens_evaluated=meter.tokens_evaluated,
        tokens_saved=meter.tokens_saved,
        evaluations=getattr(result, "evaluations", None),
        model_bytes=prospect.model_bytes if weights_needed else 0,
        peak_bytes=max(meter.expected_bytes, least),
        free_bytes=max(0, prospect.room),
        fits=fits,
        seconds=pace.seconds(sketch.shape, work) if weights_needed else pace.job_s,
        load_s=0.0 if prospect.resident or not weights_needed else prospect.load_s,
        basis=pace.basis,
        note=_note(params, prospect, least, fits=fits),
    )


def pace_of(pool: ModelPool, sketch: AnySketch, prospect: MemoryForecast) -> TimingModel:
    """The model's pace on this worker: by the jobs it has done, else by timing it, else by its size."""
    entry, shape = sketch.entry, sketch.shape
    measurements = pool.measurements(entry)
    pace = pool.pace(entry)
    if pace is None or (pace.basis == "assumed" and prospect.resident):
        if prospect.resident:
            with pool.lease(entry) as model:
                pace = calibrated(model, shape)
        else:
            pace = assumed(prospect.model_bytes, sketch.device, sketch.dtype)
        pool.keep_pace(entry, pace)
    return pace.learnt(shape, measurements)


def _note(params: ModelRequest, prospect: MemoryForecast, least: int, *, fits: bool) -> str | None:
    if not prospect.weights_fit:
        return f"The weights, {in_words(prospect.model_bytes)}, are more than this worker has for models."
    if not fits:
        return (
            f"One row needs {in_words(least)}; beside the weights this worker has {in_words(prospect.most_room)} "
            "at the most. Shorten the prompt or the target, or use a smaller or quantized model."
        )
    generated = isinstance(getattr(params, "target", None), GeneratedTarget)
    if generated or getattr(params, "max_new_tokens", None) is not None:
        return "For a continuation of max_new_tokens; the model may end before."
    return None
