"""Table of an accelerator's results in docs/reference/measurements.md."""

from typing import Any

from benchmarks import insides_table, speed_table
from benchmarks.figures import in_seconds

INTRO = (
    "In bfloat16, ours and the peer by turns in one process, the median of the runs; the rest is as above. "
    "`llama-1b` has the shape of Llama-3.2-1B (16 layers of 2,048, a vocabulary of 128,256), with random weights that "
    "make values and their rounding large: in bfloat16 two ways to one number differ as the last column says, in "
    "float32 the numbers of every method are those of a CPU (`pytest -m gpu tests/gpu`). A small model is all starting "
    "of kernels, which is why sharing and batching gain more here than on a CPU. The lens also reports "
    "entropies, divergences and the text of every token, which the notebook's loop does not compute, and takes twice "
    "as long. Generated tokens: two runs, the first with cold kernels."
)


def gpu_section(results: list[dict[str, Any]]) -> list[str]:
    """The section of all areas measured on one accelerator."""
    machine = results[0]["machine"]
    rows = [row for area in results for row in area["rows"] if "ours_s" in row]
    titles = {**speed_table.TITLES, **insides_table.TITLES}
    ordered = [row for case in titles for row in rows if row["case"] == case]
    return [
        "## On a GPU",
        "",
        f"{machine['accelerator']}, {machine['cores']} cores, PyTorch {machine['torch']}, {machine['dtype']}.",
        "",
        INTRO,
        "",
        "| case | model | peer | ours | peer's | times faster | difference |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
        *(_line(row, titles[row["case"]]) for row in ordered),
        "",
    ]


def _line(row: dict[str, Any], title: str) -> str:
    part = " †" if "peer_share" in row else ""
    figures = row.get("figures", {})
    difference = f"{row['max_abs_diff']:.1g} of {figures['largest_value']:.2g}" if "max_abs_diff" in row else ""
    if "same" in figures:
        difference = f"{figures['same']:.0%} the same"
    cells = [
        title,
        f"`{row['model']}`",
        row["peer"],
        in_seconds(row["ours_s"]),
        f"{in_seconds(row['peer_s'])}{part}",
        f"**{row['ratio']:.1f} ×**",
        difference,
    ]
    return f"| {' | '.join(cells)} |"
