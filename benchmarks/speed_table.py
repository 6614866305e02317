"""Tables of speed and memory in docs/reference/measurements.md."""

from typing import Any

from benchmarks.figures import in_mb, in_seconds

# Required speed-up over the peer on the GPT-2 shape; on the Llama shape three quarters of that.
REQUIRED = {
    "feature_ablation": 4.0,
    "feature_ablation_default": 50.0,
    "shapley_sampling": 3.5,
    "kernel_shap": 2.8,
    "integrated_gradients": 6.0,
    "prefix_feature_ablation": 15.0,
    "prefix_shapley_sampling": 15.0,
    "prefix_kernel_shap": 15.0,
    "prefix_lime": 15.0,
    "prefix_occlusion": 15.0,
    "prefix_shap": 15.0,
    "fast_feature_ablation": 1.5,
    "fast_kernel_shap": 1.5,
}
LLAMA_SHARE = 0.75

TITLES = {
    "feature_ablation": "feature ablation",
    "feature_ablation_default": "feature ablation",
    "feature_ablation_long": "feature ablation, 128 tokens",
    "shapley_sampling": "Shapley sampling, 25 permutations",
    "kernel_shap": "KernelSHAP, 256 samples",
    "lime": "LIME, 256 samples",
    "occlusion": "occlusion, window of 3",
    "prefix_feature_ablation": "feature ablation after 256 tokens",
    "prefix_shapley_sampling": "Shapley sampling after 256 tokens",
    "prefix_kernel_shap": "KernelSHAP after 256 tokens",
    "prefix_lime": "LIME after 256 tokens",
    "prefix_occlusion": "occlusion after 256 tokens",
    "prefix_shap": "SHAP, kernel, 256 coalitions after 256 tokens",
    "shap_partition": "SHAP, partition, 512 coalitions",
    "shap_permutation": "SHAP, permutation, 512 coalitions",
    "shap_exact": "SHAP, exact, 12 units",
    "integrated_gradients": "integrated gradients, 50 steps",
    "fast_feature_ablation": 'feature ablation, `precision: "fast"`',
    "fast_kernel_shap": 'KernelSHAP, `precision: "fast"`',
    "inseq_occlusion": "feature ablation, logits",
    "inseq_integrated_gradients": "integrated gradients, 50 steps, logits",
}

INTRO = (
    "Models of a real shape with random weights (the cost does not depend on them): `gpt2-small` is GPT-2's smallest, "
    "`llama-small` has 15 layers of the same width, grouped-query attention and a vocabulary of 32,000. A prompt of "
    "32 tokens, each a unit, and a target of 8, unless the row says otherwise; fp32; ours and the peer by turns in one "
    "process. Ours runs as in a worker, from the request to the result. Tokens are those that went through the blocks; "
    "“peak” is what ours reached of the fp32 matrix product's speed measured in the same run. The difference is "
    "the largest between the two answers, and is empty where the peer draws at random what ours draws otherwise."
)
NOTES = (
    "“after 256 tokens”: a text of 256 tokens before the prompt is always present. A † marks a peer that did "
    "a part of its work, its time scaled; `--full` has it do all. captum's default hands one model cache from "
    "evaluation to evaluation, which this version of transformers changes in place: its values are wrong, as its "
    "difference shows, and it is no reference. After a prefix the peer reads 7 to 14 times as many tokens as ours; the "
    "rest of a ratio is how much nearer ours comes to the matrix peak, so that where 15 is missed at 80 % of the peak, "
    "exact float32 has little left to give. inseq is no part of the development environment (its requirements "
    "would hold others back); where it is installed beside, its cases run."
)


def required(case: str, model: str) -> float | None:
    """The required ratio."""
    ratio = REQUIRED.get(case)
    return ratio * LLAMA_SHARE if ratio and model.startswith("llama") and not case.startswith("prefix_") else ratio


def speed_section(results: dict[str, Any], machine: str) -> list[str]:
    """The section; rows not measured are left out, those that could not be measured have the reason."""
    rows = {(row["case"], row["model"]): row for row in results["rows"]}
    ordered = [row for case in TITLES for (name, _), row in rows.items() if name == case]
    measured = [row for row in ordered if "ours_s" in row]
    if not ordered:
        return []
    return [
        "## Speed beside the peers",
        "",
        machine,
        "",
        INTRO,
        "",
        "| case | model | peer | ours | peer's | times faster | required | tokens | peer's | peak | difference |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *map(_line, measured),
        "",
        NOTES,
        "",
        *(
            f"{_title(row)} on `{row['model']}`: not measured ({row['figures']['skipped']})."
            for row in _skipped(ordered)
        ),
        *([""] if _skipped(ordered) else []),
        *_memory([row for row in results["rows"] if row["case"] == "memory"]),
    ]


def _skipped(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if "skipped" in row.get("figures", {})]


def _title(row: dict[str, Any]) -> str:
    return TITLES[row["case"]]


def _line(row: dict[str, Any]) -> str:
    wanted, largest = required(row["case"], row["model"]), row.get("figures", {}).get("largest_value")
    part = " †" if "peer_share" in row else ""
    difference = f"{row['max_abs_diff']:.0e} of {largest:.2g}" if "max_abs_diff" in row else ""
    peers = f"{in_seconds(row['peer_s'])}{part}" if "peer_s" in row else "failed"
    cells = [
        _title(row),
        f"`{row['model']}`",
        row["peer"],
        in_seconds(row["ours_s"]),
        peers,
        f"**{row['ratio']:.1f} ×**" if "ratio" in row else "",
        "" if wanted is None else f"{wanted:.3g} ×",
        f"{row['tokens_evaluated']:,}",
        f"{row['peer_tokens_evaluated']:,}" if "peer_tokens_evaluated" in row else "",
        f"{row['peak_fraction']:.0%}",
        difference,
    ]
    return f"| {' | '.join(cells)} |"


def _memory(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"| {f['coalitions']:,} of a prompt of {f['prompt_tokens']} tokens, {f['algorithm']} | `{row['model']}` "
        f"| {in_mb(f['model_bytes'])} | {in_mb(f['peak_bytes'])} | {in_mb(f['allowed_bytes'])} "
        f"| {in_seconds(f['seconds'])} |"
        for row in rows
        for f in [row["figures"]]
    ]
    if not lines:
        return []
    return [
        "The most memory a fresh process had beyond what it had before it loaded the model, coalitions and all:",
        "",
        "| coalitions | model | the model itself | at most | allowed | time with loading |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *lines,
        "",
    ]
