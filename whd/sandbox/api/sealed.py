"""The rule for every object of the API: made by the worker only, the same for all who look, and closed.

A flow cannot make, copy, subclass or change one; what an object holds stands under names that flows cannot read.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, NoReturn, Self

from ..errors import CloudomationException

MISSING = object()


class Sealed:
    """An object of the API. `_title`, `_spoken`: what errors call it and how flows write it.

    `_missing`: names of the original platform that whd lacks, and what to do instead.
    """

    __slots__ = ()
    _title = ""
    _spoken = ""
    _missing: dict[str, str] = {}  # noqa: RUF012  # read only

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        """Refused: objects come from the functions make_… and api_objects."""
        raise TypeError(f"{cls.__name__} objects are given to the handler; a flow cannot make one")

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _memo: object) -> Any:
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("objects of the flow API cannot be copied")

    def __repr__(self) -> str:
        return f"<{self._title}>"

    def __getattr__(self, name: str) -> Any:
        kind = type(self)
        if name in kind._missing:
            return _refuse(f"{kind._spoken}.{name} is not available in whd; {kind._missing[name]}")
        there = ", ".join(sorted(known for known in dir(kind) if not known.startswith("_")))
        raise AttributeError(f"{kind._title} has no {name!r}; it has: {there}") from None


def _refuse(text: str) -> Callable[..., NoReturn]:
    def missing(*_args: object, **_kwargs: object) -> NoReturn:
        raise CloudomationException(text)

    return missing


def own_methods(kind: type[Sealed], base: type[Sealed]) -> None:
    """Gives a class copies of the methods that it inherits, so that Python's own errors call them by its name."""
    for name, method in vars(base).items():
        if isinstance(method, FunctionType) and not name.startswith("_") and name not in vars(kind):
            copy = FunctionType(method.__code__, method.__globals__, name, method.__defaults__, method.__closure__)
            copy.__kwdefaults__ = method.__kwdefaults__
            copy.__doc__ = method.__doc__
            setattr(kind, name, copy)


def seal(kind: type[Sealed], title: str, spoken: str = "") -> None:
    """Ends a class: from now on it has no further subclasses, and flows know it as one of flow_api's."""

    def refuse(_cls: type, /, **_kwargs: object) -> NoReturn:
        raise TypeError(f"{title} cannot be subclassed")

    kind.__init_subclass__ = classmethod(refuse)  # type: ignore[assignment]
    kind.__module__ = "flow_api"
    kind.__name__ = kind.__qualname__ = kind._title = title
    kind._spoken = spoken or title.lower()
    for name, method in vars(kind).items():
        if isinstance(method, FunctionType) and not name.startswith("_"):
            # Python's own errors (an argument too many, one that is missing) call it as flows write it.
            method.__qualname__ = f"{kind._spoken}.{name}"
