"""Terminal view of a tuned lens, compared with the logit lens, and of the training of one."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from explaind.cli.views.fields import show_facts
from explaind.cli.views.lens import show_lens
from explaind.contract.methods.explain.tuned_lens import TunedLens
from explaind.contract.methods.train.tuned_lens import TunedLensTraining
from explaind.views.drawing.text import number, plural, shown
from explaind.views.parts.lens_grid import NAMES
from explaind.views.registry import View
from explaind.views.tuned_lens import made, origin

_QUIET = "dim"


def show_tuned_lens(console: Console, result: TunedLens) -> None:
    """Writes the grid of a lens, and its divergence from the final layer next to the logit lens's."""
    show_lens(console, result)
    names = [(stream.stream, layer) for stream in result.streams for layer in stream.layers]
    plain = [_mean(row) for stream in result.logit_lens for row in stream.divergence]
    tuned = [_mean(row) for stream in result.streams for row in stream.divergence]
    console.print(_table(names, plain, tuned))
    show_facts(console, origin(result))


def show_lens_training(console: Console, result: TunedLensTraining) -> None:
    """Writes both lenses' divergence on the held-out texts, and the new lens's artifact."""
    held = result.held_out
    console.print(Text(f"{result.lens.id}  {shown(result.lens.name)}", style="bold"), soft_wrap=True)
    console.print(_table(list(zip(held.streams, held.layers, strict=True)), held.logit_lens, held.tuned_lens))
    how = f"{plural(result.steps, 'step')} of {result.optimizer}, {plural(result.tokens, 'token')}"
    measured = f"measured on {plural(held.texts, 'held-out text')}"
    _say(console, [f"{how}, ended by {result.finish_reason}; {measured}"])
    checks = zip(result.history.check_steps, result.history.held_out_kl, strict=True)
    _say(console, ["held-out KL by step: " + ", ".join(f"{step:,}: {number(kl)}" for step, kl in checks)])
    show_facts(console, made(result))


def _table(names: Sequence[tuple[str, int]], plain: Sequence[float], tuned: Sequence[float]) -> Table:
    table = Table("stream", "layer", "KL, logit lens", "KL, tuned lens", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for (stream, layer), before, after in zip(names, plain, tuned, strict=True):
        table.add_row(NAMES.get(stream, shown(stream)), str(layer), number(before), number(after))
    return table


def _say(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(Text(shown(line), style=_QUIET), soft_wrap=True)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / max(1, len(values))


VIEWS = (
    View(TunedLens, terminal=show_tuned_lens),
    View(TunedLensTraining, terminal=show_lens_training),
)
