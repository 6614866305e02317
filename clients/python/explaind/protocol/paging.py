"""Position in a list that the service returns page by page."""

from typing import Protocol, TypeVar

ItemT = TypeVar("ItemT", bound="Listed")


class Listed(Protocol):
    """An item of a paged list."""

    id: str


class Page(Protocol[ItemT]):
    """One page of a list, newest first."""

    data: list[ItemT]
    has_more: bool


class Paging:
    """Position in a paged list: while `more`, request the page after the id `after` and take its items."""

    def __init__(self) -> None:
        self.after: str | None = None
        self.more = True

    def take(self, page: Page[ItemT]) -> list[ItemT]:
        """The items of the page; advances the position."""
        last = page.data[-1].id if page.data else None
        after = getattr(page, "next", None) or last  # a page of jobs may be empty without being the last
        self.more = page.has_more and after is not None
        if self.more:
            self.after = after
        return page.data
