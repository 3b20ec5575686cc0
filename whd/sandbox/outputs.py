"""From a flow's values to JSON text: what is not JSON gets its usual form, what has none is an error with its path.

Values are hostile: classes of a flow may lie about their type, compare as they like and hold themselves. The fast way
is the C encoder, which reads the data of subclasses past their methods; when it refuses, the slow way finds out where.
Nothing here does I/O.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import enum
import json.encoder
import math
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

from ..wire.strict_json import MAX_OUTPUT_DEPTH, is_deeper


class NoJsonForm(ValueError):
    """A value that JSON cannot hold; the text has the path to it."""


def a_kind(kind: type) -> str:
    """A type in an error, with its article: an object, a function."""
    name = kind.__name__
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


def plain(value: Any) -> Any:
    """The usual JSON form of a value that JSON does not know. Raises TypeError where there is none."""
    kind = type(value)
    if issubclass(kind, (set, frozenset)):
        return _ordered(list(set.__iter__(value) if issubclass(kind, set) else frozenset.__iter__(value)))
    if issubclass(kind, datetime.datetime):
        return datetime.datetime.isoformat(value)
    if issubclass(kind, datetime.date):
        return datetime.date.isoformat(value)
    if issubclass(kind, datetime.time):
        return datetime.time.isoformat(value)
    if issubclass(kind, datetime.timedelta):
        return datetime.timedelta.total_seconds(value)
    if issubclass(kind, decimal.Decimal):
        return _decimal(value)
    if issubclass(kind, uuid.UUID):
        return uuid.UUID.__str__(value)
    if issubclass(kind, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    if issubclass(kind, deque):
        return list(deque.__iter__(value))
    if issubclass(kind, enum.Enum):
        return object.__getattribute__(value, "_value_")
    raise TypeError(kind.__name__)


def _decimal(value: decimal.Decimal) -> str:
    # As text, like most frameworks: a float would lose the very digits for which somebody took a Decimal.
    if not decimal.Decimal.is_finite(value):
        raise ValueError(decimal.Decimal.__str__(value))
    return decimal.Decimal.__str__(value)


def _ordered(items: list[Any]) -> list[Any]:
    """A set has no order; texts and numbers get one, so that equal outputs look equal."""
    kinds = set(map(type, items))
    return sorted(items) if kinds == {str} or kinds <= {int, float, bool} else items


_MARKERS: dict[int, Any] = {}


def _make_encoder(escape: Callable[[str], str]) -> Callable[[Any, int], Any]:
    # Straight to the C encoder: JSONEncoder.encode makes a new one for each call (1 µs).
    make: Any = vars(json.encoder)["c_make_encoder"]
    if make is None:
        encoder = json.JSONEncoder(
            ensure_ascii=escape is not json.encoder.encode_basestring,
            allow_nan=False,
            separators=(",", ":"),
            default=plain,
        )
        return lambda value, _level: (encoder.encode(value),)
    return make(_MARKERS, plain, escape, None, ":", ",", False, False, False)  # type: ignore[no-any-return]


_encode_utf8 = _make_encoder(json.encoder.encode_basestring)
_encode_ascii = _make_encoder(json.encoder.encode_basestring_ascii)


# What writes a lone surrogate, the one character that UTF-8 lacks, as the escape that JSON has for it, too.
_SURROGATES = "backslashreplace"


def to_json(value: Any, name: str, max_depth: int = MAX_OUTPUT_DEPTH) -> bytes:
    """The value as strict JSON in UTF-8. `name` begins the path in an error. Raises NoJsonForm, MemoryError."""
    try:
        text = "".join(_encode_utf8(value, 0))
    except (ValueError, TypeError, RecursionError):
        _MARKERS.clear()
        return _walk(value, name, max_depth)
    except BaseException:
        _MARKERS.clear()
        raise
    # Counting brackets is an upper bound; only outputs with many need a closer look.
    if text.count("[") + text.count("{") > max_depth and is_deeper(text, max_depth):
        return _walk(value, name, max_depth)  # says where
    return text.encode("utf-8", _SURROGATES)


def _walk(value: Any, name: str, max_depth: int) -> bytes:
    """The slow way: a copy in plain values, each checked. Raises NoJsonForm."""
    try:
        return "".join(_encode_utf8(_plain_copy(value, name, max_depth), 0)).encode("utf-8", _SURROGATES)
    finally:
        _MARKERS.clear()


def _plain_copy(value: Any, path: str, max_depth: int) -> Any:
    """The value in plain dicts, lists and scalars. On a stack of its own: Python's holds no three frames a level."""
    stack = [_copying(value, path, 0, max_depth, set())]
    copied: Any = None
    while stack:
        try:
            inner = stack[-1].send(copied)
        except StopIteration as done:
            stack.pop()
            copied = done.value
        else:
            stack.append(inner)
            copied = None
    return copied


