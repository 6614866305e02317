"""Files that outlive jobs: datasets, used by requests, and artifacts, made by jobs."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from explaind.contract.base import RequestModel, ResponseModel

Cell = str | int | float | bool | None
CardT = TypeVar("CardT", bound="FileCard")

MAX_NAME_CHARS = 200
DATASET_ID_PATTERN = "^ds_[0-9a-v]{26}$"
ARTIFACT_ID_PATTERN = "^art_[0-9a-v]{26}$"


class NamedDataset(str):
    """The id of a dataset, recognizable by type anywhere in a request."""

    __slots__ = ()


class NamedArtifact(str):
    """The id of an artifact, recognizable by type anywhere in a request."""

    __slots__ = ()


# A string to callers; validated, it is a NamedDataset or NamedArtifact, which `files_named` finds.
DatasetId = Annotated[str, StringConstraints(pattern=DATASET_ID_PATTERN), AfterValidator(NamedDataset)]
ArtifactId = Annotated[str, StringConstraints(pattern=ARTIFACT_ID_PATTERN), AfterValidator(NamedArtifact)]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS)]


class DatasetColumns(RequestModel):
    """Reference to a dataset; a method's own subclass adds the columns it reads, each a ColumnName."""

    dataset: DatasetId = Field(
        description="Id of a dataset of `POST /datasets`.", examples=["ds_0dnkkh2s9c07h4v3jqk5m8r1tb"]
    )


class FileCard(ResponseModel):
    """Fields common to datasets and artifacts."""

    id: str
    name: str = Field(description="File name given by the uploader.", examples=["questions.jsonl"])
    bytes: int = Field(description="Size in bytes; for a dataset, as uploaded.", examples=[48_213])
    created_at: datetime


class DatasetCard(FileCard):
    """A dataset: rows of named values, kept until it is deleted."""

    id: str = Field(
        description="Id derived from the content: the same file uploaded with the same key has the same id.",
        examples=["ds_0dnkkh2s9c07h4v3jqk5m8r1tb"],
    )
    rows: int = Field(description="Number of rows.", examples=[400])
    columns: list[str] = Field(description="Names of the columns, in order.", examples=[["question", "answer"]])


class DatasetPreview(DatasetCard):
    """A dataset with its first rows."""

    preview: list[dict[str, Cell]] = Field(
        description="First rows; long texts and columns beyond the first 32 are cut off.",
        examples=[[{"question": "3 + 4 = ?", "answer": "7"}]],
    )


class ArtifactCard(FileCard):
    """A file made by a job and kept, unlike the job's result, until it is deleted."""

    id: str = Field(examples=["art_0dnkkh2s9c07h4v3jqk5m8r1tb"])
    name: str = Field(description="File name.", examples=["lens.safetensors"])
    kind: str = Field(description="Kind of artifact.", examples=["tuned-lens"])
    model: str = Field(description="Model that the artifact belongs to.", examples=["demo"])
    job: str | None = Field(
        default=None, description="Id of the job that made the artifact.", examples=["job_0dnkkh2s9c07h4v3jqk5m8r1tb"]
    )


class FilePage(ResponseModel, Generic[CardT]):
    """A page of datasets or artifacts, newest first."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """The name of the class and its schema: `DatasetPage` of `DatasetCard`s."""
        return f"{params[0].__name__.removesuffix('Card')}Page"

    data: list[CardT]
    has_more: bool = Field(
        description="Whether older ones follow; to get them, repeat the request with `after` = the last id."
    )


DatasetPage = FilePage[DatasetCard]
ArtifactPage = FilePage[ArtifactCard]
FileKind = Literal["dataset", "artifact"]
# Types that name no file: exactly these, not NamedDataset, which is a str.
PLAIN = frozenset({str, int, float, bool, type(None)})


def files_named(request: BaseModel) -> Iterator[tuple[str, NamedDataset | NamedArtifact]]:
    """Every dataset and artifact named in a validated request, with the pointer to its field."""
    return _named("", request)


def _named(pointer: str, value: Any) -> Iterator[tuple[str, NamedDataset | NamedArtifact]]:
    # A request may hold 100,000 plain values: no call or pointer for these. pydantic's isinstance is slow.
    if isinstance(value, NamedDataset | NamedArtifact):
        yield pointer, value
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            if type(each) not in PLAIN:
                yield from _named(f"{pointer}/{place}", each)
    elif isinstance(value, BaseModel):
        fields = type(value).model_fields
        for name, part in value.__dict__.items():
            if type(part) not in PLAIN:
                yield from _named(f"{pointer}/{fields[name].alias or name}", part)
