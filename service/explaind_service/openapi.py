"""The OpenAPI document as a file: `python -m explaind_service.openapi --write FILE`, or `--check FILE`."""

import json
from pathlib import Path

import click

from explaind_service.app import create_app
from explaind_service.settings import ServiceSettings


def render_openapi() -> str:
    """The document of a service with default settings, the same on every machine; needs no Redis."""
    # Not from the environment: the file must not depend on who writes it.
    document = create_app(ServiceSettings.model_construct()).openapi()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@click.command()
@click.option("--write", "written", type=click.Path(path_type=Path, dir_okay=False), help="Write the document here.")
@click.option("--check", "checked", type=click.Path(path_type=Path, dir_okay=False), help="Fail when this is stale.")
def main(written: Path | None, checked: Path | None) -> None:
    """Render the OpenAPI document to a file, to standard output, or against a file."""
    document = render_openapi()
    if written is not None:
        written.write_text(document, encoding="utf-8")
    if checked is not None and (not checked.exists() or checked.read_text(encoding="utf-8") != document):
        raise click.ClickException(f"{checked} is stale: run python -m explaind_service.openapi --write {checked}")
    if written is None and checked is None:
        click.echo(document, nl=False)


if __name__ == "__main__":
    main()
