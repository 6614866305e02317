"""What a job says of itself: what is needed to replay it, and what it cost."""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from explaind.contract.blocks.subject import ModelRequest
from explaind.contract.job import Provenance, Timing
from explaind.contract.method import Method
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.models.loading.loading import AnyModel, device_of, fingerprint
from explaind_worker.models.loading.tokenizer import Encoder

RECORDED = ("explaind", "torch", "transformers", "tokenizers", "numpy")


def provenance_of(
    entry: ModelEntry,
    model: AnyModel | None,
    read: AnyModel | Encoder | None,
    token_ids: list[int],
    *,
    method: Method[..., Any],
    params: ModelRequest,
) -> Provenance:
    """Of a job that used that model (None: its weights were not touched).

    `read` is what its files were read into: they may have changed since.
    """
    return Provenance(
        model=entry.name,
        source=entry.card("cold").source,
        revision=read.revision if read else fingerprint(entry),
        architecture=type(model.network).__name__ if model else None,
        dtype=model.dtype if model else None,
        quantization=entry.quantization,
        device=str(model.device) if model else device_of(entry),
        seed=getattr(params, "seed", None),
        token_ids=token_ids,
        method_version=method.version,
        versions={"python": platform.python_version(), **_versions(RECORDED)},
    )


def timing_of(meter: CostMeter, model: AnyModel | None, *, queued_s: float, seconds: float, load_s: float) -> Timing:
    """What the meter has counted, and the times beside it."""
    on_gpu = model is not None and model.device.type == "cuda"
    return Timing(
        queued_s=queued_s,
        seconds=seconds,
        model_load_s=load_s,
        forwards=meter.forwards,
        tokens_evaluated=meter.tokens_evaluated,
        tokens_saved=meter.tokens_saved,
        dense_because=meter.dense_because,
        backoffs=meter.backoffs,
        peak_bytes=torch.cuda.max_memory_allocated(model.device) if model and on_gpu else None,
    )


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
