"""Captures activations at hook points during a forward: the one module with lock, hooks and dry run."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress

import torch

from explaind.contract.blocks.hook_points import HOOK_POINTS, HookPoint, HookPointName
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.dry_run import forward
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.anatomy import Anatomy
from explaind_worker.models.structure.attention_implementation import using_attention
from explaind_worker.models.structure.hook_points import modules_of, points_at, terms_of, watching

# Runs the model on token ids [row, position].
Forward = Callable[[torch.Tensor], object]


class Activations(Mapping[HookPoint, torch.Tensor]):
    """Activations by hook point: [position, hidden], of z [position, head, head_dim], of pattern [head, query, key].

    Those with the same axes are stored in one tensor. In a dry run all are on the meta device, which holds no numbers.
    """

    def __init__(
        self, points: Sequence[HookPoint], sizes: Mapping[str, int], *, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Zeros; `sizes` are the lengths of the axes."""
        by_axes: dict[tuple[str, ...], list[HookPoint]] = {}
        for point in points:
            by_axes.setdefault(HOOK_POINTS[point.name].axes, []).append(point)
        self._tensors = [
            torch.zeros((len(same), *(sizes[axis] for axis in axes)), dtype=dtype, device=device)
            for axes, same in by_axes.items()
        ]
        found = {
            point: of_point
            for same, tensor in zip(by_axes.values(), self._tensors, strict=True)
            for point, of_point in zip(same, tensor, strict=True)
        }
        self._of = {point: found[point] for point in points}

    def stacked(self) -> torch.Tensor:
        """All activations, [point, …] in the order of the points, without a copy.

        Raises:
            ValueError: their axes differ.
        """
        if len(self._tensors) != 1:
            raise ValueError("Activations with different axes do not fit in one tensor.")
        return self._tensors[0]

    def __getitem__(self, point: HookPoint) -> torch.Tensor:
        return self._of[point]

    def __iter__(self) -> Iterator[HookPoint]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)


def capture(
    model: LoadedModel,
    token_ids: Sequence[int],
    points: Collection[HookPointName | HookPoint],
    *,
    meter: CostMeter,
    layers: Iterable[int] | None = None,
    positions: Sequence[int] | None = None,
    reads: int = 0,
    beside: int = 0,
    device: torch.device | None = None,
    forward: Forward | None = None,
) -> Activations:
    """The activations of one forward of a prompt, in the model's dtype; points defined as sums are added up.

    A name among `points` stands for its hook points in all `layers` (None: every layer); names that the family lacks
    are left out. Only `positions` (of a pattern: queries) are kept, in that order, while the forward runs, and on
    `device` (None: the model's). The forward stops after the last point.

    `forward` replaces the default run of the model, and runs to its end. `reads` is the number of positions whose
    logits it computes, or that will be computed from the activations; it is counted on the meter. A dry run counts the
    forward and expects `beside` more bytes than its own.
    """
    plan = _Plan(model, points_at(model.anatomy, points, layers), [token_ids], positions, forward)
    return plan.run(meter, reads=reads, beside=beside, device=device)


def capture_rows(
    model: LoadedModel,
    rows: Sequence[Sequence[int]],
    points: Collection[HookPointName | HookPoint],
    *,
    meter: CostMeter,
    layers: Iterable[int] | None = None,
    reads: int = 0,
    beside: int = 0,
) -> Activations:
    """`capture` for several rows in one forward: all positions of the first, then of the second, without padding.

    Each row is computed as if alone, even if the model's rotary factors depend on the row's length.

    Raises:
        ValueError: a pattern is requested, which is defined for a single row only.
    """
    chosen = points_at(model.anatomy, points, layers)
    if any(point.name == "pattern" for point in chosen):
        raise ValueError("Patterns are captured one row at a time.")
    return _Plan(model, chosen, rows, None, None).run(meter, reads=reads, beside=beside, device=None)


def activation_bytes(footprint: Footprint, positions: int, points: Collection[HookPointName], layers: int) -> int:
    """Bytes of the activations at these points (no patterns) for that many positions and layers."""
    heads = footprint.heads * footprint.head_dim
    width = sum(heads if point == "z" else footprint.hidden for point in set(points))
    return layers * positions * width * footprint.width


class _AllSeenError(Exception):
    """Stops a forward after the last requested hook point."""


