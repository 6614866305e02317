"""Tables of head sweeps and lenses in docs/reference/measurements.md."""

from typing import Any

from benchmarks.figures import in_mb, in_seconds

# Required speed-up over the peer on the GPT-2 shape, and on the Llama shape if different.
REQUIRED: dict[str, tuple[float, float | None]] = {
    "heads_logprob": (10.0, 6.0),
    "heads_logprob_batched": (3.5, 2.7),
    "heads_logprob_hooked_transformer": (18.0, None),
    "heads_generate": (10.0, None),
    "logit_lens": (1.0, None),
}
LEAST_MEMORY = 10  # a lens may use at most one part in this many of the peer's memory

TITLES = {
    "heads_logprob": "all heads, log-probability",
    "heads_logprob_batched": "all heads, log-probability",
    "heads_logprob_hooked_transformer": "all heads, log-probability",
    "heads_logprob_transformer_bridge": "all heads, log-probability",
    "heads_generate": "all heads, 8 tokens generated",
    "logit_lens": "logit lens, 128 tokens, all layers",
    "logit_lens_memory": "logit lens, memory",
}

INTRO = (
    "Every attention head ablated alone (144 of `gpt2-small`, 180 of `llama-small`) on 8 questions of 18 to 28 "
    "tokens; an answer has 2 tokens. `demo` is trained, and a run with one head less mostly says what the clean run "
    "says: there the clean continuation, fed as a draft, is worth most. fp32; ours and the peer by turns in one "
    "process. A † marks a peer that did a part of its work (the heads of one layer), its time scaled; `--full` has it "
    "do all. “same” is the share of continuations that are equal token for token. TransformerLens is no part of the "
    "development environment; its processing of weights is off. Both of its models run `run_with_hooks`: version 4 "
    "has a TransformerBridge over the model of transformers in place of a HookedTransformer."
)


def insides_section(results: dict[str, Any], machine: str) -> list[str]:
    """The section; rows not measured are left out, those that could not be measured have the reason."""
    rows = sorted(results["rows"], key=lambda row: list(TITLES).index(row["case"]))
    skipped = [row for row in rows if "skipped" in row.get("figures", {})]
    return [
        "## Looking inside",
        "",
        machine,
        "",
        INTRO,
        "",
        "| case | model | peer | ours | peer's | times faster | required | tokens | peer's | difference |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_line(row) for row in rows if "ours_s" in row),
        "",
        *(
            f"{TITLES[row['case']]} beside {row['peer']}: not measured ({row['figures']['skipped']}).\n"
            for row in skipped
        ),
        *_memory([row for row in rows if row["case"] == "logit_lens_memory"]),
    ]


def required(case: str, model: str) -> float | None:
    """The required ratio on that shape."""
    gpt2, llama = REQUIRED.get(case, (None, None))
    return {"gpt2-small": gpt2, "llama-small": llama}.get(model)


def _line(row: dict[str, Any]) -> str:
    wanted, figures = required(row["case"], row["model"]), row.get("figures", {})
    difference = f"{figures['same']:.0%} same" if "same" in figures else ""
    if "max_abs_diff" in row:
        difference = f"{row['max_abs_diff']:.0e} of {figures['largest_value']:.2g}"
    cells = [
        TITLES[row["case"]],
        f"`{row['model']}`",
        row["peer"],
        in_seconds(row["ours_s"]),
        f"{in_seconds(row['peer_s'])}{' †' if 'peer_share' in row else ''}" if "peer_s" in row else "failed",
        f"**{row['ratio']:.1f} ×**" if "ratio" in row else "",
        "" if wanted is None else f"{wanted:.3g} ×",
        f"{row['tokens_evaluated']:,}",
        f"{row['peer_tokens_evaluated']:,}" if "peer_tokens_evaluated" in row else "",
        difference,
    ]
    return f"| {' | '.join(cells)} |"


def _memory(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"| `{row['model']}` | {f['prompt_tokens']} | {in_mb(f['ours_bytes'])} | {in_mb(f['at_once_bytes'])} "
        f"| {in_mb(f['at_once_bytes'] // LEAST_MEMORY)} | {in_mb(f['by_layer_bytes'])} |"
        for row in rows
        for f in [row["figures"]]
    ]
    if not lines:
        return []
    return [
        "The most memory a logit lens of all layers took in a process that had read a short prompt before, beside "
        "`output_hidden_states` with a softmax of all layers together, and of one after the other:",
        "",
        "| model | tokens | ours | all together | a tenth of it | one after the other |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *lines,
        "",
    ]
