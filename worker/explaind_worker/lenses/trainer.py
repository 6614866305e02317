"""Trains the translators of a tuned lens, all depths in one forward (Belrose et al. 2023, section 3).

The objective at each depth is KL(final distribution ‖ the lens's). Only the path from a translated row to its logits is
differentiated, a slice of places at a time; the gradients of W and b follow from those of the rows by a matrix product.
So depths × places × vocabulary is never materialized, and no gradient enters the model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from explaind.contract.blocks.hook_points import HookPoint
from explaind_worker.engine.activations.capture import capture_rows
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import computed
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import FLOAT_BYTES, Footprint
from explaind_worker.engine.batching.oom_backoff import Backoff
from explaind_worker.lenses.decoding import decode
from explaind_worker.lenses.translators import Translators, translator_bytes
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.training.token_batches import Row, longest_first

MOMENTUM = 0.9
RATES = {"sgd": 1.0, "adam": 1e-3}
STATES = {"sgd": 1, "adam": 3}  # numbers that the optimizer keeps per weight
LARGEST_GRADIENT = 1.0
CPU_SLICE, CUDA_SLICE = 4 << 20, 64 << 20  # logits held at once
SLICE_COPIES = 6  # per slice: both distributions and their logs, the logits, the gradient

FloatArray = NDArray[np.float64]
OptimizerName = Literal["sgd", "adam"]


@dataclass(frozen=True)
class Recipe:
    """Training recipe of the translators; `learning_rate` decays linearly to zero over the steps."""

    steps: int
    optimizer: OptimizerName
    learning_rate: float
    weight_decay: float

    @property
    def warm_up(self) -> int:
        """Number of warm-up steps, which improve Adam."""
        return min(1000, self.steps // 5) if self.optimizer == "adam" else 0

    def factor(self, step: int) -> float:
        """Factor of the learning rate at a step, counted from 0."""
        if step < self.warm_up:
            return (step + 1) / (self.warm_up + 1)
        return (self.steps - step) / (self.steps - self.warm_up)


def training_bytes(model: LoadedModel, optimizer: OptimizerName) -> int:
    """Bytes held between forwards: weights, a copy of them, gradients, optimizer state, logits of a slice."""
    anatomy = model.anatomy
    copies = 3 + STATES[optimizer]
    logits = SLICE_COPIES * FLOAT_BYTES * max(_slice_logits(model.device), anatomy.vocabulary)
    return copies * translator_bytes(len(anatomy.blocks), anatomy.hidden) + logits


class LensTraining:
    """Training state of a model's translators. In a dry run its forwards are counted only."""

    def __init__(self, model: LoadedModel, limits: BatchLimits, meter: CostMeter, recipe: Recipe) -> None:
        self._model = model
        self._limits = limits
        self._meter = meter
        self._recipe = recipe
        self._footprint = Footprint.of(model)
        self._backoff = Backoff(meter)
        self._dry_checks = 0
        self.depths = len(model.anatomy.blocks)
        self.translators = Translators.zeros(self.depths, model.anatomy.hidden, model.network.device)
        for numbers in (self.translators.weights, self.translators.biases):
            numbers.grad = torch.zeros_like(numbers)
        self._optimizer = self._made_optimizer()
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, recipe.factor)

    def step(self, rows: Sequence[Row]) -> FloatArray:
        """One training step on these rows; returns their mean KL at each depth, in nats, before the step."""
        losses, places = np.zeros(self.depths), sum(map(len, rows))
        for stream in self._streams(rows, reads=1 + 2 * self.depths):
            for part in range(0, stream.shape[1], self._slice_places):
                inside = range(part, min(part + self._slice_places, stream.shape[1]))
                losses += self._accumulate(stream, inside)
        computed(self._model, lambda: self._update(places), placeholder=lambda: None)
        return losses / places

    def divergence(
        self, rows: Sequence[Row], *, tuned: bool, between: Callable[[int, int], None] | None = None
    ) -> FloatArray:
        """Mean KL(final ‖ lens) of the rows' places at each depth, in nats: of the tuned lens or of the logit lens.

        `between(done, places)` is called between batches, with the model's lock free.
        """
        found, places = np.zeros(self.depths), sum(map(len, rows))
        through = self.translators if tuned else None
        done = 0
        for stream in self._streams(rows, reads=1 + self.depths):
            decoded = decode(self._model, stream, top=1, meter=self._meter, through=through)
            assert decoded.divergence is not None  # noqa: S101 - a final reading was given
            found += decoded.divergence[:-1].sum(axis=1)
            done += stream.shape[1]
            if between is not None:
                between(done, places)
        return computed(self._model, lambda: found / places, placeholder=self._better_each_time)

    def snapshot(self) -> Translators:
        """A copy of the translators; in a dry run, which has none, the smallest possible."""
        return computed(
            self._model,
            self.translators.clone,
            placeholder=lambda: Translators.zeros(1, 1, torch.device("cpu")),
        )

    def _better_each_time(self) -> FloatArray:
        """Placeholder of a check that always improves: patience never ends a dry run, which covers all steps."""
        self._dry_checks += 1
        return np.full(self.depths, 1.0 / self._dry_checks)

    def _streams(self, rows: Sequence[Row], *, reads: int) -> Iterator[torch.Tensor]:
        """The stream at the rows' places, [depth, place, hidden], batch by batch; a dry run only counts them."""
        for batch in longest_first(rows, self._fits):
            for _, stream in self._backoff.halving(batch, lambda part: self._stream(part, reads)):
                if stream is not None:
                    yield stream

    def _stream(self, rows: Sequence[Row], reads: int) -> torch.Tensor | None:
        """The stream before the first block and after each block, [depth, place, hidden].

        None in a dry run.
        """
        places = sum(map(len, rows))
        found = capture_rows(
            self._model,
            rows,
            [HookPoint("resid_pre", 0), "resid_post"],
            meter=self._meter,
            reads=places * reads,
            beside=stream_bytes(self._footprint, self.depths, places),
        )
        return computed(self._model, found.stacked, placeholder=lambda: None)

    def _fits(self, rows: int, tokens: int) -> bool:
        if rows * tokens > self._limits.tokens:
            return False
        return self._limits.bytes is None or self._bytes(rows, tokens) <= self._limits.bytes

    def _bytes(self, rows: int, tokens: int) -> int:
        return self._footprint.forward_bytes(rows, tokens) + stream_bytes(self._footprint, self.depths, rows * tokens)

    @property
    def _slice_places(self) -> int:
        return max(1, _slice_logits(self._model.device) // self._model.anatomy.vocabulary)

    def _accumulate(self, stream: torch.Tensor, inside: range) -> FloatArray:
        """Adds a slice's contribution to the translators' gradients; returns the sum of its KL at each depth."""
        losses = np.zeros(self.depths)
        weights, biases = self.translators.weights.grad, self.translators.biases.grad
        assert weights is not None and biases is not None  # noqa: S101, PT018 - made with the translators
        for part, (gradients, found) in self._backoff.halving(inside, lambda part: self._gradients(stream, part)):
            by_row = gradients.to(weights.dtype)
            weights += by_row.transpose(1, 2) @ stream[:-1, part[0] : part[-1] + 1].to(weights.dtype)
            biases += by_row.sum(1)
            losses += found
        return losses

    def _gradients(self, stream: torch.Tensor, part: Sequence[int]) -> tuple[torch.Tensor, FloatArray]:
        """The gradient of the summed KL by the translated rows, [depth, place, hidden], and the sum at each depth."""
        places = slice(part[0], part[-1] + 1)
        with self._model.lock, torch.no_grad():
            final = self._logits(stream[-1, places]).log_softmax(-1)
            likely = final.exp()
            gradients, losses = [], []
            for depth in range(self.depths):
                row = self.translators(depth, stream[depth, places]).requires_grad_()
                with torch.enable_grad():
                    logits = self._logits(row)
                lens = logits.detach().log_softmax(-1)
                losses.append((likely * (final - lens)).sum())
                # The derivative of KL(p ‖ softmax z) by z is softmax z − p.
                gradients += torch.autograd.grad(logits, row, lens.exp_().sub_(likely))
            return torch.stack(gradients), torch.stack(losses).double().cpu().numpy()

    def _logits(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits [place, vocabulary], in at least float32, of rows before the final norm."""
        anatomy = self._model.anatomy
        normed = anatomy.final_norm(rows.to(self._width))
        logits = anatomy.final_logits(anatomy.unembedding(normed))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    @property
    def _width(self) -> torch.dtype:
        return getattr(torch, self._model.dtype)

    def _update(self, places: int) -> None:
        """One optimizer step on the mean over the places; each depth is optimized, and clipped, separately."""
        weights, biases = self.translators.weights.grad, self.translators.biases.grad
        assert weights is not None and biases is not None  # noqa: S101, PT018 - made with the translators
        norms = (weights.square().sum((1, 2)) + biases.square().sum(1)).sqrt() / places
        scales = (LARGEST_GRADIENT / norms.clamp(min=LARGEST_GRADIENT)) / places
        weights *= scales[:, None, None]
        biases *= scales[:, None]
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad(set_to_none=False)

    def _made_optimizer(self) -> torch.optim.Optimizer:
        recipe, numbers = self._recipe, [self.translators.weights, self.translators.biases]
        if recipe.optimizer == "adam":
            return torch.optim.Adam(
                numbers,
                lr=recipe.learning_rate,
                betas=(MOMENTUM, 0.999),
                weight_decay=recipe.weight_decay,
                amsgrad=True,
            )
        # torch's momentum multiplies the step by 1 / (1 − momentum); undone, 1 is a good rate for any model.
        rate = recipe.learning_rate * (1 - MOMENTUM)
        return torch.optim.SGD(numbers, lr=rate, momentum=MOMENTUM, nesterov=True, weight_decay=recipe.weight_decay)


def stream_bytes(footprint: Footprint, depths: int, places: int) -> int:
    """Bytes of the stream at that many places and all depths, plus one more while it is captured."""
    return (depths + 2) * places * footprint.hidden * footprint.width


def _slice_logits(device: torch.device) -> int:
    return CUDA_SLICE if device.type == "cuda" else CPU_SLICE
