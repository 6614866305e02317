"""Size of a model's weights in bytes: estimated from its config before loading, counted afterwards."""

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from explaind_jobs.catalogue import ModelEntry
from explaind_worker.hub.fetch import listed_weight_bytes
from explaind_worker.models.files.pretrained import CAUSAL, CLASSIFIER, build_on_meta
from explaind_worker.models.files.quantization import Quantization
from explaind_worker.models.structure.classifier_head import classes_of, head_names

NF4_BLOCK = 64  # weights that share a scale in bitsandbytes' 4-bit formats
SCALE_BYTES = 4
STORED_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def estimated_bytes(
    entry: ModelEntry, config: PreTrainedConfig, folder: Path, quantization: Quantization | None
) -> int:
    """Bytes of the weights of the model in that directory, loaded as the entry says.

    The model is built from its config on torch's meta device; no weights are read.

    Raises:
        OSError, ValueError, KeyError: transformers does not know the kind of model.
    """
    packed = None if quantization is None else quantization.packed
    width = planned_dtype(entry, config, str(folder)).itemsize
    if packed and quantization is not None and quantization.stored and folder.is_dir():
        return max(_as_stored(folder, width), listed_weight_bytes(folder) or 0)  # if not downloaded yet
    network = without_memory(entry, config)
    quantized = _to_quantize(network) if packed else {}
    total = sum(buffer.numel() * buffer.itemsize for buffer in network.buffers())
    for parameter in network.parameters():  # tied ones appear once
        outputs = quantized.get(id(parameter))
        total += parameter.numel() * width if outputs is None else _packed(parameter.numel(), outputs, packed)
    return total


def counted_bytes(network: nn.Module) -> int:
    """Bytes of a loaded model's tensors, including quantization state; shared ones count once."""
    sizes: dict[tuple[str, int], int] = {}
    for tensor in _tensors(network):
        storage = tensor.untyped_storage()
        sizes[str(tensor.device), storage.data_ptr()] = storage.nbytes()
    return sum(sizes.values())


def without_memory(entry: ModelEntry, config: PreTrainedConfig) -> PreTrainedModel:
    """The model of that config without weights, on torch's meta device."""
    config = copy.deepcopy(config)
    # With a dtype transformers would temporarily change the process's default dtype, which affects running jobs.
    config.dtype = None
    return build_on_meta(config, CAUSAL if classes_of(entry, config) is None else CLASSIFIER)


def planned_dtype(entry: ModelEntry, config: PreTrainedConfig, where: str) -> torch.dtype:
    """The dtype that transformers will load the weights in: the entry's, the config's, or the file's first."""
    if entry.dtype != "auto":
        return getattr(torch, entry.dtype)
    named = config.dtype if config.dtype is not None else config.get_text_config().dtype
    if isinstance(named, torch.dtype):
        return named
    return _stored_dtype(Path(where)) or torch.float32


def _as_stored(folder: Path, width: int) -> int:
    """Bytes of weights stored packed; those that are not packed may be widened to `width` bytes."""
    total = 0
    for tensor in _stored_tensors(folder):
        begin, end = tensor["data_offsets"]
        wide = tensor["dtype"] in STORED_DTYPES and width > STORED_DTYPES[tensor["dtype"]].itemsize
        total += math.prod(tensor["shape"]) * width if wide else end - begin
    return total


def _stored_dtype(folder: Path) -> torch.dtype | None:
    known = (STORED_DTYPES[t["dtype"]] for t in _stored_tensors(folder) if t["dtype"] in STORED_DTYPES)
    return next(known, None)


def _stored_tensors(folder: Path) -> Iterator[dict[str, Any]]:
    """The files' headers for each tensor: dtype, shape and offsets."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        yield from (tensor for name, tensor in header.items() if name != "__metadata__")


def _to_quantize(network: PreTrainedModel) -> dict[int, int]:
    """The weights that bitsandbytes will pack, by identity, with their number of outputs; not unembedding or head."""
    kept = {network.get_output_embeddings()}
    if kept == {None}:
        kept = {part for name in head_names(network) for part in network.get_submodule(name).modules()}
    found = {}
    for module in network.modules():
        if module not in kept and (type(module) is nn.Linear or isinstance(module, Conv1D)):
            # GPT-2's Conv1D stores its weight as [in, out].
            found[id(module.weight)] = module.weight.shape[1 if isinstance(module, Conv1D) else 0]
    return found


def _packed(count: int, outputs: int, quantization: str | None) -> int:
    if quantization == "int8":
        return count + outputs * SCALE_BYTES
    return count // 2 + -(-count // NF4_BLOCK) * SCALE_BYTES


def _tensors(network: nn.Module) -> Iterator[torch.Tensor]:
    yield from network.buffers()
    for module in network.modules():
        for weight in module.parameters(recurse=False):
            yield weight
            yield from _inside(getattr(weight, "quant_state", None))
        yield from _inside(getattr(module, "state", None))


def _inside(state: object) -> Iterator[torch.Tensor]:
    """Tensors in bitsandbytes' states, which are not parameters: scales, codes, and the 8-bit weights themselves."""
    if state is not None and type(state).__module__.startswith("bitsandbytes"):
        for value in vars(state).values():
            if isinstance(value, torch.Tensor):
                yield value
            else:
                yield from _inside(value)
