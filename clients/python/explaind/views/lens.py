"""HTML view of a lens: layer × position grids of the decoded predictions, and tokens tracked through the layers."""

import math
from collections.abc import Sequence

from explaind.contract.blocks.lens import DecodedStream, LensReading, TrackedToken
from explaind.views.drawing.cards import facts, notebook_frame, section, tiles
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.line_chart import Axis, Line, line_chart
from explaind.views.drawing.palette import NEGATIVE, POSITIVE, RGB, SURPRISE, css
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import number, one_line, percent, plural
from explaind.views.parts.lens_grid import (
    MOST_CELLS,
    MOST_NOTEBOOK_CELLS,
    cut_note,
    kept_columns,
    lens_grid,
    stream_name,
)
from explaind.views.registry import View

MOST_LINES = 6
_HOW = (
    "Each cell is the token that the model would say next if it stopped after that layer; below stands the text, the "
    "last layer is on top."
)
_CURVES = "The tokens followed, layer by layer: where a line comes to the top, the model has made up its mind."
_RANK = "rank, 0 is the likeliest: the axis runs downward"
_QUIET = "opacity:.75;font-size:.9em;margin:.3em 0"
_HUES: tuple[RGB, ...] = (POSITIVE, NEGATIVE, SURPRISE, (40, 150, 90), (200, 160, 20), (120, 120, 130))


def heading(result: LensReading) -> Markup:
    """The decoded positions as a sentence."""
    said = next((token for token in result.tracked if token.role == "target"), None)
    if said is None:
        return join(["What each layer would say"])
    return join(["On the way to ", tag("code", one_line(result.target or said.text, 60), dir="auto")])


def notebook(result: LensReading) -> Markup:
    """The lens for a notebook: the grids of its streams as far as these are small, and the followed tokens."""
    streams = _drawn_streams(result)
    if kept_columns(result, streams, MOST_NOTEBOOK_CELLS).start:
        streams = streams[:1]
    columns = kept_columns(result, streams, MOST_NOTEBOOK_CELLS)
    return notebook_frame(
        "lens",
        tag("div", tag("b", heading(result)), f" {stream_name(streams[0])}, {cut_note(result, columns)}"),
        tag("div", _HOW, style=_QUIET),
        lens_grid(result, streams, most=MOST_NOTEBOOK_CELLS, notebook=True),
        tag("div", _figures(result), style="display:flex;flex-wrap:wrap;gap:12px"),
        wide=True,
    )


def sections(result: LensReading) -> list[Markup]:
    """The cards of the report."""
    streams = _drawn_streams(result)
    note = cut_note(result, kept_columns(result, streams, MOST_CELLS))
    figures = _figures(result)
    cards = [
        section(
            "What each layer would say",
            lens_grid(result, streams),
            how=f"{_HOW} More: docs/guide/lenses.md.",
            note=f"{note}; point at a cell, or click it, for its {plural(result.top, 'likeliest token')}",
            class_="flow",
        ),
        tiles(_tiles(result)),
        section("Through the layers", tag("div", figures, class_="charts"), how=_CURVES) if figures else None,
        section("Tokens followed", _tracked_table(result), class_="flow") if result.tracked else None,
        section("Layers", _layers_table(result), note="means over the positions", class_="flow"),
        section("What was read", facts(asked(result))),
    ]
    return [card for card in cards if card is not None]


def asked(result: LensReading) -> dict[str, Node]:
    """What was read, and how much of it."""
    streams = ", ".join(map(stream_name, result.streams))
    return {
        "Prompt": tag("span", one_line(result.prompt, 2000), dir="auto"),
        "Target": None if result.target is None else tag("span", one_line(result.target, 400), dir="auto"),
        "Decoded": f"{streams}; the model has {plural(result.layer_count, 'layer')}",
        "Listed": f"the {plural(result.top, 'likeliest token')} of each place",
    }


def _drawn_streams(result: LensReading) -> list[DecodedStream]:
    """The streams that have a grid of their own, the main one first."""
    streams = [stream for stream in result.streams if stream.stream != "resid_pre"]
    return sorted(streams, key=lambda stream: stream is not _main(result))


def _main(result: LensReading) -> DecodedStream:
    """The main stream of the view: resid_post, unless only its last layer is included."""
    candidates = [stream for stream in result.streams if stream.stream != "resid_pre"]
    return max(reversed(candidates), key=lambda stream: len(stream.layers))


