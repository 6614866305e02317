"""A norm as a linear map with its scale frozen: centred or not, divided, times gamma, plus beta.

Its kind, gamma and beta are determined from its outputs on a few probes, not from its class; this covers LayerNorm with
and without bias, RMSNorm, Gemma's RMSNorm (1 + gamma) and norms without parameters.
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from explaind.contract.errors import SelfCheckFailed

STRENGTH = 1e4  # of the probes, against which the norm's epsilon is negligible
LEVELLED = 0.1  # most that a centred norm may leave of a constant vector, which an uncentred one keeps
TOLERANCE = 1e-4  # of float32, relative to the largest value


@dataclass(frozen=True)
class FrozenNorm:
    """norm(x) = scale · gamma · (x − mean where `centred`) + beta, with the scale measured at given positions.

    Shapes: gamma and beta [hidden], scale [place, 1]; all float64, on the CPU.
    """

    centred: bool
    gamma: torch.Tensor
    beta: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def at(cls, norm: nn.Module, entering: torch.Tensor) -> "FrozenNorm":
        """The linear map of `norm` for its inputs `entering` [place, hidden].

        Raises:
            SelfCheckFailed: it is not such a map.
        """
        wide = copy.deepcopy(norm).to("cpu", torch.float64)
        entering = entering.to("cpu", torch.float64)
        level = torch.ones(entering.shape[-1], dtype=torch.float64)
        waves = level.clone()
        waves[1::2] = -1.0
        up, down = STRENGTH * waves, -STRENGTH * waves
        said = wide(torch.cat([torch.stack([up, down, level, -level]), entering])).double()
        beta = (said[0] + said[1]) / 2
        swing, flat = (said[0] - said[1]) / 2, (said[2] - said[3]) / 2
        centred = bool(flat.abs().max() <= LEVELLED * swing.abs().max())
        unit = _centred(waves) if centred else waves
        gamma = swing / (unit / unit.square().mean().sqrt())
        direction = gamma * (_centred(entering) if centred else entering)
        out = said[4:]
        size = direction.square().sum(-1, keepdim=True).clamp_min(1e-300)
        scale = ((out - beta) * direction).sum(-1, keepdim=True) / size
        difference = (beta + scale * direction - out).abs().max()
        if not difference <= TOLERANCE * out.abs().max().clamp_min(1e-12):  # true for a NaN, too
            raise SelfCheckFailed(
                f"{type(norm).__name__} is no norm whose scale could be frozen: off by {float(difference):.1e}.",
                hint="This architecture's logits cannot be split into contributions; please report the model.",
            )
        return cls(centred, gamma, beta, scale)

    def through(self, directions: torch.Tensor) -> torch.Tensor:
        """Directions [place, hidden] after the norm, taken back before it: v · through(d) = d · (norm(v) − beta)."""
        pulled = self.scale * self.gamma * directions
        return _centred(pulled) if self.centred else pulled


def _centred(vectors: torch.Tensor) -> torch.Tensor:
    return vectors - vectors.mean(-1, keepdim=True)
