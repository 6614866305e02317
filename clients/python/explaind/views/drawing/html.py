"""Safe HTML construction: text is escaped unless it comes from `tag`."""

import html
import re
from collections.abc import Iterable


class Markup(str):
    """HTML; any other string is treated as text."""

    __slots__ = ()


Node = str | Markup | None | Iterable["Node"]

_ELEMENT = re.compile(r"<[^>]*>")
_VOID = frozenset({"br", "meta", "input", "line", "rect", "circle", "path", "polyline"})


def tag(name: str, /, *children: Node, **attributes: str | float | None) -> Markup:
    """An element. `class_` is the attribute class, an underscore within is a hyphen, None leaves it out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{written}>" if name in {"br", "meta", "input"} else f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(nodes: Iterable[Node]) -> Markup:
    """The concatenated nodes."""
    return Markup("".join(_written(node) for node in nodes))


def plain(node: Node) -> str:
    """The text of a node on one line, as a terminal writes it."""
    return " ".join(html.unescape(_ELEMENT.sub(" ", _written(node))).split())


def _written(node: Node) -> str:
    if node is None:
        return ""
    if isinstance(node, Markup):
        return str(node)
    if isinstance(node, str):
        return html.escape(node, quote=False)
    return join(node)
