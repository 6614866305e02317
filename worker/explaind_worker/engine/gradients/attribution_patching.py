"""Attribution patching: first-order effects of ablating each head, from one forward and one backward pass.

Nanda 2023; Syed et al. 2023: the metric is taken as linear in a head's output z, so that replacing z by `value` changes
it by the sum over positions of (value − z) · ∂metric/∂z.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from explaind.contract.errors import GradientsUnavailable
from explaind_worker.engine.activations.interventions import Edit
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import forward
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.engine.gradients.differentiable_score import EmbeddedQuestion, embed, widened
from explaind_worker.engine.scoring.rows import FloatArray
from explaind_worker.engine.scoring.score_query import ScoreSpec
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.anatomy import Anatomy


def first_order_effects(
    model: LoadedModel, prompt: Sequence[int], question: ScoreSpec, edits: Mapping[int, Edit], *, meter: CostMeter
) -> FloatArray:
    """Decrease of the score by each edit: [layer, head], NaN in layers without an edit.

    `edits` has one edit per layer, of all its heads. The continuations may differ in their last tokens only, so that
    they are read in one row.

    Raises:
        GradientsUnavailable: torch finds no dependence of the output on the heads.
        OutOfMemory: the graph of one row does not fit.
    """
    anatomy = model.anatomy
    effects = np.full((len(anatomy.blocks), anatomy.heads), np.nan)
    rows, reads, fed = EmbeddedQuestion.shape(question)
    assert rows == 1, "the metric of an ablation reads one row"  # noqa: S101
    tokens = len(prompt) + fed
    meter.tokens_asked += tokens
    layers = sorted(edits)

    def run(_row: Sequence[int]) -> FloatArray:
        return forward(
            model,
            lambda: _lowered(model, prompt, question, [edits[layer] for layer in layers]),
            placeholder=lambda: _placeholder(len(layers), anatomy.heads),
            meter=meter,
            tokens=tokens,
            reads=reads,
            bytes=Footprint.of(model).graph_bytes(1, tokens, reads=reads),
            back=True,
        )

    [(_, effects[layers])] = Backoff(meter).halving([0], run)
    return effects


def _placeholder(layers: int, heads: int) -> FloatArray:
    """[layer, head], decreasing with depth: running the lowest heads exactly costs most."""
    return np.linspace(2.0, 1.0, layers * heads).reshape(layers, heads)


def _lowered(model: LoadedModel, prompt: Sequence[int], question: ScoreSpec, edits: Sequence[Edit]) -> FloatArray:
    """[edit, head]. The model's lock must be held."""
    leaf = embed(model, prompt)[None].requires_grad_()
    with _entering_projections(model.anatomy, [e.layer for e in edits]) as said:
        score = EmbeddedQuestion(model, question).columns(leaf).sum()
        gradients = torch.autograd.grad(score, said, allow_unused=True) if score.requires_grad else [None] * len(said)
    lowered = []
    for edit, heads, gradient in zip(edits, said, gradients, strict=True):
        if gradient is None:
            raise GradientsUnavailable.at(
                "/first_pass",
                "No gradient came back to this model's heads: one of its layers has no backward pass.",
                hint="Leave 'first_pass' out: every head is then ablated exactly.",
            )
        shape = (model.anatomy.heads, model.anatomy.head_dim)
        clean = heads.detach()[0].unflatten(-1, shape)  # [position, head, head_dim]
        edited = clean.clone()
        edit.apply(edited)
        change = widened(clean) - widened(edited)
        lowered.append((change * widened(gradient[0].unflatten(-1, shape))).sum(dim=(0, 2)).double().cpu().numpy())
    return np.stack(lowered)


@contextmanager
def _entering_projections(anatomy: Anatomy, layers: Sequence[int]) -> Iterator[list[torch.Tensor]]:
    """The inputs of these layers' output projections in a forward, as parts of its graph; in order of layer."""
    seen: list[torch.Tensor] = []
    handles = [anatomy.blocks[layer].output_projection.register_forward_pre_hook(_kept(seen)) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _kept(seen: list[torch.Tensor]) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
    def keep(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        seen.append(args[0])

    return keep
