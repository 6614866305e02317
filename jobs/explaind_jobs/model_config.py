"""What a model's config.json says of it (kind, classes, quantization), read without the library that loads it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explaind.contract.catalogue import ModelKind

CLASSIFYING = "ForSequenceClassification"
DEFAULT_CLASSES = 2  # a config that names no classes has so many
MOST_CLASSES = 100_000  # a larger number in a config is no number of classes


@dataclass(frozen=True)
class ConfigFacts:
    """What a config says: causal or classifier, the classes' names, how its files are quantized; None says nothing."""

    kind: ModelKind | None = None
    labels: list[str] | None = None
    quantization: str | None = None


NOTHING_READ = ConfigFacts()


def facts_of(folder: Path) -> ConfigFacts:
    """What the config in that directory says; nothing where it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the latter of text that is no JSON or no UTF-8
        return NOTHING_READ
    if not isinstance(config, dict):
        return NOTHING_READ
    stored, architectures = config.get("quantization_config"), config.get("architectures")
    quantization = quantization_kind(stored) if isinstance(stored, dict) else None
    if not isinstance(architectures, list):
        return ConfigFacts(quantization=quantization)
    if not classifies(architectures):
        return ConfigFacts("causal", None, quantization)
    return ConfigFacts("classifier", class_names(config.get("id2label"), config.get("num_labels")), quantization)


def classifies(architectures: list[Any] | None) -> bool:
    """Whether these are the architectures of a sequence classifier."""
    return any(str(name).endswith(CLASSIFYING) for name in architectures or ())


def class_names(id2label: Any, count: Any = None) -> list[str]:
    """Names of the classes in order of their index; one that has none is called LABEL_ and its index.

    `count` is the config's `num_labels`, which counts where no class is named.
    """
    named = {str(index): str(name) for index, name in id2label.items()} if isinstance(id2label, dict) else {}
    plausible = isinstance(count, int) and not isinstance(count, bool) and 0 < count <= MOST_CLASSES
    size = len(named) or (count if plausible else DEFAULT_CLASSES)
    return [named.get(str(index), f"LABEL_{index}") for index in range(size)]


def quantization_kind(stored: Mapping[str, Any]) -> str:
    """What a config's `quantization_config` is called here: bitsandbytes' nf4, fp4 or int8, else its method's name."""
    if stored.get("load_in_4bit"):
        return str(stored.get("bnb_4bit_quant_type") or "fp4")  # the library's default
    if stored.get("load_in_8bit"):
        return "int8"
    return str(stored.get("quant_method") or "an unnamed method")
