"""Terminal view of an attribution's prompt: each unit on the colour of its value."""

from rich.style import Style
from rich.text import Text

from explaind.contract.blocks.attribution_result import Attribution, ScoredText
from explaind.views.drawing.heatmap import pieces
from explaind.views.drawing.palette import FAINT, RGB, diverging_on_paper, largest, share_of
from explaind.views.drawing.text import one_line, shown


def question(result: Attribution) -> Text:
    """What was explained, as a sentence."""
    asked = Text("What speaks for ").append_text(_answer(result.target, whole=result.labels is not None))
    if result.foil is not None:
        asked.append(" rather than ").append_text(_answer(result.foil))
    elif result.labels is not None:
        others = [label.text for label in result.labels if label.text != result.target.text]
        asked.append(" rather than " + ", ".join(_quoted(text) for text in others))
    return Text.assemble(asked, (f"  ({result.score})", "dim"))


def _answer(text: ScoredText, *, whole: bool = False) -> Text:
    """A continuation; if only a span of it is explained, with that span marked."""
    if text.explained is None or whole:
        return Text(_quoted(text.text), style="bold")
    part = "".join(token.text for token in text.explained_tokens)
    return Text.assemble((_quoted(part), "bold"), " in ", _quoted(text.text))


def _quoted(text: str) -> str:
    return f"“{one_line(text)}”"


def coloured_prompt(attribution: Attribution, *, colour: bool) -> Text:
    """The prompt with each unit on the colour of its value; without colour, strong units carry signs."""
    scale = largest(attribution.values)
    text = Text()
    for piece in pieces(attribution):
        drawn = shown(piece.text)
        if piece.value is None:
            text.append(drawn, style="dim")
            continue
        share = share_of(piece.value, scale)
        if not colour:
            text.append(drawn + _signs(share))
        elif abs(share) < FAINT:
            text.append(drawn)
        else:
            text.append(drawn, style=painted(diverging_on_paper(share)))
    return text


def _signs(share: float) -> str:
    """(+++) to (---), one sign per third of the scale; empty for faint values."""
    if abs(share) < 0.1:
        return ""
    return f"({('+' if share > 0 else '-') * min(3, 1 + int(abs(share) * 3))})"


def painted(colours: tuple[RGB, RGB]) -> Style:
    """Background and foreground colours as a terminal style."""
    (back, fore) = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in colours)
    return Style(color=fore, bgcolor=back)
