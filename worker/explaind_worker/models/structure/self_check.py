"""Self-check of a causal language model on loading: compares explaind's view with the model's own logits.

Four claims are checked on a short fixed sequence: every block adds its attention's and its MLP's output to the residual
stream and nothing else; the last block, the final norm and the unembedding give the model's logits; logits read at
chosen positions are the logits read at all of them; and no token's logits depend on later tokens. A model that fails
one of them is refused, since every explanation of it would be silently wrong.
"""

import torch
from transformers import PreTrainedModel

from explaind.contract.blocks.hook_points import HookPoint, HookPointName
from explaind.contract.errors import SelfCheckFailed
from explaind_worker.models.device_errors import out_of_memory, poisoned
from explaind_worker.models.library_message import told
from explaind_worker.models.structure.anatomy import Anatomy
from explaind_worker.models.structure.hook_points import watching
from explaind_worker.models.structure.logits_at import only_positions

LENGTH = 11
POINTS: tuple[HookPointName, ...] = ("resid_pre", "attn_out", "mlp_out", "resid_post")

# Largest difference, relative to the largest value, that rounding in that dtype can explain.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8, torch.bfloat16: 4e-2, torch.float16: 1e-2}
QUANTIZED_TOLERANCE = 5e-2


def check(
    network: PreTrainedModel, anatomy: Anatomy, *, context: int = LENGTH, quantized: bool = False
) -> dict[str, float]:
    """Largest relative difference of each claim: keys `residual`, `logits`, `positions`, `causal`.

    Raises:
        SelfCheckFailed: a difference is larger than rounding errors, or the model's structure cannot be read at all.
    """
    weight = getattr(anatomy.final_norm, "weight", None)  # OLMo's has none
    dtype = weight.dtype if isinstance(weight, torch.Tensor) else network.dtype
    allowed = QUANTIZED_TOLERANCE if quantized else TOLERANCE.get(dtype, 4e-2)
    try:
        differences = _differences(network, anatomy, max(1, min(LENGTH, context)))
    except Exception as error:
        if out_of_memory(error) or poisoned(error):
            raise
        raise SelfCheckFailed(
            f"{type(network).__name__} could not read a short sequence of tokens: {told(error)}",
            hint="Its config may contradict its weights.",
        ) from error
    for claim, difference in differences.items():
        if not difference <= allowed:  # true for a NaN, too
            raise SelfCheckFailed(
                f"Our view of {type(network).__name__} differs from the model's own: {claim} is off by "
                f"{difference:.1e} of the largest value, allowed is {allowed:.0e}.",
                hint='Results would be wrong, so the model is not used. Try dtype = "float32", or report the model.',
            )
    return differences


def _differences(network: PreTrainedModel, anatomy: Anatomy, length: int) -> dict[str, float]:
    """Largest relative difference of each claim on `length` tokens."""
    ids = _sequence(anatomy.vocabulary, length).to(network.device)
    with torch.inference_mode():
        seen: dict[HookPoint, torch.Tensor] = {}
        with watching(anatomy, seen.__setitem__, POINTS):
            logits = network(input_ids=ids, use_cache=False).logits
        last = seen[HookPoint("resid_post", len(anatomy.blocks) - 1)]
        ours = anatomy.final_logits(anatomy.unembedding(anatomy.final_norm(last)))
        positions = torch.tensor([[min(2, length - 1), length - 1]], device=network.device)
        with only_positions(anatomy.unembedding, positions):
            chosen = network(input_ids=ids, use_cache=False).logits
        other_end = torch.cat([ids[:, :-1], (ids[:, -1:] + 1) % anatomy.vocabulary], dim=1)
        before = network(input_ids=other_end, use_cache=False).logits[:, :-1]
    return {
        "residual": max(
            _difference(entering + attention + mlp, leaving)
            for i in range(len(anatomy.blocks))
            for entering, attention, mlp, leaving in [[seen[HookPoint(name, i)] for name in POINTS]]
        ),
        "logits": _difference(ours, logits),
        "positions": _difference(chosen, logits[:, positions[0]]),
        "causal": _difference(before, logits[:, :-1]),
    }


def _sequence(vocabulary: int, length: int) -> torch.Tensor:
    # Spread over the vocabulary, the same for every load; uses no random state.
    return (torch.arange(length) * 7919 + 13).remainder(vocabulary).unsqueeze(0)


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    if not theirs.numel():  # a context of one token
        return 0.0
    scale = theirs.float().abs().max().clamp_min(1e-12)
    return float((ours.float() - theirs.float()).abs().max() / scale)
