"""Signatures and docstrings of method calls, made from the method's params model when somebody asks for them."""

import inspect
import re
import textwrap
from collections.abc import Callable
from functools import cache
from types import FunctionType, MethodType
from typing import Annotated, Any, TypeVar

from pydantic.fields import FieldInfo

from explaind.contract.base import ResponseModel
from explaind.contract.estimate import Estimate
from explaind.contract.method import Method
from explaind.contract.request import ModelRequest
from explaind.protocol.annotations import named, readable

ClassT = TypeVar("ClassT", bound=type)

_WIDTH = 100
_DOES = {
    "__call__": "{title}: {summary}",
    "submit": "Submits a job of {path} ({title}) and returns its handle at once.",
    "estimate": "The cost of {path} ({title}): forwards, tokens, bytes and seconds. Nothing is computed.",
}
_RAISES = {
    "RequestError": "the request cannot be accepted; its fields are checked before anything is sent.",
    "JobError": "the job failed, of the class that the worker raised.",
    "WaitTimeout": "the job had not ended within the `timeout` of `with_options`; it goes on.",
    "ExplaindError": "the root of these and of all others.",
}


def describes_itself(cls: ClassT) -> ClassT:
    """The class of method calls, whose instances have the signature and docstring of their `method`.

    So have `submit` and `estimate` of an instance: names, defaults, types and descriptions of the parameters.
    """
    written = cls.__doc__ or ""
    awaited = inspect.iscoroutinefunction(vars(cls)["__call__"])

    def docstring(call: Any) -> str:
        return call_docstring(call.method, "__call__", awaited=awaited)

    # Descriptors, as the call itself is an instance: `inspect`, `help` and a notebook's `?` read them of it.
    setattr(cls, "__signature__", _OfInstance(lambda call: call_signature(call.method, "__call__")))  # noqa: B010
    setattr(cls, "__doc__", _OfInstance(docstring, of_class=written))  # noqa: B010
    for name in ("__call__", "submit", "estimate"):
        setattr(cls, name, _MethodOfCall(vars(cls)[name], name, awaited=awaited))
    return cls


def call_signature(
    method: Method[..., Any], name: str, *, awaited: bool = False, bound: bool = True
) -> inspect.Signature:
    """The signature of a method's call, or of its `submit` or `estimate`: keywords alone, required ones first.

    Args:
        method: the method that is called.
        name: `__call__`, `submit` or `estimate`.
        awaited: whether the call is one of the async client.
        bound: False puts `self` before the keywords.
    """
    return _signature(method.params_model, method.result, name, awaited, bound)


@cache
def _signature(
    params_model: type[ModelRequest], result: type[ResponseModel], name: str, awaited: bool, bound: bool
) -> inspect.Signature:
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=readable(_annotation(field))
        )
        for name, field in call_fields(params_model).items()
    ]
    first = [] if bound else [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    returned = {
        "__call__": named(result.__name__, result),
        "submit": named(f"{'AsyncJobHandle' if awaited else 'JobHandle'}[{result.__name__}]", Any),
        "estimate": named(Estimate.__name__, Estimate),
    }
    return inspect.Signature([*first, *parameters], return_annotation=returned[name])


def call_fields(params_model: type[ModelRequest]) -> dict[str, FieldInfo]:
    """The fields of a request in the order in which a caller reads them.

    Required ones come first and those that concern the job alone last.
    """
    fields = params_model.model_fields
    order = sorted(fields, key=lambda name: (name in params_model.job_fields, not fields[name].is_required()))
    return {name: fields[name] for name in order}


def call_docstring(method: Method[..., Any], name: str, *, awaited: bool) -> str:
    """What the call does, its parameters, its result, its errors, and an example."""
    handle = "AsyncJobHandle" if awaited else "JobHandle"
    result = f"{method.result.__name__}: {_first_paragraph(method.result.__doc__)}"
    returned = {
        "__call__": result,
        "submit": f"{handle}: its `result()` waits for the {result}",
        "estimate": f"Estimate: {_first_paragraph(Estimate.__doc__)}",
    }
    parts = [
        _wrapped(_DOES[name].format(path=method.path, title=method.title, summary=method.summary), ""),
        "Args:",
        *(_entry(name, field.description) for name, field in call_fields(method.params_model).items()),
        "",
        "Returns:",
        _wrapped(returned[name], "    "),
        "",
        "Raises:",
        *(_entry(error, when) for error, when in _RAISES.items()),
        "",
        "Example:",
        f"    >>> {'await ' if awaited else ''}client.{_attribute(method)}{'' if name == '__call__' else f'.{name}'}(",
        *(f"    ...     {key}={value!r}," for key, value in method.example.items()),
        "    ... )",
    ]
    parts.insert(1, "")
    if name == "__call__" and method.cost:
        parts += ["", _wrapped(f"Cost: {method.cost}.", "")]
    if name == "__call__" and method.citation:
        parts += ["", _wrapped(f"Source: {method.citation}", "")]
    return "\n".join(parts) + "\n"


class _OfInstance:
    """An attribute that is made of the instance whenever it is read; the class has `of_class`, or no such attribute."""

    def __init__(self, make: Callable[[Any], Any], of_class: str | None = None) -> None:
        self._make = make
        self._of_class = of_class

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is not None:
            return self._make(instance)
        if self._of_class is None:
            raise AttributeError
        return self._of_class


class _MethodOfCall:
    """A method of a call: bound to one, it has the signature and docstring of the call's own method."""

    def __init__(self, function: FunctionType, name: str, *, awaited: bool) -> None:
        self._function = function
        self._name = name
        self._awaited = awaited
        self._described: dict[tuple[str, type], FunctionType] = {}

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self._function
        method = instance.method
        key = (method.path, method.params_model)
        if key not in self._described:
            self._described[key] = self._copy(method)
        return MethodType(self._described[key], instance)

    def _copy(self, method: Method[..., Any]) -> FunctionType:
        function = self._function
        copy = FunctionType(function.__code__, function.__globals__, function.__name__, None, function.__closure__)
        copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
        copy.__doc__ = call_docstring(method, self._name, awaited=self._awaited)
        signature = call_signature(method, self._name, awaited=self._awaited, bound=False)
        setattr(copy, "__signature__", signature)  # noqa: B010 - an attribute of any function, known to `inspect`
        return copy


def _annotation(field: FieldInfo) -> Any:
    """The field's type with the marks that pydantic has taken off it."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _default(field: FieldInfo) -> Any:
    return inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)


def _attribute(method: Method[..., Any]) -> str:
    return method.path.replace("/", ".").replace("-", "_")


def _entry(name: str, text: str | None) -> str:
    said = re.sub(r"\bnull\b", "None", text or "")  # fields are described in the words of JSON
    return _wrapped(f"{name}: {said}".rstrip(), "    ", "        ")


def _wrapped(text: str, indent: str, further: str | None = None) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=further or indent)


def _first_paragraph(docstring: str | None) -> str:
    return " ".join(inspect.cleandoc(docstring or "").partition("\n\n")[0].split())
