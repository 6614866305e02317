"""Matrix products in a narrower type than the weights': faster where the processor has units for it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.backends import mkldnn

from explaind_worker.models.loading.loading import AnyModel


def fast_products(model: AnyModel) -> str | None:
    """The type that this model's matrix products can be taken in faster than in its own; None where there is none.

    Sums stay in float32, and so do the residual stream, norms and softmax.
    """
    if model.dtype != "float32" or model.quantization is not None:
        return None
    if model.device.type == "cuda":
        return "tf32" if torch.cuda.get_device_capability(model.device) >= (8, 0) else None
    if model.device.type == "cpu" and mkldnn.is_available():
        # Units for bfloat16 only: emulated, it is slower than float32.
        supported = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bfloat16" if supported else None
    return None


@contextmanager
def products_in(kind: str | None) -> Iterator[None]:
    """Within this context float32 matrices are multiplied in that type. The model's lock must be held.

    The switch is the library's, for all of a device, as the lock is.
    """
    if kind is None:
        yield
        return
    backend = torch.backends.cuda.matmul if kind == "tf32" else mkldnn.matmul  # type: ignore[attr-defined]
    before = backend.fp32_precision
    backend.fp32_precision = "tf32" if kind == "tf32" else "bf16"
    try:
        yield
    finally:
        backend.fp32_precision = before
