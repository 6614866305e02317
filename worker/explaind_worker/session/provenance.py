"""Provenance and timing of a result."""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from explaind.contract.job import Provenance, Timing
from explaind.contract.method import Method
from explaind.contract.request import ModelRequest
from explaind_worker.models.files.place import device_of, fingerprint
from explaind_worker.models.text.tokenizer import Encoder
from explaind_worker.session.session import Session

RECORDED = ("explaind", "torch", "transformers", "tokenizers", "numpy")


def provenance_of(session: Session, method: Method[..., Any], params: ModelRequest) -> Provenance:
    """The data needed to replay the job: the model whose weights it used, if any, seed and prompt."""
    access, job = session.model_access, session.job
    entry, pin, read = access.entry, access.pin, access.read_from
    model = pin.model if pin else None
    return Provenance(
        model=entry.name,
        source=entry.card("cold").source,
        revision=read.revision if read else fingerprint(entry),  # the files may have changed since they were read
        architecture=type(model.network).__name__ if model else None,
        dtype=model.dtype if model else None,
        products=access.products,
        quantization=_quantization_of(session),
        device=str(model.device) if model else device_of(entry),
        seed=getattr(params, "seed", None),
        token_ids=list(job.encoded.token_ids) if job.encoded else [],
        method_version=method.version,
        versions={"python": platform.python_version(), **_versions(RECORDED)},
    )


def timing_of(session: Session, *, queued_s: float) -> Timing:
    """Timing and cost of the job so far."""
    meter, pin = session.job.meter, session.model_access.pin
    on_gpu = pin is not None and pin.model.device.type == "cuda"
    return Timing(
        queued_s=queued_s,
        seconds=session.job.seconds,
        model_load_s=pin.load_s if pin else 0.0,
        forwards=meter.forwards,
        tokens_evaluated=meter.tokens_evaluated,
        tokens_saved=meter.tokens_saved,
        dense_because=meter.dense_because,
        backoffs=meter.backoffs,
        peak_bytes=torch.cuda.max_memory_allocated(pin.model.device) if pin and on_gpu else None,
    )


def _quantization_of(session: Session) -> str | None:
    """Quantization of the weights in memory or, if the job read none, of those that would be loaded."""
    read = session.model_access.read_from
    if read is None:
        return session.model_access.entry.quantization
    found = read.quantization if isinstance(read, Encoder) else read.encoder.quantization
    return None if found is None else str(found)


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
