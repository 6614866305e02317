"""The catalogue of models the service may load, read from models.toml. Names and numbers only, no torch."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from explaind.contract.catalogue import ModelCard, ModelKind, ModelLimits, ModelState
from explaind.contract.errors import UnknownModel
from explaind.contract.near_miss import near_miss
from explaind_jobs.model_config import NOTHING_READ, ConfigFacts, facts_of, hub_folder

COMMIT = re.compile(r"[0-9a-f]{40}")
DEMO_CONTEXT = 256  # tokens that the built-in model reads, as its config says
# In pydantic's regular expressions `$` matches only the very end, so no trailing newline gets through.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

Name = Annotated[str, StringConstraints(pattern=NAME)]


@dataclass(frozen=True)
class AttachmentKind:
    """A kind of attachment, a file that belongs to one model; how it is declared in models.toml.

    Attributes:
        table: its table in models.toml, [models.NAME.<table>], and its key in `attachments` of `GET /models`.
        noun: its name in messages, singular.
        suffix: file suffix of an attachment that explaind wrote.
        folder: files expected in a directory in the format of another project.
        builtin: names of the attachments of the built-in model.
    """

    table: str
    noun: str
    suffix: str
    folder: tuple[str, ...]
    builtin: tuple[str, ...] = ()


LENSES = AttachmentKind("lenses", "tuned lens", ".safetensors", ("config.json", "params.pt"), builtin=("tuned",))
ATTACHMENT_KINDS: Mapping[str, AttachmentKind] = {kind.table: kind for kind in (LENSES,)}
MOST_ATTACHMENTS = 100  # per kind and model

Attachments = Annotated[dict[Name, Path], Field(max_length=MOST_ATTACHMENTS)]


class CatalogueError(ValueError):
    """models.toml is invalid; the message names the file, model and field, and what to write instead."""


class ModelEntry(BaseModel):
    """A model of the catalogue: a hub id (`source`, `revision`), a directory (`path`), or built in."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Name
    builtin: bool = False
    source: Annotated[str, StringConstraints(pattern=r"^[\w.-]+(/[\w.-]+)?$", max_length=200)] | None = None
    path: Path | None = None
    revision: str | None = None
    kind: ModelKind | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Literal["int8", "nf4", "fp4"] | None = None
    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    queue: Name = "default"
    description: str = Field("", max_length=2000)
    preload: bool = False
    limits: ModelLimits = ModelLimits()
    attachments: dict[str, Attachments] = Field(default_factory=dict)

    def attachment_names(self, kind: AttachmentKind) -> list[str]:
        """Names of the attachments of that kind which requests may use; the built-in model has fixed ones."""
        return list(kind.builtin if self.builtin else self.attachments.get(kind.table, ()))

    @model_validator(mode="before")
    @classmethod
    def _gather_attachments(cls, fields: Any) -> Any:
        """Gathers the tables of all kinds into `attachments`."""
        if not isinstance(fields, dict) or not fields.keys() & ATTACHMENT_KINDS.keys():
            return fields
        tables = {table: fields[table] for table in ATTACHMENT_KINDS if table in fields}
        return {**{key: value for key, value in fields.items() if key not in tables}, "attachments": tables}

    @model_validator(mode="after")
    def _from_one_place(self) -> Self:
        if self.builtin:
            return self
        if (self.source is None) == (self.path is None):
            raise ValueError('give either source = "<hub id>" with a revision, or path = "<directory>"')
        if self.path is not None and self.revision is not None:
            raise ValueError("a revision belongs to a hub id; a directory has none")
        if self.source is not None and not COMMIT.fullmatch(self.revision or ""):
            raise ValueError('a hub id needs revision = "<40 hex digits>", the commit to pin')
        return self

    def card(self, state: ModelState = "cold") -> ModelCard:
        """The model's card in the API; of a directory only the name is shown, never its path."""
        place = "built-in" if self.builtin else self.path.name if self.path is not None else self.source
        read = NOTHING_READ if self.path is None else facts_of(self.path)
        kind = self.kind or ("causal" if self.builtin else read.kind)
        return ModelCard(
            name=self.name,
            description=self.description,
            source=place or "",
            revision=self.revision,
            dtype=self.dtype,
            quantization=self.quantization or read.quantization,
            device=self.device,
            queue=self.queue,
            kind=kind,
            labels=read.labels if kind == "classifier" else None,
            limits=self.limits,
            context=self._context(read),
            attachments={table: self.attachment_names(kind) for table, kind in ATTACHMENT_KINDS.items()},
            state=state,
        )

    def _context(self, read: ConfigFacts) -> int | None:
        """Tokens of the model's context, where it can be known here: of a hub model, once it is in the cache."""
        if self.builtin:
            return DEMO_CONTEXT
        if self.source is not None and self.revision is not None:
            return facts_of(hub_folder(self.source, self.revision)).context
        return read.context


