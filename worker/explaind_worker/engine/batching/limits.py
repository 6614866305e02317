"""Limits on the size of one forward."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class BatchLimits:
    """Tokens through the blocks, numbers of logits, and bytes of memory if known."""

    tokens: int
    logits: int
    bytes: int | None = None

    @classmethod
    def for_device(cls, device: torch.device, *, bytes: int | None = None) -> "BatchLimits":
        """Limits that keep this kind of device busy, within `bytes`."""
        if device.type == "cuda":
            return cls(tokens=32_768, logits=256 << 20, bytes=bytes)
        return cls(tokens=4_096, logits=32 << 20, bytes=bytes)
