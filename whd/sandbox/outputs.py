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
from collections.abc import Callable, Iterator
from typing import Any

from ..wire.strict_json import MAX_DEPTH

_SCALARS = frozenset({str, int, float, bool, type(None)})


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


def to_json(value: Any, name: str) -> bytes:
    """The value as strict JSON in UTF-8. `name` begins the path in an error. Raises NoJsonForm, MemoryError."""
    try:
        text = "".join(_encode_utf8(value, 0))
        # Counting brackets is an upper bound; only outputs with many need the walk.
        if text.count("[") + text.count("{") <= MAX_DEPTH:
            return text.encode("utf-8")
    except (ValueError, TypeError, RecursionError):
        _MARKERS.clear()
        return _walk(value, name)
    except BaseException:
        _MARKERS.clear()
        raise
    _check_depth(value, name)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return _walk(value, name)


def _walk(value: Any, name: str) -> bytes:
    """The slow way: a copy in plain values, each checked. Raises NoJsonForm."""
    try:
        return "".join(_encode_utf8(_plain_copy(value, name, 0, set()), 0)).encode("utf-8")
    finally:
        _MARKERS.clear()


def _check_depth(value: Any, name: str) -> None:
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH + 1:
            _walk(value, name)  # says where
            return
        level = [item for holder in level for item in _items(holder)]


def _items(value: Any) -> Iterator[Any]:
    kind = type(value)
    if kind in _SCALARS:
        return iter(())
    if issubclass(kind, dict):
        return iter(dict.values(value))
    if issubclass(kind, (list, tuple, set, frozenset, deque)):
        return _base_iter(value, kind)
    return iter(())


def _base_iter(value: Any, kind: type) -> Iterator[Any]:
    """Iterates a builtin container past what a subclass makes of __iter__."""
    for base in (list, tuple, set, frozenset, deque):
        if issubclass(kind, base):
            return base.__iter__(value)
    raise TypeError(kind.__name__)


def _plain_copy(value: Any, path: str, depth: int, holders: set[int]) -> Any:
    kind = type(value)
    if kind is str or issubclass(kind, str):
        return _text(value, path)
    if value is None or kind is bool:
        return value
    if issubclass(kind, int):
        return _integer(value, path)
    if issubclass(kind, float):
        if not math.isfinite(value):
            raise NoJsonForm(f"{path} is {float.__repr__(value)}, which JSON does not have; use None or a text")
        return float.__float__(value)
    if depth >= MAX_DEPTH:
        raise NoJsonForm(f"{_cut(path)} is nested more than {MAX_DEPTH} deep")
    if id(value) in holders:
        raise NoJsonForm(f"{_cut(path)} holds itself; JSON cannot write a cycle")
    holders.add(id(value))
    try:
        return _plain_container(value, kind, path, depth, holders)
    finally:
        holders.discard(id(value))


def _plain_container(value: Any, kind: type, path: str, depth: int, holders: set[int]) -> Any:
    if issubclass(kind, dict):
        copied: dict[str, Any] = {}
        for key, item in dict.items(value):
            name = _key(key, path)
            copied[name] = _plain_copy(item, f"{path}[{name!r}]", depth + 1, holders)
        return copied
    if issubclass(kind, (list, tuple, deque)):
        items = _base_iter(value, kind)
        return [_plain_copy(item, f"{path}[{index}]", depth + 1, holders) for index, item in enumerate(items)]
    try:
        form = plain(value)
    except TypeError:
        raise NoJsonForm(
            f"{_cut(path)} is {a_kind(kind)}, which has no JSON form; use a dict, list, text, number, bool or None"
        ) from None
    except ValueError as error:
        raise NoJsonForm(f"{_cut(path)} is {error}, which JSON does not have; use None or a text") from None
    return _plain_copy(form, path, depth + (type(form) is not list), holders)


def _key(key: Any, path: str) -> str:
    """A member's name: JSON has only texts; numbers, dates and the like become theirs."""
    kind = type(key)
    if issubclass(kind, str):
        return _text(key, f"a name in {path}")
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


def _text(value: str, path: str) -> str:
    text = str.__str__(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise NoJsonForm(
            f"{_cut(path)} has a lone surrogate at position {error.start}, which UTF-8 does not have; "
            "use text.encode('utf-8', 'replace').decode()"
        ) from None
    return text


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
    if text.count("[") + text.count("{") > MAX_DEPTH:
        return _quote(_describe(value))
    if text.isascii():
        return text
    # Only texts hold other characters. A lone surrogate becomes "?", so that nobody downstream stumbles over it.
    return "".join(_encode_ascii(json.loads(text.encode("utf-8", "replace")), 0))


def _quote(text: str) -> str:
    return json.encoder.encode_basestring_ascii(text.encode("utf-8", "replace").decode("utf-8"))


def _describe(value: Any) -> str:
    try:
        text = str(value) if isinstance(value, BaseException) else repr(value)
    except Exception as error:  # a flow's own __repr__ may do anything; a log line must not fail for it
        return f"<{type(value).__name__}: {type(error).__name__}>"
    return str.__str__(text)
