"""Commands about files: `explaind datasets upload|list|show|delete`, `explaind artifacts list|show|download|delete`."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import click
from rich.table import Table
from rich.text import Text

from explaind.cli.help import Group
from explaind.cli.session import (
    Session,
    id_argument,
    json_option,
    messages,
    output,
    pass_session,
    url_option,
    write_json,
    write_plain,
)
from explaind.contract.files import ArtifactCard, ArtifactPage, DatasetCard, DatasetPage, FileCard
from explaind.views.drawing.text import one_line, size

CardT = TypeVar("CardT", bound=FileCard)

MOST_CHARS = 60

limit_option = click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Most files to list."
)
dataset_argument = id_argument(
    "dataset_id",
    "DATASET",
    "ds",
    "`explaind datasets upload FILE` makes a dataset of a file; `explaind datasets list` shows the ids.",
)
artifact_argument = id_argument("artifact_id", "ARTIFACT", "art", "`explaind artifacts list` shows the ids.")


@click.command(cls=Group)
def datasets() -> None:
    """Datasets: upload, list, show and delete them."""


@datasets.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", metavar="NAME", help="What to call it.  [default: the file's name]")
@json_option
@url_option
@pass_session
def upload(session: Session, *, file: Path, name: str | None, as_json: bool, url: str | None) -> None:
    """Upload FILE (.jsonl, .json, .csv, .tsv or .parquet) and write the id by which requests name it."""
    with session.connect(url) as client:
        card = client.datasets.upload(file, name=name)
    if as_json:
        write_json(card.model_dump_json(indent=2))
    else:
        write_plain(card.id)
    messages().print(f"{card.rows:,} rows: {one_line(', '.join(card.columns))}", style="dim", soft_wrap=True)


@datasets.command("list")
@limit_option
@json_option
@url_option
@pass_session
def list_datasets(session: Session, *, limit: int, as_json: bool, url: str | None) -> None:
    """List datasets, newest first."""
    with session.connect(url) as client:
        found, more = _some(client.datasets.list(page_size=min(limit, 100)), limit)
    if as_json:
        write_json(DatasetPage(data=found, has_more=more).model_dump_json(indent=2))
        return
    rows = [(card.id, card.name, f"{card.rows:,}", ", ".join(card.columns), *_common(card)) for card in found]
    _show(("dataset", "name", "rows", "columns", "size", "created"), rows, "No datasets.")
    _say_more(limit, more=more)


@datasets.command("show")
@dataset_argument
@json_option
@url_option
@pass_session
def show_dataset(session: Session, *, dataset_id: str, as_json: bool, url: str | None) -> None:
    """Show a dataset and its first rows."""
    with session.connect(url) as client:
        seen = client.datasets.get(dataset_id)
    if as_json:
        write_json(seen.model_dump_json(indent=2))
        return
    output().print(Text(f"{seen.id}  {one_line(seen.name)}, {seen.rows:,} rows", style="bold"), soft_wrap=True)
    columns = list(seen.preview[0]) if seen.preview else []
    rows = [["" if value is None else str(value) for value in row.values()] for row in seen.preview]
    _show(columns, rows, "")


@datasets.command("delete")
@dataset_argument
@url_option
@pass_session
def delete_dataset(session: Session, *, dataset_id: str, url: str | None) -> None:
    """Delete a dataset."""
    with session.connect(url) as client:
        client.datasets.delete(dataset_id)
    write_plain(f"{dataset_id} deleted")


@click.command(cls=Group)
def artifacts() -> None:
    """Artifacts, the files made by jobs: list, show, download and delete them."""


@artifacts.command("list")
@limit_option
@json_option
@url_option
@pass_session
def list_artifacts(session: Session, *, limit: int, as_json: bool, url: str | None) -> None:
    """List artifacts, newest first."""
    with session.connect(url) as client:
        found, more = _some(client.artifacts.list(page_size=min(limit, 100)), limit)
    if as_json:
        write_json(ArtifactPage(data=found, has_more=more).model_dump_json(indent=2))
        return
    rows = [(card.id, card.kind, card.model, card.name, *_common(card)) for card in found]
    _show(("artifact", "kind", "model", "name", "size", "created"), rows, "No artifacts.")
    _say_more(limit, more=more)


@artifacts.command("show")
@artifact_argument
@json_option
@url_option
@pass_session
def show_artifact(session: Session, *, artifact_id: str, as_json: bool, url: str | None) -> None:
    """Show what an artifact is, and which job made it."""
    with session.connect(url) as client:
        card = client.artifacts.get(artifact_id)
    if as_json:
        write_json(card.model_dump_json(indent=2))
        return
    said = f"{card.id}  {card.kind} of {card.model}, {card.name}, {size(card.bytes)}, made by {card.job or 'nobody'}"
    output().print(Text(one_line(said)), soft_wrap=True)


@artifacts.command()
@artifact_argument
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it.  [default: the artifact's name, here]",
)
@url_option
@pass_session
def download(session: Session, *, artifact_id: str, out: Path | None, url: str | None) -> None:
    """Write an artifact to a file."""
    with session.connect(url) as client:
        # The name comes from elsewhere: its folders are dropped, so the file is written to the current one.
        place = out or Path(Path(client.artifacts.get(artifact_id).name).name or artifact_id)
        if out is None and place.exists():
            raise click.UsageError(f"{place} exists: say where to write with --out.")
        try:
            client.artifacts.download(artifact_id, place)
        except OSError as error:
            raise click.UsageError(f"{place} cannot be written: {error.strerror}.") from error
    write_plain(str(place))


@artifacts.command("delete")
@artifact_argument
@url_option
@pass_session
def delete_artifact(session: Session, *, artifact_id: str, url: str | None) -> None:
    """Delete an artifact; the job that made it stays as it is."""
    with session.connect(url) as client:
        client.artifacts.delete(artifact_id)
    write_plain(f"{artifact_id} deleted")


def _some(every: Iterator[CardT], limit: int) -> tuple[list[CardT], bool]:
    found = list(islice(every, limit + 1))
    return found[:limit], len(found) > limit


def _common(card: DatasetCard | ArtifactCard) -> tuple[str, str]:
    return size(card.bytes), card.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _show(heads: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for place, head in enumerate(heads):
        table.add_column(Text(one_line(head)), no_wrap=place == 0 and head in {"dataset", "artifact"}, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_short(cell)) for cell in row))
    output().print(table if rows else Text(nothing, style="dim"))


def _short(cell: str) -> str:
    text = one_line(cell)
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}…"


def _say_more(limit: int, *, more: bool) -> None:
    if more:
        messages().print(f"There are more: raise --limit beyond {limit}.", style="dim")
