"""Loads a catalogue model: first its tokenizer, then its weights when a forward is needed."""

import logging
import threading
from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from explaind.contract.errors import ExplaindError, ModelLoadFailed, OutOfMemory
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.hub.catalogue_entries import fetch_files
from explaind_worker.models.device_errors import out_of_memory, poisoned, release_memory
from explaind_worker.models.files.file_checks import check_config, check_weights
from explaind_worker.models.files.load_errors import load_failure
from explaind_worker.models.files.place import device_of, fingerprint, location
from explaind_worker.models.files.pretrained import CAUSAL, CLASSIFIER, read_config, read_tokenizer, read_weights
from explaind_worker.models.files.quantization import quantization_of, while_loading
from explaind_worker.models.files.weight_names import refuse_adapters, refuse_other_weights, refuse_unscaled
from explaind_worker.models.files.weight_size import counted_bytes, estimated_bytes, without_memory
from explaind_worker.models.loading.classifier_check import check_classifier
from explaind_worker.models.loading.fused_activations import fuse_activations
from explaind_worker.models.loading.loaded import AnyModel, LoadedClassifier, LoadedModel
from explaind_worker.models.structure import self_check
from explaind_worker.models.structure.anatomy import anatomy_of
from explaind_worker.models.structure.classifier_head import Classes, classes_of, head_names, longest_row
from explaind_worker.models.structure.packed_gradients import check_gradients, keep_backward
from explaind_worker.models.structure.rotary_lengths import rotary_lengths
from explaind_worker.models.text.tokenizer import Encoder

logger = logging.getLogger(__name__)


def load_encoder(entry: ModelEntry) -> Encoder:
    """The model's tokenizer, context length and, for a classifier, its classes, without its weights.

    Raises:
        ModelLoadFailed: it is missing, is not a fast tokenizer (character offsets are needed), or gives
            a classifier more inputs than token ids.
        HubUnavailable: it is on the hub, which cannot be reached.
    """
    fetch_files(entry, "description")
    where, revision = location(entry)
    folder = Path(where)
    refuse_adapters(entry, folder)
    part = "files"
    try:
        if folder.is_dir() or entry.path is not None:
            check_config(entry, folder)
        found = fingerprint(entry)
        part = "tokenizer"
        tokenizer = read_tokenizer(where, revision)
        part = "config"
        config = read_config(where, revision)
        quantization = quantization_of(entry, config, device_of(entry))
        classes = classes_of(entry, config)
        network = None if classes is None else without_memory(entry, config)
    except ExplaindError:
        raise
    except Exception as error:  # a config may contain anything, and every family checks another part of it
        raise _failed(entry, error, part) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelLoadFailed(
            f"The tokenizer of {entry.name!r} gives no character offsets, so its tokens cannot be placed in the text.",
            hint="Use a model with a tokenizer.json.",
        )
    context = _context(config.get_text_config()) or tokenizer.model_max_length
    if network is not None:
        _refuse_segments(entry, tokenizer)
        context = longest_row(network, context)
    rows = getattr(config.get_text_config(), "vocab_size", None)
    rows = rows if isinstance(rows, int) else None
    segments = network is not None and _has_segments(network)
    return Encoder(tokenizer, context, found, classes, rows, quantization=quantization, segments=segments)


def _context(config: PreTrainedConfig) -> int | None:
    """The context length according to the config; None if it gives none.

    `dynamic` rotary factors extend `max_position_embeddings` by an additional factor.
    """
    stated = getattr(config, "max_position_embeddings", None)
    if stated is None:
        return None
    rotary = getattr(config, "rope_parameters", None) or {}
    # With a fixed `alpha` (HunYuan), `dynamic` means factors that do not depend on length.
    stretched = rotary.get("rope_type") == "dynamic" and not rotary.get("alpha")
    return int(stated * max(1.0, float(rotary.get("factor") or 1.0))) if stretched else int(stated)


def load_model(entry: ModelEntry, encoder: Encoder, lock: threading.Lock) -> AnyModel:
    """The model with its weights on its device, self-checked; `lock` is that of the device.

    Raises:
        ModelLoadFailed: the weights are missing, unsafe (not safetensors) or mismatched.
        SelfCheckFailed: explaind's logits differ from its own.
        OutOfMemory: the device has less free memory than expected.
    """
    network = _out_of_files(entry, encoder)
    network.eval()
    network.requires_grad_(requires_grad=False)
    keep_backward(network)
    fuse_activations(network)
    rotary_lengths(network)  # from here on forwards do not depend on earlier ones
    if encoder.classes is not None:
        return _classifier(entry, encoder, encoder.classes, network, lock)
    anatomy = anatomy_of(network)
    with lock:  # only now: jobs on the same device continue during loading
        differences = self_check.check(network, anatomy, context=encoder.context, quantized=encoder.packed)
        gradients = check_gradients(network) if encoder.packed else None
    logger.info("loaded %s on %s, self-check %s", entry.name, network.device, differences)
    ends = _end_ids(network, encoder)
    return LoadedModel(
        entry, encoder, network, anatomy, ends, lock, encoder.revision, counted_bytes(network), gradients
    )


