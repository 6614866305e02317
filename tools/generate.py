"""Every generated file of the repository, by path, with the function that renders it.

python -m tools.generate --write [PATH ...]    write the files that are stale
python -m tools.generate --check [PATH ...]    exit with 1 where a file is stale
"""

from collections.abc import Callable, Mapping

import click

from benchmarks.faults_table import rendered_page as faults_page
from benchmarks.page import rendered_page as measurements_page
from benchmarks.soak import rendered_page as soak_page
from explaind_service.openapi import render_openapi
from tools import ROOT
from tools.code_map import rendered_page as code_map
from tools.methods_page import rendered_page as methods_page
from tools.metrics_page import rendered_page as observability_page
from tools.request_forms import DICTS_PATH, KEYWORDS_PATH, rendered_dicts, rendered_keywords
from tools.sdk_exports import HOMES_PATH, STUB_PATH, rendered_homes, rendered_stub
from tools.sdk_methods import rendered_methods
from tools.settings_page import rendered_page as settings_page
from tools.sync_client import sync_modules

FILES: Mapping[str, Callable[[], str]] = {
    "clients/python/explaind/_async/methods.py": rendered_methods,
    **sync_modules(),
    DICTS_PATH: rendered_dicts,
    KEYWORDS_PATH: rendered_keywords,
    HOMES_PATH: rendered_homes,
    STUB_PATH: rendered_stub,
    "docs/reference/code-map.md": code_map,
    "docs/reference/methods.md": methods_page,
    "docs/reference/openapi.json": render_openapi,
    "docs/operate/observability.md": observability_page,
    "docs/operate/settings.md": settings_page,
    "docs/reference/measurements.md": measurements_page,
    "docs/operate/failures.md": faults_page,
    "docs/operate/load.md": soak_page,
}


def stale(paths: list[str]) -> dict[str, str]:
    """The expected content of each of these paths, relative to the root, whose file is missing or differs."""
    rendered = {path: FILES[path]() for path in paths}
    return {path: text for path, text in rendered.items() if _present(path) != text}


def _present(path: str) -> str | None:
    file = ROOT / path
    return file.read_text(encoding="utf-8") if file.exists() else None


@click.command(help="Write or check the generated files.")
@click.argument("paths", nargs=-1, type=click.Choice(list(FILES)), metavar="[PATH]...")
@click.option("--write/--check", "write", default=None, help="Write the stale files, or fail where there are any.")
def main(paths: tuple[str, ...], write: bool | None) -> None:
    """Writes or checks the files at `paths`; without any, all of them."""
    if write is None:
        raise click.UsageError("Give --write or --check.")
    found = stale(list(paths or FILES))
    for path, text in found.items():
        if write:
            (ROOT / path).write_text(text, encoding="utf-8")
        click.echo(f"{path} {'is written' if write else 'is stale: run `make generate`'}.", err=not write)
    if found and not write:
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main()
