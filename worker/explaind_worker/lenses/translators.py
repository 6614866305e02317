"""The affine translators of a tuned lens (Belrose et al. 2023, arXiv:2303.08112), one for each depth of the stream."""

from dataclasses import dataclass

import torch

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Translators:
    """Affine maps from the residual stream at each depth to that at the final norm: h + W h + b.

    `weights` are [depth, hidden, hidden] and `biases` [depth, hidden]. Depth d is the stream as it enters block d, as
    block d − 1 leaves it; after the last block there is no translation. All zeros give the logit lens.
    """

    weights: torch.Tensor
    biases: torch.Tensor

    @classmethod
    def zeros(cls, depths: int, hidden: int, device: torch.device) -> "Translators":
        """Zero translators, in float32: the logit lens."""
        shapes = ((depths, hidden, hidden), (depths, hidden))
        return cls(*(torch.zeros(shape, dtype=torch.float32, device=device) for shape in shapes))

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def hidden(self) -> int:
        """The hidden size."""
        return self.weights.shape[-1]

    def __call__(self, depth: int, rows: torch.Tensor) -> torch.Tensor:
        """Rows [place, hidden] of that depth, translated, in at least float32; after the last block unchanged.

        If the rows are on another device, the translator of this depth is copied there.
        """
        if depth >= len(self):
            return rows
        weight, bias = self.weights[depth], self.biases[depth]
        wide = rows.to(torch.promote_types(rows.dtype, weight.dtype))
        return wide + torch.nn.functional.linear(wide, weight.to(wide), bias.to(wide))

    def clone(self) -> "Translators":
        """A copy unaffected by further training."""
        return Translators(self.weights.clone(), self.biases.clone())


def translator_bytes(depths: int, hidden: int) -> int:
    """Bytes of a model's translators."""
    return depths * (hidden * hidden + hidden) * FLOAT_BYTES
