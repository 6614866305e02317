"""Quantization of a model's weights: applied on loading as the catalogue says, or stored in its files."""

from dataclasses import dataclass
from typing import Any

from transformers import BitsAndBytesConfig, PreTrainedConfig

from explaind.contract.errors import ModelLoadFailed
from explaind_jobs.catalogue import ModelEntry
from explaind_jobs.model_config import quantization_kind
from explaind_worker.models.files.pretrained import quantizer_of

BITSANDBYTES = "bitsandbytes"


@dataclass(frozen=True)
class Quantization:
    """The effective quantization of a model.

    `kind` is nf4, fp4 or int8 of bitsandbytes, else the method named in the files (gptq, awq, fp8). `stored`: the files
    hold quantized weights. `dequantized`: the library unpacks them on loading, and computes with ordinary matrices.
    """

    kind: str
    stored: bool = False
    dequantized: bool = False

    def __str__(self) -> str:
        return f"{self.kind}, dequantized" if self.dequantized else self.kind

    @property
    def packed(self) -> str | None:
        """The kind if the model computes with packed weights; None for ordinary matrices."""
        return None if self.dequantized else self.kind


def quantization_of(entry: ModelEntry, config: PreTrainedConfig, device: str) -> Quantization | None:
    """The model's quantization on that device; None if its weights are not quantized.

    Raises:
        ModelLoadFailed: the files are quantized in a way that cannot be used here (what is missing is named), or
            differently from the catalogue.
    """
    stored = _stored(config)
    if stored is None:
        return None if entry.quantization is None else Quantization(entry.quantization)
    kind = quantization_kind(stored)
    if entry.quantization not in (None, kind):
        raise ModelLoadFailed(
            f"The files of {entry.name!r} are quantized with {kind} already, and the catalogue says "
            f"{entry.quantization}.",
            hint=f'Take `quantization` out of the model\'s entry (or say "{kind}", where that is possible), or name '
            "files that are not quantized.",
        )
    return Quantization(kind, stored=True, dequantized=_dequantizes(entry, stored, kind, device))


def while_loading(found: Quantization | None, device: str, kept_whole: list[str] | None) -> BitsAndBytesConfig | None:
    """The config that quantizes weights on loading; None without quantization, or if the files are quantized already.

    `kept_whole` names the modules that are not quantized; None leaves the choice to the library.
    """
    if found is None or found.stored:
        return None
    if found.kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept_whole)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=found.kind,
        bnb_4bit_compute_dtype="float32" if device == "cpu" else "bfloat16",
        llm_int8_skip_modules=kept_whole,
    )


def _stored(config: PreTrainedConfig) -> dict[str, Any] | None:
    """The files' quantization config; a model of several parts may have it in its text part."""
    for part in (config, config.get_text_config(decoder=True)):
        said: Any = getattr(part, "quantization_config", None)
        if said is not None:
            return dict(said) if isinstance(said, dict) else said.to_dict()
    return None


def _dequantizes(entry: ModelEntry, stored: dict[str, Any], kind: str, device: str) -> bool:
    """Whether the library unpacks such weights on that device; checks that it supports them at all."""
    try:
        quantizer = quantizer_of(stored, device)
    except Exception as error:  # each method refuses in a different way
        method = BITSANDBYTES if kind in ("nf4", "fp4", "int8") else kind
        raise ModelLoadFailed(
            f"The weights of {entry.name!r} are stored quantized with {method}, which cannot be used here: "
            f"{_first_line(error)}",
            hint="Install what is missing in the worker's environment, or use the model's unquantized files; "
            'quantization = "nf4" or "int8" in its entry quantizes them while they are loaded.',
        ) from error
    return bool(getattr(quantizer.quantization_config, "dequantize", False))


def _first_line(error: Exception) -> str:
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return line if line.endswith(".") else f"{line}."
