"""transformers' loaders, one at a time: the only module that calls `from_pretrained` and `from_config`.

While it builds a model transformers exchanges methods of its base class and sets torch's default dtype, for the whole
process. Two models built at once would put back each other's exchanges and leave them for good.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.quantizers.auto import AutoHfQuantizer
from transformers.quantizers.base import HfQuantizer

from explaind_worker.models.patient_lock import held, nothing
from explaind_worker.models.structure.default_dtype import DEFAULT_DTYPE

CAUSAL, CLASSIFIER = AutoModelForCausalLM, AutoModelForSequenceClassification

_LOADERS = threading.RLock()


def one_at_a_time(while_waiting: Callable[[], None] = nothing) -> AbstractContextManager[None]:
    """Holds transformers' loaders; `while_waiting` is called again and again until they are free, and may raise."""
    return held(_LOADERS, while_waiting)


def read_config(where: str, revision: str | None) -> PreTrainedConfig:
    """The model's config.

    Raises:
        OSError, ValueError, KeyError: there is none, or none that transformers knows.
    """
    with one_at_a_time():
        return AutoConfig.from_pretrained(where, revision=revision, trust_remote_code=False)


def read_tokenizer(where: str, revision: str | None) -> Any:
    """The model's tokenizer, whatever class it is of.

    Raises:
        OSError, ValueError, KeyError: there is none that can be read.
    """
    with one_at_a_time():
        return AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=False)


def quantizer_of(stored: dict[str, Any], device: str) -> HfQuantizer:
    """What reads weights that are stored quantized as that part of a config says, ready to be used on that device.

    Raises:
        ImportError, ValueError, RuntimeError: a library or a device is missing, or the method is not known.
    """
    quantizer = AutoHfQuantizer.from_config(stored, pre_quantized=True)
    quantizer.validate_environment(device_map={"": device}, weights_only=True)
    return quantizer


def build_on_meta(config: PreTrainedConfig, made_by: Any) -> PreTrainedModel:
    """A model of that config with all of its parts and none of its numbers; the config must name no dtype."""
    with one_at_a_time(), torch.device("meta"):
        return made_by.from_config(config, trust_remote_code=False)


def read_weights(where: str, made_by: Any, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model with its weights, and transformers' report of what was missing, unexpected or of another shape.

    The caller must look at the report: what was missing or had another shape are random numbers.
    """
    with one_at_a_time(), _dtype_window_guarded():
        return made_by.from_pretrained(
            where,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that the report names them
            **options,
        )


@contextmanager
def _dtype_window_guarded() -> Iterator[None]:
    """While transformers has set a default dtype, to build the model in, it holds `DEFAULT_DTYPE`."""
    base: Any = PreTrainedModel
    original = base.__dict__["get_init_context"]

    def guarded(cls: type[PreTrainedModel], *args: Any, **kwargs: Any) -> list[Any]:
        return [DEFAULT_DTYPE, *original.__func__(cls, *args, **kwargs)]

    base.get_init_context = classmethod(guarded)
    try:
        yield
    finally:
        base.get_init_context = original