# Yields the copying of what it holds, is sent the copies, and returns its own.
_Copying = Generator["_Copying", Any, Any]


def _copying(value: Any, path: str, depth: int, max_depth: int, holders: set[int]) -> _Copying:
    kind = type(value)
    if issubclass(kind, str):
        return str.__str__(value)
    if value is None or kind is bool:
        return value
    if issubclass(kind, int):
        return _integer(value, path)
    if issubclass(kind, float):
        if not math.isfinite(value):
            raise NoJsonForm(f"{path} is {float.__repr__(value)}, which JSON does not have; use None or a text")
        return float.__float__(value)
    if depth >= max_depth:
        raise NoJsonForm(f"{_cut(path)} is nested more than {max_depth} deep")
    if id(value) in holders:
        raise NoJsonForm(f"{_cut(path)} holds itself; JSON cannot write a cycle")
    holders.add(id(value))
    if issubclass(kind, dict):
        copied: dict[str, Any] = {}
        for key, item in dict.items(value):
            name = _key(key, path)
            copied[name] = yield _copying(item, f"{path}[{name!r}]", depth + 1, max_depth, holders)
        form: Any = copied
    elif issubclass(kind, (list, tuple, deque)):
        form = []
        for index, item in enumerate(_base_iter(value, kind)):
            form.append((yield _copying(item, f"{path}[{index}]", depth + 1, max_depth, holders)))
    else:
        form = _form(value, kind, path)
        # A set is a list; what stands for another value counts a level, so that this ends.
        form = yield _copying(form, path, depth + (type(form) is not list), max_depth, holders)
    holders.discard(id(value))
    return form


def _form(value: Any, kind: type, path: str) -> Any:
    try:
        return plain(value)
    except TypeError:
        raise NoJsonForm(
            f"{_cut(path)} is {a_kind(kind)}, which has no JSON form; use a dict, list, text, number, bool or None"
        ) from None
    except ValueError as error:
        raise NoJsonForm(f"{_cut(path)} is {error}, which JSON does not have; use None or a text") from None


def _base_iter(value: Any, kind: type) -> Iterator[Any]:
    """Iterates a builtin container past what a subclass makes of __iter__."""
    for base in (list, tuple, deque):
        if issubclass(kind, base):
            return base.__iter__(value)
    raise TypeError(kind.__name__)


def _key(key: Any, path: str) -> str:
    """A member's name: JSON has only texts; numbers, dates and the like become theirs."""
    kind = type(key)
    if issubclass(kind, str):
        return str.__str__(key)
    if key is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[key]
    if issubclass(kind, int):
        return int.__repr__(_integer(key, f"a name in {path}"))
    if issubclass(kind, float) and math.isfinite(key):
        return float.__repr__(key)
    try:
        form = plain(key)
    except (TypeError, ValueError):
        form = None
    if type(form) is not str:
        raise NoJsonForm(f"{_cut(path)} has {a_kind(kind)} as a name; JSON names are texts")
    return form


def _integer(value: int, path: str) -> int:
    number = int.__int__(value)
    try:
        int.__repr__(number)
    except ValueError:
        raise NoJsonForm(f"{_cut(path)} is an integer with more than 4300 digits; use a text, such as hex(n)") from None
    return number


def _cut(path: str) -> str:
    return path if len(path) <= 300 else f"{path[:120]}…{path[-120:]}"


# ---- log lines -------------------------------------------------------------------------------------------------------


def to_log_json(value: Any) -> str:
    """A value of a log line as JSON in ASCII, whatever it is: what has no JSON form is given as text."""
    try:
        text = "".join(_encode_utf8(value, 0))
    except (ValueError, TypeError, RecursionError):
        _MARKERS.clear()
        return _quote(_describe(value))
    except BaseException:
        _MARKERS.clear()
        raise
    if text.count("[") + text.count("{") > MAX_OUTPUT_DEPTH and is_deeper(text, MAX_OUTPUT_DEPTH):
        return _quote(_describe(value))
    # Only texts hold other characters.
    return text if text.isascii() else "".join(_encode_ascii(json.loads(text), 0))


_quote = json.encoder.encode_basestring_ascii


def _describe(value: Any) -> str:
    try:
        text = str(value) if isinstance(value, BaseException) else repr(value)
    except Exception as error:  # a flow's own __repr__ may do anything; a log line must not fail for it
        return f"<{type(value).__name__}: {type(error).__name__}>"
    return str.__str__(text)
