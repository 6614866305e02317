"""The affine translators of a tuned lens (Belrose et al. 2023, arXiv:2303.08112), one for each depth of the stream."""

from dataclasses import dataclass

import torch

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Translators:
    """What brings the residual stream, at each depth, to where the final norm expects it: h + W h + b.

    `weights` are [depth, hidden, hidden] and `biases` [depth, hidden]. Depth d is the stream as it enters block d, as
    block d − 1 leaves it; behind the last block nothing has to be translated. All zeros are the logit lens.
    """

    weights: torch.Tensor
    biases: torch.Tensor

    @classmethod
    def zeros(cls, depths: int, hidden: int, device: torch.device) -> "Translators":
        """Those of the logit lens, in float32."""
        shapes = ((depths, hidden, hidden), (depths, hidden))
        return cls(*(torch.zeros(shape, dtype=torch.float32, device=device) for shape in shapes))

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def hidden(self) -> int:
        """Numbers of a place of the stream."""
        return self.weights.shape[-1]

    def __call__(self, depth: int, rows: torch.Tensor) -> torch.Tensor:
        """Rows [place, hidden] of that depth, translated; at least float32. Those behind the last block as they are.

        Where the rows are on another device, the numbers of this one depth are brought there.
        """
        if depth >= len(self):
            return rows
        weight, bias = self.weights[depth], self.biases[depth]
        wide = rows.to(torch.promote_types(rows.dtype, weight.dtype))
        return wide + torch.nn.functional.linear(wide, weight.to(wide), bias.to(wide))

    def clone(self) -> "Translators":
        """A copy that further training leaves alone."""
        return Translators(self.weights.clone(), self.biases.clone())


def translator_bytes(depths: int, hidden: int) -> int:
    """What the translators of a model take up."""
    return depths * (hidden * hidden + hidden) * FLOAT_BYTES
