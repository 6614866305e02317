"""Terminal view of a lens: the last positions as a grid, and the tracked tokens by layer."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from explaind.cli.views.fields import show_facts
from explaind.cli.views.prompt import painted
from explaind.contract.blocks.lens import DecodedStream, LensReading
from explaind.views.drawing.palette import POSITIVE, on_paper
from explaind.views.drawing.text import number, one_line, percent
from explaind.views.lens import asked
from explaind.views.parts.lens_grid import stream_name
from explaind.views.registry import View

_QUIET = "dim"
_CELL, _EDGE = 10, 8  # characters of a column, and of the margin left of the columns


def show_lens(console: Console, result: LensReading) -> None:
    """Writes the layer × position grid of the likeliest tokens, last layer on top, as many positions as fit."""
    stream = max(
        (stream for stream in reversed(result.streams) if stream.stream != "resid_pre"),
        key=lambda stream: len(stream.layers),
    )
    columns = max(1, (console.width - _EDGE) // (_CELL + 1))
    count = len(result.positions.index)
    chosen = range(max(0, count - columns), count)
    title = stream_name(stream) if len(chosen) == count else f"{stream_name(stream)}, last {len(chosen)} positions"
    console.print(Text(title, style=_QUIET))
    console.print(_grid(result, stream, chosen, colour=console.color_system is not None))
    console.print()
    console.print(_tracked(result, result.streams.index(stream)))
    show_facts(console, asked(result))


def _grid(result: LensReading, stream: DecodedStream, chosen: range, *, colour: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    table.add_column("layer", justify="right", style=_QUIET, no_wrap=True)
    for _ in chosen:
        table.add_column(width=_CELL, no_wrap=True)
    for place in reversed(range(len(stream.layers))):
        cells = []
        for column in chosen:
            text = one_line(result.tokens.get(stream.top_ids[place][column][0], "?"), _CELL).ljust(_CELL)
            chance = stream.top_probabilities[place][column][0]
            cells.append(Text(text, style=painted(on_paper(POSITIVE, chance)) if colour else ""))
        table.add_row(str(stream.layers[place]), *cells)
    texts = [Text(one_line(result.positions.text[column], _CELL), style=_QUIET) for column in chosen]
    table.add_row("token", *texts)
    return table


def _tracked(result: LensReading, stream: int) -> Table:
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("token")
    for head in ("probability", "log-prob"):
        table.add_column(head, justify="right")
    table.add_column("rank by layer", style=_QUIET)
    for token in result.tracked:
        final = token.streams[-1]
        ranks = " ".join(f"{row[-1]:,}" for row in token.streams[stream].ranks)
        table.add_row(
            Text.assemble(f"“{one_line(token.text, 30)}”", (f" {token.role}", _QUIET)),
            percent(final.probabilities[-1][-1]),
            number(final.logprobs[-1][-1]),
            ranks,
        )
    return table


VIEW = View(LensReading, terminal=show_lens)
