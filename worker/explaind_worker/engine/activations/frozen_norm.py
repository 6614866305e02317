"""A norm as the linear map it is where its scale does not change: centred or not, divided, times gamma, plus beta.

What kind of norm it is, and its gamma and beta, are read off its answers to a few probes, not off its class: LayerNorm
with and without a bias, RMSNorm, Gemma's RMSNorm (1 + gamma) and norms without parameters are all met that way.
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from explaind.contract.errors import SelfCheckFailed

STRENGTH = 1e4  # of the probes, beside which the norm's epsilon is nothing
LEVELLED = 0.1  # what a centred norm may leave of a vector of equal numbers, which another hands on
TOLERANCE = 1e-4  # what float32 leaves uncertain, relative to the largest value


@dataclass(frozen=True)
class FrozenNorm:
    """norm(x) = scale · gamma · (x − mean where `centred`) + beta, with the scale that it has at certain places.

    Shapes: gamma and beta [hidden], scale [place, 1]; all float64, on the CPU.
    """

    centred: bool
    gamma: torch.Tensor
    beta: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def at(cls, norm: nn.Module, entering: torch.Tensor) -> "FrozenNorm":
        """The map that `norm` is for what enters it, [place, hidden].

        Raises:
            SelfCheckFailed: it is no such map.
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
        if not difference <= TOLERANCE * out.abs().max().clamp_min(1e-12):  # a NaN fails too
            raise SelfCheckFailed(
                f"{type(norm).__name__} is no norm whose scale could be frozen: off by {float(difference):.1e}.",
                hint="This architecture's logits cannot be split into contributions; please report the model.",
            )
        return cls(centred, gamma, beta, scale)

    def through(self, directions: torch.Tensor) -> torch.Tensor:
        """What directions [place, hidden] behind the norm are before it: v · through(d) = d · (norm(v) − beta)."""
        pulled = self.scale * self.gamma * directions
        return _centred(pulled) if self.centred else pulled


def _centred(vectors: torch.Tensor) -> torch.Tensor:
    return vectors - vectors.mean(-1, keepdim=True)
