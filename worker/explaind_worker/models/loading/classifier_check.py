"""Self-check of a classifier on loading: compares explaind's logits with the model's own.

Two claims must hold, or the model is refused: logits computed through its body and head equal the model's own, and rows
of equal length have the same logits in a batch as alone. A third one, that a row padded to the length of another keeps
its logits, decides how rows are batched: a model that fails it gets only rows of equal length.
"""

import math

import torch
from transformers import PreTrainedModel

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.errors import ExplaindError, SelfCheckFailed
from explaind_worker.models.device_errors import out_of_memory, poisoned
from explaind_worker.models.library_message import told
from explaind_worker.models.structure.classifier_head import class_logits, filler_of, padded
from explaind_worker.models.structure.rotary_lengths import rotary_lengths
from explaind_worker.models.structure.self_check import QUANTIZED_TOLERANCE, TOLERANCE
from explaind_worker.models.text.tokenizer import Encoder

LONG = "When Mary and John went to the store, John gave a drink to her."
SHORT = "a drink"


def check_classifier(network: PreTrainedModel, encoder: Encoder, *, quantized: bool = False) -> dict[str, float | bool]:
    """Largest relative difference of each claim (`reading`, `batch`, `padding`); `pads` follows from the last.

    Raises:
        SelfCheckFailed: one of the first two is larger than rounding errors.
    """
    allowed = QUANTIZED_TOLERANCE if quantized else TOLERANCE.get(network.dtype, 4e-2)
    try:
        differences = _differences(network, encoder)
    except Exception as error:
        if isinstance(error, ExplaindError) or out_of_memory(error) or poisoned(error):
            raise
        raise SelfCheckFailed(
            f"{type(network).__name__} could not read a short text: {told(error)}",
            hint="Its config or its tokenizer may contradict its weights.",
        ) from error
    for claim in ("reading", "batch"):
        if not differences[claim] <= allowed:  # true for a NaN, too
            raise SelfCheckFailed(
                f"Our view of {type(network).__name__} differs from the model's own: {claim} is off by "
                f"{differences[claim]:.1e} of the largest logit, allowed is {allowed:.0e}.",
                hint='Results would be wrong, so the model is not used. Try dtype = "float32", or report the model.',
            )
    return {**differences, "pads": differences["padding"] <= allowed}  # infinite if it was not tried


def _differences(network: PreTrainedModel, encoder: Encoder) -> dict[str, float]:
    """Largest relative difference of each claim; infinite for padding if no two lengths may share a forward."""
    long, short = (_row(encoder, text) for text in (LONG, SHORT))
    # Rows with different rotary factors never share a batch, whatever the effect of padding.
    long = long[: rotary_lengths(network).last(len(short))]
    turned = [long[0], *reversed(long[1:-1]), long[-1]]
    with torch.inference_mode():
        own = {name: _own(network, row) for name, row in (("long", long), ("short", short), ("turned", turned))}
        scale = max(float(logits.abs().max()) for logits in own.values()) or 1.0

        def difference(rows: list[list[int]], *expected: str) -> float:
            return float((_ours(network, rows) - torch.cat([own[name] for name in expected])).abs().max()) / scale

        return {
            "reading": max(difference([long], "long"), difference([short], "short")),
            "batch": difference([long, turned], "long", "turned"),
            "padding": difference([long, short], "long", "short") if len(long) > len(short) else math.inf,
        }


def _row(encoder: Encoder, text: str) -> list[int]:
    return list(encoder.prompt(PromptRequest(model="self-check", prompt=text)).token_ids)[: encoder.context]


def _own(network: PreTrainedModel, row: list[int]) -> torch.Tensor:
    return network(input_ids=torch.tensor([row], device=network.device)).logits.float()


def _ours(network: PreTrainedModel, rows: list[list[int]]) -> torch.Tensor:
    ids, mask = padded(rows, filler_of(network))
    mask = mask if mask is None else mask.to(network.device)
    return class_logits(network, input_ids=ids.to(network.device), attention_mask=mask).float()
