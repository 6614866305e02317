"""HTML view of a logit attribution: layers by heads, the strongest components, the cumulative logit."""

from explaind.contract.blocks.attribution_result import ScoredText
from explaind.contract.methods.explain.logit_attribution import LogitAttribution, TokenContributions
from explaind.views.drawing.bars import Bar, bars_html
from explaind.views.drawing.cards import facts, notebook_frame, section, tiles
from explaind.views.drawing.grids import Grid, grid_svg
from explaind.views.drawing.heatmap import scored_node
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.line_chart import Axis, Line, line_chart
from explaind.views.drawing.palette import diverging_css, largest, share_of
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import number, one_line, plural, signed
from explaind.views.registry import View

_NOTE = "opacity:.75;font-size:.9em;margin:.3em 0"
MOST_BARS = 20


def heading(result: LogitAttribution) -> Markup:
    """The split logit as a sentence."""
    against = [" rather than ", _chip(result.foil)] if result.foil is not None else []
    return join(["What writes ", _chip(result.target), *against])


def _chip(text: ScoredText) -> Markup:
    return tag("code", one_line("".join(token.text for token in text.explained_tokens), 60), dir="auto")


def heads_grid(result: LogitAttribution) -> Grid:
    """Layer × head, with the MLP as the last column, preceded by the attention's bias if there is one."""
    biased = any(result.attention_bias)
    rows = [
        [*heads, *([result.attention_bias[layer]] if biased else []), result.mlp_out[layer]]
        for layer, heads in enumerate(result.heads)
    ]
    heads = len(result.heads[0]) if result.heads else 0
    columns = [*map(str, range(heads)), *(["bias"] if biased else []), "MLP"]
    return Grid(rows, [str(layer) for layer in range(len(rows))], columns)


def _growth_chart(result: LogitAttribution) -> Markup:
    """The cumulative logit over the layers, after embedding and biases."""
    names = ["before", *(str(layer) for layer in range(len(result.mlp_out)))]
    line = Line("logit", result.accumulated)
    y = Axis(low=0.0, high=0.0, written=signed)
    return line_chart([line], title="The logit as it grows", x=Axis("layer", names=names), y=y, size=(640, 200))


def notebook(result: LogitAttribution) -> Markup:
    """The attribution for a notebook."""
    return notebook_frame(
        "logit-attribution",
        tag("div", heading(result), f": logit {signed(result.logit)}"),
        grid_svg(heads_grid(result), title="Contributions by layer and head"),
        tag("div", summary(result), style=_NOTE),
        _growth_chart(result),
    )


def sections(result: LogitAttribution) -> list[Markup]:
    """The cards of the report."""
    bars = [Bar(label=c.name, place=rank + 1, value=c.value) for rank, c in enumerate(result.ranking[:MOST_BARS])]
    cards = [
        section(
            "Where it was written",
            grid_svg(heads_grid(result), title="Contributions by layer and head"),
            note="each head and MLP: orange raises the logit, blue lowers it",
            how="All cells, the embedding and the biases add up to the logit. "
            "More: docs/guide/logit-attribution-and-attention.md.",
        ),
        tiles(_tiles(result)),
        section("The strongest components", bars_html(bars, title="The strongest components")) if bars else None,
        section(
            "How it grew",
            _growth_chart(result),
            note="the sum after each layer, with the final norm's scale held; before: embedding and biases",
        ),
        section("Every token", _columns_table(result.by_target), class_="flow") if len(result.by_target) > 1 else None,
        section("What was asked", facts(asked(result))),
    ]
    return [card for card in cards if card is not None]


def summary(result: LogitAttribution) -> str:
    """The contributions in one line."""
    heads = sum(sum(row) for row in result.heads)
    embedding = result.embed + (result.pos_embed or 0.0)
    parts = [
        f"embedding {signed(embedding)}",
        f"heads {signed(heads)}",
        f"MLPs {signed(sum(result.mlp_out))}",
        f"biases {signed(result.bias + sum(result.attention_bias))}",
        f"gap {number(result.gap)}",
    ]
    return " · ".join(parts)


def _tiles(result: LogitAttribution) -> dict[str, tuple[str, str | None]]:
    capped = None if result.capped_logit is None else f"{signed(result.capped_logit)} behind the soft cap"
    heads = sum(sum(row) for row in result.heads)
    count = sum(map(len, result.heads))
    return {
        "Logit" if result.foil is None else "Difference of logits": (signed(result.logit), capped),
        "Heads": (signed(heads), f"{plural(count, 'head')} together"),
        "MLPs": (signed(sum(result.mlp_out)), plural(len(result.mlp_out), "layer")),
        "Left by rounding": (number(result.gap), "logit − sum"),
    }


def _columns_table(columns: list[TokenContributions]) -> Markup:
    """One row per token: its logit, and the contribution of each kind of component."""
    rows = []
    for place, column in enumerate(columns):
        found = [
            column.embed + (column.pos_embed or 0.0),
            sum(sum(row) for row in column.heads),
            sum(column.mlp_out),
            column.bias + sum(column.attention_bias),
        ]
        scale = largest([column.logit, *found])
        rows.append(
            tag(
                "tr",
                tag("td", str(place + 1), class_="num quiet"),
                tag(
                    "td",
                    tag("code", one_line(column.text, 40)),
                    tag("small", " foil, sign turned") if column.sign < 0 else None,
                ),
                [
                    tag("td", signed(v), class_="num", style=f"background:{diverging_css(share_of(v, scale))}")
                    for v in (column.logit, *found)
                ],
                tag("td", number(column.gap), class_="num quiet"),
                tag("td", "" if column.capped_logit is None else signed(column.capped_logit), class_="num quiet"),
            )
        )
    return table(["#", "Token", "Logit", "Embedding", "Heads", "MLPs", "Biases", "Gap", "Capped"], rows)


def asked(result: LogitAttribution) -> dict[str, Node]:
    """What was asked, and the parts that belong to no layer."""
    return {
        "Prompt": tag("span", one_line(result.prompt, 400), dir="auto"),
        "Target": scored_node(result.target),
        "Foil": scored_node(result.foil) if result.foil else None,
        "Behind the soft cap": None if result.capped_logit is None else signed(result.capped_logit),
        "Token embedding": signed(result.embed),
        "Position embedding": None if result.pos_embed is None else signed(result.pos_embed),
        "Biases of norm and unembedding": signed(result.bias),
    }


VIEW = View(LogitAttribution, heading=lambda _, result: heading(result), notebook=notebook, sections=sections)
