"""What engines do with a model that is only sketched: count what they would evaluate, and answer with made-up numbers.

The numbers are drawn, the same ones for the same row: with all scores equal a method that refines until it is sure
would stop at once, and the estimate would be its least and not its most.
"""

import numpy as np

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.scoring.rows import FloatArray


def rehearse_batch(
    rows: int,
    tokens: int,
    *,
    reads: int,
    meter: CostMeter,
    footprint: Footprint,
    back: bool = False,
    expected_bytes: int | None = None,
) -> None:
    """Counts one dense forward of so many rows, padding included, with logits at `reads` places of each.

    With `back` a gradient goes back through it; `expected_bytes` stands for the footprint's own number where the
    engine knows better.
    """
    meter.forward(rows * tokens, reads=rows * reads, back=back)
    meter.expect(expected_bytes or footprint.forward_bytes(rows, tokens, reads=reads))


def made_up(key: bytes, shape: tuple[int, ...]) -> FloatArray:
    """Numbers between −2 and 0 of that shape, the same for the same key."""
    drawn = np.frombuffer(key[:8].ljust(8, b"\0"), dtype=np.uint64)[0] / 2.0**64
    # The golden ratio's multiples spread evenly over the unit interval.
    return ((drawn + 0.6180339887498949 * np.arange(np.prod(shape))) % 1.0 * 2.0 - 2.0).reshape(shape)
