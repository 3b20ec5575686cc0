"""copy.copy, copy.deepcopy and copy.replace, for flows and for the library, by what an object is, not how it pickles.

Python's own ask the object for a function and its arguments (object.__reduce_ex__) and call that. For a bound method
the answer is `getattr` with a name, and who makes the method can choose the name: a way past the guards. Here no object
is asked. What is known is copied, the rest is refused:

- What cannot change is its own copy, and so is what is one in Python too: functions and classes.
- A class of the library that has a `__copy__` or `__deepcopy__` knows best. Flows cannot define one.
- An object of a flow's own class becomes a new one with the same data, without a call of its `__init__`.
"""

from __future__ import annotations

import calendar
import collections
import contextlib
import copy as library
import csv
import dataclasses
import datetime
import difflib
import enum
import functools
import ipaddress
import json
import operator
import re
import statistics
import string
import textwrap
import time
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any

from ..names import FLOW_MODULE

Memo = dict[int, Any]

_SAME = frozenset(
    {
        type(None), type(...), type(NotImplemented), bool, int, float, complex, str, bytes, range, slice, object,
        types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.GenericAlias, types.UnionType,
        property, functools.partial, functools.cached_property, operator.itemgetter, type(functools.cache(len)),
        datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone, zoneinfo.ZoneInfo,
        time.struct_time, uuid.UUID, re.Pattern, re.Match, statistics.NormalDist,
        ipaddress.IPv4Address, ipaddress.IPv4Interface, ipaddress.IPv4Network,
        ipaddress.IPv6Address, ipaddress.IPv6Interface, ipaddress.IPv6Network,
        dataclasses.Field, dataclasses.InitVar, type(dataclasses.MISSING), type(dataclasses.KW_ONLY),
    }
)  # fmt: skip
# Classes of the library whose objects are a dict of values and nothing else.
_PLAIN_OBJECTS = frozenset(
    {
        calendar.Calendar, calendar.HTMLCalendar, calendar.TextCalendar, collections.ChainMap, collections.UserDict,
        collections.UserList,
        csv.DictReader, csv.DictWriter, difflib.Differ, difflib.SequenceMatcher, json.JSONDecoder, json.JSONEncoder,
        string.Template, textwrap.TextWrapper,
    }
)  # fmt: skip

_CONTAINERS = frozenset({list, dict, set, bytearray})
_MEMBER = types.MemberDescriptorType


def copy(x: Any) -> Any:
    """copy.copy. Raises TypeError for what has no copy."""
    kind = type(x)
    if kind in _CONTAINERS:
        return x.copy()
    if kind is types.MethodType or kind is tuple or kind is frozenset or _is_same(kind):
        return x
    known = getattr(kind, "__copy__", None)
    if known is not None:
        return known(x)
    return _rebuilt(x, kind, _itself)


def deepcopy(x: Any, memo: None = None) -> Any:
    """copy.deepcopy, without a memo of one's own: it would be handed what the library keeps between all calls."""
    if memo is not None:
        raise TypeError("deepcopy's memo is for __deepcopy__, which classes of flows do not have") from None
    return _deep(x, {})


def replace(obj: Any, /, **changes: Any) -> Any:
    """copy.replace, which Python has since 3.13: the object with other values of some fields. Raises TypeError."""
    kind = type(obj)
    if issubclass(kind, (datetime.date, datetime.time)):
        return obj.replace(**changes)
    if issubclass(kind, tuple) and hasattr(kind, "_replace"):
        return kind._replace(obj, **changes)
    if dataclasses.is_dataclass(kind):
        return dataclasses.replace(obj, **changes)
    raise TypeError(f"replace() is for dataclasses, named tuples and dates, not for {kind.__name__}") from None


def mend_copy() -> None:
    """Puts these into the library's own module, for what copies there on behalf of a flow (dataclasses.asdict)."""
    library.copy = copy
    library.deepcopy = _library_deepcopy


def _library_deepcopy(x: Any, memo: Any = None, _nil: object = None) -> Any:
    # A class of the library hands on the memo that it was given; anybody else's is not used.
    return _deep(x, memo if type(memo) is dict else {})


def _itself(part: Any) -> Any:
    return part


def _deep(x: Any, memo: Memo) -> Any:
    kind = type(x)
    if kind in _SAME or _is_same(kind):
        return x
    new = memo.get(id(x), memo)
    if new is not memo:
        return new
    if kind is list:
        new = memo[id(x)] = []
        for item in x:
            new.append(_deep(item, memo))
    elif kind is dict:
        new = memo[id(x)] = {}
        for key, value in x.items():
            new[_deep(key, memo)] = _deep(value, memo)
    elif kind is types.MethodType:
        new = _deep_method(x, memo)
    elif (known := getattr(kind, "__deepcopy__", None)) is not None:
        new = known(x, memo)
    else:
        new = _rebuilt(x, kind, lambda part: _deep(part, memo), memo)
    memo[id(x)] = new
    # The id stands for x only as long as x lives.
    memo.setdefault(id(memo), []).append(x)
    return new


def _is_same(kind: type) -> bool:
    """Whether objects of the class are their own copies."""
    if kind in _SAME or kind.__module__ == "typing" or issubclass(kind, (type, enum.Enum)):
        return True
    return kind.__module__ is FLOW_MODULE and any(base in _SAME for base in type.mro(kind)[1:-1])


