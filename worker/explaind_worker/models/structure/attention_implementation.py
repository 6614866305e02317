"""Has a model compute its attention in another way for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel


@contextmanager
def attending_by(network: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Within this context the attention is that of the name under which transformers knows it ("eager", …).

    The model's lock must be held.
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
