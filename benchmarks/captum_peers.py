"""captum as its users call it on a language model. Each peer returns values [unit] for an amount of work.

`one pass` is captum's fastest mode and the reference for correctness. Its default goes token by token and passes one
model cache from evaluation to evaluation, which transformers 5 changes in place: its values are wrong.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from captum.attr import (
    FeatureAblation,
    KernelShap,
    LayerIntegratedGradients,
    Lime,
    LLMAttribution,
    LLMGradientAttribution,
    Occlusion,
    ShapleyValueSampling,
    TextTokenInput,
)

from benchmarks.alternating import Array
from benchmarks.shapes import MASK_ID, Prompt
from benchmarks.workbench import Workbench

ONE_PASS = {"forward_in_tokens": False}


def _text(bench: Workbench, prompt: Prompt) -> TextTokenInput:
    """The prompt as captum's interpretable input; tokens of the prefix are always present."""
    skipped = list(prompt.token_ids[: prompt.prefix]) or None
    return TextTokenInput(prompt.text, bench.tokenizer, baselines=MASK_ID, skip_tokens=skipped)


def _perturbed(method: Callable[..., Any], bench: Workbench, prompt: Prompt, **options: Any) -> Array:
    torch.manual_seed(0)
    asked = LLMAttribution(method(bench.network), bench.tokenizer)
    target = bench.tensor(prompt.target_ids)
    return asked.attribute(_text(bench, prompt), target=target, **options).seq_attr.double().cpu().numpy()


def feature_ablation(bench: Workbench, prompt: Prompt, units: int) -> Array:
    """One pass per evaluation; `units` are groups of neighbouring tokens."""
    return _ablated(bench, prompt, units, **ONE_PASS)


def feature_ablation_default(bench: Workbench, prompt: Prompt, units: int) -> Array:
    """`LLMAttribution`'s default: a forward for each token of the target."""
    return _ablated(bench, prompt, units)


def _ablated(bench: Workbench, prompt: Prompt, units: int, **mode: Any) -> Array:
    groups = torch.from_numpy(prompt.groups(units))
    values = _perturbed(FeatureAblation, bench, prompt, feature_mask=groups[None].to(bench.device), **mode)
    return values[np.unique(groups.numpy(), return_index=True)[1]]  # captum repeats a group's value at its tokens


def shapley_sampling(bench: Workbench, prompt: Prompt, samples: int) -> Array:
    """One pass per evaluation, `samples` permutations."""
    return _perturbed(ShapleyValueSampling, bench, prompt, n_samples=samples, **ONE_PASS)


def kernel_shap(bench: Workbench, prompt: Prompt, samples: int) -> Array:
    """One pass per evaluation, `samples` coalitions."""
    return _perturbed(KernelShap, bench, prompt, n_samples=samples, **ONE_PASS)


def lime(bench: Workbench, prompt: Prompt, samples: int) -> Array:
    """One pass per evaluation, `samples` neighbours of the prompt, captum's own surrogate."""
    return _perturbed(Lime, bench, prompt, n_samples=samples, **ONE_PASS)


def occlusion(bench: Workbench, prompt: Prompt, window: int) -> Array:
    """A sliding window over the tokens present. `LLMAttribution` does not support it: a hand-written forward each."""
    ids, target = bench.tensor(prompt.token_ids), bench.tensor(prompt.target_ids)

    def score(present: torch.Tensor) -> torch.Tensor:
        """The target's log-probability for rows of present [row, unit]."""
        scores = []
        for row in present:
            read = ids.clone()
            read[prompt.prefix :][row == 0] = MASK_ID
            logits = bench.network(torch.cat([read, target])[None]).logits[0, -len(target) - 1 : -1]
            scores.append(logits.log_softmax(-1).gather(1, target[:, None]).sum())
        return torch.stack(scores)

    with torch.no_grad():
        values = Occlusion(score).attribute(
            torch.ones(1, prompt.units, device=bench.device), sliding_window_shapes=(window,)
        )
    return values[0].double().cpu().numpy()


def integrated_gradients(bench: Workbench, prompt: Prompt, steps: int) -> Array:
    """From the embeddings of a prompt of masks; one run of `steps` steps for each token of the target."""
    method = LayerIntegratedGradients(bench.network, bench.network.get_input_embeddings())
    asked = LLMGradientAttribution(method, bench.tokenizer)
    # Presence indicators are interpolated: 0 everywhere is the prompt of masks.
    found = asked.attribute(_text(bench, prompt), target=bench.tensor(prompt.target_ids), n_steps=steps, baselines=0)
    return found.seq_attr.detach().double().cpu().numpy()
