"""The grid of a lens: layer × position, every position, colours by choice, streams by choice; without a script.

Radio buttons and `:has` switch colours and streams, so it works under a policy that allows no script. Where a notebook
drops the stylesheet the cells keep their colour by probability and every stream is shown.
"""

import html
import zlib
from collections.abc import Sequence

from explaind.contract.blocks.lens import DecodedStream, LensReading
from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.palette import POSITIVE
from explaind.views.drawing.text import one_line, percent
from explaind.views.parts.lens_measures import Measure, Places, Scale, measures_of, solid_css

MOST_CELLS = 24_000  # of a report: about 4 MB
MOST_NOTEBOOK_CELLS = 4_000  # of a notebook, which keeps its outputs
TOKEN_CHARS = 12  # of a token that a cell shows

NAMES = {
    "resid_pre": "embedding",
    "attn_out": "attention output",
    "resid_mid": "after attention",
    "mlp_out": "MLP output",
    "resid_post": "block output",
}

_PAPER = "var(--card,var(--jp-layout-color0,var(--vscode-editor-background,Canvas)))"
_PANE = "overflow:auto;max-height:85vh;direction:rtl"  # where it is too wide its end shows: what comes next
_TABLE = (
    "direction:ltr;width:auto;margin-left:0;margin-right:auto;border-collapse:separate;border-spacing:1px;"
    "background:none"
)
_CELL = "padding:2px 4px;white-space:pre;font:11px ui-monospace,Menlo,Consolas,monospace;text-align:center;border:0"
_LAYER = f"position:sticky;left:0;z-index:1;background:{_PAPER}"
_TOKEN = f"position:sticky;bottom:0;z-index:1;background:{_PAPER};font-weight:600"
_CORNER = f"position:sticky;left:0;bottom:0;z-index:2;background:{_PAPER}"
_RULES = f"""
.lens .pick{{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:13px;margin:0 0 6px;align-items:baseline}}
.lens .pick b{{font-weight:500;opacity:.75}}.lens label{{cursor:pointer}}.lens input{{margin:0 4px 0 0}}
.lens .how{{font-size:12.5px}}.lens td:focus{{outline:2px solid currentColor;outline-offset:-2px}}
.lens table td,.lens table th{{{_CELL}}}.lens table{{{_TABLE}}}.lens td{{cursor:default}}
.lens tbody th{{{_LAYER}}}.lens tfoot th{{{_TOKEN}}}.lens tfoot th:first-child{{{_CORNER}}}
.lens td:focus::after{{content:attr(title);position:fixed;right:16px;bottom:16px;z-index:9;padding:8px 12px;
white-space:pre;text-align:left;font-size:12px;background:{_PAPER};border:1px solid rgba(128,128,128,.6);
border-radius:6px;box-shadow:0 2px 12px rgba(0,0,0,.3)}}
"""


def lens_grid(
    result: LensReading, streams: Sequence[DecodedStream], *, most: int = MOST_CELLS, notebook: bool = False
) -> Markup:
    """The grids of the streams, with the switches for colour and, where there are several, for the stream.

    `most` cells at most, of the last positions; what is cut is said. `notebook` writes the colour by probability into
    each cell as well.
    """
    columns = kept_columns(result, streams, most)
    measures = measures_of(result)
    # Names are unique within a notebook, whose outputs are one page.
    page = f"{zlib.crc32(result.model_dump_json().encode()):08x}" if notebook else "lens"
    panes = [
        tag("div", stream_table(result, stream, columns, inline=notebook), class_=f"of of-{stream.stream}")
        for stream in streams
    ]
    picks = [
        _picks("Colour", [(f"by-{m.key}", m.name) for m in measures], f"colour-{page}"),
        _picks("Stream", [(f"of-{s.stream}", stream_name(s)) for s in streams], f"stream-{page}")
        if len(streams) > 1
        else None,
    ]
    how = tag("div", [measure.legend for measure in measures], class_="how")
    style = tag("style", Markup(_RULES + _switches(measures, streams)))
    return tag("div", style, picks, panes, how, class_="lens")


