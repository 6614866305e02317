"""Models on the meta device: built from their config, without weights, for dry runs."""

from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import nn

from explaind.contract.errors import InternalError, ModelLoadFailed
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.files.place import device_of, location
from explaind_worker.models.files.pretrained import read_config
from explaind_worker.models.files.weight_size import planned_dtype, without_memory
from explaind_worker.models.loading.fused_activations import fuse_activations
from explaind_worker.models.loading.loaded import LoadedClassifier, LoadedModel
from explaind_worker.models.loading.loading import size_of
from explaind_worker.models.structure.anatomy import anatomy_of
from explaind_worker.models.text.tokenizer import Encoder


@dataclass(frozen=True)
class Shape:
    """Number of weights in a model's blocks and in its unembedding."""

    blocks: int
    unembedding: int


class Weightless:
    """A model built from its config: all modules, no weights.

    `engine.batching.dry_run` counts forwards on it, and returns placeholders. An actual forward is refused. It has no
    end tokens: continuations reach their maximum length.
    """

    entry: ModelEntry
    encoder: Encoder
    planned: torch.dtype

    @property
    def device(self) -> torch.device:
        """Device the weights would be on."""
        return torch.device(device_of(self.entry))

    @property
    def dtype(self) -> str:
        """Name of the dtype the weights would have in computations."""
        return str(self.planned).removeprefix("torch.")


@dataclass
class MetaModel(Weightless, LoadedModel):
    """A causal language model without weights."""

    planned: torch.dtype = torch.float32

    @property
    def shape(self) -> Shape:
        """Number of weights in the blocks and in the unembedding."""
        blocks = sum(p.numel() for block in self.anatomy.blocks for p in block.module.parameters())
        return Shape(blocks, self.anatomy.vocabulary * self.anatomy.hidden)


@dataclass
class MetaClassifier(Weightless, LoadedClassifier):
    """A classifier without weights."""

    planned: torch.dtype = torch.float32

    @property
    def shape(self) -> Shape:
        """Number of weights applied to every token; the head is small in comparison."""
        tables = {id(m.weight) for m in self.network.modules() if isinstance(m, nn.Embedding)}
        return Shape(sum(p.numel() for p in self.network.parameters() if id(p) not in tables), 0)


AnyMetaModel = MetaModel | MetaClassifier


def meta_model_of(entry: ModelEntry, encoder: Encoder) -> AnyMetaModel:
    """The catalogue model without weights; only its config is read.

    Raises:
        ModelLoadFailed: its config is missing, or of an unknown kind.
        SelfCheckFailed: its structure is not supported.
    """
    size = size_of(entry)  # raises if the config is faulty
    where, revision = location(entry)
    try:
        config = read_config(where, revision)
    except (OSError, ValueError, KeyError) as error:
        raise ModelLoadFailed(f"The config of {entry.name!r} could not be read.") from error
    network = without_memory(entry, config)
    network.eval()
    fuse_activations(network)  # as on loading
    for module in (network, network.base_model):
        module.register_forward_pre_hook(_refuse)
    dtype = planned_dtype(entry, config, where)
    common = (Lock(), encoder.revision, size)
    if encoder.classes is not None:
        return MetaClassifier(entry, encoder, network, encoder.classes, True, *common, planned=dtype)
    return MetaModel(entry, encoder, network, anatomy_of(network), frozenset(), *common, planned=dtype)


def _refuse(module: nn.Module, arguments: Any) -> None:
    raise InternalError(
        "What this method does with the model cannot be told without doing it.",
        hint="Please report it; the method itself works.",
    )
