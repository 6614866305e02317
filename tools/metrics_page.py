"""The table of metrics in the docs: `python -m tools.metrics_page --write FILE`, or `--check FILE`."""

from pathlib import Path

import click

from explaind_service.metrics import names

BEGIN, END = "<!-- metrics: written by tools.metrics_page -->", "<!-- end of metrics -->"


def render_table() -> str:
    """Every metric, in the order of the table of names."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        for metric in names.ALL
    ]
    return "\n".join(["| metric | kind | labels | |", "| --- | --- | --- | --- |", *rows])


def with_table(page: str) -> str:
    """The page with the table as it should be.

    Raises:
        ValueError: the page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"The page has no place for the table: it must hold {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{render_table()}\n\n{END}{after}"


@click.command()
@click.option("--write", "written", type=click.Path(path_type=Path, dir_okay=False), help="Put the table in here.")
@click.option("--check", "checked", type=click.Path(path_type=Path, dir_okay=False), help="Fail when this is stale.")
def main(written: Path | None, checked: Path | None) -> None:
    """Write the table of metrics into a page, or hold a page against it."""
    if written is not None:
        written.write_text(with_table(written.read_text(encoding="utf-8")), encoding="utf-8")
    if checked is not None and checked.read_text(encoding="utf-8") != with_table(checked.read_text(encoding="utf-8")):
        raise click.ClickException(f"{checked} is stale: run python -m tools.metrics_page --write {checked}")
    if written is None and checked is None:
        click.echo(render_table())


if __name__ == "__main__":
    main()
