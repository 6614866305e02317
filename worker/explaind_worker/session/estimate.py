"""Estimates for POST /estimate/{verb}/{method}, by a dry run of the method, and the measurements behind them."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from explaind.contract.blocks.subject import GeneratedTarget
from explaind.contract.estimate import Estimate
from explaind.contract.method import Method
from explaind.contract.request import ModelRequest
from explaind_worker.models.loading.meta_model import AnyMetaModel
from explaind_worker.models.pool.memory_budget import in_words
from explaind_worker.models.pool.memory_forecast import MemoryForecast
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.pool.timing_model import Measurement, TimingModel
from explaind_worker.session.session import Session
from explaind_worker.session.speed_calibration import assumed, calibrated

Implementation = Callable[[Any, Session], BaseModel]


def estimate_of(method: Method[..., Any], run: Implementation, params: ModelRequest, session: Session) -> Estimate:
    """Estimated cost of `run(params, …)`. The weights are not used, except for timing if they are in memory.

    Raises:
        InvalidRequest: the request would be refused for the same reason.
    """
    with session.dry_run() as dry, session.job.phase("estimating"):
        result = run(params, dry)
    session.job.encoded = dry.job.encoded
    pool, entry = session.model_access.pool, session.model_access.entry
    meter, least, weights_needed = dry.job.meter, dry.model_access.least_bytes, dry.model_access.loaded
    meta_model, forecast = pool.meta_model(entry), pool.memory_forecast(entry, least)
    copy = dry.model_access.copy_bytes if dry.model_access.copy_bytes + least <= forecast.most_room else 0
    pace = pace_of(pool, meta_model, forecast)
    fits = not weights_needed or (forecast.weights_fit and least <= forecast.most_room)
    return Estimate(
        method=method.path,
        forwards=meter.forwards,
        tokens_evaluated=meter.tokens_evaluated,
        tokens_saved=meter.tokens_saved,
        evaluations=getattr(result, "evaluations", None),
        model_bytes=forecast.model_bytes + copy if weights_needed else 0,
        peak_bytes=max(meter.expected_bytes, least),
        free_bytes=max(0, forecast.room - (0 if forecast.copied else copy)),
        fits=fits,
        seconds=pace.seconds(meta_model.shape, meter.work) if weights_needed else pace.job_s,
        load_s=0.0 if forecast.resident or not weights_needed else forecast.load_s,
        basis=pace.basis,
        note=_note(params, forecast, least, fits=fits),
    )


def record_measurement(session: Session) -> None:
    """Records the duration of a finished job for later estimates.

    Leaves out the job that loaded the model, as it also read the tokenizer and had cold caches, and jobs with faster
    products than usual.
    """
    pin, job = session.model_access.pin, session.job
    if session.model_access.products is None and pin is not None and pin.load_s == 0 and job.meter.forwards:
        session.model_access.pool.learn(pin.model.entry, Measurement(job.meter.work, job.seconds))


def pace_of(pool: ModelPool, meta_model: AnyMetaModel, forecast: MemoryForecast) -> TimingModel:
    """The model's timing on this worker: from its jobs, else by timing it, else from its size."""
    entry, shape = meta_model.entry, meta_model.shape
    measurements = pool.measurements(entry)
    pace = pool.pace(entry)
    if pace is None or (pace.basis == "assumed" and forecast.resident):
        if forecast.resident:
            with pool.pin(entry) as model:
                pace = calibrated(model, shape)
        else:
            pace = assumed(forecast.model_bytes, meta_model.device, meta_model.dtype)
        pool.keep_pace(entry, pace)
    return pace.learnt(shape, measurements)


def _note(params: ModelRequest, forecast: MemoryForecast, least: int, *, fits: bool) -> str | None:
    if not forecast.weights_fit:
        return f"The weights, {in_words(forecast.model_bytes)}, are more than this worker has for models."
    if not fits:
        return (
            f"One row needs {in_words(least)}; beside the weights this worker has {in_words(forecast.most_room)} "
            "at the most. Shorten the prompt or the target, or use a smaller or quantized model."
        )
    if "auto" in (getattr(params, "n_steps", None), getattr(params, "budget", None)):
        return "For as many as max_steps or max_budget allows; auto is done before where fewer are enough."
    generated = isinstance(getattr(params, "target", None), GeneratedTarget)
    if generated or getattr(params, "max_new_tokens", None) is not None:
        return "For a continuation of max_new_tokens; the model may end before."
    return None