DEMO = ModelEntry(
    name="demo",
    builtin=True,
    preload=True,
    description="A small model shipped with explaind: arithmetic, sentiment of short reviews, "
    "who gave what to whom, one-step deduction.",
    limits=ModelLimits(max_prompt_tokens=240, max_target_tokens=64),
)


class Catalogue:
    """The catalogue: models by name, in the order of the file."""

    def __init__(self, entries: dict[str, ModelEntry]) -> None:
        self._entries = entries

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Loads the models of that file, and the built-in `demo` unless the file defines one.

        Raises:
            CatalogueError: the file cannot be read or is invalid.
        """
        entries = {} if path is None else _read(path)
        return cls(entries if DEMO.name in entries else {DEMO.name: DEMO, **entries})

    @property
    def entries(self) -> list[ModelEntry]:
        """All models."""
        return list(self._entries.values())

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(self._entries.values())

    def find(self, name: str) -> ModelEntry:
        """The model of that name.

        Raises:
            UnknownModel: no model has that name; the hint suggests the nearest.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise UnknownModel.at("/model", f"No model is called {name!r}.", hint=near_miss(name, self._entries))
        return entry


def _read(path: Path) -> dict[str, ModelEntry]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogueError(f"{path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path}: is not TOML: {error}") from error
    unknown = sorted(table.keys() - {"models"})
    if unknown:
        raise CatalogueError(f"{path}: unknown table {unknown[0]!r}; models are written as [models.<name>].")
    models = table.get("models", {})
    if not isinstance(models, dict):
        raise CatalogueError(f"{path}: models must be tables, written as [models.<name>].")
    return {name: _entry(path, name, fields) for name, fields in models.items()}


def _entry(path: Path, name: str, fields: Any) -> ModelEntry:
    if not isinstance(fields, dict):
        raise CatalogueError(f"{path}: model {name!r} must be a table, written as [models.{name}].")
    for reserved in ("name", "builtin", "attachments"):
        if reserved in fields:
            raise CatalogueError(f"{path}: model {name!r}: {reserved}: is not written in the file.")
    _refuse_unknown_limits(path, name, fields.get("limits"))
    try:
        entry = ModelEntry.model_validate({**fields, "name": name})
    except ValidationError as error:
        raise CatalogueError(_sentence(path, name, error)) from error
    entry = entry.model_copy(update={"attachments": _attachments(path, entry)})
    if entry.path is None:
        return entry
    directory = (path.parent / entry.path.expanduser()).resolve()
    if not directory.is_dir():
        raise CatalogueError(f"{path}: model {name!r}: path: there is no directory {directory}.")
    return entry.model_copy(update={"path": directory})


def _attachments(path: Path, entry: ModelEntry) -> dict[str, dict[str, Path]]:
    """Paths of the model's attachments, by kind and name.

    Raises:
        CatalogueError: one is missing, or is neither a file in explaind's format nor a directory in its project's.
    """
    found: dict[str, dict[str, Path]] = {}
    for table, named in entry.attachments.items():
        found[table] = {}
        for name, given in named.items():
            place = (path.parent / given.expanduser()).resolve()
            if (mistake := _mistake_in(ATTACHMENT_KINDS[table], place)) is not None:
                raise CatalogueError(f"{path}: model {entry.name!r}: {table}.{name}: {mistake}")
            found[table][name] = place
    return found


def _mistake_in(kind: AttachmentKind, place: Path) -> str | None:
    """The error message for a path that is not an attachment of that kind, with the remedy; None if it is one."""
    wanted = f"a {kind.suffix} file or a directory with {' and '.join(kind.folder)}"
    if not place.exists():
        return f"there is no {place}. Give the path of a {kind.noun}, from the folder of models.toml: {wanted}."
    if place.is_dir():
        missing = next((file for file in kind.folder if not (place / file).is_file()), None)
        return None if missing is None else f"{place} has no {missing}. A {kind.noun} is {wanted}."
    if place.suffix != kind.suffix or not place.is_file():
        return f"{place} is neither {wanted.replace(' or ', ' nor ')}."
    return None


def _refuse_unknown_limits(path: Path, name: str, limits: Any) -> None:
    # ModelLimits ignores unknown fields, as every response model does; in models.toml they are misspellings.
    if isinstance(limits, dict):
        for key in limits.keys() - ModelLimits.model_fields.keys():
            hint = near_miss(key, ModelLimits.model_fields)
            raise CatalogueError(f"{path}: model {name!r}: limits.{key}: unknown. {hint}")


def _sentence(path: Path, name: str, error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]).removeprefix("attachments.")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = (ModelEntry.model_fields.keys() | ATTACHMENT_KINDS.keys()) - {"name", "builtin", "attachments"}
        message = f"unknown. {near_miss(place, known)}"
    return f"{path}: model {name!r}: {f'{place}: ' if place else ''}{message}"
