"""Gradients of the score with respect to the prompt's embeddings, at many points of a path at once.

All target tokens of all points of a batch are one graph; one backward pass gives the gradient of every point, since
rows of a batch do not interact. The model's weights are not part of the graph.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

import numpy as np
import torch

from explaind.contract.errors import GradientsUnavailable
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import forward, placeholder
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.engine.gradients.differentiable_score import EmbeddedQuestion, widened
from explaind_worker.engine.scoring.score_query import ScoreSpec
from explaind_worker.engine.scoring.value_function import FloatArray, ReportProgress, TokenScores
from explaind_worker.models.loading.loaded import AnyModel

# gradients and differences [point, position, hidden] -> contributions [point, position]
Reduce = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# On a CPU a graph larger than the caches is slower than two smaller ones.
CPU_TOKENS = 1_024

T = TypeVar("T")


@dataclass(frozen=True)
class Noise:
    """Gaussian noise with this standard deviation on positions [position] of the path's end, drawn anew per point."""

    stdev: float
    seed: int
    positions: torch.Tensor


@dataclass(frozen=True)
class Path:
    """The straight line between two prompts given as embeddings [position, hidden], at `fractions` [point]."""

    base: torch.Tensor
    full: torch.Tensor
    fractions: FloatArray
    noise: Noise | None = None

    def at(self, points: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings, and end minus base, [point, position, hidden] each, in at least float32."""
        base, full = widened(self.base), widened(self.full)
        ends = full.expand(len(points), -1, -1)
        if self.noise is not None:
            ends = ends + torch.stack([self._noise(point, self.noise) for point in points])
        fractions = torch.as_tensor(self.fractions[list(points)], dtype=base.dtype, device=base.device)
        return torch.lerp(base.expand_as(ends), ends, fractions[:, None, None]), ends - base

    def _noise(self, point: int, noise: Noise) -> torch.Tensor:
        # Drawn on the CPU, separately per point: the same on every device and in every batch.
        generator = torch.Generator().manual_seed(noise.seed * 1_000_003 + point)
        drawn = torch.randn(self.full.shape, generator=generator, dtype=torch.float64) * noise.stdev
        return drawn.to(device=self.full.device, dtype=widened(self.full).dtype) * noise.positions[:, None]


class ScoreGradient:
    """The gradient of the score at points of a path.

    A batch holds as many points as the limits allow; one that runs out of memory is halved.
    """

    def __init__(
        self,
        model: AnyModel,
        question: ScoreSpec,
        *,
        meter: CostMeter,
        report_progress: ReportProgress,
        limits: BatchLimits | None = None,
    ) -> None:
        self._model = model
        self._question = question
        self._embedded = EmbeddedQuestion(model, question)
        self._meter = meter
        self._report_progress = report_progress
        self._limits = limits or BatchLimits.for_device(model.device)
        self._footprint = Footprint.of(model)
        self._backoff = Backoff(meter)

    def ends(self, path: Path) -> TokenScores:
        """Scores [2, token] at the path's base and at its end, without noise."""
        drawn = placeholder(b"ends", (2, 2, len(self._question.explained)))  # [kind, end, token]
        found = [
            self._forward(
                lambda prompt=prompt: [k[0].double().cpu().numpy() for k in self._embedded.scores(prompt[None])],
                placeholder=lambda end=end: list(drawn[:, end]),
                points=1,
                tokens=len(prompt),
                back=False,
            )
            for end, prompt in enumerate((path.base, path.full))
        ]
        logits, logprobs = (np.stack(kind) for kind in zip(*found, strict=True))
        return TokenScores(logprobs=logprobs, logits=logits)

    def contributions(
        self, path: Path, reduce: Reduce, *, per_target: bool = False
    ) -> Iterator[tuple[Sequence[int], FloatArray]]:
        """Per batch its points and their gradients after `reduce`: [point, position, column].

        One column for the whole score or, with `per_target`, one per column of the score query.

        Raises:
            GradientsUnavailable: torch finds no dependence of the output on the embeddings.
        """
        total, tokens = len(path.fractions), len(path.full)
        self._meter.tokens_asked += total * self._embedded.rows * (tokens + self._embedded.fed)
        points = range(total)
        batches = ceil(total / self._most_points(tokens))
        for batch in np.array_split(np.arange(total), batches):
            self._report_progress("computing gradients", int(batch[0]), total, "points")
            part = points[int(batch[0]) : int(batch[-1]) + 1]
            yield from self._backoff.halving(part, lambda part: self._reduced(path, part, reduce, per_target))
        self._report_progress("computing gradients", total, total, "points")

    def _reduced(self, path: Path, points: Sequence[int], reduce: Reduce, per_target: bool) -> FloatArray:
        columns = self._question.width if per_target else 1
        return self._forward(
            lambda: self._gradients(path, points, reduce, per_target),
            placeholder=lambda: placeholder(b"gradient", (len(points), len(path.full), columns)),
            points=len(points),
            tokens=len(path.full),
            back=True,
        )

    def _gradients(self, path: Path, points: Sequence[int], reduce: Reduce, per_target: bool) -> FloatArray:
        """A batch's forward and backward pass: [point, position, column]. The model's lock must be held."""
        embeddings, differences = path.at(points)
        leaf = embeddings.to(path.full.dtype).requires_grad_()
        scores = self._embedded.columns(leaf).sum(dim=0)  # [column]
        outputs = list(scores.unbind()) if per_target else [scores.sum()]
        columns = []
        for index, output in enumerate(outputs):
            gradient = _gradient(output, leaf, keep=index < len(outputs) - 1)
            columns.append(reduce(widened(gradient), differences).double().cpu())
        return torch.stack(columns, dim=-1).numpy()

    def _most_points(self, tokens: int) -> int:
        most = 1
        while self._fits(most + 1, tokens):
            most += 1
        return most

    def _fits(self, points: int, tokens: int) -> bool:
        limits, embedded = self._limits, self._embedded
        rows, length = points * embedded.rows, tokens + embedded.fed
        allowed = min(limits.tokens, CPU_TOKENS) if self._model.device.type == "cpu" else limits.tokens
        if rows * length > allowed or rows * embedded.reads * self._footprint.vocabulary > limits.logits:
            return False
        return limits.bytes is None or self._footprint.graph_bytes(rows, length, reads=embedded.reads) <= limits.bytes

    def _forward(
        self, run: Callable[[], T], *, placeholder: Callable[[], T], points: int, tokens: int, back: bool
    ) -> T:
        rows, length, reads = points * self._embedded.rows, tokens + self._embedded.fed, self._embedded.reads
        bytes_of = self._footprint.graph_bytes if back else self._footprint.forward_bytes
        return forward(
            self._model,
            run,
            placeholder=placeholder,
            meter=self._meter,
            tokens=rows * length,
            reads=rows * reads,
            bytes=bytes_of(rows, length, reads=reads),
            back=back,
        )


def _gradient(output: torch.Tensor, leaf: torch.Tensor, *, keep: bool) -> torch.Tensor:
    gradient = None
    if output.requires_grad:
        (gradient,) = torch.autograd.grad(output, leaf, retain_graph=keep, allow_unused=True)
    if gradient is None:
        raise GradientsUnavailable.at(
            "/model",
            "No gradient came back through this model: one of its layers has no backward pass.",
            hint="Use a method that only runs the model forward: explain/shap or explain/feature-ablation.",
        )
    return gradient
