"""Loads a model of the catalogue: its tokenizer first, its weights when a forward is needed."""

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerFast

from explaind.contract.errors import ExplaindError, ModelLoadFailed, OutOfMemory
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models import demo
from explaind_worker.models.device_errors import out_of_memory, poisoned, release_memory
from explaind_worker.models.loading.classifier_check import check_classifier
from explaind_worker.models.loading.fingerprint import fingerprint_of
from explaind_worker.models.loading.fused_activations import fuse_activations
from explaind_worker.models.loading.pretrained import CAUSAL, CLASSIFIER, read_config, read_tokenizer, read_weights
from explaind_worker.models.loading.tokenizer import Encoder
from explaind_worker.models.loading.weight_names import refuse_adapters, refuse_other_weights
from explaind_worker.models.loading.weight_size import counted_bytes, estimated_bytes, without_memory
from explaind_worker.models.structure import self_check
from explaind_worker.models.structure.anatomy import Anatomy, anatomy_of
from explaind_worker.models.structure.classifier_head import Classes, classes_of, head_names, longest_row

logger = logging.getLogger(__name__)


class _InMemory:
    """What every model in memory says of its weights."""

    network: PreTrainedModel

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device

    @property
    def dtype(self) -> str:
        """Name of the type the weights compute in."""
        return str(self.network.dtype).removeprefix("torch.")


@dataclass
class LoadedModel(_InMemory):
    """A causal language model in memory, checked against its own logits.

    Hold `lock` around every forward: hooks are set on shared modules, and two jobs may use one model. Models on one
    device share their lock, since two forwards at once on it are slower than one after the other. `revision` is the
    fingerprint of the files when they were read, `bytes` what the weights take up. `verdicts` is what the engine has
    found out about the model by trying. `copy_of` is set of a copy whose matrix products are in bfloat16
    (`models/structure/narrow_copy.py`): its `bytes` are those of its own weights, its verdicts the original's.
    """

    entry: ModelEntry
    encoder: Encoder
    network: PreTrainedModel
    anatomy: Anatomy
    end_ids: frozenset[int]
    lock: threading.Lock
    revision: str | None
    bytes: int
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
    copy_of: "LoadedClassifier | None" = None


AnyModel = LoadedModel | LoadedClassifier


def location(entry: ModelEntry) -> tuple[str, str | None]:
    """Where transformers finds the model, and its pinned revision when that is the hub."""
    if entry.builtin:
        return str(demo.MODEL_DIR), None
    if entry.path is not None:
        return str(entry.path), None
    return str(entry.source), entry.revision


def load_encoder(entry: ModelEntry) -> Encoder:
    """The model's tokenizer, context length and, of a classifier, its classes, without its weights.

    Raises:
        ModelLoadFailed: it is not there, is not a fast tokenizer (character offsets are needed), or tells a
            classifier more than token ids.
    """
    where, revision = location(entry)
    refuse_adapters(entry, Path(where))
    try:
        found = fingerprint(entry)
        tokenizer = read_tokenizer(where, revision)
        config = read_config(where, revision)
        classes = classes_of(entry, config)
        network = None if classes is None else without_memory(entry, config)
    except ExplaindError:
        raise
    except Exception as error:  # a config may hold anything, and every family checks another part of it
        raise _failed(entry, error) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelLoadFailed(
            f"The tokenizer of {entry.name!r} gives no character offsets, so its tokens cannot be placed in the text.",
            hint="Use a model with a tokenizer.json.",
        )
    context = int(getattr(config.get_text_config(), "max_position_embeddings", None) or tokenizer.model_max_length)
    if network is not None:
        _refuse_segments(entry, tokenizer)
        context = longest_row(network, context)
    rows = getattr(config.get_text_config(), "vocab_size", None)
    return Encoder(tokenizer, context, found, classes, rows if isinstance(rows, int) else None)


def load_model(entry: ModelEntry, encoder: Encoder, lock: threading.Lock) -> AnyModel:
    """The model with its weights on its device, self-checked; `lock` is that of the device.

    Raises:
        ModelLoadFailed: the weights are missing, unsafe (no safetensors) or do not fit.
        SelfCheckFailed: our view of it differs from its own logits.
        OutOfMemory: the device is fuller than it should be.
    """
    network = _out_of_files(entry, encoder.classes)
    network.eval()
    network.requires_grad_(requires_grad=False)
    fuse_activations(network)
    if encoder.classes is not None:
        return _classifier(entry, encoder, encoder.classes, network, lock)
    anatomy = anatomy_of(network)
    with lock:  # jobs on the same device go on meanwhile
        differences = self_check.check(network, anatomy, quantized=entry.quantization is not None)
    logger.info("loaded %s on %s, self-check %s", entry.name, network.device, differences)
    ends = _end_ids(network, encoder)
    return LoadedModel(entry, encoder, network, anatomy, ends, lock, encoder.revision, counted_bytes(network))


