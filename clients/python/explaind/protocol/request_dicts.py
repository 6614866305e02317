# Generated from explaind/contract/methods by `make generate`.
"""The objects of a request as dicts, for type checkers: each is named after its class."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from explaind.contract.blocks.questions import AskedQuestion
from explaind.contract.blocks.subject import GenerateOptions
from explaind.contract.blocks.units import ReplacementText


class WebhookDict(TypedDict):
    """Receiver of the notification of a job's end, and the ends to report."""

    url: str
    events: NotRequired[Sequence[Literal["succeeded", "failed", "cancelled", "expired"]]]


class AskedQuestionDict(TypedDict):
    """A question and its right answer."""

    question: str
    answer: str
    foil: NotRequired[str | None]
    kind: NotRequired[str | None]
    name: NotRequired[str | None]
    steps: NotRequired[list[str] | tuple[str, ...]]


class InlineQuestionsDict(TypedDict):
    """Questions given in the request."""

    questions: Sequence[AskedQuestion | AskedQuestionDict | Mapping[str, Any]]


class DatasetQuestionsDict(TypedDict):
    """Questions from the rows of a dataset."""

    dataset: str
    question: NotRequired[str]
    answer: NotRequired[str]
    foil: NotRequired[str | None]
    kind: NotRequired[str | None]
    limit: NotRequired[int]


class MessageDict(TypedDict):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class TextTargetDict(TypedDict):
    """A continuation given as text, with its leading space if it has one; all of it is explained, or a span."""

    text: str
    span: NotRequired[tuple[int, int] | list[int] | None]
    span_text: NotRequired[str | None]


class TokenIdsTargetDict(TypedDict):
    """A continuation given as exact token ids; all of it is explained, or a span."""

    token_ids: Sequence[int]
    span: NotRequired[tuple[int, int] | list[int] | None]


class GenerateOptionsDict(TypedDict):
    """Options of a generated target: greedy decoding, up to a maximum number of tokens."""

    max_new_tokens: NotRequired[int]


class GeneratedTargetDict(TypedDict):
    """The model's own continuation, generated greedily and then explained: all of it, or a span."""

    generate: GenerateOptions | GenerateOptionsDict
    span: NotRequired[tuple[int, int] | list[int] | None]
    span_text: NotRequired[str | None]


class LabelsTargetDict(TypedDict):
    """A closed set of answers: the score of one label is normalised over all of them."""

    labels: list[str] | tuple[str, ...]
    explain: str
    by: NotRequired[Literal["whole", "first_token"]]


ClassTargetDict = TypedDict("ClassTargetDict", {"class": str | int})


class SegmentsDict(TypedDict):
    """Units given by the caller: [start, end] or [start, end, "name"], in characters of the prompt, end exclusive."""

    segments: Sequence[tuple[int, int] | list[int] | tuple[int, int, str] | list[int | str]]


class ReplacementTextDict(TypedDict):
    """Text that replaces each absent unit, once per unit, with the spaces of the text around it."""

    text: str


class FaithfulnessOptionsDict(TypedDict):
    """Options for the comparison of an attribution's order of units with random orders."""

    random_orders: NotRequired[int]
    steps: NotRequired[int]
    seed: NotRequired[int]
    baseline: NotRequired[Literal["mask", "pad", "remove"] | ReplacementText | ReplacementTextDict | None]


class ComparedSpecDict(TypedDict):
    """One of the compared methods, with fields of its own."""

    method: str
    params: NotRequired[Mapping[str, Any]]


class GradientScreenDict(TypedDict):
    """Approximate effects of all heads by gradients, and exact runs of the heads with the largest ones."""

    method: NotRequired[Literal["attribution-patching"]]
    top_k: NotRequired[int]


class TextColumnDict(TypedDict):
    """Texts from a column of a dataset."""

    dataset: str
    column: NotRequired[str]
    limit: NotRequired[int | None]
