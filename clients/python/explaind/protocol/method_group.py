"""The methods of one verb as attributes of a client: `client.explain` and so on."""

from typing import TYPE_CHECKING, Any

from explaind.contract.near_miss import near_miss


class MethodGroup:
    """The methods of one verb, each as an attribute that can be called."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(vars(self))}>"

    # A type checker sees the attributes of the subclasses alone.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            verb = type(self).__name__.removeprefix("Async").lower()
            raise AttributeError(f"There is no method {name!r} under client.{verb}. {near_miss(name, vars(self))}")
