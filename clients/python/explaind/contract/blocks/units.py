"""Units, the parts of a prompt that are explained, and the baseline that replaces absent ones."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, Tag, model_validator

from explaind.contract.base import RequestModel, ResponseModel, by_key, wrong
from explaind.contract.names import ONE_LINE

UnitKind = Literal["token", "word", "sentence"]
UNIT_KINDS: tuple[UnitKind, ...] = ("token", "word", "sentence")  # from fine to coarse
SegmentName = Annotated[str, StringConstraints(max_length=200, pattern=ONE_LINE)]
Offset = Annotated[int, Field(ge=0)]
Segment = tuple[Offset, Offset] | tuple[Offset, Offset, SegmentName]


class Segments(RequestModel):
    """Units given by the caller: [start, end] or [start, end, "name"], in characters of the prompt, end exclusive.

    Text outside every segment is always present.
    """

    segments: list[Segment] = Field(min_length=1, max_length=4096, examples=[[[0, 7, "cue"], [8, 23, "review"]]])

    @model_validator(mode="after")
    def _apart(self) -> "Segments":
        for index, segment in enumerate(self.segments):
            if segment[0] >= segment[1]:
                raise wrong(f"/segments/{index}", f"The segment is empty: start {segment[0]}, end {segment[1]}.")
        order = sorted(range(len(self.segments)), key=lambda i: self.segments[i][0])
        for before, after in pairwise(order):
            if self.segments[before][1] > self.segments[after][0]:
                raise wrong(f"/segments/{after}", f"The segment overlaps segment {before}.")
        return self


Units = Annotated[
    Annotated[UnitKind, Tag("~Plain")] | Annotated[Segments, Tag("~Segments")], by_key(segments="~Segments")
]


class ReplacementText(RequestModel):
    """Text that replaces each absent unit, once per unit, with the spaces of the text around it."""

    text: str = Field(min_length=1, max_length=1000, examples=["something"])


Baseline = Annotated[
    Annotated[Literal["mask", "pad", "remove"], Tag("~Plain")] | Annotated[ReplacementText, Tag("~ReplacementText")],
    by_key(text="~ReplacementText"),
]


class Unit(ResponseModel):
    """A piece of the prompt: its text and its range of characters. Repeated words are units of their own."""

    text: str = Field(description="Text of the unit, without surrounding space.", examples=["great"])
    start: int = Field(description="Index of the first character in the prompt.", examples=[21])
    end: int = Field(description="Index one past the last character.", examples=[26])
    name: str | None = Field(default=None, description="Name given to a segment.")
    role: str | None = Field(
        default=None, description="Role of the chat message that the unit belongs to.", examples=[None]
    )
    message: int | None = Field(
        default=None, description="Index of the chat message that the unit belongs to.", examples=[None]
    )
    special: bool = Field(default=False, description="Whether the unit is a special token of the model.")


class MessageShare(ResponseModel):
    """Summed contribution of the units of one chat message."""

    index: int = Field(description="Index of the message, counted from 0.", examples=[0])
    role: str = Field(examples=["user"])
    value: float = Field(description="Sum of the values of the message's units.")
    units: list[int] = Field(description="Indices of the message's units.")
