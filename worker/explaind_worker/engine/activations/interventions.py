"""What can be changed in a running model: heads, what attention or an MLP adds, a whole block, the stream itself."""

from dataclasses import dataclass
from typing import Literal

import torch

# residual: the stream that enters the block; heads: what true heads say, at the input of the output projection;
# attention, mlp: what each of them adds to the stream; block: both together.
Place = Literal["residual", "heads", "attention", "mlp", "block"]


@dataclass(frozen=True, eq=False)
class Edit:
    """Something else takes the place of what a layer computes.

    `value` is [place, hidden], of heads [place, head, head_dim] for the `heads` that are named; None is zeros. The
    i-th of the edited positions takes value number i, and those past its end the last: a single one serves all.
    `positions` are [first, one past the last] of the row; None is all of them, those generated later included.
    """

    layer: int
    place: Place
    heads: tuple[int, ...] = ()
    positions: tuple[int, int] | None = None
    value: torch.Tensor | None = None

    def apply(self, passing: torch.Tensor, first: int = 0) -> None:
        """Changes in place what passes at the positions from `first` on.

        That is [position, hidden], of heads [position, head, head_dim].
        """
        start, end = self.positions or (0, first + len(passing))
        low, high = max(start - first, 0), min(end - first, len(passing))
        if low >= high:
            return
        target = passing[low:high]
        new: torch.Tensor | float = 0.0
        if self.value is not None:
            places = torch.arange(first + low - start, first + high - start, device=self.value.device)
            new = self.value[places.clamp(max=len(self.value) - 1)].to(target)
        if self.place == "heads":
            target[:, list(self.heads)] = new
        else:
            target[:] = new


@dataclass(frozen=True, eq=False)
class Variant:
    """One changed run of a model; without edits it is the clean run."""

    edits: tuple[Edit, ...] = ()

    @property
    def entry(self) -> tuple[int, bool]:
        """The first layer where it differs from the clean run, and whether that is only after the layer's attention."""
        return min(((edit.layer, edit.place != "residual") for edit in self.edits), default=(-1, False))
