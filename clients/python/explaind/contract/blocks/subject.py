"""Subject of an explanation: prompt or messages, target, foil, score."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from explaind.contract.base import RequestModel, by_key, wrong
from explaind.contract.blocks.units import Offset
from explaind.contract.request import ModelRequest

MAX_PROMPT_CHARS = 200_000
MAX_TARGET_CHARS = 20_000
MAX_TARGET_TOKENS = 1024

TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
ContinuationText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TARGET_CHARS)]
ClassName = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
ClassIndex = Annotated[int, Field(strict=True, ge=0, lt=2**31)]


class Message(RequestModel):
    """One chat message."""

    role: Literal["system", "user", "assistant"] = Field(examples=["user"])
    content: str = Field(min_length=1, max_length=MAX_PROMPT_CHARS, examples=["3 + 4 ="])


class PromptRequest(ModelRequest):
    """Request about a prompt, given as text or as chat messages."""

    prompt: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_PROMPT_CHARS,
        description="Text of the prompt. Give this or `messages`.",
        examples=["Review: The food was great. Sentiment:"],
    )
    messages: list[Message] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description=("Chat messages; the model's own chat template is applied once, with the assistant's turn opened."),
        examples=[None],
    )

    @model_validator(mode="after")
    def _one_prompt(self) -> "PromptRequest":
        if (self.prompt is None) == (self.messages is None):
            raise wrong("/prompt", "Give exactly one of 'prompt' and 'messages'.")
        return self


def _not_empty(span: tuple[int, int]) -> tuple[int, int]:
    if span[0] >= span[1]:
        raise wrong("", f"The span is empty: start {span[0]}, end {span[1]}.")
    return span


Span = Annotated[tuple[Offset, Offset], AfterValidator(_not_empty)]


class TextTarget(RequestModel):
    """A continuation given as text, with its leading space if it has one; all of it is explained, or a span."""

    text: ContinuationText = Field(examples=[" positive"])
    span: Span | None = Field(
        default=None,
        description=(
            "Characters [start, end] of the text: only tokens that share characters with them are explained; "
            "those before are given."
        ),
        examples=[None],
    )
    span_text: ContinuationText | None = Field(
        default=None,
        description="The span as text: the piece of the continuation to explain, at its first occurrence.",
        examples=[None],
    )

    @model_validator(mode="after")
    def _span_within(self) -> "TextTarget":
        _refuse_two_spans(self.span, self.span_text)
        if self.span is not None and self.span[1] > len(self.text):
            raise wrong("/span", f"The span ends at {self.span[1]}, past the text's {len(self.text)} characters.")
        if self.span_text is not None and self.span_text not in self.text:
            raise wrong("/span_text", f"The text does not hold {self.span_text!r}.")
        return self


class TokenIdsTarget(RequestModel):
    """A continuation given as exact token ids; all of it is explained, or a span."""

    token_ids: list[TokenId] = Field(min_length=1, max_length=MAX_TARGET_TOKENS, examples=[[417]])
    span: Span | None = Field(
        default=None,
        description="Tokens [first, one past the last] to explain; those before are given.",
        examples=[None],
    )

    @model_validator(mode="after")
    def _span_within(self) -> "TokenIdsTarget":
        if self.span is not None and self.span[1] > len(self.token_ids):
            raise wrong("/span", f"The span ends at {self.span[1]}, past the {len(self.token_ids)} tokens.")
        return self


class GenerateOptions(RequestModel):
    """Options of a generated target: greedy decoding, up to a maximum number of tokens."""

    max_new_tokens: int = Field(default=20, ge=1, le=MAX_TARGET_TOKENS)


class GeneratedTarget(RequestModel):
    """The model's own continuation, generated greedily and then explained: all of it, or a span."""

    generate: GenerateOptions
    span: Span | None = Field(
        default=None,
        description=(
            "Characters [start, end] of the generated text: only tokens that share characters with them are explained."
        ),
        examples=[None],
    )
    span_text: ContinuationText | None = Field(
        default=None,
        description="The span as text: the piece of the generated text to explain, at its first occurrence.",
        examples=[None],
    )

    @model_validator(mode="after")
    def _one_span(self) -> "GeneratedTarget":
        _refuse_two_spans(self.span, self.span_text)
        return self