def _classifier(
    entry: ModelEntry, encoder: Encoder, classes: Classes, network: PreTrainedModel, lock: threading.Lock
) -> LoadedClassifier:
    with lock:
        found = check_classifier(network, encoder, quantized=entry.quantization is not None)
    logger.info("loaded %s on %s, self-check %s", entry.name, network.device, found)
    size = counted_bytes(network)
    return LoadedClassifier(entry, encoder, network, classes, bool(found["pads"]), lock, encoder.revision, size)


def _refuse_segments(entry: ModelEntry, tokenizer: PreTrainedTokenizerFast) -> None:
    # Some (XLNet, Funnel) number the segments of a text otherwise than from 0, which token ids alone do not say.
    if any(tokenizer("a text").get("token_type_ids", ())):
        raise ModelLoadFailed(
            f"The classifier {entry.name!r} reads segment numbers beside its tokens, which is not supported.",
            hint="Use a classifier of another family: BERT, RoBERTa, DistilBERT, ELECTRA, DeBERTa, or a causal body.",
        )


def size_of(entry: ModelEntry) -> int:
    """Bytes that the model's weights will take up, told without reading them.

    Raises:
        ModelLoadFailed: its config is missing, or of no kind that is known.
    """
    where, revision = location(entry)
    try:
        return estimated_bytes(entry, where, revision)
    except ExplaindError:
        raise
    except Exception as error:  # as above
        raise _failed(entry, error) from error


def _out_of_files(entry: ModelEntry, classes: Classes | None) -> PreTrainedModel:
    where, revision = location(entry)
    try:
        network, report = read_weights(
            where,
            CAUSAL if classes is None else CLASSIFIER,
            revision=revision,
            dtype=entry.dtype if entry.dtype == "auto" else getattr(torch, entry.dtype),
            device_map={"": device_of(entry)},
            quantization_config=_quantization(entry, _kept_whole(entry, where, revision, classes)),
        )
        refuse_other_weights(entry, report, classifier=classes is not None)
        return network
    except ExplaindError:
        raise
    except Exception as error:  # a file may be damaged in any way
        if poisoned(error):
            raise
        if not out_of_memory(error):
            raise _failed(entry, error) from error
    # Outside of `except`, whose traceback refers to the half of the model that was read.
    release_memory()
    raise OutOfMemory(
        f"The device ran out of memory while {entry.name!r} was being loaded.",
        hint="Try again when the device is less busy; is another program using it?",
    )


def device_of(entry: ModelEntry) -> str:
    """The device that `auto` means here."""
    if entry.device == "cuda":
        return "cuda:0"
    if entry.device != "auto":
        return entry.device
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def fingerprint(entry: ModelEntry) -> str | None:
    """The pinned revision of a hub model; for a directory a digest of all of its files that are read."""
    where, revision = location(entry)
    folder = Path(where)
    return fingerprint_of(folder) if folder.is_dir() else revision


def _kept_whole(entry: ModelEntry, where: str, revision: str | None, classes: Classes | None) -> list[str] | None:
    """What is not quantized: a classifier's head; None leaves it to the library, which knows unembeddings."""
    if classes is None or entry.quantization is None:
        return None
    config = read_config(where, revision)
    return head_names(without_memory(entry, config))


def _quantization(entry: ModelEntry, kept_whole: list[str] | None) -> BitsAndBytesConfig | None:
    if entry.quantization is None:
        return None
    if entry.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept_whole)
    computing = torch.float32 if device_of(entry) == "cpu" else torch.bfloat16
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=entry.quantization,
        bnb_4bit_compute_dtype=computing,
        llm_int8_skip_modules=kept_whole,
    )


def _end_ids(network: PreTrainedModel, encoder: Encoder) -> frozenset[int]:
    configured = getattr(network.generation_config, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*listed, encoder.tokenizer.eos_token_id] if isinstance(i, int))


def _failed(entry: ModelEntry, error: Exception) -> ModelLoadFailed:
    # The library's message may name a directory of this machine, which is nobody's business outside.
    logger.warning("model %s could not be loaded: %s", entry.name, error)
    reason = "a library is missing" if isinstance(error, ImportError) else type(error).__name__
    return ModelLoadFailed(
        f"The model {entry.name!r} could not be loaded ({reason}).",
        hint="The worker's log says why. A model needs config.json, tokenizer.json and *.safetensors; quantization "
        'needs `pip install "explaind[quantization]"`.',
    )
