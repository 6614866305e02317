"""Speed calibration: times a model once on this worker, or the device for a model not in memory."""

import time
from collections.abc import Callable
from functools import cache

import torch

from explaind_worker.models.loading.loaded import AnyModel, LoadedClassifier
from explaind_worker.models.loading.meta_model import Shape
from explaind_worker.models.pool.timing_model import Measurement, TimingModel, Work
from explaind_worker.models.structure.classifier_head import class_logits
from explaind_worker.models.structure.logits_at import only_positions

SHORT, LONG = 2, {"cpu": 128, "cuda": 2048}
TRIES = 3
PATIENCE_S = 2.0  # a forward expected to take longer is not timed
EDGE = {"cpu": 512, "cuda": 4096}


def calibrated(model: AnyModel, shape: Shape) -> TimingModel:
    """The timing of a model in memory, from a short and a long forward, which take a second at most, or two."""
    longest = min(LONG.get(model.device.type, LONG["cpu"]), model.encoder.context)
    short = _timed_forward(model, min(SHORT, longest))
    while longest > 2 * SHORT and short.seconds * longest / SHORT > PATIENCE_S * 10:
        longest //= 2  # a slow device may need it
    return TimingModel.calibrated(shape, short, _timed_forward(model, longest))


def assumed(bytes: int, device: torch.device, dtype: str) -> TimingModel:
    """The timing of a model of that size that is not in memory, from the device's speed on a plain product."""
    return TimingModel.assumed(bytes, operations_per_s(str(device), dtype), on_gpu=device.type == "cuda")


@cache
def operations_per_s(device: str, dtype: str) -> float:
    """Operations per second of a product of two square matrices, measured once."""
    where = torch.device(device)
    edge = EDGE.get(where.type, EDGE["cpu"])
    square = torch.ones(edge, edge, device=where, dtype=getattr(torch, dtype))
    return 2.0 * edge**3 / _least_seconds(lambda: square @ square, where)


def _timed_forward(model: AnyModel, tokens: int) -> Measurement:
    ids = torch.arange(tokens, device=model.device)[None] % model.encoder.vocabulary
    with model.lock, torch.inference_mode():
        if isinstance(model, LoadedClassifier):
            seconds = _least_seconds(lambda: class_logits(model.network, input_ids=ids), model.device)
        else:
            last = torch.tensor([[tokens - 1]], device=model.device)
            with only_positions(model.anatomy.unembedding, last):
                seconds = _least_seconds(lambda: model.network(input_ids=ids, use_cache=False), model.device)
    return Measurement(Work(1, tokens, 0, 1), seconds)


def _least_seconds(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of the quickest of a few runs; a long one is not repeated."""
    best = float("inf")
    for _ in range(TRIES):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - started
        best = min(best, seconds)
        if seconds > PATIENCE_S / TRIES:
            break
    return best
