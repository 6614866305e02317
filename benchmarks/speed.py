"""Runs a method and its peer on a model, and returns the row."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from benchmarks.alternating import Array, Side, alternate
from benchmarks.amounts import Amount
from benchmarks.counting import matrix_peak
from benchmarks.rows import Row
from benchmarks.settings import Settings
from benchmarks.shapes import Prompt, Shape
from benchmarks.workbench import Workbench
from explaind.contract.registry import all_methods


@dataclass(frozen=True)
class Peer:
    """A peer that a method is compared with. `same`: it computes the same numbers to the last digit.

    `needs` is a package required by the peer and not part of the development environment.
    """

    name: str
    ask: Callable[[Workbench, Prompt, int], Array]
    same: bool = True
    needs: str | None = None


@dataclass(frozen=True)
class Case:
    """A method of explain and a peer on the same prompt of that many units.

    `work` is the amount of work (samples, steps, units), and the part of it that the peer really does; its time is then
    scaled by the cost of the two.
    """

    name: str
    method: str
    amount: Amount
    work: tuple[int, int]
    peer: Peer
    units: int
    target: int
    prefix: int = 0
    gradients: bool = False

    @property
    def path(self) -> str:
        """Path of the method."""
        return f"explain/{self.method}"


class Speed:
    """Runs cases on some shapes, each saved and loaded once."""

    def __init__(self, shapes: tuple[Shape, ...], settings: Settings) -> None:
        self.shapes = shapes
        self._settings = settings
        self.bench = cache(self._made)

    def rows(self, case: Case) -> list[Row]:
        """One row for each shape."""
        return [self.row(case, shape) for shape in self.shapes]

    def row(self, case: Case, shape: Shape) -> Row:
        """The case on that shape; a row without times gives the reason why it could not be measured."""
        prompt = Prompt.drawn(shape.vocabulary, case.units, target=case.target, prefix=case.prefix)
        if (reason := _not_had(case, prompt)) is not None:
            return Row(case.name, shape.name, peer=case.peer.name, figures={"skipped": reason})
        bench, settings = self.bench(shape), self._settings
        work, peer_work = case.work[0], case.work[0 if settings.whole else 1]
        self._warm_up(bench, case, prompt)

        def ours(work: int) -> Array:
            return bench.ours(case.path, prompt, **case.amount.fields(prompt, work))

        our_side, peer_side = alternate(
            lambda: ours(work),
            lambda: case.peer.ask(bench, prompt, peer_work),
            bench.counters,
            repeats=settings.repeats,
            spend_s=settings.spend_s,
        )
        share = case.amount.cost(prompt, peer_work) / case.amount.cost(prompt, work)
        row = _row(case, bench, our_side, peer_side, share)
        if not case.peer.same or peer_side.error is not None:
            return row
        answer = our_side.answer if peer_work == work else ours(peer_work)
        return _with_difference(row, answer, peer_side.answer)

    def _made(self, shape: Shape) -> Workbench:
        folder = Path(tempfile.mkdtemp(prefix="explaind-bench-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)  # a worker may read the files again
        return Workbench(shape, folder, self._settings)

    @staticmethod
    def _warm_up(bench: Workbench, case: Case, prompt: Prompt) -> None:
        """Runs that are slow only the first time: imports, and memory allocation."""
        bench.ours("explain/feature-ablation", prompt, units=prompt.segments(2))
        if case.prefix == 0:
            bench.network(bench.tokenizer(prompt.text, return_tensors="pt").input_ids.to(bench.device))


def _not_had(case: Case, prompt: Prompt) -> str | None:
    """The reason why the case cannot be measured here, if there is one."""
    if case.peer.needs is not None and find_spec(case.peer.needs) is None:
        return f"{case.peer.needs} is not installed; it takes an environment of its own"
    method = all_methods().get(case.path)
    if method is None:
        return f"this version has no {case.path}"
    try:
        method.params_model.model_validate({"model": "any", "prompt": prompt.text, **_fields(case, prompt)})
    except ValidationError as error:
        return f"{case.path} takes no such request in this version: {error.errors()[0]['msg']}"
    return None


def _fields(case: Case, prompt: Prompt) -> dict[str, Any]:
    return case.amount.fields(prompt, case.work[0])


def _row(case: Case, bench: Workbench, ours: Side, peer: Side, share: float) -> Row:
    shape, device, dtype = bench.shape, bench.device, bench.dtype
    # A backward pass to the inputs costs as much as the forward.
    done = ours.count.flops * (2 if case.gradients else 1)
    figures: dict[str, Any] = {"repeats": len(ours.seconds)}
    if peer.error is not None:
        figures["peer_error"] = peer.error
    return Row(
        case.name,
        shape.name,
        ours_s=round(ours.median, 4),
        peer=case.peer.name,
        peer_s=round(peer.median / share, 4) if peer.seconds else None,
        tokens_evaluated=ours.count.tokens,
        peer_tokens_evaluated=round(peer.count.tokens / share) if peer.seconds else None,
        peak_fraction=short(done / ours.median / matrix_peak(device, dtype)),
        peer_share=round(share, 4) if share < 1 else None,
        figures=figures,
    )


def _with_difference(row: Row, ours: Array, peer: Array) -> Row:
    figures = {**row.figures, "largest_value": short(np.abs(peer).max())}
    return replace(row, max_abs_diff=short(largest_difference(ours, peer)), figures=figures)


def short(value: float) -> float:
    return float(f"{value:.3g}")


def largest_difference(ours: Array, peer: Array) -> float:
    """Largest difference between two results for the same units.

    Raises:
        ValueError: their units differ.
    """
    if ours.shape != peer.shape:
        raise ValueError(f"Ours tells {ours.shape} values and the peer {peer.shape}.")
    return float(np.abs(ours - peer).max())
