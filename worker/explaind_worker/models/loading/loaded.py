"""Models in memory: a network with its tokenizer, anatomy, and results of checks."""

import threading
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel

from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.structure.anatomy import Anatomy
from explaind_worker.models.structure.classifier_head import Classes
from explaind_worker.models.structure.packed_gradients import GradientCheck
from explaind_worker.models.structure.rotary_lengths import RotaryLengths, rotary_lengths
from explaind_worker.models.text.tokenizer import Encoder


class _InMemory:
    """Properties of the weights, common to all models in memory."""

    encoder: Encoder
    network: PreTrainedModel
    copy_of: Any

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.network.device

    @property
    def dtype(self) -> str:
        """Name of the dtype of the weights in computations."""
        return str(self.network.dtype).removeprefix("torch.")

    @property
    def quantization(self) -> str | None:
        """Kind of the packed weights in use; None for ordinary matrices."""
        found = self.encoder.quantization
        return None if found is None else found.packed

    @property
    def lengths(self) -> RotaryLengths:
        """Length classes of rows: only rows with the same rotary factors share a forward or a cache."""
        return rotary_lengths(self.network if self.copy_of is None else self.copy_of.network)  # a copy shares them


@dataclass
class LoadedModel(_InMemory):
    """A causal language model in memory, checked against its own logits.

    Hold `lock` around every forward: hooks are set on shared modules, and two jobs may use one model. Models on one
    device share their lock, since two forwards at once on it are slower than one after the other. `revision` is the
    fingerprint of the files when they were read, `bytes` the size of the weights, `gradients` the error of gradients
    through quantized layers. `verdicts` caches the engine's probes of the model. `copy_of` is set for a copy whose
    matrix products are in bfloat16 (`models/structure/narrow_copy.py`): its `bytes` are those of its own weights, its
    verdicts the original's.
    """

    entry: ModelEntry
    encoder: Encoder
    network: PreTrainedModel
    anatomy: Anatomy
    end_ids: frozenset[int]
    lock: threading.Lock
    revision: str | None
    bytes: int
    gradients: GradientCheck | None = None
    verdicts: dict[str, str | None] = field(default_factory=dict)
    copy_of: "LoadedModel | None" = None


@dataclass
class LoadedClassifier(_InMemory):
    """A sequence classifier in memory, checked against its own logits; `lock` and the rest as in `LoadedModel`.

    `pads` is whether rows of different lengths may share a batch, the shorter ones padded on the right.
    """

    entry: ModelEntry
    encoder: Encoder
    network: PreTrainedModel
    classes: Classes
    pads: bool
    lock: threading.Lock
    revision: str | None
    bytes: int
    gradients: GradientCheck | None = None
    copy_of: "LoadedClassifier | None" = None


AnyModel = LoadedModel | LoadedClassifier