class _Plan:
    """One forward of rows, and the positions to keep per hook point."""

    def __init__(
        self,
        model: LoadedModel,
        points: Sequence[HookPoint],
        rows: Sequence[Sequence[int]],
        positions: Sequence[int] | None,
        forward: Forward | None,
    ) -> None:
        self._model = model
        self._points = points
        self._rows = rows
        self._width = max(map(len, rows))
        self._forward = forward
        self._index = _real_places(rows, self._width) if positions is None else torch.tensor(list(positions))
        self._targets = _targets(model.anatomy, points)

    def run(self, meter: CostMeter, *, reads: int, beside: int, device: torch.device | None) -> Activations:
        """Runs the forward, or counts it in a dry run."""
        # Logits are computed only where they are read: without a `forward` argument the run ends before them.
        footprint, logits = Footprint.of(self._model), 1 if self._forward is None else reads
        return forward(
            self._model,
            lambda: self._filled(device or self._model.device),
            placeholder=lambda: self._zeros(torch.device("meta")),
            meter=meter,
            tokens=len(self._rows) * self._width,
            reads=reads,
            bytes=footprint.forward_bytes(len(self._rows), self._width, reads=logits) + beside,
        )

    def _zeros(self, device: torch.device) -> Activations:
        anatomy, kept = self._model.anatomy, self._kept
        sizes = {"position": kept, "hidden": anatomy.hidden, "head": anatomy.heads, "head_dim": anatomy.head_dim}
        sizes |= {"query": kept, "key": self._width}
        return Activations(self._points, sizes, dtype=self._model.network.dtype, device=device)

    @property
    def _kept(self) -> int:
        return len(self._rows) * self._width if self._index is None else len(self._index)

    def _filled(self, device: torch.device) -> Activations:
        """Runs no further than needed and accumulates the activations. Hold the model's lock."""
        model, anatomy, found = self._model, self._model.anatomy, self._zeros(device)
        index = None if self._index is None else self._index.to(model.device)
        coming = sum(len(modules_of(anatomy, source)) for source in self._targets)

        def see(source: HookPoint, passing: torch.Tensor) -> None:
            nonlocal coming
            shown = _chosen(source, passing.expand(len(self._rows), *passing.shape[1:]), index)
            for target, sign in self._targets[source]:
                found[target].add_(shown.to(found[target].device), alpha=sign)
            coming -= 1
            if not coming and self._forward is None:
                raise _AllSeenError

        ids = torch.zeros((len(self._rows), self._width), dtype=torch.int64)
        for place, row in zip(ids, self._rows, strict=True):
            place[: len(row)] = torch.tensor(row)
        with ExitStack() as stack:
            if any(point.name == "pattern" for point in self._points):
                stack.enter_context(using_attention(model.network, "eager"))
            stack.enter_context(watching(anatomy, see, self._targets))
            with suppress(_AllSeenError):
                self._call(ids.to(model.device))
        return found

    def _call(self, ids: torch.Tensor) -> None:
        with self._model.lengths.each_alone([len(row) for row in self._rows], self._width):
            if self._forward is None:
                self._model.network.base_model(input_ids=ids, use_cache=False)
            else:
                self._forward(ids)


def _real_places(rows: Sequence[Sequence[int]], width: int) -> torch.Tensor | None:
    """Indices of the rows' tokens in the flattened batch; None if there is no padding.

    Padding is on the right, where causal attention ignores it.
    """
    if all(len(row) == width for row in rows):
        return None
    real = torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]
    return real.flatten().nonzero()[:, 0]


def _targets(anatomy: Anatomy, points: Sequence[HookPoint]) -> dict[HookPoint, list[tuple[HookPoint, int]]]:
    """For each point computed by a module, the requested points of which it is a term, with its sign."""
    found: dict[HookPoint, list[tuple[HookPoint, int]]] = {}
    for point in points:
        for term, sign in terms_of(point).items():
            if points_at(anatomy, [term]):
                found.setdefault(term, []).append((point, sign))
    return found


def _chosen(source: HookPoint, passing: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
    """The activations at the kept positions, without the row axis."""
    if source.name == "pattern":
        return passing[0] if index is None else passing[0].index_select(1, index)
    flat = passing[0] if len(passing) == 1 else passing.flatten(0, 1)
    return flat if index is None else flat.index_select(0, index)
