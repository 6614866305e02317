"""Checks a model's files before a library reads them: missing, damaged or unsupported ones."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from explaind.contract.errors import ModelLoadFailed
from explaind_jobs.catalogue import ModelEntry
from explaind_jobs.model_config import classifies
from explaind_worker.models.files.load_errors import NOT_SUPPORTED

INDEX = "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
DECODERS = ("ForCausalLM", "LMHeadModel")
LENGTH_BYTES = 8  # first bytes of a safetensors file: the length of its header
MOST_LAYERS = 2_000  # the deepest language models have about 130; building a model takes at least 0.4 ms a layer
LAYER_COUNTS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers")


def check_config(entry: ModelEntry, folder: Path) -> None:
    """Refuses a directory whose config or tokenizer is missing, unreadable, or of an unsupported model.

    Raises:
        ModelLoadFailed: names the file and the remedy.
    """
    if not folder.is_dir():
        raise ModelLoadFailed(
            f"The folder of {entry.name!r} is not there.", hint="Is `path` in the catalogue right, and mounted?"
        )
    config = _object(entry, folder / "config.json", absent=lambda: _no_config(entry, folder))
    architectures = config.get("architectures")
    named = [str(name) for name in architectures] if isinstance(architectures, list) else []
    if "auto_map" in config and not isinstance(config.get("model_type"), str):
        raise _custom_code(entry)
    if config.get("is_encoder_decoder") is True and not classifies(named) and not _decodes(named):
        raise ModelLoadFailed(
            f"{entry.name!r} is an encoder-decoder ({', '.join(named) or config.get('model_type')}); causal language "
            "models and sequence classifiers are supported.",
            hint="Choose a decoder-only model (GPT-2, Llama, Qwen, Gemma, …).",
            status=NOT_SUPPORTED,
        )
    if any(name.endswith("ForMaskedLM") for name in named) and entry.kind != "classifier":
        raise ModelLoadFailed(
            f"{entry.name!r} is a masked language model ({', '.join(named)}), which continues no text.",
            hint="Choose a causal language model, or a classifier that was trained from it.",
            status=NOT_SUPPORTED,
        )
    for part in (config, *(part for part in config.values() if isinstance(part, dict))):
        for name in LAYER_COUNTS:
            if isinstance(count := part.get(name), int) and count > MOST_LAYERS:
                raise ModelLoadFailed(
                    f"The config of {entry.name!r} says {count:,} layers ({name}); at most {MOST_LAYERS:,} are built.",
                    hint="Is config.json that of this model?",
                )
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ModelLoadFailed(
            f"The folder of {entry.name!r} holds no tokenizer.",
            hint="Put the model's tokenizer.json and tokenizer_config.json beside its weights "
            "(tokenizer.save_pretrained(…)).",
        )


def check_weights(entry: ModelEntry, folder: Path) -> None:
    """Refuses a directory whose safetensors files are missing or truncated; only their headers are read.

    Raises:
        ModelLoadFailed: names the first faulty file.
    """
    index = folder / INDEX
    if (folder / "model.safetensors").is_file():
        files = [folder / "model.safetensors"]
    elif index.is_file():
        listed = _object(entry, index).get("weight_map")
        names = sorted({str(name) for name in listed.values()}) if isinstance(listed, dict) else []
        files = [folder / Path(name).name for name in names]
        if missing := [file.name for file in files if not file.is_file()]:
            raise ModelLoadFailed(
                f"{len(missing)} of {len(files)} weight files of {entry.name!r} are missing, "
                f"the first is {missing[0]}.",
                hint="Copy or download it again.",
            )
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelLoadFailed(f"The folder of {entry.name!r} holds no *.safetensors.", hint=_how_to_convert(folder))
    for file in files:
        if (fault := _fault(file)) is not None:
            raise ModelLoadFailed(f"{file.name} of {entry.name!r} {fault}.", hint="Copy or download it again.")


def _fault(file: Path) -> str | None:
    """What is wrong with the file's header or length; None if nothing is."""
    size = file.stat().st_size
    if size < LENGTH_BYTES:
        return "is empty" if size == 0 else f"is cut off after {size} bytes"
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(LENGTH_BYTES), "little")
        if length > size - LENGTH_BYTES:
            return "is cut off within its header, or is no safetensors file"
        try:
            header = json.loads(opened.read(length))
            ends = [int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return "has a damaged header, or is no safetensors file"
    wanted = LENGTH_BYTES + length + max(ends, default=0)
    return f"is cut off: {size:,} of {wanted:,} bytes are there" if size < wanted else None


def _object(entry: ModelEntry, file: Path, absent: Any = None) -> dict[str, Any]:
    """The JSON object in that file."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise (absent() if absent else _unreadable(entry, file, "is missing")) from error
    except OSError as error:
        raise _unreadable(entry, file, f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # not UTF-8 or not JSON
        raise _unreadable(entry, file, "is not JSON") from error
    if not isinstance(found, dict):
        raise _unreadable(entry, file, "is not a JSON object")
    return found


def _unreadable(entry: ModelEntry, file: Path, why: str) -> ModelLoadFailed:
    return ModelLoadFailed(f"{file.name} of {entry.name!r} {why}.", hint="Copy or download it again.")


def _no_config(entry: ModelEntry, folder: Path) -> ModelLoadFailed:
    if any(folder.glob("*.gguf")):
        return ModelLoadFailed(
            f"The folder of {entry.name!r} holds a GGUF file; GGUF is not supported.",
            hint="Use the safetensors files that it was made from.",
            status=NOT_SUPPORTED,
        )
    return ModelLoadFailed(
        f"The folder of {entry.name!r} holds no config.json.",
        hint="Name the folder that config.json, tokenizer.json and *.safetensors are in.",
    )


def _custom_code(entry: ModelEntry) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"{entry.name!r} comes with code of its own (auto_map), which is never run.",
        hint="Choose a model of an architecture that transformers has itself.",
        status=NOT_SUPPORTED,
    )


def _decodes(names: Iterable[str]) -> bool:
    return any(name.endswith(DECODERS) for name in names)


def _how_to_convert(folder: Path) -> str:
    if any(True for pattern in OTHER_WEIGHTS for _ in folder.glob(pattern)):
        return (
            "Its weights are in another format, which may hold code and is not read: convert them with "
            "model.save_pretrained(…), which writes safetensors."
        )
    return "Name the folder that config.json, tokenizer.json and *.safetensors are in."