def _deep_method(method: Any, memo: Memo) -> Any:
    """A method of a flow's own object becomes that of its copy; others belong to what is shared."""
    owner, function = method.__self__, method.__func__
    if type(owner).__module__ is FLOW_MODULE and type(function) is types.FunctionType:
        return types.MethodType(function, _deep(owner, memo))
    if isinstance(owner, type):
        return method
    raise TypeError("this method cannot be copied") from None


def _rebuilt(x: Any, kind: type, part: Callable[[Any], Any], memo: Memo | None = None) -> Any:
    """A new object of the same class; `part` makes the copy of each thing that it holds."""
    layout = _layout(kind)
    if layout is None:
        raise TypeError(f"an object of type {kind.__name__} cannot be copied") from None
    new = _MAKERS[layout](x, kind, part)
    if memo is not None:
        # What it holds may hold it. Of a tuple that was so copied already, with its items, there is one copy.
        new = memo.setdefault(id(x), new)
    fill = _FILLERS.get(layout)
    if fill is not None:
        fill(new, x, part)
    for put, value in _state(x, kind):
        put(new, part(value))
    return new


def _layout(kind: type) -> type | None:
    """The class that says how objects of this one hold their data, None if they cannot be copied."""
    for base in type.mro(kind)[:-1]:
        if base in _MAKERS:
            return base
    # Upon a class of the library that is more than a dict of values, object.__new__ refuses to make one.
    return object if kind.__module__ is FLOW_MODULE or kind in _PLAIN_OBJECTS else None


def _state(x: Any, kind: type) -> Iterator[tuple[Callable[[Any, Any], None], Any]]:
    """What an object holds under names: for each how to put it into another one, and its value."""
    with contextlib.suppress(AttributeError):
        names = object.__getattribute__(x, "__dict__")
        for name, value in list(names.items()):
            yield functools.partial(_put, name), value
    for base in type.mro(kind):
        if base.__module__ is FLOW_MODULE:  # a dataclass with slots
            for member in list(type.__getattribute__(base, "__dict__").values()):
                if type(member) is _MEMBER:
                    with contextlib.suppress(AttributeError):  # a slot without a value
                        yield member.__set__, member.__get__(x)


def _put(name: str, new: Any, value: Any) -> None:
    object.__getattribute__(new, "__dict__")[name] = value


def _make_error(x: Any, kind: Any, part: Callable[[Any], Any]) -> Any:
    given = [part(argument) for argument in BaseException.__getattribute__(x, "args")]
    new = kind.__new__(kind, *given)
    own: Any = next(base for base in type.mro(kind) if base.__module__ is not FLOW_MODULE)
    with contextlib.suppress(TypeError):
        own.__init__(new, *given)
    return new


def _make_deque(x: Any, kind: Any, _part: Callable[[Any], Any]) -> Any:
    new = collections.deque.__new__(kind)
    collections.deque.__init__(new, (), x.maxlen)
    return new


def _make_default(x: Any, kind: Any, _part: Callable[[Any], Any]) -> Any:
    new = collections.defaultdict.__new__(kind)
    collections.defaultdict.__init__(new, x.default_factory)
    return new


def _fill_dict(new: Any, x: Any, part: Callable[[Any], Any]) -> None:
    for key, value in list(dict.items(x)):
        dict.__setitem__(new, part(key), part(value))


def _fill_ordered(new: Any, x: Any, part: Callable[[Any], Any]) -> None:
    for key, value in list(collections.OrderedDict.items(x)):
        collections.OrderedDict.__setitem__(new, part(key), part(value))


# Each reads the data itself, past what a class of a flow makes of its methods.
_MAKERS: dict[type, Callable[[Any, Any, Callable[[Any], Any]], Any]] = {
    object: lambda _x, kind, _part: object.__new__(kind),
    dict: lambda _x, kind, _part: dict.__new__(kind),
    list: lambda _x, kind, _part: list.__new__(kind),
    set: lambda _x, kind, _part: set.__new__(kind),
    bytearray: lambda _x, kind, _part: bytearray.__new__(kind),
    collections.OrderedDict: lambda _x, kind, _part: collections.OrderedDict.__new__(kind),
    collections.Counter: lambda _x, kind, _part: dict.__new__(kind),
    collections.defaultdict: _make_default,
    collections.deque: _make_deque,
    BaseException: _make_error,
    tuple: lambda x, kind, part: (
        tuple.__new__(kind, [part(item) for item in tuple.__iter__(x)]) if kind is not tuple else _tuple(x, part)
    ),
    frozenset: lambda x, kind, part: frozenset.__new__(kind, [part(item) for item in frozenset.__iter__(x)]),
}
_FILLERS: dict[type, Callable[[Any, Any, Callable[[Any], Any]], None]] = {
    dict: _fill_dict,
    collections.Counter: _fill_dict,
    collections.defaultdict: _fill_dict,
    collections.OrderedDict: _fill_ordered,
    list: lambda new, x, part: list.extend(new, [part(item) for item in list.__iter__(x)]),
    set: lambda new, x, part: set.update(new, [part(item) for item in set.__iter__(x)]),
    bytearray: lambda new, x, _part: bytearray.extend(new, bytearray.copy(x)),
    collections.deque: lambda new, x, part: collections.deque.extend(
        new, [part(item) for item in list(collections.deque.__iter__(x))]
    ),
}


def _tuple(x: tuple[Any, ...], part: Callable[[Any], Any]) -> tuple[Any, ...]:
    """A tuple of what is its own copy is its own copy too."""
    items = tuple([part(item) for item in x])
    return x if all(map(operator.is_, items, x)) else items
