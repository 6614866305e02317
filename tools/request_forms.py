"""Generator of the types that a request is written with: the dict form of its objects, and every method's keywords.

They are made of the params models, so that a type checker takes what the service takes: `units={"segments": [[0, 7]]}`
is as good as `units=Segments(segments=[(0, 7)])`.
"""

import inspect
from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from explaind.contract.base import RequestModel
from explaind.contract.method import Method
from explaind.contract.registry import all_methods
from explaind.protocol.annotations import taken
from explaind.protocol.signatures import call_fields
from tools.python_source import formatted

DICTS_PATH = "clients/python/explaind/protocol/request_dicts.py"
KEYWORDS_PATH = "clients/python/explaind/protocol/request_keywords.py"

_SOURCE = "# Generated from explaind/contract/methods by `make generate`."


def rendered_dicts() -> str:
    """The module with a TypedDict for each object that a request may hold."""
    objects = request_objects()
    classes = [line for cls in objects for line in _typed_dict(cls)]
    head = [
        _SOURCE,
        '"""The objects of a request as dicts, for type checkers: each is named after its class."""',
        "",
        "from collections.abc import Mapping, Sequence",
        "from typing import Any, Literal, NotRequired, TypedDict",
        *_imports(_needed(objects)),
    ]
    return formatted("\n".join([*head, *classes]), DICTS_PATH)


def rendered_keywords() -> str:
    """The module with a function for each method, whose keywords are those of its calls."""
    head = [
        _SOURCE,
        '"""The keywords of every method\'s calls, for type checkers: functions that are never called."""',
        "",
        "from collections.abc import Callable, Mapping, Sequence",
        "from typing import Any, Literal, ParamSpec, TypeVar, cast",
        "from explaind.contract.base import MethodResult",
        "from explaind.contract.method import Method",
        *_imports(request_objects()),
        f"from {module_of(DICTS_PATH)} import {', '.join(f'{cls.__name__}Dict' for cls in request_objects())}",
        'P = ParamSpec("P")',
        'AnswerT = TypeVar("AnswerT", bound=MethodResult)',
        "def called_as(keywords: Callable[P, None], method: Method[..., AnswerT]) -> Method[P, AnswerT]:",
        '    """The method itself; to a type checker, its calls have those keywords."""',
        '    return cast("Method[P, AnswerT]", method)',
    ]
    functions = [line for method in all_methods().values() for line in _function(method)]
    return formatted("\n".join([*head, *functions]), KEYWORDS_PATH)


def keywords_name(method: Method[..., Any]) -> str:
    """The name of the function that has a method's keywords: `explain_shap`."""
    return f"{method.verb}_{method.name}".replace("-", "_")


def request_objects() -> list[type[RequestModel]]:
    """The classes of all objects that a request may hold, without the requests themselves; those within first."""
    found: dict[type[RequestModel], None] = {}
    for method in all_methods().values():
        for field in method.params_model.model_fields.values():
            _collect(field.annotation, found)
    return list(found)


def _collect(annotation: Any, found: dict[type[RequestModel], None]) -> None:
    while get_origin(annotation) is Annotated:
        annotation = taken(annotation)
    for argument in get_args(annotation):
        _collect(argument, found)
    if isinstance(annotation, type) and issubclass(annotation, RequestModel) and annotation not in found:
        for field in annotation.model_fields.values():
            _collect(field.annotation, found)
        found[annotation] = None


def _typed_dict(cls: type[RequestModel]) -> Iterator[str]:
    fields = {field.alias or name: field for name, field in cls.model_fields.items()}
    name = f"{cls.__name__}Dict"
    if all(key.isidentifier() and key != "class" for key in fields):
        yield f"class {name}(TypedDict):"
        yield f'    """{inspect.cleandoc(cls.__doc__ or "").partition(chr(10))[0]}"""'
        for key, field in fields.items():
            yield f"    {key}: {_member(field)}"
    else:
        members = ", ".join(f'"{key}": {_member(field)}' for key, field in fields.items())
        yield f'{name} = TypedDict("{name}", {{{members}}})'


def _member(field: FieldInfo) -> str:
    written = accepted(field.annotation)
    return written if field.is_required() else f"NotRequired[{written}]"


def _function(method: Method[..., Any]) -> Iterator[str]:
    yield f"def {keywords_name(method)}(*,"
    for name, field in call_fields(method.params_model).items():
        default = "" if field.is_required() else f" = {_default(field)}"
        yield f"    {name}: {accepted(field.annotation)}{default},"
    yield f') -> None:\n    """{method.title}."""'


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return repr(tuple(value) if isinstance(value, list) else value)


def accepted(annotation: Any) -> str:
    """What a field of that type takes, as source: objects also as dicts, lists as any sequence, tuples as lists."""
    while get_origin(annotation) is Annotated:
        annotation = taken(annotation)
    return " | ".join(dict.fromkeys(_branches(annotation)))


def _branches(annotation: Any) -> Iterator[str]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _branches(taken(annotation))
    elif origin in {Union, UnionType}:
        branches = [branch for argument in arguments for branch in _branches(argument)]
        yield from sorted(branches, key=lambda branch: branch == "None")
    elif origin is Literal:
        yield f"Literal[{', '.join(map(repr, arguments))}]"
    elif origin is list:
        item = accepted(arguments[0])
        if "Dict" in item:  # rows are made by programs, and are of no TypedDict then
            item += " | Mapping[str, Any]"
        # A text is a sequence of texts to a type checker, and not to the service.
        yield from (f"list[{item}]", f"tuple[{item}, ...]") if "str" in item.split(" | ") else (f"Sequence[{item}]",)
    elif origin is tuple:
        items = [accepted(argument) for argument in arguments]
        yield f"tuple[{', '.join(items)}]"
        yield f"list[{' | '.join(dict.fromkeys(items))}]"
    elif origin is dict:
        yield f"Mapping[{', '.join(map(accepted, arguments))}]"
    elif annotation in {None, NoneType}:
        yield "None"
    elif isinstance(annotation, type) and issubclass(annotation, RequestModel):
        yield from (annotation.__name__, f"{annotation.__name__}Dict")
    else:
        yield annotation.__name__


def _needed(objects: Iterable[type[RequestModel]]) -> list[type[RequestModel]]:
    """The classes that fields of the others refer to."""
    within: dict[type[RequestModel], None] = {}
    for cls in objects:
        for field in cls.model_fields.values():
            _collect(field.annotation, within)
    return list(within)


def _imports(classes: Iterable[type]) -> list[str]:
    return [f"from {cls.__module__} import {cls.__name__}" for cls in classes]


def module_of(path: str) -> str:
    """The module of a file of the SDK."""
    return path.removeprefix("clients/python/").removesuffix(".py").replace("/", ".")
