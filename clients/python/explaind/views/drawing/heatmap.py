"""Heat map of an attribution: the prompt's text, each unit on the colour of its value.

Drawn from the prompt and the units' offsets, never from the units' joined texts: repeated words, line breaks and the
text between units are preserved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from explaind.contract.blocks.attribution_result import Attribution, Replacement, ScoredText
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.palette import diverging_css, largest, scale_html, share_of
from explaind.views.drawing.text import number, one_line, plural, shown, signed

_TEXT = "font-size:1.15em;line-height:2;white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext"
_UNIT = "border-radius:3px;padding:.2em 0;box-decoration-break:clone;-webkit-box-decoration-break:clone"
_CHIP = "white-space:pre-wrap;border:1px solid rgba(128,128,128,.4);border-radius:4px;padding:0 .3em"


@dataclass(frozen=True)
class Piece:
    """A span of the prompt with its units (usually one), or without any."""

    text: str
    units: tuple[int, ...] = ()
    value: float | None = None
    inserted: bool = False  # represents units without characters


def pieces(attribution: Attribution) -> list[Piece]:
    """The whole prompt, split where units begin and end.

    Units that share characters (tokens of one emoji) form one piece with the sum of their values. Units without
    characters (a start token) are pieces that show their own text.
    """
    found: list[Piece] = []
    prompt, cursor = attribution.prompt, 0
    for index in sorted(range(len(attribution.units)), key=lambda i: (attribution.units[i].start, i)):
        unit, value = attribution.units[index], attribution.values[index]
        start, end = max(0, unit.start), min(unit.end, len(prompt))
        if start >= end:
            found.append(Piece(unit.text or unit.name or "?", (index,), value, inserted=True))
            continue
        if start < cursor:
            _share(found, prompt, index, value, max(cursor, end))
        else:
            if start > cursor:
                found.append(Piece(prompt[cursor:start]))
            found.append(Piece(prompt[start:end], (index,), value))
        cursor = max(cursor, end)
    if cursor < len(prompt):
        found.append(Piece(prompt[cursor:]))
    return found


def _share(found: list[Piece], prompt: str, index: int, value: float, end: int) -> None:
    """Merges a unit that begins within the prompt's last piece into that piece."""
    at = max(i for i, piece in enumerate(found) if not piece.inserted)
    begun = sum(len(piece.text) for piece in found[:at] if not piece.inserted)
    last = found[at]
    found[at] = Piece(prompt[begun:end], (*last.units, index), (last.value or 0.0) + value)


def tooltip(attribution: Attribution, piece: Piece) -> str:
    """The value of a piece as text: one line per unit."""
    lines = []
    for index in piece.units:
        unit = attribution.units[index]
        error = attribution.standard_errors[index] if attribution.standard_errors else None
        spread = "" if error is None else f" ± {number(error)}"
        name = one_line(unit.name or unit.text)
        role = f" ({unit.role})" if unit.role else ""
        lines.append(f"{name}{role}: {signed(attribution.values[index])}{spread}")
    return "\n".join(lines)


def heatmap_html(attribution: Attribution) -> Markup:
    """The coloured prompt alone, with inline styles."""
    scale = largest(attribution.values)
    drawn = [_drawn(attribution, piece, scale) for piece in pieces(attribution)]
    # The text comes last in its element and pieces are not separated: all white space belongs to the prompt.
    return tag("div", drawn, dir="auto", style=_TEXT)


def question(attribution: Attribution) -> Markup:
    """What was explained, as a sentence."""
    if attribution.labels is not None:
        words: list[Node] = ["What speaks for ", text_chip(attribution.target)]
    else:
        words = ["What speaks for ", answer_chip(attribution.target)]
    if attribution.foil is not None:
        words += [" rather than ", answer_chip(attribution.foil)]
    elif attribution.labels is not None:
        others = [label for label in attribution.labels if label.text != attribution.target.text]
        words += [" rather than ", *(node for label in others for node in (text_chip(label), " "))]
    return join([*words, tag("span", f" ({attribution.score})", style="opacity:.75")])


def summary(attribution: Attribution) -> str:
    """The scores of the attribution, in one line."""
    summed = f" · values added up by {attribution.summed_from}" if attribution.summed_from else ""
    return (
        f"score {number(attribution.base_value)} with every unit absent → "
        f"{number(attribution.full_value)} with all {plural(len(attribution.units), 'unit')} · "
        f"{attribution.algorithm}, {work_in_words(attribution)} · "
        f"completeness gap {number(attribution.completeness_gap)}{summed}"
    )


def work_in_words(attribution: Attribution) -> str:
    """How much was evaluated, and how many points of a path the values come from."""
    points = "" if attribution.n_steps is None else f"{plural(attribution.n_steps, 'point')} of the path, "
    return points + plural(attribution.evaluations, "evaluation")


def legend_html(attribution: Attribution) -> Markup:
    """The colour scale, symmetric around 0."""
    scale = largest(attribution.values)
    return scale_html(
        [diverging_css(step / 4) for step in range(-4, 5)],
        f"speaks against {signed(-scale)}",
        f"{signed(scale)} speaks for",
    )


def _drawn(attribution: Attribution, piece: Piece, scale: float) -> Markup:
    if piece.value is None:
        return tag("span", shown(piece.text), style="opacity:.55")
    colour = diverging_css(share_of(piece.value, scale))
    style = f"background:{colour};{_UNIT};print-color-adjust:exact;-webkit-print-color-adjust:exact"
    if piece.inserted:
        style += ";border:1px dashed rgba(128,128,128,.6);font-size:.75em;margin:0 .2em"
    return tag("span", shown(piece.text), title=tooltip(attribution, piece), style=style)


def text_chip(text: ScoredText) -> Markup:
    """A continuation in a frame, with its white space preserved."""
    return tag("code", one_line(text.text), style=_CHIP, dir="auto")


def baseline_words(baseline: Replacement) -> str:
    """What stands for an absent unit, its text where it has one, and how that text was put in."""
    if baseline.text is None:
        return baseline.choice
    placed = [
        repr(one_line(text.text)) + (f" for {plural(len(text.units), 'unit')}" if text.units else "")
        for text in baseline.placed
        if len(baseline.placed) > 1 or text.text != baseline.text
    ]
    put_in = f", put in as {', '.join(placed)}" if placed else ""
    return f"{baseline.choice} ({one_line(baseline.text)!r}{put_in})"


def scored_node(text: ScoredText) -> Node:
    """A continuation with its log-probability, and that of each token where these are several."""
    known = [f"{one_line(token.text)} {number(token.logprob)}" for token in text.tokens if token.logprob is not None]
    tokens = tag("small", f" ({', '.join(known)})") if len(known) > 1 else None
    return join([answer_chip(text), f" log-probability {number(text.logprob)}", tokens])


def labels_node(labels: Sequence[ScoredText] | None) -> Node:
    """A closed set of answers, each with its log-probability; None where there is none."""
    return join([tag("div", scored_node(label)) for label in labels]) if labels else None


def answer_chip(text: ScoredText) -> Markup:
    """The explained span of a continuation, and the continuation if it is longer."""
    if text.explained is None:
        return text_chip(text)
    part = "".join(token.text for token in text.explained_tokens)
    return join([tag("code", one_line(part), style=_CHIP, dir="auto"), " in ", text_chip(text)])