def _classifier(
    entry: ModelEntry, encoder: Encoder, classes: Classes, network: PreTrainedModel, lock: threading.Lock
) -> LoadedClassifier:
    with lock:
        found = check_classifier(network, encoder, quantized=encoder.packed)
        gradients = check_gradients(network) if encoder.packed else None
    logger.info("loaded %s on %s, self-check %s", entry.name, network.device, found)
    size = counted_bytes(network)
    return LoadedClassifier(
        entry, encoder, network, classes, bool(found["pads"]), lock, encoder.revision, size, gradients
    )


def _has_segments(network: torch.nn.Module) -> bool:
    """Whether it has embeddings of more than one segment."""
    return any(
        name.endswith("token_type_embeddings") and isinstance(module, torch.nn.Embedding) and module.num_embeddings > 1
        for name, module in network.named_modules()
    )


def _refuse_segments(entry: ModelEntry, tokenizer: PreTrainedTokenizerFast) -> None:
    # Some (XLNet, Funnel) do not number the segments of a text from 0, which token ids alone cannot express.
    if any(tokenizer("a text").get("token_type_ids", ())):
        raise ModelLoadFailed(
            f"The classifier {entry.name!r} reads segment numbers beside its tokens, which is not supported.",
            hint="Use a classifier of another family: BERT, RoBERTa, DistilBERT, ELECTRA, DeBERTa, or a causal body.",
        )


def size_of(entry: ModelEntry) -> int:
    """Size of the model's weights in bytes, determined without reading them.

    Raises:
        ModelLoadFailed: its config is missing, or of an unknown kind.
        HubUnavailable: it is on the hub, which cannot be reached.
    """
    fetch_files(entry, "description")
    where, revision = location(entry)
    try:
        if entry.path is not None:  # a hub model's may not be downloaded yet
            check_weights(entry, entry.path)
        config = read_config(where, revision)
        return estimated_bytes(entry, config, Path(where), quantization_of(entry, config, device_of(entry)))
    except ExplaindError:
        raise
    except Exception as error:  # as above
        raise _failed(entry, error, "config") from error


def _out_of_files(entry: ModelEntry, encoder: Encoder) -> PreTrainedModel:
    fetch_files(entry, "weights")
    where, revision = location(entry)
    device, classifies = device_of(entry), encoder.classes is not None
    try:
        if Path(where).is_dir():
            check_weights(entry, Path(where))
        packing = while_loading(encoder.quantization, device, _kept_whole(entry, where, revision, encoder))
        network, report = read_weights(
            where,
            CLASSIFIER if classifies else CAUSAL,
            revision=revision,
            dtype=entry.dtype if entry.dtype == "auto" else getattr(torch, entry.dtype),
            device_map={"": device},
            # Even None would override the files' own quantization config.
            **({} if packing is None else {"quantization_config": packing}),
        )
        refuse_other_weights(entry, report, classifier=classifies)
        refuse_unscaled(entry, network)
        return network
    except ExplaindError:
        raise
    except Exception as error:  # a file may be damaged in any way
        if poisoned(error):
            raise
        if not out_of_memory(error):
            raise _failed(entry, error, "weights") from error
    # Outside of `except`, whose traceback references the partly loaded model.
    release_memory()
    raise OutOfMemory(
        f"The device ran out of memory while {entry.name!r} was being loaded.",
        hint="Try again when the device is less busy; is another program using it?",
    )


def _kept_whole(entry: ModelEntry, where: str, revision: str | None, encoder: Encoder) -> list[str] | None:
    """Modules not to quantize: a classifier's head; None leaves it to the library, which recognizes unembeddings."""
    if encoder.classes is None or not encoder.packed:
        return None
    config = read_config(where, revision)
    return head_names(without_memory(entry, config))


def _end_ids(network: PreTrainedModel, encoder: Encoder) -> frozenset[int]:
    configured = getattr(network.generation_config, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*listed, encoder.tokenizer.eos_token_id] if isinstance(i, int))


def _failed(entry: ModelEntry, error: Exception, part: str) -> ModelLoadFailed:
    logger.warning("model %s could not be loaded: %s", entry.name, error)
    return load_failure(entry, error, part)
