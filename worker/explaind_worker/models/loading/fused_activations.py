"""Activations that transformers writes out in Python, in their fused form."""

from torch import nn
from transformers.activations import NewGELUActivation


def fuse_activations(network: nn.Module) -> int:
    """Puts the fused kernel in the place of GPT-2's and Phi's GELU; returns how many there were.

    The tanh form of GELU (Hendrycks & Gimpel 2016, §2) is eight passes over memory where it is written out, and one
    where it is fused; it is the same function.
    """
    found = [
        (module, name)
        for module in network.modules()
        for name, child in module.named_children()
        if isinstance(child, NewGELUActivation)
    ]
    for module, name in found:
        setattr(module, name, nn.GELU(approximate="tanh"))
    return len(found)