def _refuse_two_spans(span: tuple[int, int] | None, span_text: str | None) -> None:
    if span is not None and span_text is not None:
        raise wrong("/span_text", "Give one of 'span' and 'span_text'.")


class LabelsTarget(RequestModel):
    """A closed set of answers: the score of one label is normalised over all of them."""

    labels: list[ContinuationText] = Field(min_length=2, max_length=256, examples=[[" positive", " negative"]])
    explain: ContinuationText = Field(description="Label to explain.", examples=[" positive"])
    by: Literal["whole", "first_token"] = Field(
        default="whole",
        description=(
            "Tokens of a label that are scored. whole: all of them; first_token: the first alone (these must "
            "then differ)."
        ),
    )

    @model_validator(mode="after")
    def _explain_a_label(self) -> "LabelsTarget":
        if len(set(self.labels)) != len(self.labels):
            raise wrong("/labels", "The labels must differ from each other.")
        if self.explain not in self.labels:
            raise wrong("/explain", f"This must be one of the labels; {self.explain!r} is not.")
        return self


class ClassTarget(RequestModel):
    """A class of a sequence classifier, by its name or its index."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    class_: Annotated[
        Annotated[ClassName, Tag("~Name")] | Annotated[ClassIndex, Tag("~Index")],
        Discriminator(lambda value: "~Index" if isinstance(value, int) else "~Name"),
    ] = Field(
        alias="class",
        description="Name of the class in `labels` of `GET /models`, or its index.",
        examples=["POSITIVE"],
    )


def _as_text_target(value: object) -> object:
    return TextTarget(text=value) if isinstance(value, str) else value


# A bare string is short for {"text": …}; a validated target is never a string.
Continuation = Annotated[
    Annotated[ContinuationText, Tag("~Plain")]
    | Annotated[TextTarget, Tag("~TextTarget")]
    | Annotated[TokenIdsTarget, Tag("~TokenIdsTarget")],
    by_key(text="~TextTarget", token_ids="~TokenIdsTarget"),
    AfterValidator(_as_text_target),
]
Foil = Annotated[
    Annotated[ContinuationText, Tag("~Plain")]
    | Annotated[TextTarget, Tag("~TextTarget")]
    | Annotated[TokenIdsTarget, Tag("~TokenIdsTarget")]
    | Annotated[ClassTarget, Tag("~ClassTarget")],
    by_key(text="~TextTarget", token_ids="~TokenIdsTarget", **{"class": "~ClassTarget"}),
    AfterValidator(_as_text_target),
]
Target = Annotated[
    Annotated[ContinuationText, Tag("~Plain")]
    | Annotated[TextTarget, Tag("~TextTarget")]
    | Annotated[TokenIdsTarget, Tag("~TokenIdsTarget")]
    | Annotated[GeneratedTarget, Tag("~GeneratedTarget")]
    | Annotated[LabelsTarget, Tag("~LabelsTarget")]
    | Annotated[ClassTarget, Tag("~ClassTarget")],
    by_key(
        text="~TextTarget",
        token_ids="~TokenIdsTarget",
        generate="~GeneratedTarget",
        labels="~LabelsTarget",
        **{"class": "~ClassTarget"},
    ),
    AfterValidator(_as_text_target),
]

Score = Literal["logprob", "prob", "logit"]


class Subject(PromptRequest):
    """Subject of an attribution: `score` of `target` (minus that of `foil`) after the prompt."""

    target: Target | None = Field(
        default=None,
        description=(
            'Continuation to explain: a string or {"text"}, {"token_ids"}, {"generate"} (the model\'s own '
            'continuation), {"labels", "explain"} (one label of a closed set), or null: the model\'s next '
            'token. For a classifier {"class"} (a name or an index), or null: the predicted class.'
        ),
        examples=[" positive"],
    )
    foil: Foil | None = Field(
        default=None,
        description="Alternative to the target: the score of the target minus the score of the foil is explained.",
        examples=[" negative"],
    )
    score: Score = Field(
        default="logprob",
        description=(
            "Score of each target token, or of the class: its log-probability, its probability or its raw logit."
        ),
    )

    @model_validator(mode="after")
    def _no_foil_among_labels(self) -> "Subject":
        if self.foil is not None and isinstance(self.target, LabelsTarget):
            raise wrong("/foil", "A target of labels is already compared with the other labels: leave 'foil' out.")
        return self
