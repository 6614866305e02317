"""How large one forward may be."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class BatchLimits:
    """Tokens through the blocks, numbers that leave the unembedding, and bytes of memory where they are known."""

    tokens: int
    logits: int
    bytes: int | None = None

    @classmethod
    def for_device(cls, device: torch.device, *, bytes: int | None = None) -> "BatchLimits":
        """What keeps this kind of device busy, within so many bytes."""
        if device.type == "cuda":
            return cls(tokens=32_768, logits=256 << 20, bytes=bytes)
        return cls(tokens=4_096, logits=32 << 20, bytes=bytes)
