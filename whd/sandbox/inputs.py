"""What a flow gets from outside: plain JSON values; only headers are looked up without regard to case.

Pure values. Both classes are dicts in every other respect and are written out as such. Which
values of a child's input are headers or a webhook's call, its parent says (`Kinds`), for JSON does not.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView
from typing import Any, Self

_MISSING: Any = object()
# Pairs as they are stored, past what a class makes of its keys.
_items = dict.items

# Which values within an input are no plain dicts: a letter, then the names that lead there. H: headers, W: a call.
Kinds = list[list[str]]
HEADERS, CALL = "H", "W"


def _folded(name: Any) -> Any:
    return str.lower(name) if isinstance(name, str) else name


class Headers(dict[str, Any]):
    """A message's headers, names in lower case; `headers["X-GitHub-Event"]` finds "x-github-event" (RFC 9110, 5.1)."""

    __slots__ = ()

    def __init__(self, *given: Any, **more: Any) -> None:
        self.update(*given, **more)

    def __missing__(self, name: str) -> Any:
        if (lower := _folded(name)) != name:
            return self[lower]
        raise KeyError(name) from None

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or dict.__contains__(self, _folded(name))

    def __setitem__(self, name: str, value: Any) -> None:
        dict.__setitem__(self, _folded(name), value)

    def __delitem__(self, name: str) -> None:
        dict.__delitem__(self, _folded(name))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, dict):
            return NotImplemented
        return dict.__eq__(self, other if type(other) is Headers else Headers(other))

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, dict):
            return NotImplemented
        made = self.copy()
        made.update(other)
        return made

    def __ror__(self, other: Any) -> Any:
        if not isinstance(other, dict):
            return NotImplemented
        made = Headers(other)
        made.update(self)
        return made

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]  # pairs too, as dict has it
        self.update(other)
        return self

    def get(self, name: str, default: Any = None, /) -> Any:
        """dict.get, ignoring case."""
        value = dict.get(self, name, _MISSING)
        return dict.get(self, _folded(name), default) if value is _MISSING else value

    def pop(self, name: str, /, *default: Any) -> Any:
        """dict.pop, ignoring case."""
        return dict.pop(self, _folded(name), *default)

    def setdefault(self, name: str, default: Any = None, /) -> Any:
        """dict.setdefault, ignoring case."""
        return dict.setdefault(self, _folded(name), default)

    def update(self, *given: Any, **more: Any) -> None:
        """dict.update; of names that differ in case the last counts."""
        for name, value in _items(dict(*given, **more)):
            dict.__setitem__(self, _folded(name), value)

    def copy(self) -> Headers:
        """Headers too."""
        made: Headers = _new(Headers)
        dict.update(made, self)
        return made

    def keys(self) -> KeysView[str]:  # type: ignore[override]  # a view all the same
        """The names; `in` ignores case."""
        return KeysView(self)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """Names and values; `in` ignores case."""
        return ItemsView(self)


class WebhookInput(dict[str, Any]):
    """A webhook call's input_value: flows may read `json` as `data_json` too.

    In a plain copy, which knows no other names, `data_json` is a member of its own; so it is among the keys, from which
    Python makes such a copy. It is not written out twice.
    """

    __slots__ = ()

    def __missing__(self, name: str) -> Any:
        if type(name) is str and name == "data_json":
            return self["json"]
        raise KeyError(name) from None

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or dict.__contains__(self, self._stored(name))

    def __delitem__(self, name: str) -> None:
        dict.__delitem__(self, self._stored(name))

    def __iter__(self) -> Iterator[str]:
        # Only for a class with an __iter__ of its own does Python copy by the keys.
        return dict.__iter__(self)

    def __or__(self, other: Any) -> Any:
        return NotImplemented if not isinstance(other, dict) else _call(_items(self), _items(other))

    def __ror__(self, other: Any) -> Any:
        return NotImplemented if not isinstance(other, dict) else _call(_items(other), _items(self))

    def get(self, name: str, default: Any = None, /) -> Any:
        """dict.get, with the other name of `json`."""
        return dict.get(self, self._stored(name), default)

    def pop(self, name: str, /, *default: Any) -> Any:
        """dict.pop, with the other name of `json`."""
        return dict.pop(self, self._stored(name), *default)

    def setdefault(self, name: str, default: Any = None, /) -> Any:
        """dict.setdefault, with the other name of `json`."""
        return dict.setdefault(self, self._stored(name), default)

    def copy(self) -> WebhookInput:
        """A webhook call's input too."""
        return _call(_items(self))

    def keys(self) -> KeysView[str]:  # type: ignore[override]  # a view all the same
        """The names, `data_json` among them."""
        return _CallKeys(self)

    def _stored(self, name: Any) -> Any:
        """The name under which a value is stored."""
        is_alias = type(name) is str and name == "data_json" and not dict.__contains__(self, name)
        return "json" if is_alias else name


