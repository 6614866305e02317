"""Models in memory: a network with its tokenizer, its parts, and what is known about it."""

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
    """What every model in memory says of its weights."""

    encoder: Encoder
    network: PreTrainedModel
    copy_of: Any

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device

    @property
    def dtype(self) -> str:
        """Name of the type the weights compute in."""
        return str(self.network.dtype).removeprefix("torch.")

    @property
    def quantization(self) -> str | None:
        """Kind of the packed weights that compute; None where ordinary matrices do."""
        found = self.encoder.quantization
        return None if found is None else found.packed

    @property
    def lengths(self) -> RotaryLengths:
        """Which lengths of rows have the same rotary factors: only such rows share a forward or a cache."""
        return rotary_lengths(self.network if self.copy_of is None else self.copy_of.network)  # a copy shares them


@dataclass
class LoadedModel(_InMemory):
    """A causal language model in memory, checked against its own logits.

    Hold `lock` around every forward: hooks are set on shared modules, and two jobs may use one model. Models on one
    device share their lock, since two forwards at once on it are slower than one after the other. `revision` is the
    fingerprint of the files when they were read, `bytes` what the weights take up, `gradients` how far those through
    quantized layers are from their matrices'. `verdicts` is what the engine has found out about the model by trying.
    `copy_of` is set of a copy whose matrix products are in bfloat16 (`models/structure/narrow_copy.py`): its `bytes`
    are those of its own weights, its verdicts the original's.
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
    """A sequence classifier in memory, checked against its own logits; `lock` and the rest as of a `LoadedModel`.

    `pads` says whether rows of different lengths may share a batch, the shorter ones padded on the right.
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
