"""Loads a model of the catalogue: its tokenizer first, its weights when a forward is needed."""

import hashlib
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from explaind.contract.errors import ExplaindError, ModelLoadFailed, OutOfMemory
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models import demo, self_check
from explaind_worker.models.activations import fuse_activations
from explaind_worker.models.anatomy import Anatomy, anatomy_of
from explaind_worker.models.device_health import out_of_memory, poisoned, release_memory
from explaind_worker.models.encoding import Encoder
from explaind_worker.models.footprint import counted_bytes, estimated_bytes

logger = logging.getLogger(__name__)

SAMPLE_BYTES = 1 << 20


@dataclass
class LoadedModel:
    """A model in memory, checked against its own logits.

    Hold `lock` around every forward: hooks are set on shared modules, and two jobs may use one model. Models on one
    device share their lock, since two forwards at once on it are slower than one after the other. `revision` is the
    fingerprint of the files when they were read, `bytes` what the weights take up. `verdicts` is what the engine has
    found out about the model by trying.
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

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device

    @property
    def dtype(self) -> str:
        """Name of the type the weights compute in."""
        return str(self.network.dtype).removeprefix("torch.")


def location(entry: ModelEntry) -> tuple[str, str | None]:
    """Where transformers finds the model, and its pinned revision when that is the hub."""
    if entry.builtin:
        return str(demo.MODEL_DIR), None
    if entry.path is not None:
        return str(entry.path), None
    return str(entry.source), entry.revision


def load_encoder(entry: ModelEntry) -> Encoder:
    """The model's tokenizer and context length, without its weights.

    Raises:
        ModelLoadFailed: it is not there, or is not a fast tokenizer (character offsets are needed).
    """
    where, revision = location(entry)
    try:
        found = fingerprint(entry)
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=False)
        config = AutoConfig.from_pretrained(where, revision=revision, trust_remote_code=False).get_text_config()
    except (OSError, ValueError, KeyError) as error:
        raise _failed(entry, error) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelLoadFailed(
            f"The tokenizer of {entry.name!r} gives no character offsets, so its tokens cannot be placed in the text.",
            hint="Use a model with a tokenizer.json.",
        )
    context = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    return Encoder(tokenizer, int(context), found)


def load_model(entry: ModelEntry, encoder: Encoder, lock: threading.Lock) -> LoadedModel:
    """The model with its weights on its device, self-checked; `lock` is that of the device.

    Raises:
        ModelLoadFailed: the weights are missing, unsafe (no safetensors) or do not fit.
        SelfCheckFailed: our view of it differs from its own logits.
        OutOfMemory: the device is fuller than it should be.
    """
    network = _out_of_files(entry)
    network.eval()
    network.requires_grad_(requires_grad=False)
    fuse_activations(network)
    anatomy = anatomy_of(network)
    with lock:  # jobs on the same device go on meanwhile
        differences = self_check.check(network, anatomy, quantized=entry.quantization is not None)
    logger.info("loaded %s on %s, self-check %s", entry.name, network.device, differences)
    ends = _end_ids(network, encoder)
    return LoadedModel(entry, encoder, network, anatomy, ends, lock, encoder.revision, counted_bytes(network))


def size_of(entry: ModelEntry) -> int:
    """Bytes that the model's weights will take up, told without reading them.

    Raises:
        ModelLoadFailed: its config is missing, or of no kind that is known.
    """
    where, revision = location(entry)
    try:
        return estimated_bytes(entry, where, revision)
    except (OSError, ValueError, KeyError) as error:
        raise _failed(entry, error) from error


def _out_of_files(entry: ModelEntry) -> PreTrainedModel:
    where, revision = location(entry)
    try:
        return AutoModelForCausalLM.from_pretrained(
            where,
            revision=revision,
            dtype=entry.dtype if entry.dtype == "auto" else getattr(torch, entry.dtype),
            device_map={"": device_of(entry)},
            quantization_config=_quantization(entry),
            use_safetensors=True,
            trust_remote_code=False,
        )
    except ExplaindError:
        raise
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, MemoryError) as error:
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
    """The pinned revision of a hub model; for a directory a digest of its files' names, sizes and first bytes."""
    where, revision = location(entry)
    folder = Path(where)
    if not folder.is_dir():
        return revision
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".safetensors"} and path.is_file():
            digest.update(f"{path.name}:{path.stat().st_size}:".encode())
            with path.open("rb") as file:
                digest.update(file.read(SAMPLE_BYTES))
    return f"sha256:{digest.hexdigest()[:40]}"


def _quantization(entry: ModelEntry) -> BitsAndBytesConfig | None:
    if entry.quantization is None:
        return None
    if entry.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    computing = torch.float32 if device_of(entry) == "cpu" else torch.bfloat16
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=entry.quantization, bnb_4bit_compute_dtype=computing
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