class _CallKeys(KeysView[str]):
    """What is stored, and `data_json` behind it where there is `json`."""

    __slots__ = ()
    _mapping: WebhookInput

    def __iter__(self) -> Iterator[str]:
        yield from dict.__iter__(self._mapping)
        if "data_json" in self._mapping and not dict.__contains__(self._mapping, "data_json"):
            yield "data_json"

    def __len__(self) -> int:
        return sum(1 for _name in self)


_new: Any = dict.__new__


def _call(*parts: Any) -> WebhookInput:
    made: WebhookInput = _new(WebhookInput)
    for part in parts:
        dict.update(made, part)
    return made


def as_headers(plain: dict[str, Any]) -> Headers:
    """Headers of a plain dict whose names are in lower case."""
    made: Headers = _new(Headers)
    dict.update(made, plain)
    return made


def as_output(value: Any) -> Any:
    """A child's output_value as its parent sees it: a REST task's is recognised by its members (FLOW_API)."""
    if type(value) is dict and "status_code" in value and type(value.get("headers")) is dict:
        value["headers"] = Headers(value["headers"])
    return value


def as_input(value: Any) -> Any:
    """The input_value as a flow sees it: a webhook call's is recognised by its members (CONTRACT 3).

    The daemon writes the names of headers in lower case.
    """
    if type(value) is dict and is_call(value):
        value["headers"] = as_headers(value["headers"])
        return WebhookInput(value)
    return value


def is_call(value: dict[str, Any]) -> bool:
    """Whether a dict has the members of a webhook call's input_value."""
    return isinstance(value.get("headers"), dict) and "method" in value and "path" in value and "query" in value


# ---- what a parent hands on ------------------------------------------------------------------------------------------

# How deep and among how many values headers are looked for in what a parent hands on.
MOST_LEVELS = 5
MOST_VALUES = 10_000
MOST_KINDS = 50


def kinds_of(inputs: Any) -> Kinds:
    """Which values within a child's input are no plain dicts, the outer ones first; within the bounds above."""
    kinds: Kinds = []
    waiting: list[tuple[list[str], Any]] = [([], inputs)] if isinstance(inputs, dict) else []
    left = MOST_VALUES
    for path, holder in waiting:
        if type(holder) is Headers:
            kinds.append([HEADERS, *path])
        elif type(holder) is WebhookInput:
            kinds.append([CALL, *path])
        left -= dict.__len__(holder)
        if len(path) == MOST_LEVELS or left < 0:
            continue
        for name, item in _items(holder):
            if isinstance(item, dict) and type(name) is str:
                waiting.append(([*path, name], item))
    return kinds[:MOST_KINDS]


def as_child_input(value: Any, kinds: Kinds) -> Any:
    """A child's input_value, with what its parent said of it (kinds_of)."""
    for letter, *path in reversed(kinds):
        value = _with_kind(value, path, Headers if letter == HEADERS else WebhookInput)
    if type(value) is dict and is_call(value):
        value["headers"] = Headers(value["headers"])
        return WebhookInput(value)
    return value


def _with_kind(value: Any, path: list[str], kind: type[dict[str, Any]]) -> Any:
    if not path:
        return kind(value) if type(value) is dict else value
    holder = value
    for name in path[:-1]:
        holder = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(holder, dict) and type(item := holder.get(path[-1])) is dict:
        holder[path[-1]] = kind(item)
    return value
