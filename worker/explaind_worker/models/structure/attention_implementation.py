"""Context manager that switches the attention implementation of a loaded model."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel


@contextmanager
def using_attention(network: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Context in which the model uses the attention `implementation`, a name of transformers ("eager", "sdpa", …).

    The previous implementation is restored afterwards, after an error too. The model's lock must be held.
    """
    configs = {id(config): config for config in (network.config, network.config.get_text_config())}.values()
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = implementation
        yield
    finally:
        for config, own in zip(configs, before, strict=True):
            config._attn_implementation = own
