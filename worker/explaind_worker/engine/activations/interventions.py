"""Edits of a running model: replacement values for activations at a hook point."""

from dataclasses import dataclass
from typing import Literal

import torch

EditPoint = Literal["resid_pre", "z", "attn_out", "mlp_out"]


@dataclass(frozen=True, eq=False)
class Edit:
    """Replacement of activations at a layer's hook point.

    `value` is [place, hidden], of z [place, head, head_dim] for the given `heads`; None is zeros. The i-th edited
    position takes value i, and those past its end the last, so that a single value serves all positions. `positions`
    are [first, one past the last] of the row; None is all of them, those generated later included.
    """

    layer: int
    point: EditPoint
    heads: tuple[int, ...] = ()
    positions: tuple[int, int] | None = None
    value: torch.Tensor | None = None

    def apply(self, passing: torch.Tensor, first: int = 0) -> None:
        """Edits activations in place; `first` is their first position.

        Their shape is [position, hidden], of z [position, head, head_dim].
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
        if self.point == "z":
            target[:, list(self.heads)] = new
        else:
            target[:] = new


@dataclass(frozen=True, eq=False)
class Variant:
    """One edited run of a model; without edits it is the clean run."""

    edits: tuple[Edit, ...] = ()

    @property
    def entry(self) -> tuple[int, bool]:
        """The first layer that differs from the clean run, and whether it differs only after that layer's attention."""
        return min(((edit.layer, edit.point != "resid_pre") for edit in self.edits), default=(-1, False))
