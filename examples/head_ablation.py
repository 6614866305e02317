"""Which attention heads does a model reason with? Every head zeroed alone, on four kinds of questions.

python examples/head_ablation.py                                   the built-in model, in a stack of its own
python examples/head_ablation.py --path FOLDER                     a model of a directory (Llama, GPT-2, …)
python examples/head_ablation.py --url URL --model NAME            a model of a running service
    [--sets arithmetic multistep logic gsm8k] [--ablation zero] [--top 5] [--new-tokens 16] [--out head-ablation]

For each set of questions: how many the model answers rightly and in which ways it fails; what the log-probability of
the right answer loses without each head, with intervals over the questions; and how it fails without the heads that
matter most. Everything is printed, and kept in a folder: the results as JSON, the reports as pages, the grids of
layers by heads as SVG.
"""

import argparse
from pathlib import Path
from typing import Any

from own_service import add_arguments, ended, keep, service_of

from explaind import Client
from explaind.views.drawing.grids import Grid, grid_svg

SETS = ("arithmetic", "multistep", "logic", "gsm8k")


def baseline(client: Client, asked: dict[str, Any], new_tokens: int) -> Any:
    """How the whole model answers the set: the job, ended."""
    return ended(client.evaluate.questions.submit(**asked, max_new_tokens=new_tokens, activations=True))


def every_head(client: Client, asked: dict[str, Any], ablation: Any) -> Any:
    """What the answers of the set lose without each head: the job, ended."""
    return ended(client.explain.head_ablation.submit(**asked, ablation=ablation, metric="logprob"))


def failures_without(client: Client, asked: dict[str, Any], ablation: Any, heads: Any, new_tokens: int) -> Any:
    """What the model says without each of these heads, and how it fails: the job, ended."""
    return ended(
        client.explain.head_ablation.submit(
            **asked, ablation=ablation, metric="accuracy", heads=heads, max_new_tokens=new_tokens
        )
    )


def told_baseline(name: str, found: Any) -> str:
    """One line about how a set was answered."""
    total = found.total
    failed = ", ".join(f"{f.count} {f.category.replace('_', ' ')}" for f in found.failures if f.count) or "none"
    return (
        f"{name}: {total.right} of {total.count} right ({total.accuracy:.0%}, 95 % interval {total.low:.0%} to "
        f"{total.high:.0%}); failures: {failed}"
    )


def told_heads(found: Any, top: int) -> list[str]:
    """The heads whose loss costs most, a line each."""
    ranking = found.ranking
    lines = []
    for place in range(min(top, len(ranking.effects))):
        low, high = ranking.low[place], ranking.high[place]
        interval = "" if low is None or high is None else f" ({low:+.2f} to {high:+.2f})"
        head = f"layer {ranking.layers[place]}, head {ranking.heads[place]}"
        lines.append(f"  {head}: {ranking.effects[place]:+.2f} nats{interval}")
    return lines


def told_failures(found: Any) -> list[str]:
    """How the answers fail with and without single heads, a line each."""
    failures = found.failures

    def counts(of: list[int]) -> str:
        return (
            ", ".join(f"{n} {c.replace('_', ' ')}" for n, c in zip(of, failures.categories, strict=True) if n) or "none"
        )

    rows = zip(failures.components, failures.ablated, strict=True)
    return [f"  whole model fails: {counts(failures.clean)}", *(f"  without {p}: {counts(f)}" for p, f in rows)]


def picture(found: Any, title: str) -> str:
    """Layers by heads as SVG: what the answers lose without each head."""
    rows, columns = [str(i) for i in range(found.layers)], [str(i) for i in range(found.heads)]
    return str(grid_svg(Grid(found.grid, rows, columns), title=title))


def main() -> None:
    """Ask, ablate, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--ablation", choices=("zero", "mean", "resample"), default="zero")
    parser.add_argument("--top", type=int, default=5, help="how many heads are told of")
    parser.add_argument("--new-tokens", type=int, default=16, help="the longest answer")
    parser.add_argument("--out", type=Path, default=Path("head-ablation"), help="the folder for what is found")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with service_of(options) as (url, model), Client(url) as client:
        for name in options.sets:
            asked = {"model": model, "questions": name}
            answered = baseline(client, asked, options.new_tokens)
            print(told_baseline(name, answered.result))
            swept = every_head(client, asked, options.ablation)
            ranking = swept.result.ranking
            print("  the right answer loses most without", *told_heads(swept.result, options.top), sep="\n")
            heads = list(zip(ranking.layers, ranking.heads, strict=True))[: options.top]
            failed = failures_without(client, asked, options.ablation, heads, options.new_tokens)
            print(*told_failures(failed.result), sep="\n")
            for part, job in (("answers", answered), ("heads", swept), ("failures", failed)):
                keep(options.out, f"{name}-{part}", job)
            title = f"{name}: log-probability lost without each head, {model}"
            (options.out / f"{name}-heads.svg").write_text(picture(swept.result, title), encoding="utf-8")
    print(f"Results, reports and grids are in {options.out}.")


if __name__ == "__main__":
    main()
