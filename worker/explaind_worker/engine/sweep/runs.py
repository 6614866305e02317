"""Rows of a sweep: which questions are read in which edited runs, and which of them share a forward."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from explaind_worker.engine.activations.interventions import Variant
from explaind_worker.engine.batching.dry_run import input_device
from explaind_worker.engine.scoring.rows import Group
from explaind_worker.engine.sweep.forward import SweepPass
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.rotary_lengths import RotaryLengths

PADDED = 1.25  # a row may be padded up to this multiple of its length to share a forward

Fits = Callable[[int, int, int], bool]  # rows, their length, positions read of each


@dataclass(frozen=True, eq=False)
class Base:
    """A row of tokens that is read clean and edited: one question's prompt with the fed tokens of one group."""

    question: int
    tokens: tuple[int, ...]
    group: Group

    @property
    def kind(self) -> tuple[int, ...]:
        """Rows of one kind may share a forward: equally many positions read, and tokens scored there."""
        return tuple(self.group.read.shape)


@dataclass(frozen=True, eq=False)
class Run:
    """One variant of a base; number 0 is the clean run."""

    base: Base
    number: int
    variant: Variant


@dataclass(frozen=True, eq=False)
class Swept:
    """A forward of some runs: its inputs [row, position], the positions it reads [row, read], and each run's row."""

    rows: SweepPass
    ids: torch.Tensor
    reads: torch.Tensor
    row_of: list[int]


def swept_by(model: LoadedModel, runs: Sequence[Run], *, growing: bool) -> Swept:
    """The forward of those runs, all of one kind; runs of a base share its clean row."""
    bases = list({run.base: None for run in runs})
    place_of = {base: place for place, base in enumerate(bases)}
    changed = sorted((i for i, run in enumerate(runs) if run.variant.edits), key=lambda i: runs[i].variant.entry)
    row_of = [place_of[run.base] for run in runs]
    for row, index in enumerate(changed, start=len(bases)):
        row_of[index] = row
    base_of = [*range(len(bases)), *(place_of[runs[index].base] for index in changed)]
    variants = [*(Variant() for _ in bases), *(runs[index].variant for index in changed)]
    device = input_device(model)
    longest, reads = max(len(base.tokens) for base in bases), bases[0].kind[0]
    # Padding is on the right, which causal attention ignores.
    ids = torch.tensor(
        [[*base.tokens, *base.tokens[-1:] * (longest - len(base.tokens))] for base in bases], device=device
    )
    read_at = torch.tensor([range(len(base.tokens) - reads, len(base.tokens)) for base in bases], device=device)
    rows = SweepPass(model.anatomy, variants, base_of, bases=len(bases), reads=read_at, growing=growing)
    return Swept(rows, ids if growing else ids[base_of], read_at[base_of], row_of)


def batches(runs: Sequence[Run], fits: Fits, lengths: RotaryLengths) -> Iterator[list[Run]]:
    """Runs of one kind and similar length, as many to a forward as fit, at least one; late joiners last.

    Rows of different `lengths` classes do not share a forward.
    """
    batch: list[Run] = []
    bases: set[Base] = set()
    for run in sorted(runs, key=_order):
        length = len(run.base.tokens)
        rows = len(batch) + 1 + len(bases) + (run.base not in bases)  # plus the clean row of each base
        if batch and not (_alike(batch[0].base, run.base, lengths) and fits(rows, length, run.base.kind[0])):
            yield batch
            batch, bases = [], set()
        batch.append(run)
        bases.add(run.base)
    if batch:
        yield batch


def _alike(first: Base, base: Base, lengths: RotaryLengths) -> bool:
    """Whether two bases may share a forward; the first is no longer than the other."""
    short, long = len(first.tokens), len(base.tokens)
    return base.kind == first.kind and long <= PADDED * short + 1 and lengths.alike((short, long))


def _order(run: Run) -> tuple[object, ...]:
    base = run.base
    return (base.kind, len(base.tokens), base.question, base.group.fed.tobytes(), run.variant.entry, run.number)
