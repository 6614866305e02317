"""Matrix products in a narrower dtype than the weights': whether a device gains by it, and its switch.

On a GPU float32 products can be taken in TF32. On a CPU with units for bfloat16 there are two ways: a switch of oneDNN,
which works with AMX only, and a copy of the model's linear layers (`models/structure/narrow_copy.py`). Which is faster,
and whether the switch has any effect, is measured.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch.backends import mkldnn
from torch.nn import functional

from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.models.loading.loaded import AnyModel

ROWS = 256  # of the timed product
MOST_HIDDEN, MOST_INNER = 1024, 4096  # of the timed product: wider ones gain as much, and take longer
TRIES = 5
LEAST_GAIN = 1.3

Way = Literal["tf32", "switch", "copy"]
TYPES: dict[Way, str] = {"tf32": "tf32", "switch": "bfloat16", "copy": "bfloat16"}


@dataclass(frozen=True)
class FastProducts:
    """How a model's matrix products are accelerated: `way`, or None and the reason in `why_not`."""

    way: Way | None
    why_not: str | None = None

    @property
    def type(self) -> str | None:
        """Dtype of the products; None for the model's own."""
        return None if self.way is None else TYPES[self.way]


@dataclass(frozen=True)
class Gain:
    """Speed-up of an MLP's products over float32, by each way; 0 if the numbers are unchanged from float32."""

    switch: float
    copy: float


def fast_products(model: AnyModel) -> FastProducts:
    """The way of accelerating this model's matrix products; the first call may time some.

    Sums stay in float32, and so do the residual stream, norms and softmax.
    """
    if model.quantization is not None:
        return FastProducts(None, f"its weights are quantized ({model.quantization})")
    if model.dtype != "float32":
        return FastProducts(None, f"{model.dtype} is its own type")
    if model.device.type == "cuda":
        has_units = torch.cuda.get_device_capability(model.device) >= (8, 0)
        return FastProducts("tf32") if has_units else FastProducts(None, "this GPU has no units for TF32")
    if model.device.type != "cpu" or not _has_units():
        return FastProducts(None, "this processor has no units for bfloat16")
    return _timed_way(model)


def _timed_way(model: AnyModel) -> FastProducts:
    footprint = Footprint.of(model)
    with model.lock:  # exclusive use of the device: undisturbed timing, and no other job's products are switched
        gain = measured_gain(min(footprint.hidden, MOST_HIDDEN), min(footprint.intermediate, MOST_INNER))
    if gain.switch >= LEAST_GAIN:
        return FastProducts("switch")
    if gain.copy >= LEAST_GAIN:
        return FastProducts("copy")
    return FastProducts(None, f"products of its size in bfloat16 are {gain.copy:.1f} times as fast on this processor")


@contextmanager
def products_in(way: Way | None) -> Iterator[None]:
    """Context in which float32 products use that way, if it is a switch. The model's lock must be held.

    The switch is global for a device, as is the lock.
    """
    if way is None or way == "copy":
        yield
        return
    backend = torch.backends.cuda.matmul if way == "tf32" else mkldnn.matmul  # type: ignore[attr-defined]
    before = backend.fp32_precision
    backend.fp32_precision = "tf32" if way == "tf32" else "bf16"
    try:
        yield
    finally:
        backend.fp32_precision = before


@cache
def measured_gain(hidden: int, inner: int) -> Gain:
    """Speed-up of each way on this processor for an MLP of that shape; timed once, in some tenths of a second."""
    generator = torch.Generator().manual_seed(0)
    entering, up, down = (
        torch.randn(*shape, generator=generator) for shape in [(ROWS, hidden), (inner, hidden), (hidden, inner)]
    )
    narrow_up, narrow_down = up.bfloat16(), down.bfloat16()

    def wide() -> torch.Tensor:
        return functional.linear(functional.linear(entering, up), down)

    def switched() -> torch.Tensor:
        with products_in("switch"):
            return wide()

    def cast() -> torch.Tensor:
        return functional.linear(functional.linear(entering.bfloat16(), narrow_up), narrow_down).float()

    with torch.inference_mode():
        seconds = _least_seconds(wide, switched, cast)
        changes = not torch.equal(switched(), wide())
    return Gain(switch=seconds[0] / seconds[1] if changes else 0.0, copy=seconds[0] / seconds[2])


def _least_seconds(*runs: Callable[[], object]) -> list[float]:
    """Least seconds of each run over several rounds, alternating so that other load affects all alike."""
    best = [float("inf")] * len(runs)
    for _ in range(TRIES):
        for place, run in enumerate(runs):
            started = time.perf_counter()
            run()
            best[place] = min(best[place], time.perf_counter() - started)
    return best


def _has_units() -> bool:
    """Whether the processor has bfloat16 instructions: emulation is slower than float32."""
    return mkldnn.is_available() and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
