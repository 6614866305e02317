"""Gradients through quantized weights: notes for the result, and refusal of wrong gradients."""

from explaind.contract.errors import GradientsUnavailable
from explaind_worker.models.loading.loaded import AnyModel

LARGEST_ERROR = 3e-2  # relative; explained by rounding to 16 bits

UNPACKED = (
    "The model's weights are stored in 4 bits. The gradients are exact for the quantized model, since its weights are "
    "unpacked for every product; they are not those of the model it was made from."
)
ROUNDED = (
    "The model computes with 8-bit weights and rounds what enters every layer to 8 bits. The gradients pass that "
    "rounding as if it were not there, so they are close to, but not exactly, the slope of the quantized model."
)
NOTES = {"nf4": UNPACKED, "fp4": UNPACKED, "int8": ROUNDED}


def gradient_notes(model: AnyModel) -> list[str]:
    """Notes for results from gradients through this model; empty if it computes with ordinary matrices.

    Raises:
        GradientsUnavailable: the gradients through its quantized layers are not those of their matrices, as
            measured when the model was loaded.
    """
    kind, found = model.quantization, model.gradients
    if kind is None:
        return []
    if found is not None and not (found.error is not None and found.error <= LARGEST_ERROR):
        raise GradientsUnavailable.at(
            "/model",
            f"The weights of {model.entry.name} are quantized ({kind}), and "
            + (
                f"no gradient comes back through {found.layer}."
                if found.error is None
                else f"gradients through {found.layer} are off by {found.error:.0%} of their size."
            ),
            hint="Use a method that only runs the model forward (explain/shap, explain/feature-ablation), or load "
            'the unquantized model with quantization = "nf4", through which gradients are exact.',
        )
    return [
        NOTES.get(
            kind,
            f"The model's weights are quantized ({kind}). The gradients are those of the quantized model, not of the "
            "model it was made from.",
        )
    ]
