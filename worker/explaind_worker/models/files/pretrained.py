"""Serialized calls of transformers' loaders: the only module that uses `from_pretrained` and `from_config`.

While building a model, transformers patches methods of its base class and sets torch's default dtype, process-wide. Two
models built concurrently would restore each other's patches and leave them in place.
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
    """Holds transformers' loaders; `while_waiting` is called repeatedly until they are free, and may raise."""
    return held(_LOADERS, while_waiting)


def read_config(where: str, revision: str | None) -> PreTrainedConfig:
    """The model's config.

    Raises:
        OSError, ValueError, KeyError: it is missing, or unknown to transformers.
    """
    with one_at_a_time():
        return AutoConfig.from_pretrained(where, revision=revision, trust_remote_code=False)


def read_tokenizer(where: str, revision: str | None) -> Any:
    """The model's tokenizer, of whatever class.

    Raises:
        OSError, ValueError, KeyError: there is no readable one.
    """
    with one_at_a_time():
        return AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=False)


def quantizer_of(stored: dict[str, Any], device: str) -> HfQuantizer:
    """The quantizer for weights stored as that `quantization_config` describes, validated for the device.

    Raises:
        ImportError, ValueError, RuntimeError: a library or a device is missing, or the method is unknown.
    """
    quantizer = AutoHfQuantizer.from_config(stored, pre_quantized=True)
    quantizer.validate_environment(device_map={"": device}, weights_only=True)
    return quantizer


def build_on_meta(config: PreTrainedConfig, made_by: Any) -> PreTrainedModel:
    """A model of that config on the meta device, without weights; the config must name no dtype."""
    with one_at_a_time(), torch.device("meta"):
        return made_by.from_config(config, trust_remote_code=False)


def read_weights(where: str, made_by: Any, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model with its weights, and transformers' report of missing, unexpected or mismatched weights.

    The caller must check the report: missing or mismatched weights are random numbers.
    """
    with one_at_a_time(), _dtype_window_guarded():
        return made_by.from_pretrained(
            where,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that the report lists them
            **options,
        )


@contextmanager
def _dtype_window_guarded() -> Iterator[None]:
    """Holds the `DEFAULT_DTYPE` lock while transformers has set a default dtype to build the model in."""
    base: Any = PreTrainedModel
    original = base.__dict__["get_init_context"]

    def guarded(cls: type[PreTrainedModel], *args: Any, **kwargs: Any) -> list[Any]:
        return [DEFAULT_DTYPE, *original.__func__(cls, *args, **kwargs)]

    base.get_init_context = classmethod(guarded)
    try:
        yield
    finally:
        base.get_init_context = original
