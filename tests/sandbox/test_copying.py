"""copy, deepcopy and replace of flows: what Python's give for what flows make, and a refusal for the rest."""

from __future__ import annotations

import collections
import copy as library
import dataclasses
import datetime
import decimal
import enum
import fractions
import importlib
import io
import re
import sys
import types
import typing
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from whd.sandbox.modules import copying
from whd.sandbox.names import FLOW_MODULE


def _flows_own(kind: Any) -> Any:
    """As a class that a flow defined."""
    kind.__module__ = FLOW_MODULE
    return kind


@_flows_own
class Node:
    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is Node and other.value == self.value

    def show(self) -> object:
        return self.value


@_flows_own
class Mine(dict[str, Any]):
    pass


@_flows_own
class Late(collections.defaultdict[str, list[int]]):
    pass


@_flows_own
@dataclasses.dataclass(slots=True, frozen=True)
class Row:
    items: list[int]
    name: str = "x"


@_flows_own
class Mistake(ValueError):
    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}")
        self.code, self.hint = code, hint


class Point(typing.NamedTuple):
    x: list[int]
    y: int


class Color(enum.Enum):
    RED = 1


def _ordered() -> Any:
    made = collections.OrderedDict(a=[1], b=[2])
    made.move_to_end("a")
    return made


def _mine() -> Any:
    made = Mine(a=[1])
    made.note = [2]  # type: ignore[attr-defined]
    return made


COPIED: dict[str, Callable[[], Any]] = {
    "nested": lambda: {"a": [1, {"b": (2, [3])}], "c": {4}, "d": bytearray(b"x")},
    "a tuple": lambda: ([1], 2),
    "a frozenset": lambda: frozenset({(1, 2)}),
    "ordered": _ordered,
    "a defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "a counter": lambda: collections.Counter("aab"),
    "a deque": lambda: collections.deque([[1], [2]], maxlen=3),
    "a chain": lambda: collections.ChainMap({"a": [1]}, {"b": 2}),
    "a user dict": lambda: collections.UserDict(a=[1]),
    "a user list": lambda: collections.UserList([[1]]),
    "a named tuple": lambda: Point([1], 2),
    "own": lambda: Node([1, Node(2)]),
    "a dict of one's own": _mine,
    "a default of one's own": lambda: Late(list, a=[1]),
    "slots": lambda: Row([1]),
    "numbers": lambda: [decimal.Decimal("1.5"), fractions.Fraction(1, 3), 1 + 2j],
    "dates": lambda: [datetime.date(2026, 1, 2), datetime.timedelta(1), datetime.UTC],
    "a pattern": lambda: re.compile("a"),
}


@pytest.mark.parametrize("make", COPIED.values(), ids=COPIED)
def test_a_copy_is_equal_and_as_deep_as_pythons(make: Callable[[], Any]) -> None:
    original = make()
    shallow, deep = copying.copy(original), copying.deepcopy(original)
    for made in (shallow, deep):
        assert made == original == make()
        assert type(made) is type(original)
        assert getattr(made, "__dict__", None) == getattr(original, "__dict__", None)
    assert (shallow is original) == (library_copy(original) is original)
    assert (deep is original) == (library_deepcopy(original) is original)


def test_deep_copies_share_nothing_that_can_change() -> None:
    own = Node([1])
    deep = copying.deepcopy([own, Row([1]), Point([1], 2), _mine()])
    deep[0].value.append(2)
    deep[1].items.append(2)
    deep[2].x.append(2)
    deep[3].note.append(3)
    assert own.value == [1]
    assert [deep[0].value, deep[1].items, deep[2].x, deep[3].note] == [[1, 2], [1, 2], [1, 2], [2, 3]]


def test_a_shallow_copy_has_a_dict_of_its_own_and_calls_nothing() -> None:
    node = Node([1])
    made = copying.copy(node)
    made.extra = 1
    assert made.value is node.value
    assert not hasattr(node, "extra")


