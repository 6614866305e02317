"""Base classes of messages: requests forbid unknown fields, responses may gain fields."""

from typing import Any, Generic, SupportsIndex, TypeVar, overload

from pydantic import BaseModel, ConfigDict, Discriminator, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError

from explaind.contract.display import DISPLAY

CardT = TypeVar("CardT")
MOST_LINES = 50  # of a list's repr


def _fail_fast(schema: Any) -> None:
    # Errors cost ten times as much as entries: a list of 10,000 wrong ones would block the service for a second.
    if isinstance(schema, dict):
        if schema.get("type") in {"list", "tuple", "set", "frozenset"}:
            schema["fail_fast"] = True
        for part in schema.values():
            _fail_fast(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            _fail_fast(part)


class RequestModel(BaseModel):
    """Base of everything a caller sends; an unknown field is an error, because it is usually a misspelt one."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validation schema of a request: of a list, only the first wrong entry is reported."""
        schema = handler(source)
        _fail_fast(schema)
        return schema


class ResponseModel(BaseModel):
    """Base of everything the service sends; an older client ignores the fields it does not know yet."""

    model_config = ConfigDict(extra="ignore")

    def __repr__(self) -> str:
        """One short line by the registered summary, else all fields; `model_dump()` has them in any case."""
        return super().__repr__() if DISPLAY.summary is None else DISPLAY.summary(self)

    def __str__(self) -> str:
        return repr(self)

    def __rich_repr__(self) -> Any:
        """None: rich shows the text of `repr`, too, and not every field."""
        return None

    def _repr_html_(self) -> str | None:
        """HTML for a notebook by the registered renderer; without one a notebook shows the text."""
        return None if DISPLAY.renderer is None else DISPLAY.renderer(self)


class CardList(list[CardT], Generic[CardT]):
    """A list of what a service has, one a line; a notebook shows it as a table, and so it does a slice of it."""

    @overload
    def __getitem__(self, at: SupportsIndex, /) -> CardT: ...
    @overload
    def __getitem__(self, at: slice, /) -> "CardList[CardT]": ...
    def __getitem__(self, at: SupportsIndex | slice, /) -> "CardT | CardList[CardT]":
        return CardList(super().__getitem__(at)) if isinstance(at, slice) else super().__getitem__(at)

    def __repr__(self) -> str:
        shown = [repr(card) for card in self[:MOST_LINES]]
        left = len(self) - len(shown)
        return f"[{(',' + chr(10) + ' ').join([*shown, *([f'… and {left} more'] if left else [])])}]"

    def _repr_html_(self) -> str | None:
        """HTML for a notebook by the registered renderer; without one a notebook shows the text."""
        return None if DISPLAY.renderer is None else DISPLAY.renderer(self)


class MethodResult(ResponseModel):
    """Base of what every method answers.

    A method adds notes of its own; those about the prompt, the target and the precision are added by the worker.
    """

    notes: list[str] = Field(
        default_factory=list,
        description=(
            "Remarks on how to read these numbers: about how the model read the prompt or the target, about rounding, "
            "about the method. Empty where there is nothing to remark."
        ),
        examples=[[]],
    )


def wrong(pointer: str, message: str) -> PydanticCustomError:
    """A validation error for one field, raised by validators of several fields.

    `pointer` is relative to the model that raises it, e.g. "/units/segments/1".
    """
    return PydanticCustomError("wrong_field", "{message}", {"message": message, "pointer": pointer})


def by_key(**tag_of_key: str) -> Discriminator:
    """Discriminates the branches of a union by a key of the JSON object, so that an error refers to one branch.

    `tag_of_key` maps a key to the tag of its branch, "~" and the name of its class; anything but an object goes to the
    branch "~Plain". The tilde distinguishes tags from fields in pydantic's error locations.
    """

    def tag(value: Any) -> str | None:
        if isinstance(value, dict):
            return next((tag for key, tag in tag_of_key.items() if key in value), None)
        named = f"~{type(value).__name__}"
        return named if named in tag_of_key.values() else "~Plain"

    return Discriminator(
        tag,
        custom_error_type="unknown_shape",
        custom_error_message=f"An object here holds one of: {', '.join(tag_of_key)}",
    )