def kept_columns(result: LensReading, streams: Sequence[DecodedStream], most: int) -> range:
    """The positions that are drawn: all, or as many of the last as `most` cells hold."""
    rows = sum(len(stream.layers) for stream in streams) + 1
    count = len(result.positions.index)
    return range(max(0, count - max(1, most // rows)), count)


def stream_table(result: LensReading, stream: DecodedStream, columns: Sequence[int], *, inline: bool = False) -> Markup:
    """Layer × position, the last layer on top: the likeliest token of each place over its colour."""
    scale = Scale.of(result.streams)
    places = range(len(stream.layers) - 1, -1, -1)
    rows = [_row(stream.layers[place], Places(result, stream, place, scale), columns, inline) for place in places]
    embedding = next((other for other in result.streams if other.stream == "resid_pre"), None)
    if embedding is not None and stream.stream == "resid_post":
        rows.append(_row("emb.", Places(result, embedding, 0, scale), columns, inline))
    tokens = [_token(result, stream, column, inline) for column in columns]
    foot = tag("tfoot", tag("tr", tag("th", "token", style=_CORNER if inline else None, scope="row"), tokens))
    table = tag("table", tag("tbody", rows), foot, style=_TABLE if inline else None)
    return tag("div", table, class_="pane", style=_PANE, tabindex=0, role="region", aria_label=stream_name(stream))


def stream_name(stream: DecodedStream) -> str:
    """What people call the stream."""
    return NAMES.get(stream.stream, stream.stream)


def _row(name: int | str, places: Places, columns: Sequence[int], inline: bool) -> Markup:
    cells = [_cell(places, column, inline) for column in columns]
    return tag("tr", tag("th", str(name), style=_LAYER if inline else None, scope="row"), cells)


def _cell(places: Places, column: int, inline: bool) -> Markup:
    """One place: its token, the strengths of its colours, and the tokens listed there when it is pointed at."""
    listed = [f"{one_line(text)}  {percent(chance)}" for text, chance in places.listed(column)]
    said = html.escape("\n".join([*listed, places.numbers(column)]))
    found = places.strengths(column)
    style = ";".join(f"--{key}:{strength}" for key, strength in found.items())
    if inline:
        style += f";text-align:center;background:{solid_css(POSITIVE, found['p'])}"
    text = html.escape(one_line(places.listed(column)[0][0], TOKEN_CHARS), quote=False)
    # Thousands of these: written without the detour over `tag`.
    return Markup(f'<td tabindex="0" title="{said}" style="{style}">{text}</td>')


def _token(result: LensReading, stream: DecodedStream, column: int, inline: bool) -> Markup:
    """A token of the text below its column, with what it is and where the final token came up above it."""
    positions = result.positions
    kinds = {
        "special token": positions.special[column],
        "written by the chat template": positions.template[column],
        "part of the target": positions.in_target[column],
    }
    lines = [f"{one_line(positions.text[column])}  position {positions.index[column]}, id {positions.token_id[column]}"]
    lines += [kind for kind, holds in kinds.items() if holds]
    first, settled = stream.first_layer[column], stream.settled_layer[column]
    lines.append("final token never on top" if first is None else f"final token first on top in layer {first}")
    lines += [] if settled is None else [f"and stays there from layer {settled}"]
    style = (_TOKEN if inline else "") + (
        ";font-style:italic" if positions.special[column] or positions.template[column] else ""
    )
    style += ";text-decoration:underline" if positions.in_target[column] else ""
    return tag("th", one_line(positions.text[column], TOKEN_CHARS), title="\n".join(lines), style=style or None)


def _picks(title: str, choices: Sequence[tuple[str, str]], group: str) -> Markup:
    """Radio buttons, the first of them chosen."""
    inputs = [
        tag(
            "label",
            tag("input", type="radio", name=group, value=value, checked="checked" if not place else None),
            text,
        )
        for place, (value, text) in enumerate(choices)
    ]
    return tag("div", tag("b", title), inputs, class_="pick", role="radiogroup", aria_label=title)


def _switches(measures: Sequence[Measure], streams: Sequence[DecodedStream]) -> str:
    """The rules that show what is chosen; a browser without `:has` shows everything, by probability."""
    rules = [f".lens td{{background:{_varying(measures[0])}}}", "@supports selector(:has(a)){"]
    hidden = ".lens .by" + (",.lens .of" if len(streams) > 1 else "")
    rules.append(f"{hidden}{{display:none}}")
    for measure in measures:
        chosen = f".lens:has([value=by-{measure.key}]:checked)"
        rules.append(
            f"{chosen} td{{background:{_varying(measure)}!important}}{chosen} .by-{measure.key}{{display:block}}"
        )
    for stream in streams if len(streams) > 1 else []:
        rules.append(f".lens:has([value=of-{stream.stream}]:checked) .of-{stream.stream}{{display:block}}")
    return "\n".join([*rules, "}"])


def _varying(measure: Measure) -> str:
    red, green, blue = measure.hue
    return f"rgb({red} {green} {blue}/calc(var(--{measure.key})*1%))"


def cut_note(result: LensReading, columns: range) -> str:
    """How many positions are drawn, where that is not all of them."""
    count = len(result.positions.index)
    if len(columns) == count:
        return "by layer and position"
    return f"the last {len(columns):,} of {count:,} positions; the result itself has all"
