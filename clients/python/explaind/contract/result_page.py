"""Parts of a result, for those who do not want all of it at once."""

from typing import Any

from pydantic import Field

from explaind.contract.base import ResponseModel


class ResultPage(ResponseModel):
    """Some items of one array of a result."""

    path: str = Field(description="JSON pointer to the array in the result.", examples=["/values_by_target"])
    offset: int = Field(description="Index of the first item here.", examples=[0])
    limit: int = Field(description="Maximum items requested.", examples=[100])
    total: int = Field(description="Number of items in the array.", examples=[2000])
    has_more: bool = Field(
        description="Whether more items follow; to get them, repeat the request with `offset` + `limit`."
    )
    data: list[Any] = Field(description="The items.")