def _tiles(result: LensReading) -> dict[str, tuple[str, str | None]]:
    stream = _main(result)
    settled = stream.settled_layer[-1]
    numbers: dict[str, tuple[str, str | None]] = {
        "At the last position": (
            "in none" if settled is None else f"layer {settled}",
            f"the final token is on top from here on, of {result.layer_count} layers",
        )
    }
    for token in result.tracked[:3]:
        chance = token.streams[-1].probabilities[-1][-1]
        numbers[f"{one_line(token.text, 20)} ({token.role})"] = (
            percent(chance),
            f"in the end, rank {token.streams[-1].ranks[-1][-1]:,}",
        )
    return numbers


def _figures(result: LensReading) -> list[Markup]:
    """Curves over the layers of the main stream; none for a single layer."""
    stream = _main(result)
    which = result.streams.index(stream)
    if len(stream.layers) < 2:
        return []
    tracked = result.tracked[:MOST_LINES]
    followed = list(enumerate((token, token.streams[which]) for token in tracked))
    layers = Axis("layer", whole=True)

    def line(label: str, values: list[float], place: int) -> Line:
        return Line(label, values, stream.layers, _hue(place))

    figures = []
    if followed:
        lines = [line(_name(token), [row[-1] for row in found.logprobs], at) for at, (token, found) in followed]
        figures.append(line_chart(lines, title="log-probability, nats", x=layers))
        lines = [line(_name(token), [_depth(row[-1]) for row in found.ranks], at) for at, (token, found) in followed]
        figures.append(line_chart(lines, title=_RANK, x=layers, y=_rank_axis([y for line in lines for y in line.y])))
    sums = [
        line("entropy", [row[-1] for row in stream.entropy], 0),
        line("KL to the final distribution", [row[-1] for row in stream.divergence], 1),
    ]
    title = "entropy and divergence at the last position, nats"
    return [*figures, line_chart(sums, title=title, x=layers, y=Axis(low=0.0))]


def _depth(rank: int) -> float:
    """Vertical position of a rank, on a logarithmic scale below rank 0."""
    return -math.log10(1 + rank)


def _rank_axis(depths: Sequence[float]) -> Axis:
    """Axis of ranks 0, 10, 100 … downwards, as far as needed."""
    ranks = [0, *(10**power for power in range(1, 7))]
    deepest = next((rank for rank in ranks if _depth(rank) <= min(depths)), ranks[-1])
    ticks = {_depth(rank): f"{rank:,}" for rank in ranks}
    return Axis("", _depth(max(deepest, 10)), 0.0, ticks=ticks, written=lambda y: f"{10**-y - 1:,.0f}")


def _name(token: TrackedToken) -> str:
    return f"{one_line(token.text, 20)} ({token.role})"


def _hue(place: int) -> str:
    return css(_HUES[place % len(_HUES)])


def _tracked_table(result: LensReading) -> Markup:
    """The rank of each token by layer, at the last position where it was tracked."""
    stream = _main(result)
    which = result.streams.index(stream)
    rows = []
    for token in result.tracked:
        found = token.streams[which]
        index = result.positions.index[token.positions[-1]]
        ranks = " ".join(f"{row[-1]:,}" for row in found.ranks)
        rows.append(
            tag(
                "tr",
                tag("td", tag("code", one_line(token.text, 30)), tag("small", f" {token.role}")),
                tag("td", str(index), class_="num quiet"),
                tag("td", percent(token.streams[-1].probabilities[-1][-1]), class_="num"),
                tag("td", ranks, style="overflow-wrap:anywhere"),
            )
        )
    return table(["Token", "Position", "Probability", f"Rank by layer ({stream_name(stream)})"], rows)


def _layers_table(result: LensReading) -> Markup:
    rows = [
        tag(
            "tr",
            tag("td", stream_name(stream)),
            tag("td", str(layer), class_="num quiet"),
            tag("td", percent(stream.agreement[place]), class_="num"),
            tag("td", number(_mean(stream.divergence[place])), class_="num"),
            tag("td", number(_mean(stream.entropy[place])), class_="num"),
        )
        for stream in result.streams
        for place, layer in enumerate(stream.layers)
    ]
    return table(["Stream", "Layer", "Final token on top", "KL to the final", "Entropy"], rows)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / max(1, len(values))


VIEW = View(LensReading, heading=lambda _, result: heading(result), notebook=notebook, sections=sections)
