"""The command behind files that are made from the code: written, or held against what they should be."""

from collections.abc import Callable
from pathlib import Path

import click


def page_command(render: Callable[[], str], about: str) -> click.Command:
    """`--write FILE` writes what `render` gives, `--check FILE` fails where the file differs; else it is printed."""

    @click.command(help=about)
    @click.option("--write", "written", type=click.Path(path_type=Path, dir_okay=False), help="Write it here.")
    @click.option(
        "--check", "checked", type=click.Path(path_type=Path, dir_okay=False), help="Fail when this is stale."
    )
    def main(written: Path | None, checked: Path | None) -> None:
        text = render()
        if written is not None:
            written.write_text(text, encoding="utf-8")
        if checked is not None and (not checked.exists() or checked.read_text(encoding="utf-8") != text):
            raise click.ClickException(f"{checked} is stale: run `make generate`.")
        if written is None and checked is None:
            click.echo(text, nl=False)

    return main
