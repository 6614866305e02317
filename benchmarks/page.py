"""Generator of docs/reference/measurements.md, from the committed results of the benchmarks."""

import json
from pathlib import Path
from typing import Any

from benchmarks import gpu_table, insides_table, speed_table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"

HEAD = """# Measurements

Written by `make generate` from `benchmarks/results/`. Measure again with
`python -m benchmarks AREA --json benchmarks/results/AREA.json`, AREA one of service, attribution, insides and
estimates; attribution and insides on a GPU with `--device cuda --dtype bfloat16` and
`AREA_gpu.json`. Absolute times are those of the machine named above each table; ratios and errors travel better.
"""


def rendered_page() -> str:
    """The page, in Markdown."""
    service, attribution = _read("service"), _read("attribution")
    speed = speed_table.speed_section(attribution, _machine(attribution))
    insides = _read("insides")
    inside = insides_table.insides_section(insides, _machine(insides))
    gpu = gpu_table.gpu_section([_read("attribution_gpu"), _read("insides_gpu")])
    return (
        "\n".join([HEAD, *_service(service), *speed, *_accuracy(attribution), "", *inside, *gpu, *_estimates()]) + "\n"
    )


def _read(area: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{area}.json").read_text(encoding="utf-8"))


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine"]
    return f"{machine['cores']} cores ({machine['processor']}), Python {machine['python']}, no GPU."


def _service(results: dict[str, Any]) -> list[str]:
    rows = {row["case"]: row for row in results["rows"]}
    up, shap = rows["up_ready"]["figures"], rows["shap_exact_12_words"]["figures"]
    start, threads = rows["create_to_start"]["figures"], rows["threads_beside_a_busy_process"]
    lines = [
        ("`explaind up` until the API answers and a worker is live", up["ready_s"]),
        ("… until the first answer of the demo model", up["first_answer_s"]),
        ("exact SHAP of 12 words (4,096 coalitions) on `demo`, SDK call to typed result", shap),
        ("acceptance to start of the work, idle service", start),
        (
            "a job of 10 ms: POST with `Prefer: wait` to its answer, less the 10 ms",
            rows["overhead_of_a_small_job"]["figures"],
        ),
    ]
    posts, events = rows["post_rate"]["figures"], rows["sse_fanout"]["figures"]
    return [
        "## The service",
        "",
        _machine(results),
        "",
        "| | median | fastest | slowest | runs |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {what} | {_s(f['p50'])} | {_s(f['min'])} | {_s(f['max'])} | {f['runs']} |" for what, f in lines),
        "",
        f"`POST /infer/tokenize` by {posts['clients']} clients at once, API, Redis and clients on the same two cores: "
        f"{posts['per_second']} jobs accepted a second, p50 {_s(posts['p50'])}, p99 {_s(posts['p99'])}.",
        "",
        f"Progress events to {events['clients']} clients, each following a job of its own: {events['per_second']} a "
        f"second, p50 {_s(events['p50'])}, p99 {_s(events['p99'])} from the worker's call to the client.",
        "",
        "A batch of 256 rows of 16 tokens through `demo` while another process computes: "
        f"{_s(threads['ours_s'])} with threads that wait passively (what the worker sets), "
        f"{_s(threads['peer_s'])} with threads that spin, a ratio of {threads['ratio']}.",
        "",
    ]


def _accuracy(results: dict[str, Any]) -> list[str]:
    rows = [row for row in results["rows"] if row["case"].startswith("accuracy_at_")]
    if not rows:
        return []
    names = [name for name in rows[0]["figures"] if name != "largest_value"]
    largest = max(row["figures"]["largest_value"] for row in rows)
    return [
        "## Accuracy at equal evaluations",
        "",
        "RMS error of Shapley values against the exact ones, 12 words of a prompt of `demo`, "
        f"three tasks, 40 seeds each. The largest value is {largest}.",
        "",
        f"| evaluations | {' | '.join(names)} |",
        f"| --- |{' --- |' * len(names)}",
        *(
            f"| {row['case'].removeprefix('accuracy_at_')} | "
            + " | ".join(f"{row['figures'][name]:.3f}" for name in names)
            + " |"
            for row in rows
        ),
        "",
        "`kernel` and `permutation` are explaind's.",
    ]


def _estimates() -> list[str]:
    results = _read("estimates")
    return [
        "## Estimates beside what then happened",
        "",
        _machine(results),
        "",
        "Each job of `demo` estimated right before it runs, on a worker that has run some; estimate over actual, the "
        "median of nine. “within 1.5” counts the jobs whose seconds were told within a factor of 1.5.",
        "",
        "| job | it took | forwards | tokens | seconds | within 1.5 |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {row['case'].removeprefix('estimate_').replace('_', ' ')} | {_s(row['ours_s'])} | {f['forwards']} "
            f"| {f['tokens']} | {f['seconds']} | {f['seconds_within_1.5']} |"
            for row in results["rows"]
            for f in [row["figures"]]
        ),
        "",
    ]


def _s(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"