def test_what_is_one_stays_one_and_circles_stay_circles() -> None:
    shared: list[Any] = [1]
    node = Node(shared)
    node.itself, node.both = node, [shared, shared]  # type: ignore[attr-defined]
    made: Any = copying.deepcopy(node)
    assert made.itself is made is not node
    assert made.both[0] is made.both[1] is made.value is not shared


class Wrapped(typing.NamedTuple):
    held: list[Any]


@pytest.mark.parametrize("make", [lambda held: (held,), Wrapped], ids=["tuple", "named tuple"])
def test_a_tuple_in_a_circle_stays_one(make: Any) -> None:
    items: list[Any] = []
    row = make(items)
    items.append(row)
    made: Any = copying.deepcopy(row)
    assert made[0][0] is made is not row


def test_errors_keep_what_they_hold() -> None:
    error = Mistake(7, hint="h")
    for made in (copying.copy(error), copying.deepcopy(error)):
        assert (type(made), made.args, made.code, made.hint) == (Mistake, ("code 7",), 7, "h")
    exit_error = copying.copy(SystemExit(3))
    assert exit_error.code == 3


def test_classes_functions_and_members_are_their_own_copies() -> None:
    for same in (
        uuid.UUID(int=5),
        int,
        Node,
        len,
        test_errors_keep_what_they_hold,
        Color.RED,
        None,
        ...,
        list[int],
        "a".upper,
    ):
        assert copying.copy(same) is same
    assert copying.deepcopy([int, Color.RED, len]) == [int, Color.RED, len]


def test_a_method_of_ones_own_object_goes_with_its_copy() -> None:
    node: Any = Node([1])
    node.callback = node.show
    made = copying.deepcopy(node)
    made.value.append(2)
    assert (made.callback(), node.callback()) == ([1, 2], [1])


REFUSED: dict[str, Any] = {
    "a generator": (number for number in [1]),
    "a class method": classmethod(copying.copy),
    "a static method": staticmethod(len),
    "a file": io.StringIO("x"),
    "a module": sys,
    "a frame": sys._getframe(),
    "a cell": types.CellType(1),
    "a proxy": types.MappingProxyType({}),
    "an iterator": iter([1]),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_the_unknown_is_refused(value: Any) -> None:
    for act in (copying.copy, copying.deepcopy, lambda given: copying.deepcopy([given])):
        with pytest.raises(TypeError, match="cannot be copied"):
            act(value)


def test_a_method_of_what_is_shared_is_not_copied_deeply() -> None:
    with pytest.raises(TypeError, match="cannot be copied"):
        copying.deepcopy(Shared().act)


class Shared:
    def act(self) -> None:
        pass


@pytest.mark.parametrize(
    ("value", "changes", "changed"),
    [
        (Row([1]), {"name": "y"}, Row([1], "y")),
        (Point([1], 2), {"y": 3}, Point([1], 3)),
        (datetime.date(2026, 1, 2), {"day": 3}, datetime.date(2026, 1, 3)),
        (datetime.datetime(2026, 1, 2), {"hour": 3}, datetime.datetime(2026, 1, 2, 3)),
    ],
)
def test_replace_is_there_on_every_python(value: Any, changes: dict[str, Any], changed: Any) -> None:
    assert copying.replace(value, **changes) == changed
    with pytest.raises(TypeError, match="for dataclasses"):
        copying.replace([], a=1)


def test_the_library_copies_by_the_same_rules() -> None:
    assert library.copy is copying.copy
    assert library.deepcopy([1, {"a": 2}], {}) == [1, {"a": 2}]
    with pytest.raises(TypeError, match="cannot be copied"):
        dataclasses.asdict(Row([iter(())]))  # type: ignore[list-item]


# Python's own, as they were before anything was replaced.
_pythons: Any = importlib.util.module_from_spec(library.__spec__)
library.__spec__.loader.exec_module(_pythons)  # type: ignore[union-attr]
library_copy, library_deepcopy = _pythons.copy, _pythons.deepcopy
