"""Terminal view of logit attributions and attention patterns."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from explaind.cli.views.fields import show_facts
from explaind.cli.views.grids import show_grid
from explaind.contract.blocks.attribution_result import ScoredText
from explaind.contract.methods.explain.attention import AttentionPatterns
from explaind.contract.methods.explain.logit_attribution import LogitAttribution
from explaind.views.attention import MOST_DRAWN, TITLES, asked, caption, pattern_grid
from explaind.views.attention import summary as attention_summary
from explaind.views.drawing.text import number, one_line, percent, signed
from explaind.views.logit_attribution import asked as logit_asked
from explaind.views.logit_attribution import heads_grid
from explaind.views.logit_attribution import summary as logit_summary
from explaind.views.registry import View

_QUIET = "dim"
_MOST_ROWS = 12


def show_logit_attribution(console: Console, result: LogitAttribution) -> None:
    """Writes the query, the grid of heads and MLPs, and the strongest components."""
    said = Text.assemble("What writes ", (_quoted(result.target), "bold"))
    if result.foil is not None:
        said.append(" rather than ").append(_quoted(result.foil), style="bold")
    console.print(said.append(f": logit {signed(result.logit)}"), soft_wrap=True)
    console.print()
    show_grid(console, heads_grid(result))
    console.print()
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("component")
    table.add_column("adds", justify="right")
    for component in result.ranking[:_MOST_ROWS]:
        table.add_row(Text(component.name), signed(component.value))
    console.print(table)
    console.print(Text(logit_summary(result), style=_QUIET), soft_wrap=True)
    show_facts(console, logit_asked(result))


def show_attention(console: Console, result: AttentionPatterns) -> None:
    """Writes the matrices of some heads, and the heads of a known kind."""
    for pattern in result.patterns[: MOST_DRAWN // 3]:
        console.print(Text(caption(result, pattern), style="bold"), soft_wrap=True)
        show_grid(console, pattern_grid(result, pattern))
        console.print()
    table = Table(box=None, padding=(0, 1), header_style=_QUIET)
    table.add_column("head")
    table.add_column("kind")
    table.add_column("score", justify="right")
    table.add_column("on sinks", justify="right", style=_QUIET)
    for label in result.labels[:_MOST_ROWS]:
        sink = percent(min(1.0, result.scores.sink[label.layer][label.head]))
        table.add_row(label.name, TITLES[label.label].lower(), number(label.score), sink)
    console.print(table if result.labels else Text(attention_summary(result), style=_QUIET))
    show_facts(console, asked(result))


def _quoted(text: ScoredText) -> str:
    return f"“{one_line(''.join(token.text for token in text.explained_tokens))}”"


VIEWS = (
    View(LogitAttribution, terminal=show_logit_attribution),
    View(AttentionPatterns, terminal=show_attention),
)
