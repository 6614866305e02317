"""inseq as its users call it, if installed: it is not part of the development environment.

Its scores are logits, its baseline is the unknown token, and it processes one target token after another.
"""

import importlib
from typing import Any

import numpy as np

from benchmarks.alternating import Array
from benchmarks.shapes import Prompt
from benchmarks.workbench import Workbench


def occlusion(bench: Workbench, prompt: Prompt, targets: int) -> Array:
    """One token absent at a time, for `targets` tokens of the target."""
    return _attributed(bench, prompt, targets, "occlusion")


def integrated_gradients(bench: Workbench, prompt: Prompt, targets: int, *, steps: int) -> Array:
    """For `targets` tokens of the target; those before each of them are interpolated too."""
    return _attributed(bench, prompt, targets, "integrated_gradients", n_steps=steps)


def _attributed(bench: Workbench, prompt: Prompt, targets: int, method: str, **options: Any) -> Array:
    inseq: Any = importlib.import_module("inseq")
    target = Prompt(prompt.token_ids, prompt.target_ids[:targets], 0).target
    found = inseq.load_model(bench.network, method, tokenizer=bench.tokenizer).attribute(
        prompt.text,
        prompt.text + target,
        attributed_fn="logit",
        show_progress=False,
        pretty_progress=False,
        **options,
    )
    values = found.sequence_attributions[0].target_attributions.double().cpu().numpy()  # [token, target] or with hidden
    return np.nansum(values[: prompt.units], axis=tuple(range(1, values.ndim)))
