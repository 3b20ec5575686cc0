"""The library's own memory, mended before any facade is made: what it keeps of its arguments cannot be a flow's lie.

A cache that finds its entries by equality answers one execution with what another one put there. An object that is
equal to a text or number without being one could so decide what a later execution gets. Caches that take more than
texts and numbers are given exact ones here; what a flow leaves in any other is noticed at its end (program.py).
"""

from __future__ import annotations

import _strptime  # type: ignore[import-not-found]  # datetime.strptime in Python, without stubs
import enum
import fnmatch
import functools
import ipaddress
import re
import typing
import urllib.parse
from typing import Any

from ..names import FLOW_MODULE
from .copying import mend_copy

_CACHE = type(functools.cache(len))


def mend_library() -> None:
    """Replaces the functions that have such caches, once for the life of the process."""
    _mend_urlsplit()
    _mend_netmasks()
    _mend_aliases()
    _mend_patterns()
    _mend_globs()
    _mend_formats_of_dates()
    _mend_flags()
    _mend_addresses()
    mend_copy()


def _exact_text(value: Any) -> Any:
    """A text, bytes or None, as such and not as a subclass. Raises TypeError."""
    if value is None or type(value) is str or type(value) is bytes:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (bytes, bytearray)):
        return b"".join((value,))
    raise TypeError(f"a URL must be text or bytes, not {type(value).__name__}") from None


def _exact(value: Any) -> Any:
    """A text, bytes or number as such and not as a subclass; all else as it is."""
    kind = type(value)
    if kind is str or kind is int or kind is bytes:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return b"".join((value,))
    return int.__int__(value) if isinstance(value, int) else value


def _mend_patterns() -> None:
    """All of re's functions compile through one that remembers, and so does what re.sub puts in."""
    compile_pattern: Any = vars(re)["_compile"]

    def _compile(pattern: Any, flags: Any) -> Any:
        if type(pattern) is str and type(flags) is int:
            return compile_pattern(pattern, flags)
        return compile_pattern(_exact(pattern), flags if type(flags) is re.RegexFlag else _exact(flags))

    vars(re)["_compile"] = _compile
    # (template, pattern) in Python 3.11, (pattern, template) later; in C code the templates are looked up there.
    for name in ("_compile_repl", "_compile_template"):
        if name in vars(re):
            vars(re)[name] = _of_exact(vars(re)[name])


def _mend_globs() -> None:
    """fnmatch remembers patterns."""
    vars(fnmatch)["_compile_pattern"] = _of_exact(vars(fnmatch)["_compile_pattern"], (str, bytes))


def _mend_formats_of_dates() -> None:
    """strptime remembers formats."""
    vars(_strptime)["_strptime"] = _of_exact(vars(_strptime)["_strptime"])


def _of_exact(function: Any, only: tuple[type, ...] = (object,)) -> Any:
    """The function, of exact texts and numbers. `only`: what its arguments may be at all; raises TypeError."""

    def of_exact(*given: Any) -> Any:
        for value in given:
            if not isinstance(value, only):
                raise TypeError(f"{type(value).__name__} where a text is expected") from None
        return function(*map(_exact, given))

    return of_exact


def _mend_urlsplit() -> None:
    """urllib.parse's other functions call it too. As a plain function it does not show how often it was called."""
    remembering: Any = urllib.parse.urlsplit

    def urlsplit(url: Any, scheme: Any = "", allow_fragments: Any = True) -> Any:
        return remembering(_exact_text(url), _exact_text(scheme), bool(allow_fragments))

    urlsplit.__doc__ = remembering.__doc__
    urlsplit.__module__ = urllib.parse.__name__
    urllib.parse.urlsplit = urlsplit


def _mend_netmasks() -> None:
    """Networks remember masks and prefixes by equality, so True would stand for 1 from then on."""
    for version in ("_BaseV4", "_BaseV6"):
        base: Any = getattr(ipaddress, version)
        base._make_netmask = classmethod(_netmask_of(base._make_netmask.__func__))


def _netmask_of(make: Any) -> Any:
    def make_netmask(cls: Any, arg: Any) -> Any:
        if isinstance(arg, int):
            return make(cls, int.__int__(arg))
        if isinstance(arg, str):
            return make(cls, str.__str__(arg))
        raise ipaddress.NetmaskValueError(f"{type(arg).__name__} is not a valid netmask") from None

    return make_netmask


def _mend_aliases() -> None:
    """Calling an alias (Annotated[f, …]) writes `__orig_class__` to what f answers, be it a function that all share."""
    base: Any = typing._BaseGenericAlias  # type: ignore[attr-defined]  # private, and the only place
    call = base.__call__

    def call_alias(self: Any, *args: Any, **kwargs: Any) -> Any:
        origin = self.__origin__
        if not self._inst or (isinstance(origin, type) and origin.__module__ is FLOW_MODULE):
            return call(self, *args, **kwargs)
        return origin(*args, **kwargs)

    base.__call__ = call_alias


def _mend_flags() -> None:
    """A flag class keeps a member for each value that it was ever asked for, and with it the value as it was given."""
    missing: Any = vars(enum.Flag)["_missing_"].__func__

    def _missing_(cls: Any, value: Any) -> Any:
        return missing(cls, int.__int__(value) if isinstance(value, int) else value)

    re.RegexFlag._missing_ = classmethod(_missing_)  # type: ignore[method-assign,assignment]


def _mend_addresses() -> None:
    """Addresses and networks remember what is private and global in caches that find them by equality."""
    kinds = [vars(ipaddress)[name] for name in vars(ipaddress) if isinstance(vars(ipaddress)[name], type)]
    for kind in kinds:
        for name, attribute in list(vars(kind).items()):
            remembering = getattr(attribute, "fget", None)
            if isinstance(remembering, _CACHE):
                setattr(kind, name, property(vars(remembering)["__wrapped__"]))
