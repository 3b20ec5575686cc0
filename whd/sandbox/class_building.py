"""What a class statement of a flow does, and what it says about the process that ran it.

An object of a flow's own class that passes for a text, a number or another object of a library (a subclass with
methods of its own) can lie to the library, which may remember the lie: in a cache, in a registry. And a finalizer can
outlive its flow (`close` of a file in memory). Nobody can list all such ways; so an execution that builds a class upon
more than plain classes, errors and enums is marked, and its process is replaced.
"""

from __future__ import annotations

import builtins
import dataclasses
import enum
import functools
import typing
from typing import Any

from .modules import FACADES
from .modules.classes import check_inherited_fields
from .names import FLOW_MODULE
from .outputs import a_kind
from .running import RUN_NAME

_FLOW_ENUM, _FLOW_FLAG = FACADES["enum"].__dict__["Enum"], FACADES["enum"].__dict__["Flag"]
# TypedDict makes plain dicts and lets no method in.
_HARMLESS: tuple[Any, ...] = (
    object, enum.Enum, enum.Flag, _FLOW_ENUM, _FLOW_FLAG, typing.Generic, typing.Protocol, typing.TypedDict,
)  # fmt: skip

# Instances of the first two hold the name of an attribute that the library reads or writes on another object, and a
# flow could change instances of its own subclass. A super object gives out another object's attributes, also to the
# library, which has no guard.
_NO_BASES = (functools.cached_property, dataclasses.Field, super)


def build_class(body: Any, name: str, /, *bases: Any, **keywords: Any) -> Any:
    """The builtin __build_class__."""
    for base in bases:
        if not isinstance(base, type) and not hasattr(base, "__mro_entries__"):
            # Python would call its class, whatever that is, with the name, the bases and the namespace.
            raise TypeError(f"a class cannot be made below {a_kind(type(base))}; its bases are classes") from None
    if all(map(_is_harmless, bases)):
        return builtins.__build_class__(body, name, *bases, **keywords)
    body.__globals__[RUN_NAME].wants_fresh = True
    made = builtins.__build_class__(body, name, *bases, **keywords)
    if isinstance(made, type):
        if issubclass(made, _NO_BASES):
            raise TypeError(f"a class cannot be made below {bases[0]!r}; use it as it is") from None
        check_inherited_fields(made)
    return made


def _is_harmless(base: Any) -> bool:
    if not isinstance(base, type):
        # Generic[T] and Protocol[T]. A flow cannot make an object of its own that answers __mro_entries__.
        base = typing.get_origin(base) or base
        return any(base is harmless for harmless in _HARMLESS)
    return all(_is_plain(above) for above in type.mro(base))


def _is_plain(kind: type) -> bool:
    return (
        kind.__module__ is FLOW_MODULE
        or any(kind is harmless for harmless in _HARMLESS)
        or issubclass(kind, BaseException)
    )
