"""DeepLIFT through captum: the rescale rule at the activation functions of a network's MLPs.

captum applies the rule to torch's activation classes only and would silently skip those of transformers (SiLU, GELU).
The rule is the same for every elementwise function (Shrikumar et al. 2017, eq. 12), so it is applied to every module of
an MLP that proves to be one.
"""

import warnings

import torch
from torch import nn

from explaind.contract.errors import GradientsUnavailable
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import computed, forward, placeholder
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.gradients.differentiable_score import EmbeddedQuestion
from explaind_worker.engine.gradients.score_gradient import Path
from explaind_worker.engine.scoring.score_query import ScoreSpec
from explaind_worker.engine.scoring.value_function import FloatArray, ReportProgress
from explaind_worker.models.loading.loaded import LoadedModel

PROBE = (-1.5, -0.25, 0.0, 0.75, 2.0)


def activations(model: LoadedModel) -> list[nn.Module]:
    """The activation modules (elementwise functions) of the MLPs, one per block.

    Raises:
        GradientsUnavailable: a block's MLP has none, or two blocks share one.
    """
    found = [
        module
        for block in model.anatomy.blocks
        for module in block.mlp.modules()
        if not list(module.children()) and _of_one_number(module, model)
    ]
    if len(found) != len(model.anatomy.blocks) or len({id(module) for module in found}) != len(found):
        raise GradientsUnavailable.at(
            "/model",
            f"DeepLIFT needs one activation module in each MLP; {type(model.network).__name__} has {len(found)} in "
            f"{len(model.anatomy.blocks)} blocks.",
            hint="Use explain/integrated-gradients, which needs gradients only, and adds up.",
        )
    return found


def deeplift(
    model: LoadedModel,
    question: ScoreSpec,
    path: Path,
    *,
    per_target: bool,
    meter: CostMeter,
    report_progress: ReportProgress,
) -> FloatArray:
    """Contributions [position, column] of the difference between the path's ends.

    One column for the whole score or, with `per_target`, one per column of the score query.

    Raises:
        GradientsUnavailable: the network's activations cannot be found.
    """
    embedded = EmbeddedQuestion(model, question)
    covered = computed(model, lambda: activations(model), placeholder=list)
    scored = _Scored(model, embedded, apart=per_target)
    full, base = path.full.clone()[None], path.base.clone()[None]
    total, tokens = question.width if per_target else 1, len(path.full)
    rows, length, reads = 2 * embedded.rows, tokens + embedded.fed, embedded.reads
    drawn = torch.from_numpy(placeholder(b"deeplift", (tokens, total)))
    columns: list[torch.Tensor] = []
    for column in range(total):
        report_progress("backpropagating differences", column, total, "columns")
        columns.append(
            forward(
                model,
                lambda column=column: _rescaled(scored, covered, full, base, column),
                placeholder=lambda column=column: drawn[:, column],
                meter=meter,
                tokens=rows * length,
                reads=rows * reads,
                bytes=Footprint.of(model).graph_bytes(rows, length, reads=reads),
                back=True,
            )
        )
    meter.tokens_asked += total * rows * length
    report_progress("backpropagating differences", total, total, "columns")
    return torch.stack(columns, dim=-1).double().cpu().numpy()


class _Scored(nn.Module):
    """The network as captum expects it: embeddings [row, position, hidden] in, scores [row, column] out."""

    def __init__(self, model: LoadedModel, embedded: EmbeddedQuestion, *, apart: bool) -> None:
        super().__init__()
        self.network = model.network
        self._embedded = embedded
        self._apart = apart

    def forward(self, prompts: torch.Tensor) -> torch.Tensor:
        """Scores [row, column]."""
        columns = self._embedded.columns(prompts)
        return columns if self._apart else columns.sum(dim=1, keepdim=True)


def _rescaled(
    scored: _Scored, covered: list[nn.Module], full: torch.Tensor, base: torch.Tensor, column: int
) -> torch.Tensor:
    """Contributions [position] to one column, by captum's DeepLift."""
    from captum.attr import DeepLift  # noqa: PLC0415 - takes seconds to import
    from captum.attr._core.deep_lift import nonlinear  # noqa: PLC0415

    known = {id(module) for module in covered}

    class Rescale(DeepLift):
        """DeepLift with the rescale rule on the covered modules alone."""

        def _is_non_linear(self, module: nn.Module) -> bool:
            return id(module) in known

        def _backward_hook(
            self, module: nn.Module, grad_input: torch.Tensor, grad_output: torch.Tensor
        ) -> torch.Tensor:
            # A difference too small for the dtype gives no slope: the gradient is used, as in captum.
            return nonlinear(module, module.input, module.output, grad_input, grad_output, eps=self.eps)  # type: ignore[arg-type]

    eps = float(torch.finfo(full.dtype).eps)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about hooks being set
            contributions = Rescale(scored, eps=eps).attribute(full, base, target=column)
    finally:
        for module in covered:
            for name in ("input", "output"):
                module.__dict__.pop(name, None)
    return contributions.detach().float()[0].sum(dim=-1)


def _of_one_number(module: nn.Module, model: LoadedModel) -> bool:
    """Whether a module is elementwise and nonlinear."""
    if list(module.parameters()) or isinstance(module, nn.Dropout):
        return False
    probe = torch.tensor(PROBE, device=model.device)
    with torch.no_grad():
        try:
            together = module(probe)
            apart = torch.cat([module(number[None]) for number in probe])
        except (TypeError, RuntimeError, ValueError):
            return False
    return together.shape == probe.shape and torch.allclose(together, apart) and not torch.allclose(together, probe)
