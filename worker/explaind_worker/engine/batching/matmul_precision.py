"""Matrix products in a narrower type than the weights': whether a device gains by it, and the switch where it has one.

On a GPU float32 products can be taken in TF32. On a CPU with units for bfloat16 there are two ways: a switch of oneDNN,
which works with AMX only, and a copy of the model's linear layers (`models/structure/narrow_copy.py`). Which of them is
faster, and whether the switch does anything at all, is timed, not believed.
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

ROWS = 256  # of the product that is timed
MOST_HIDDEN, MOST_INNER = 1024, 4096  # of it: wider ones gain as much, and take longer
TRIES = 5
LEAST_GAIN = 1.3

Way = Literal["tf32", "switch", "copy"]
TYPES: dict[Way, str] = {"tf32": "tf32", "switch": "bfloat16", "copy": "bfloat16"}


@dataclass(frozen=True)
class FastProducts:
    """How a model's products are taken faster than in its own type; `way` None where they are not, and `why_not`."""

    way: Way | None
    why_not: str | None = None

    @property
    def type(self) -> str | None:
        """Name of the type of the products; None for the model's own."""
        return None if self.way is None else TYPES[self.way]


@dataclass(frozen=True)
class Gain:
    """How many times faster than in float32 an MLP's products are by each way; 0 where the numbers are float32's."""

    switch: float
    copy: float


def fast_products(model: AnyModel) -> FastProducts:
    """The way in which this model's matrix products are faster than in its own type; the first call may time some.

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
    with model.lock:  # the device's: what is timed is alone, and nobody else's products are switched
        gain = measured_gain(min(footprint.hidden, MOST_HIDDEN), min(footprint.intermediate, MOST_INNER))
    if gain.switch >= LEAST_GAIN:
        return FastProducts("switch")
    if gain.copy >= LEAST_GAIN:
        return FastProducts("copy")
    return FastProducts(None, f"products of its size in bfloat16 are {gain.copy:.1f} times as fast on this processor")


@contextmanager
def products_in(way: Way | None) -> Iterator[None]:
    """Within this context float32 matrices are multiplied that way, if it is a switch. The model's lock must be held.

    The switch is the library's, for all of a device, as the lock is.
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
    """The gain by each way on this processor, for an MLP of that shape; timed once, in some tenths of a second."""
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
    """Seconds of the quickest try of each, by turns, so that a busy machine is busy for all of them."""
    best = [float("inf")] * len(runs)
    for _ in range(TRIES):
        for place, run in enumerate(runs):
            started = time.perf_counter()
            run()
            best[place] = min(best[place], time.perf_counter() - started)
    return best


def _has_units() -> bool:
    """Whether the processor multiplies bfloat16 itself: emulated it is slower than float32."""
    return mkldnn.is_available() and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
