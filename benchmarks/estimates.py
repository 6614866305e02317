"""Accuracy of estimates: estimated over actual cost; a ratio of 1 is exact."""

from collections.abc import Callable
from typing import Any

from benchmarks.rows import Row
from benchmarks.service import stack_for_cases
from benchmarks.settings import Settings
from explaind import Client

REVIEW = {"prompt": "Review: The food was great. Sentiment:", "target": " positive"}
STORY = {"prompt": "When Mary and John went to the store John gave drinks to", "target": " Mary"}
WARM = 4  # jobs from which the worker learns before the first estimate
RUNS = 9

JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "shap_exact": ("explain/shap", {**STORY, "algorithm": "exact"}),
    "shap_kernel": ("explain/shap", {**STORY, "algorithm": "kernel", "budget": 512}),
    "shap_permutation": ("explain/shap", {**STORY, "algorithm": "permutation", "budget": 512}),
    "feature_ablation": ("explain/feature-ablation", REVIEW),
    "generate": ("infer/generate", {"prompt": "47 + 38 =", "max_new_tokens": 2}),
    "score": ("infer/score", STORY),
}


def estimated_and_actual() -> list[Row]:
    """Each job estimated right before it runs: ratios of forwards, tokens and seconds, estimated over actual."""
    with stack_for_cases() as stack, Client(stack.url) as client:
        for _ in range(WARM):
            for path, fields in JOBS.values():
                _carried_out(client, path, fields)
        return [_row(client, name, path, fields) for name, (path, fields) in JOBS.items()]


def _row(client: Client, name: str, path: str, fields: dict[str, Any]) -> Row:
    ratios: list[dict[str, float]] = []
    actual = 0.0
    for _ in range(RUNS):
        said = client.estimate(path, {"model": "demo", **fields})
        timing = _carried_out(client, path, fields)
        actual = timing.seconds
        ratios.append(
            {
                "forwards": said.forwards / timing.forwards,
                "tokens": said.tokens_evaluated / timing.tokens_evaluated,
                "seconds": said.seconds / timing.seconds,
            }
        )
    figures = {of: sorted(round(ratio[of], 2) for ratio in ratios)[RUNS // 2] for of in ratios[0]}
    within = sum(1 / 1.5 <= ratio["seconds"] <= 1.5 for ratio in ratios)
    return Row(f"estimate_{name}", "demo", ours_s=actual, figures={**figures, "seconds_within_1.5": f"{within}/{RUNS}"})


def _carried_out(client: Client, path: str, fields: dict[str, Any]) -> Any:
    timing = client.submit(path, {"model": "demo", **fields}, fresh=True).wait(timeout=600).timing
    if timing is None or not timing.seconds:
        raise RuntimeError(f"{path} says nothing of its time")
    return timing


CASES = {"estimates": estimated_and_actual}


def cases(_settings: Settings) -> dict[str, Callable[[], list[Row]]]:
    """Every case of the area by name."""
    return CASES
