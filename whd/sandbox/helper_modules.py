"""A client's helper modules while a flow runs: each runs once an execution, at its first import, and goes with it.

What a flow gets is an object that reads the module's names and nothing else: it cannot be changed, copied or made by a
flow. Nothing of it survives the execution, for its namespace is made anew each time; only the code is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import CodeType
from typing import Any, NoReturn, Self

from .lib_imports import LIB

# What every namespace begins with, beside names that no flow can use (program.py).
_GIVEN = frozenset({"print"})

Namespace = dict[str, Any]


class HelperModule:
    """One module, or `lib` itself, whose names are those of its namespace as they are now."""

    __slots__ = ("_given", "_namespace", "_title")
    _given: Mapping[str, Any]
    _namespace: Namespace
    _title: str

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        """Refused: only `_make` makes one."""
        raise TypeError("modules cannot be made by flows")

    def __init_subclass__(cls, **_kwargs: object) -> NoReturn:
        raise TypeError("modules cannot be subclassed")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError("modules cannot be changed by flows")

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError("modules cannot be changed by flows")

    def __getattr__(self, name: str) -> Any:
        # A subclass of str could lie about what it begins with.
        if type(name) is not str or name[:1] == "_":
            raise AttributeError("a module has no such name") from None
        value = self._namespace.get(name, _MISSING)
        if value is _MISSING or value is self._given.get(name, _MISSING):
            there = ", ".join(names_of(self)) or "nothing"
            raise AttributeError(f"there is no {name!r} in {self._title}; it has: {there}") from None
        return value

    def __repr__(self) -> str:
        return f"<module {self._title}>"

    def __copy__(self) -> HelperModule:
        return self

    def __deepcopy__(self, _memo: object) -> HelperModule:
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("modules cannot be copied")


_MISSING = object()
_set = object.__setattr__


def _make(title: str, namespace: Namespace) -> HelperModule:
    module: HelperModule = object.__new__(HelperModule)
    _set(module, "_title", title)
    _set(module, "_namespace", namespace)
    _set(module, "_given", {name: namespace[name] for name in _GIVEN if name in namespace})
    return module


def names_of(module: HelperModule) -> list[str]:
    """The names that a flow finds in it."""
    given = module._given
    return sorted(
        name
        for name, value in module._namespace.items()
        if not name.startswith("_") and value is not given.get(name, _MISSING)
    )


class ModuleLoader:
    """The modules of one execution. `codes`: all that may be imported, by name; `given`: what a namespace begins with.

    `holders`: each namespace in a list of its own, so that nothing but that list and what the module made holds it.
    """

    __slots__ = ("_codes", "_given", "_loaded", "_loading", "_package", "holders")

    def __init__(self, codes: Mapping[str, CodeType], given: Namespace) -> None:
        self._codes = codes
        self._given = given
        self._loaded: dict[str, HelperModule] = {}
        self._loading: set[str] = set()
        self._package = _make(LIB, {})
        self.holders: list[list[Namespace]] = []

    def find(self, name: str, wanted: Iterable[str] | None) -> HelperModule:
        """What `import lib.x`, `from lib import x` and `from lib.x import f` get. Raises ImportError."""
        _lib, _dot, rest = name.partition(".")
        if not rest:
            for each in wanted or ():
                self._load(each)
            return self._package
        module = self._load(rest)
        if not wanted:
            return self._package
        there = names_of(module)
        for each in wanted:
            if each not in there:
                raise ImportError(f"there is no {each!r} in lib.{rest}; it has: {', '.join(there)}") from None
        return module

    def clear(self) -> None:
        """Lets go of the modules and of what they made."""
        self._loaded.clear()
        self._package._namespace.clear()
        for holder in self.holders:
            holder[0].clear()

    def _load(self, name: str) -> HelperModule:
        module = self._loaded.get(name)
        if module is not None:
            return module
        code = self._codes.get(name)
        if code is None:
            raise missing(name, self._codes)
        if name in self._loading:
            raise ImportError(f"lib.{name} is being imported already: a circle") from None
        self.holders.append([dict(self._given)])
        namespace = self.holders[-1][0]
        self._loading.add(name)
        try:
            exec(code, namespace)
        finally:
            self._loading.discard(name)
        module = self._loaded[name] = _make(f"lib.{name}", namespace)
        self._package._namespace[name] = module
        return module


def missing(name: str, known: Iterable[str]) -> ImportError:
    """For a module that there is not, or not for this flow."""
    there = ", ".join(f"lib.{each}" for each in sorted(known)) or "none"
    return ImportError(f"there is no module lib.{name} for this flow; there are: {there}")
