"""Generator of the table of metrics in docs/operate/observability.md, from the table of metric names."""

from explaind_service.metrics.names import ALL
from tools import ROOT

PAGE = ROOT / "docs" / "operate" / "observability.md"
BEGIN, END = "<!-- metrics: written by make generate -->", "<!-- end of metrics -->"


def render_table() -> str:
    """Every metric, in the order of the table of names."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        for metric in ALL
    ]
    return "\n".join(["| metric | kind | labels | |", "| --- | --- | --- | --- |", *rows])


def with_table(page: str) -> str:
    """The page with the current table.

    Raises:
        ValueError: the page lacks the markers of the table.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"The page has no place for the table: it must hold {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{render_table()}\n\n{END}{after}"


def rendered_page() -> str:
    """docs/operate/observability.md with the current table."""
    return with_table(PAGE.read_text(encoding="utf-8"))
