"""infer/tokenize: the tokens of a text, and the units of an attribution."""

from typing import Literal

from pydantic import Field

from explaind.contract.base import MethodResult, ResponseModel
from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.blocks.units import Unit, UnitKind
from explaind.contract.method import Method


class TokenizeParams(PromptRequest):
    """Split a prompt into tokens and units; the model itself is not loaded."""

    units: UnitKind = Field(default="word", description="Kind of units to list in addition to the tokens.")


class Token(ResponseModel):
    """A token of the prompt. Tokens that the tokenizer adds cover no characters: start and end are null."""

    id: int
    text: str = Field(description="Text that the token decodes to.")
    start: int | None = None
    end: int | None = None
    special: bool = False
    template: bool = Field(
        default=False, description="Whether the token was written by the chat template: then it is always present."
    )
    unit: int | None = Field(
        default=None, description="Index of the unit that the token belongs to; null when it belongs to none."
    )


class Tokenization(MethodResult):
    """The tokens as the model receives them, and the units an attribution would use."""

    kind: Literal["tokenization"] = "tokenization"
    prompt: str = Field(description="Tokenized text; for messages, as written by the chat template.")
    tokens: list[Token]
    units: list[Unit]
    count: int = Field(description="Number of tokens.")


METHOD = Method(
    verb="infer",
    name="tokenize",
    title="Tokenize",
    summary="Tokens with ids and character offsets, and the units an attribution would use.",
    params=TokenizeParams,
    result=Tokenization,
    version="2",
    cost="no forward",
    example={"model": "demo", "prompt": "Review: The food was great. Sentiment:", "units": "word"},
)
