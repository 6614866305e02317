"""What a model's config.json says (kind, classes, quantization, context), read without the library that loads it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explaind.contract.catalogue import ModelKind

CLASSIFYING = "ForSequenceClassification"
DEFAULT_CLASSES = 2  # number of classes if a config names none
OFFSET_FAMILIES = ("roberta", "camembert", "longformer", "mpnet")
CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx")
MOST_CLASSES = 100_000  # a larger number in a config is not plausible


@dataclass(frozen=True)
class ConfigFacts:
    """What a config says; None says nothing.

    Attributes:
        kind: causal or classifier.
        labels: names of a classifier's classes.
        quantization: how the model's files are quantized.
        context: most tokens that the model reads.
    """

    kind: ModelKind | None = None
    labels: list[str] | None = None
    quantization: str | None = None
    context: int | None = None


NOTHING_READ = ConfigFacts()


def facts_of(folder: Path) -> ConfigFacts:
    """The facts in that directory's config; empty if it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # ValueError: not JSON or not UTF-8
        return NOTHING_READ
    if not isinstance(config, dict):
        return NOTHING_READ
    stored, architectures = config.get("quantization_config"), config.get("architectures")
    quantization = quantization_kind(stored) if isinstance(stored, dict) else None
    context = stated_context(config)
    if not isinstance(architectures, list):
        return ConfigFacts(quantization=quantization, context=context)
    if not classifies(architectures):
        return ConfigFacts("causal", None, quantization, context)
    labels = class_names(config.get("id2label"), config.get("num_labels"))
    return ConfigFacts("classifier", labels, quantization, context)


def stated_context(config: Mapping[str, Any]) -> int | None:
    """The context that a config states by any of the field's names for it; None where it states none, or stretches it.

    `dynamic` rotary factors lengthen the context by a rule of the model's family, and positions that begin behind the
    padding's shorten it: these only a worker knows.
    """
    if any(family in str(config.get("model_type")) for family in OFFSET_FAMILIES):
        return None
    inner = config.get("text_config")
    stated = {**config, **inner} if isinstance(inner, dict) else config
    for rotary in (stated.get("rope_parameters"), stated.get("rope_scaling")):
        if isinstance(rotary, dict) and "dynamic" in {rotary.get("rope_type"), rotary.get("type")}:
            return None
    sizes = [stated.get(name) for name in CONTEXT_NAMES]
    return next((size for size in sizes if isinstance(size, int) and not isinstance(size, bool) and size > 0), None)


def hub_folder(source: str, revision: str) -> Path:
    """Where huggingface_hub's cache of this machine has a model of the hub, if it has it."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    return cache / f"models--{source.replace('/', '--')}" / "snapshots" / revision


def classifies(architectures: list[Any] | None) -> bool:
    """Whether these are the architectures of a sequence classifier."""
    return any(str(name).endswith(CLASSIFYING) for name in architectures or ())


def class_names(id2label: Any, count: Any = None) -> list[str]:
    """Names of the classes in order of their index; an unnamed one is LABEL_ and its index.

    `count` is the config's `num_labels`, used if no class is named.
    """
    named = {str(index): str(name) for index, name in id2label.items()} if isinstance(id2label, dict) else {}
    plausible = isinstance(count, int) and not isinstance(count, bool) and 0 < count <= MOST_CLASSES
    size = len(named) or (count if plausible else DEFAULT_CLASSES)
    return [named.get(str(index), f"LABEL_{index}") for index in range(size)]


def quantization_kind(stored: Mapping[str, Any]) -> str:
    """Name of a config's `quantization_config`: bitsandbytes' nf4, fp4 or int8, otherwise its method's name."""
    if stored.get("load_in_4bit"):
        return str(stored.get("bnb_4bit_quant_type") or "fp4")  # the library's default
    if stored.get("load_in_8bit"):
        return "int8"
    return str(stored.get("quant_method") or "an unnamed method")
