"""contextlib for flows: contextmanager, suppress, closing and nullcontext, the same on every Python.

Of our own, because the real ones show their parts (a manager's `gen`, `func`), and because the end of a flow passes: no
`suppress` keeps a flow alive. A generator that is still suspended when the handler has left acts no more, like every
other (run.Run.close).
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from ..errors import FlowEnd
from .facade import Facade, make_facade

_Error = BaseException | None


class _Managed:
    """What a function with @contextmanager answers: for one `with`, or as a decorator for each call."""

    __slots__ = ("_generator", "_make")

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._generator: Any = None

    def __enter__(self) -> Any:
        self._generator = self._make()
        try:
            return next(self._generator)
        except StopIteration:
            raise RuntimeError("the generator of a context manager did not yield") from None

    def __exit__(self, kind: type[BaseException] | None, error: _Error, traceback: types.TracebackType | None) -> bool:
        generator = self._generator
        if kind is None:
            try:
                next(generator)
            except StopIteration:
                return False
        else:
            error = kind() if error is None else error
            try:
                generator.throw(error)
            except StopIteration as stop:
                # The generator caught the error and ended. Raised as a StopIteration itself, it goes on.
                return stop is not error
            except BaseException as raised:
                # What was raised in the `with` goes on by itself. Python makes a RuntimeError of a StopIteration.
                if raised is error or (isinstance(error, StopIteration) and raised.__cause__ is error):
                    error.__traceback__ = traceback
                    return False
                raise
        try:
            raise RuntimeError("the generator of a context manager yielded twice")
        finally:
            generator.close()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """As a decorator: each call of the function in a `with` of its own."""

        def managed(*args: Any, **kwargs: Any) -> Any:
            with _Managed(self._make):
                return function(*args, **kwargs)

        return managed


def contextmanager(function: Callable[..., Any], /) -> Callable[..., Any]:
    """contextlib.contextmanager."""
    if not callable(function):
        raise TypeError("@contextmanager is for functions that contain `yield`") from None

    def manager(*args: Any, **kwargs: Any) -> _Managed:
        return _Managed(lambda: function(*args, **kwargs))

    if type(function) is types.FunctionType:
        manager.__name__, manager.__qualname__ = function.__name__, function.__qualname__
    return manager


class suppress:  # as in contextlib
    """contextlib.suppress: leaves the `with` without an error of these kinds, also for those within a group."""

    __slots__ = ("_kinds",)

    def __init__(self, *exceptions: type[BaseException]) -> None:
        self._kinds = exceptions

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: _Error, _traceback: object) -> bool:
        if kind is None or issubclass(kind, FlowEnd):
            return False
        if issubclass(kind, self._kinds):
            return True
        if isinstance(error, BaseExceptionGroup):
            _caught, rest = error.split(self._kinds)
            if rest is not None:
                raise rest
            return True
        return False


class closing:  # as in contextlib
    """contextlib.closing."""

    __slots__ = ("_thing",)

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __enter__(self) -> Any:
        return self._thing

    def __exit__(self, *_error: object) -> None:
        self._thing.close()


class nullcontext:  # as in contextlib
    """contextlib.nullcontext."""

    __slots__ = ("_result",)

    def __init__(self, enter_result: Any = None) -> None:
        self._result = enter_result

    def __enter__(self) -> Any:
        return self._result

    def __exit__(self, *_error: object) -> None:
        pass


def context_facades() -> dict[str, Facade]:
    """The facade of this module, by the name that a flow imports."""
    names = {kind.__name__: kind for kind in (suppress, closing, nullcontext)}
    return {"contextlib": make_facade("contextlib", {**names, "contextmanager": contextmanager})}
