"""What a text on the command line stands for, by the JSON schema of its field: scalars, choices, JSON, lists, files."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from explaind.contract.near_miss import near_miss
from explaind.protocol.file_operations import MEDIA

JsonSchema = Mapping[str, Any]

_WORDS = {"integer": "INTEGER", "number": "NUMBER", "boolean": "true|false", "string": "TEXT"}
_SAID = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
_DATASET_ID = re.compile(r"ds_[0-9a-z]+")


@dataclass(frozen=True)
class Entries:
    """Entries of a list: all of it, or those that one occurrence of the option adds."""

    values: list[Any]


@dataclass(frozen=True)
class DatasetSource:
    """Rows named in short: the id of a dataset, or a file that becomes one."""

    named: str
    schema: JsonSchema

    @property
    def is_file(self) -> bool:
        """Whether it is a file of this machine."""
        return _DATASET_ID.fullmatch(self.named) is None


class FieldValue(click.ParamType):
    """One value of any of the shapes that a field takes."""

    name = "value"
    escape = ""

    def __init__(self, shapes: Sequence[JsonSchema]) -> None:
        self.shapes = shapes
        self.choices = [choice for shape in shapes for choice in _choices(shape)]
        self.kinds = {shape["type"] for shape in shapes if shape.get("type") and not _choices(shape)}
        self.rows = next((shape for shape in shapes if "dataset" in shape.get("properties", {})), None)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows for the value."""
        words = [*self.choices, *(word for kind, word in _WORDS.items() if kind in self.kinds)]
        if self.rows is not None:
            words += ["ds_ID", "FILE"]
        if self.kinds & {"object", "array"}:
            words.append("JSON")
        return f"[{'|'.join(words)}]" if len(words) > 1 else words[0]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The choices that begin so; where rows are taken, files as well."""
        found = [CompletionItem(choice) for choice in self.completions if choice.startswith(incomplete)]
        return found if self.rows is None else [*found, CompletionItem(incomplete, type="file")]

    @property
    def completions(self) -> list[str]:
        """What a shell may offer."""
        return self.choices

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value."""
        if not isinstance(value, str):
            return value
        try:
            return self.parsed(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def parsed(self, text: str) -> Any:
        """The value of the text; ValueError says what it should be."""
        if text in self.choices:
            return text
        if {"{": "object", "[": "array"}.get(text.lstrip()[:1]) in self.kinds:
            return self._json(text)
        if self.rows is not None and (_is_rows(text) or "string" not in self.kinds):
            return self._rows(text, self.rows)
        if "string" in self.kinds:
            return text
        for kind, made in (("boolean", _boolean), ("integer", int), ("number", float)):
            if kind in self.kinds:
                try:
                    return made(text)
                except ValueError:
                    continue
        raise ValueError(self._refusal(text))

    def _json(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            if "string" in self.kinds:
                return text
            raise ValueError(f"{text!r} is not JSON: {error}.") from error

    def _rows(self, text: str, schema: JsonSchema) -> DatasetSource:
        source = DatasetSource(text, schema)
        if not source.is_file or Path(text).is_file():
            return source
        if self.choices and not _is_rows(text):
            raise ValueError(self._refusal(text))
        raise ValueError(f"There is no file {text!r}.{self.escape}")

    def _refusal(self, text: str) -> str:
        expected = [*map(repr, self.choices), *(said for kind, said in _SAID.items() if kind in self.kinds)]
        if self.rows is not None:
            expected.append("the id of a dataset (ds_...), a file of rows")
        if self.kinds & {"object", "array"}:
            expected.append("JSON")
        hint = near_miss(text, self.choices, otherwise=()) if self.choices else ""
        near = f" {hint}" if hint.startswith("Did you mean") else ""
        return f"{text!r} is {_none_of(expected)}.{near}"


class ListValue(FieldValue):
    """Entries of a list: each occurrence of the option is one entry, or a JSON array of several."""

    def __init__(self, shapes: Sequence[JsonSchema], items: Sequence[JsonSchema]) -> None:
        super().__init__(shapes)
        self.items = FieldValue(items)
        if "string" in self.items.kinds:
            self.escape = " A text that ends so stands in a JSON array."
        self.depth = 1 + max(map(_depth, items), default=0)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """An entry's metavar, with dots: the option may be repeated."""
        words = self.items.get_metavar(param, ctx)
        if self.rows is not None:
            words = f"[{words.strip('[]')}|ds_ID|FILE]"
        return f"{words}..."

    @property
    def completions(self) -> list[str]:
        """The choices of an entry."""
        return self.items.choices

    def parsed(self, text: str) -> Any:
        """Entries; or, where the field is no list alone, a value of another of its shapes."""
        if text.lstrip().startswith("["):
            return self._array(text)
        if "object" in self.kinds and text.lstrip().startswith("{") and "object" not in self.items.kinds:
            return self._json(text)
        if self.rows is not None and _is_rows(text):
            return self._rows(text, self.rows)
        return Entries([self.items.parsed(text)])

    def _array(self, text: str) -> Entries:
        try:
            found = json.loads(text)
        except ValueError as error:
            if "string" in self.items.kinds:
                return Entries([text])
            raise ValueError(f"{text!r} is not JSON: {error}.") from error
        whole = not found or _json_depth(found) >= self.depth
        return Entries(found if whole else [found])


def merged(values: Sequence[Any]) -> Any:
    """The value of a list's option from its occurrences.

    Raises:
        ValueError: it was given as entries and as something else.
    """
    if all(isinstance(value, Entries) for value in values):
        return [entry for value in values for entry in value.values]
    if len(values) > 1:
        raise ValueError("Give it once: as a dataset, or as entries.")
    return values[0]


class FromFile(click.ParamType):
    """Text; "-" is stdin, "@file" a file, without the last line end; "@@..." is text that begins with @."""

    name = "text|@file|-"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows for the value."""
        return "TEXT|@FILE|-"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text, read from stdin or a file if necessary."""
        if not isinstance(value, str) or not value.startswith(("-", "@")) or (value[0] == "-" and value != "-"):
            return value
        if value.startswith("@@"):
            return value[1:]
        try:
            return read_text(value.removeprefix("@")).removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            self.fail(f"{value!r} cannot be read: {why}. Text that begins with @ is written @@....", param, ctx)


class Pair(click.ParamType):
    """KEY=VALUE parameter."""

    name = "key=value"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows for the value."""
        return "KEY=VALUE..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The key and the value."""
        if not isinstance(value, str):
            return value
        key, equals, text = value.partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not KEY=VALUE.", param, ctx)
        return key, text


def read_text(path: str) -> str:
    """The text of a file, or of stdin for "-"."""
    if path == "-":
        return sys.stdin.read()
    return Path(path).read_text(encoding="utf-8")


def _choices(shape: JsonSchema) -> list[Any]:
    return [shape["const"]] if "const" in shape else list(shape.get("enum", []))


def _is_rows(text: str) -> bool:
    return _DATASET_ID.fullmatch(text) is not None or (
        "\n" not in text and Path(text).suffix.lower() in MEDIA and not text.endswith(" ")
    )


def _depth(shape: JsonSchema) -> int:
    """How deep arrays of that shape are nested."""
    if shape.get("type") != "array":
        return 0
    return 1 + max(map(_depth, [shape.get("items", {}), *shape.get("prefixItems", [])]))


def _json_depth(value: Any) -> int:
    return 1 + max(map(_json_depth, value), default=0) if isinstance(value, list) else 0


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(text)
    return text == "true"


def _none_of(words: Sequence[str]) -> str:
    if len(words) == 1:
        return f"not {words[0]}"
    if len(words) == 2:
        return f"neither {words[0]} nor {words[1]}"
    return f"none of {', '.join(words[:-1])} or {words[-1]}"
