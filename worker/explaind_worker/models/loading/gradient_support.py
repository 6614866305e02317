"""Whether gradients pass through a model's weights as they are stored; told before the weights are loaded.

bitsandbytes' layers have a backward pass with respect to what enters them. The kernels of AWQ, GPTQ and FP8 either
have none or leave parts out without a word, so that gradients through them are refused.
"""

from typing import Any

from explaind.contract.errors import GradientsUnavailable
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.hub.catalogue_entries import fetch_files
from explaind_worker.models.loading.loading import location
from explaind_worker.models.loading.pretrained import read_config

UNPACKED = (
    "The model's weights are stored in 4 bits. The gradients are exact for the quantized model, since its weights are "
    "unpacked for every product; they are not those of the model it was made from."
)
ROUNDED = (
    "The model computes with 8-bit weights and rounds what enters every layer to 8 bits. The gradients pass that "
    "rounding as if it were not there, so they are close to, but not exactly, the slope of the quantized model."
)
NOTES = {"nf4": UNPACKED, "fp4": UNPACKED, "4-bit": UNPACKED, "int8": ROUNDED, "8-bit": ROUNDED}


def gradient_notes(entry: ModelEntry) -> list[str]:
    """What a reader of gradients through this model should know; nothing where its weights are not quantized.

    Raises:
        GradientsUnavailable: its weights are stored in a way that gradients do not pass, or not reliably.
    """
    kind = entry.quantization or _stored_kind(entry)
    if kind is None:
        return []
    if kind not in NOTES:
        raise GradientsUnavailable.at(
            "/model",
            f"The weights of {entry.name} are quantized with {kind}, whose layers give no reliable gradients.",
            hint="Use a method that only runs the model forward (explain/shap, explain/feature-ablation), or load "
            'the unquantized model with quantization = "nf4", through which gradients are exact.',
        )
    return [NOTES[kind]]


def _stored_kind(entry: ModelEntry) -> str | None:
    """How the files' own weights are quantized: a method's name, for bitsandbytes the width; None for not at all."""
    fetch_files(entry, "description")
    config = read_config(*location(entry))
    stored: Any = getattr(config, "quantization_config", None)
    if stored is None:
        return None
    if not isinstance(stored, dict):
        stored = stored.to_dict()
    if stored.get("load_in_4bit"):
        return "4-bit"
    if stored.get("load_in_8bit"):
        return "8-bit"
    return str(stored.get("quant_method") or "an unknown method").upper()
