"""Dry runs: the one module that distinguishes a model without weights from a loaded one.

An estimate runs the method itself on a model without weights (docs/decisions/0011). The engine passes every forward to
`forward`, and other reads of weights to `computed`; neither engine nor methods branch. Placeholders are pseudo-random,
determined by a key: with equal scores an adaptive method would stop at once, and the estimate would be its least cost,
not its most.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.models.loading.loaded import AnyModel, LoadedModel
from explaind_worker.models.loading.meta_model import MetaClassifier, MetaModel

T = TypeVar("T")


def forward(
    model: AnyModel,
    run: Callable[[], T],
    *,
    placeholder: Callable[[], T],
    meter: CostMeter,
    tokens: int,
    reads: int = 0,
    bytes: int = 0,
    back: bool = False,
) -> T:
    """The result of `run`, one forward, counted on `meter`; of a model without weights, the placeholder.

    `run` is called under the model's lock, in inference mode or, with `back` (a backward pass follows), with gradients
    enabled. The forward has `tokens` tokens, padding included, and logits at `reads` positions; `bytes` is its memory
    beside the weights. A failed forward is not counted.
    """
    if _without_weights(model):
        meter.forward(tokens, reads=reads, back=back)
        meter.expect(bytes)
        return placeholder()
    with model.lock, torch.enable_grad() if back else torch.inference_mode():
        result = run()
    meter.forward(tokens, reads=reads, back=back)
    return result


def computed(model: AnyModel, run: Callable[[], T], *, placeholder: Callable[[], T]) -> T:
    """The result of `run`, which reads the model's weights; of a model without weights, the placeholder.

    Neither locks nor counts: for anything but a forward, and for several forwards counted together in a dry run.
    """
    return placeholder() if _without_weights(model) else run()


def verdict(model: LoadedModel, name: str, probe: Callable[[LoadedModel], str | None]) -> str | None:
    """Result of probing the model, cached with it; None if nothing is wrong.

    A model without weights cannot be probed: it takes the result of its loaded counterpart if there is one, else None,
    which is right for most models.
    """
    if name not in model.verdicts and not _without_weights(model):
        model.verdicts[name] = probe(model)
    return model.verdicts.get(name)


def input_device(model: AnyModel) -> torch.device:
    """Device for a forward's inputs; the CPU for a model without weights."""
    return torch.device("cpu") if _without_weights(model) else model.device


def placeholder(key: bytes, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers between −2 and 0 of that shape, the same for the same key."""
    drawn = np.frombuffer(key[:8].ljust(8, b"\0"), dtype=np.uint64)[0] / 2.0**64
    # Multiples of the golden ratio are spread evenly over the unit interval.
    return ((drawn + 0.6180339887498949 * np.arange(np.prod(shape))) % 1.0 * 2.0 - 2.0).reshape(shape)


def placeholder_token(model: AnyModel) -> int:
    """The token id used as placeholder for each generated token."""
    known = model.encoder.tokenizer.eos_token_id
    return known if isinstance(known, int) else 0


def _without_weights(model: AnyModel) -> bool:
    return isinstance(model, MetaModel | MetaClassifier)
