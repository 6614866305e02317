"""HTML view of attention: a small matrix per head, and every head's scores by layer and head."""

from explaind.contract.methods.explain.attention import AttentionPatterns, HeadPattern, Scores
from explaind.views.drawing.cards import facts, notebook_frame, section, tiles
from explaind.views.drawing.grids import Grid, grid_svg
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import number, one_line, percent, plural
from explaind.views.registry import View

_SIDE_BY_SIDE = "display:flex;flex-wrap:wrap;gap:14px 28px;align-items:flex-start"
_NOTE = "opacity:.75;font-size:.9em;margin:.3em 0"
_HOW = (
    "A row is a token that looks, a column one that is looked at; sinks are tokens that heads rest on when they have "
    "nothing to do. More: docs/guide/logit-attribution-and-attention.md."
)
MOST_DRAWN, MOST_TOKENS = 12, 48  # heads per page, and positions along each side of a matrix

TITLES = {
    "previous_token": "Previous token",
    "duplicate_token": "Duplicate token",
    "induction": "Induction",
    "first_token": "First token",
    "current_token": "Current token",
}


def pattern_grid(result: AttentionPatterns, pattern: HeadPattern) -> Grid:
    """Query × key of one head, the last positions of a long prompt; sinks are excluded from the scale."""
    rows = list(range(len(result.queries)))[-MOST_TOKENS:]
    last = max(result.queries[row] for row in rows) if rows else 0
    keys = range(max(0, last + 1 - MOST_TOKENS), last + 1)
    values = [[_weight(pattern, row, key) for key in keys] for row in rows]
    sinks = {place for place, key in enumerate(keys) if key in result.sinks}
    # If all positions are sinks, they stay in the scale.
    apart = {(row, place) for row in range(len(rows)) for place in sinks} if len(sinks) < len(keys) else set()
    return Grid(
        values,
        [result.tokens[result.queries[row]] for row in rows],
        [result.tokens[key] for key in keys],
        row_kind="query",
        column_kind="key",
        diverging=False,
        apart=frozenset(apart),
    )


def _weight(pattern: HeadPattern, row: int, key: int) -> float | None:
    weights = pattern.weights[row]
    return weights[key] if key < len(weights) else None


def score_grids(result: AttentionPatterns) -> list[tuple[str, Grid]]:
    """Every score by layer and head, with its title; the probe's if it has one."""
    scores, probe = result.scores, result.probe
    found: list[tuple[str, Scores | None]] = [
        (TITLES["previous_token"], scores.previous_token),
        (TITLES["duplicate_token"], scores.duplicate_token),
        (TITLES["induction"], scores.induction),
        ("Induction, probe", probe and probe.induction),
        ("Duplicate token, probe", probe and probe.duplicate_token),
        ("Previous token, probe", probe and probe.previous_token),
        (TITLES["first_token"], scores.first_token),
        ("Sinks", scores.sink),
        (TITLES["current_token"], scores.current_token),
    ]
    grids = [(title, _scores(values, 1.0)) for title, values in found if values]
    return [*grids, ("Entropy, nats", _scores(scores.entropy, None))]


def _scores(values: Scores, scale: float | None) -> Grid:
    rows, columns = range(len(values)), range(len(values[0]) if values else 0)
    return Grid(values, [*map(str, rows)], [*map(str, columns)], diverging=False, scale=scale)


def notebook(result: AttentionPatterns) -> Markup:
    """The patterns for a notebook."""
    return notebook_frame(
        "attention",
        _patterns(result),
        tag("div", summary(result), style=_NOTE),
    )


def sections(result: AttentionPatterns) -> list[Markup]:
    """The cards of the report."""
    drawn = min(MOST_DRAWN, len(result.patterns))
    note = "grey: sinks, which have no part in the colours"
    if drawn < len(result.patterns):
        note = f"the first {drawn} of {len(result.patterns)} heads; {note}"
    grids = [
        tag(
            "figure", tag("figcaption", title), grid_svg(grid, title=title), style="margin:0;min-width:0;max-width:100%"
        )
        for title, grid in score_grids(result)
    ]
    cards = [
        section("Where they look", _patterns(result), note=note, how=_HOW, class_="flow") if result.patterns else None,
        tiles(_tiles(result)),
        section(
            "What kind of heads they are",
            tag("div", grids, style=_SIDE_BY_SIDE),
            note="mean attention, from 0 to 1",
            how="Every head of every layer: how much it attends to the place that makes it a head of this kind.",
            class_="flow",
        ),
        section("Heads of a known kind", _labels_table(result), class_="flow") if result.labels else None,
        section("What was read", facts(asked(result))),
    ]
    return [card for card in cards if card is not None]


def asked(result: AttentionPatterns) -> dict[str, Node]:
    """What was read, and what makes a head one of a kind."""
    probe = result.probe
    sinks = ", ".join(f"{one_line(result.tokens[at])} ({at})" for at in result.sinks)
    return {
        "Prompt": tag("span", one_line(result.prompt, 2000), dir="auto"),
        "Sinks (tokens that heads rest on)": sinks or "none",
        "A head is of a kind": f"from a score of {number(result.threshold)}",
        "Probe": f"{plural(probe.tokens, 'random token')}, repeated once; seed {probe.seed}" if probe else None,
    }


def caption(result: AttentionPatterns, pattern: HeadPattern) -> str:
    """A head's name, its kinds, and its attention to the sinks."""
    kinds = ", ".join(TITLES[label].lower() for label in pattern.labels)
    sink = result.scores.sink[pattern.layer][pattern.head]
    return f"{pattern.name}{f' ({kinds})' if kinds else ''}, sinks {percent(min(1.0, sink))}"


def summary(result: AttentionPatterns) -> str:
    """The heads of a known kind in one line."""
    found = [f"{label.name} {TITLES[label.label].lower()} {number(label.score)}" for label in result.labels[:8]]
    more = len(result.labels) - len(found)
    return " · ".join([*found, *([f"and {more} more"] if more else [])]) or "No head is of a known kind."


def _patterns(result: AttentionPatterns) -> Markup:
    figures = [
        tag(
            "figure",
            tag("figcaption", caption(result, pattern)),
            grid_svg(pattern_grid(result, pattern), title=f"Attention of {pattern.name}"),
            style="margin:0;min-width:0;max-width:100%",
        )
        for pattern in result.patterns[:MOST_DRAWN]
    ]
    return tag("div", figures, style=_SIDE_BY_SIDE)


def _tiles(result: AttentionPatterns) -> dict[str, tuple[str, str | None]]:
    by_kind = {kind: [label for label in result.labels if label.label == kind] for kind in TITLES}
    return {
        f"{TITLES[kind]} heads": (str(len(found)), f"clearest {found[0].name}" if found else None)
        for kind, found in by_kind.items()
    }


def _labels_table(result: AttentionPatterns) -> Markup:
    rows = [
        tag(
            "tr",
            tag("td", tag("code", label.name)),
            tag("td", TITLES[label.label]),
            tag("td", number(label.score), class_="num"),
            tag("td", percent(min(1.0, result.scores.sink[label.layer][label.head])), class_="num quiet"),
        )
        for label in result.labels
    ]
    return table(["Head", "Kind", "Score", "On sinks"], rows)


def heading(result: AttentionPatterns) -> Markup:
    """The shown patterns as a sentence."""
    said = one_line(result.prompt, 120)
    return join([f"Where {plural(len(result.patterns), 'head')} look in ", tag("code", said, dir="auto")])


VIEW = View(AttentionPatterns, heading=lambda _, result: heading(result), notebook=notebook, sections=sections)
