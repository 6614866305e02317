"""Errors of the SDK raised from its public calls: the user's line and one frame, without the plumbing beneath."""

import inspect
import sys
from collections.abc import Callable
from contextlib import aclosing, closing
from functools import wraps
from types import FunctionType, TracebackType
from typing import Any, TypeVar, cast

from explaind.contract.errors import ExplaindError

ClassT = TypeVar("ClassT", bound=type)

# What a call may raise by its documentation; anything else is a bug, whose traceback is wanted whole.
_DOCUMENTED = (ExplaindError, OSError)
# Whose frames a caller does not ask for: the SDK's, its libraries' and those of the standard library.
_PLUMBING = frozenset({"explaind", "httpx", "httpcore", "pydantic", "anyio", *sys.stdlib_module_names})


def short_tracebacks(cls: ClassT) -> ClassT:
    """The class, each of whose public methods (and `__call__`) raises documented errors from itself alone.

    IPython and pytest hide the frame that is left, too. An error that comes out of the caller's own
    code, such as a callback, keeps its traceback.
    """
    for name, member in list(vars(cls).items()):
        if isinstance(member, FunctionType) and (not name.startswith("_") or name == "__call__"):
            setattr(cls, name, raising_from_itself(member))
    return cls


def raising_from_itself(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, coroutine function or generator function, raising documented errors without inner frames."""
    if inspect.iscoroutinefunction(function):
        wrapper = _coroutine(function)
    elif inspect.isasyncgenfunction(function):
        wrapper = _async_generator(function)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function)
    else:
        wrapper = _plain(function)
    made = cast("FunctionType", wraps(function)(wrapper))
    # The frame that stays is called as the method is, not as the wrapper.
    made.__code__ = made.__code__.replace(co_name=function.__name__, co_qualname=function.__qualname__)
    return made


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            return function(*args, **kwargs)
        except _DOCUMENTED as error:
            raise error.with_traceback(_kept(error)) from None

    return call


def _coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            return await function(*args, **kwargs)
        except _DOCUMENTED as error:
            raise error.with_traceback(_kept(error)) from None

    return call


def _generator(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with closing(function(*args, **kwargs)) as items:
            try:
                yield from items
            except _DOCUMENTED as error:
                raise error.with_traceback(_kept(error)) from None

    return call


def _async_generator(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        async with aclosing(function(*args, **kwargs)) as items:
            try:
                async for item in items:
                    yield item
            except _DOCUMENTED as error:
                raise error.with_traceback(_kept(error)) from None

    return call


def _kept(error: BaseException) -> TracebackType | None:
    """The whole traceback of an error that passed through the caller's own code, such as a callback; else None."""
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in _PLUMBING:
            return error.__traceback__
        at = at.tb_next
    return None
