"""shap's explainers as their users call them on a language model: a function of texts, one padded batch per call."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.alternating import Array
from benchmarks.shapes import MASK_ID, Prompt
from benchmarks.workbench import Workbench

shap: Any = importlib.import_module("shap")  # its type annotations are incomplete


class _TargetScore:
    """The target's log-probability after each of some texts: the function users pass to shap."""

    def __init__(self, bench: Workbench, prompt: Prompt) -> None:
        self._bench = bench
        self._target = bench.tensor(prompt.target_ids)

    def __call__(self, texts: Sequence[str]) -> Array:
        """Scores [text]."""
        batch = self._bench.tokenizer(
            [str(text) for text in texts], return_tensors="pt", padding=True, add_special_tokens=False
        )
        return self.of_ids(batch["input_ids"], batch["attention_mask"])

    def of_ids(self, ids: torch.Tensor, mask: torch.Tensor) -> Array:
        """Scores [row] of token ids [row, token], padded on the left where `mask` is 0."""
        ids, mask = ids.to(self._bench.device), mask.to(self._bench.device)
        target = self._target.expand(len(ids), -1)
        ids, mask = torch.cat([ids, target], 1), torch.cat([mask, torch.ones_like(target)], 1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        with torch.no_grad():
            logits = self._bench.network(input_ids=ids, attention_mask=mask, position_ids=positions).logits
        logprobs = logits[:, -target.shape[1] - 1 : -1].log_softmax(-1)
        return logprobs.gather(2, target[..., None])[..., 0].sum(1).double().cpu().numpy()


def partition(bench: Workbench, prompt: Prompt, evaluations: int) -> Array:
    """The Partition explainer over shap's text masker, with defaults otherwise."""
    return _of_text(bench, prompt, "partition", evaluations)


def permutation(bench: Workbench, prompt: Prompt, evaluations: int) -> Array:
    """The Permutation explainer over shap's text masker."""
    return _of_text(bench, prompt, "permutation", evaluations)


def _of_text(bench: Workbench, prompt: Prompt, algorithm: str, evaluations: int) -> Array:
    np.random.seed(0)  # shap draws from the global state
    masker = shap.maskers.Text(bench.tokenizer, mask_token="<mask>", collapse_mask_token=False)  # noqa: S106 - a mask
    explainer = shap.Explainer(_TargetScore(bench, prompt), masker, algorithm=algorithm)
    return np.asarray(explainer([prompt.text], max_evals=evaluations, silent=True).values[0], dtype=float)


def exact(bench: Workbench, prompt: Prompt, players: int) -> Array:
    """The Exact explainer over the presence of groups of neighbouring tokens."""
    score, groups = _TargetScore(bench, prompt), prompt.groups(players)
    units = np.asarray(prompt.token_ids[prompt.prefix :])
    prefix = np.asarray(prompt.token_ids[: prompt.prefix], dtype=units.dtype)

    def of_present(present: NDArray[np.float64]) -> Array:
        read = np.where(present[:, groups] > 0.5, units, MASK_ID)
        ids = torch.from_numpy(np.concatenate([np.tile(prefix, (len(read), 1)), read], axis=1))
        return score.of_ids(ids, torch.ones_like(ids))

    explainer = shap.explainers.ExactExplainer(of_present, shap.maskers.Independent(np.zeros((1, players))))
    found = explainer(np.ones((1, players)), max_evals=2**players, silent=True)
    return np.asarray(found.values[0], dtype=float)
