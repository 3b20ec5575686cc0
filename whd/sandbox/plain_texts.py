"""Texts of objects without their addresses: repr(), str() and all that is made of them, in every text that a flow sees.

Python shows where an object lies in memory (`<function f at 0x7f…>`): no use to a flow's author, different at each run,
and a help to an attack on the interpreter. C code makes these texts, also within lists and error messages, so they
can be changed only where each type has its own: in its slot tp_repr (Include/cpython/object.h). Python forbids that for
builtin types; like frozen_types.py this goes past the prohibition, in the zygote, and tries the effect. A function that
takes the address out of the type's own text goes into the type's dict, and into the slot what looks there.

The texts of errors change alike where Python advises what flows do not have. And UnicodeError's is replaced: Python's
reads the byte or character at `start`, which a flow can set to what it likes (CPython gh-123378): memory of the
process, with what earlier executions left in it.
"""

from __future__ import annotations

import _thread  # threading would do its own things at each fork
import ctypes
import gc
import hashlib
import hmac
import re
import types
import weakref
from collections.abc import Callable
from typing import Any

from .frozen_types import all_classes
from .names import FLOW_MODULE

_ADDRESS = re.compile(r" (?:at|@) 0x[0-9a-fA-F]+")
_POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)
_MAX_OFFSET = 512
# Whose text shows an address by itself; most other types have object's.
_WITH_ADDRESS: tuple[type, ...] = (
    object, types.FunctionType, types.BuiltinFunctionType, types.MethodWrapperType, types.GeneratorType,
    types.CoroutineType, types.AsyncGeneratorType, types.CodeType, types.FrameType, types.CellType, memoryview,
    weakref.ReferenceType, type(_thread.allocate_lock()), type(_thread.RLock()), type(hashlib.sha256()),
    type(getattr(hmac.new(b"", b"", "sha256"), "_hmac", None)),
)  # fmt: skip


class _Plain:
    """A class with object's text."""


class _Own:
    """A class with a text of its own, which its slots look up in its dict."""

    def __repr__(self) -> str:
        return "own"

    def __str__(self) -> str:
        return "own"


def hide_addresses() -> None:
    """Does it for all types, for the life of the process. Raises RuntimeError where Python is laid out otherwise."""
    kinds = [object, *all_classes()]
    repr_at = _offset(object, _Plain, types.FunctionType)
    for kind in _WITH_ADDRESS:
        original = vars(kind).get("__repr__")
        if type(original) is types.WrapperDescriptorType:
            _replace(kind, "__repr__", _without_address(original), repr_at, kinds)
    str_at = _offset(object, types.FunctionType, UnicodeDecodeError)
    for kind, text in _UNICODE_TEXTS.items():
        _replace(kind, "__str__", text, str_at, kinds)
    for name, offset in (("__repr__", repr_at), ("__str__", str_at)):
        _replace(BaseException, name, _without_advice(vars(BaseException)[name]), offset, kinds)
    shown = f"{[_Plain()]!r} {_offset!r} {str.upper!r} {''.upper!r}"
    if "0x" in shown or "bytes" not in str(UnicodeDecodeError("x", b"", -9, -8, "x")):
        raise RuntimeError("the texts of objects cannot be changed in this Python")


def _offset(one: type, alike: type, other: type) -> int:
    """Where the slot is that `one` and `alike` share, and `other` and _Own fill otherwise."""
    found = [
        offset
        for offset in range(0, _MAX_OFFSET, _POINTER_BYTES)
        if _slot(one, offset).value == _slot(alike, offset).value
        and len({_slot(kind, offset).value for kind in (one, other, _Own)} - {None}) == 3
    ]
    if len(found) != 1:
        raise RuntimeError("the slots of a class are not where they were expected")
    return found[0]


def _slot(kind: type, offset: int) -> ctypes.c_void_p:
    # id() is the object's address in CPython.
    return ctypes.c_void_p.from_address(id(kind) + offset)


def _replace(kind: type, name: str, method: Callable[[Any], str], offset: int, kinds: list[type]) -> None:
    """Gives a type a method of its own, in its dict and in its slot and those that were inherited from it."""
    own = _slot(kind, offset).value
    names: dict[str, Any] = gc.get_referents(vars(kind))[0]  # vars() is a proxy of it
    names[name] = method
    for each in kinds:
        if _slot(each, offset).value == own:
            _slot(each, offset).value = _slot(_Own, offset).value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def _without_address(original: Any) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:
        text: str = original(self)
        if type(self).__module__ is FLOW_MODULE:
            text = text.replace(f"{FLOW_MODULE}.", "", 1)
        return _ADDRESS.sub("", text)

    return __repr__


# What Python advises, and what flows have instead.
_ADVICE = {
    "; use sys.set_int_max_str_digits() to increase the limit": "; hex() and int(x, 16) have no limit",
    "; use codecs.encode() to handle arbitrary codecs": "",
    "; use codecs.decode() to handle arbitrary codecs": "",
}


def _without_advice(original: Any) -> Callable[[Any], str]:
    def shown(self: Any) -> str:
        text: str = original(self)
        if "; use " in text:
            for advice, instead in _ADVICE.items():
                text = text.replace(advice, instead)
        return text

    return shown


# ---- UnicodeError ----------------------------------------------------------------------------------------------------


def _decode_text(error: Any) -> str:
    return _unicode_text(error, UnicodeDecodeError, "decode byte", bytes, lambda byte: f"0x{byte:02x}")


def _encode_text(error: Any) -> str:
    return _unicode_text(error, UnicodeEncodeError, "encode character", str, _shown_character)


def _translate_text(error: Any) -> str:
    return _unicode_text(error, UnicodeTranslateError, "translate character", str, _shown_character)


def _shown_character(character: str) -> str:
    code = ord(character)
    return f"'\\x{code:02x}'" if code < 256 else f"'\\u{code:04x}'" if code < 65536 else f"'\\U{code:08x}'"


def _unicode_text(error: Any, kind: Any, act: str, holder: Any, shown: Callable[[Any], str]) -> str:
    """Python's own texts. The error's data is read itself, whatever a flow's subclass makes of the names."""
    parts = vars(kind)
    try:
        whole = parts["object"].__get__(error)
    except TypeError:
        return ""  # made without arguments
    # These may run code of the flow, which may change the rest: first.
    reason = str(parts["reason"].__get__(error))
    codec = f"'{parts['encoding'].__get__(error)!s}' codec " if kind is not UnicodeTranslateError else ""
    start, end = parts["start"].__get__(error), parts["end"].__get__(error)
    if end == start + 1 and 0 <= start < holder.__len__(whole):
        return f"{codec}can't {act} {shown(holder.__getitem__(whole, start))} in position {start}: {reason}"
    return f"{codec}can't {act}s in position {start}-{end - 1}: {reason}"


_UNICODE_TEXTS: dict[type, Callable[[Any], str]] = {
    UnicodeDecodeError: _decode_text,
    UnicodeEncodeError: _encode_text,
    UnicodeTranslateError: _translate_text,
}
