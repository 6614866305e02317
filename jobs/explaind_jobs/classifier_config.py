"""What a model's config.json says about its kind, read without the library that loads it."""

import json
from pathlib import Path
from typing import Any

from explaind.contract.catalogue import ModelKind

CLASSIFYING = "ForSequenceClassification"
DEFAULT_CLASSES = 2  # a config that names no classes has so many

KindAndLabels = tuple[ModelKind | None, list[str] | None]
NOTHING_READ: KindAndLabels = (None, None)


def kind_and_labels(folder: Path) -> KindAndLabels:
    """What the model in that directory is, and the names of its classes; nothing where its config cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the latter of text that is no JSON or no UTF-8
        return NOTHING_READ
    if not isinstance(config, dict) or not isinstance(config.get("architectures"), list):
        return NOTHING_READ
    if not classifies(config["architectures"]):
        return "causal", None
    return "classifier", class_names(config.get("id2label"))


def classifies(architectures: list[Any] | None) -> bool:
    """Whether these are the architectures of a sequence classifier."""
    return any(str(name).endswith(CLASSIFYING) for name in architectures or ())


def class_names(id2label: Any) -> list[str]:
    """Names of the classes in order of their index; one that has none is called LABEL_ and its index."""
    named = {str(index): str(name) for index, name in id2label.items()} if isinstance(id2label, dict) else {}
    return [named.get(str(index), f"LABEL_{index}") for index in range(len(named) or DEFAULT_CLASSES)]
