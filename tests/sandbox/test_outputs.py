"""From values to JSON: the usual forms, and errors with the path to what has none."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from whd.sandbox.outputs import NoJsonForm, to_json, to_log_json


class Color(enum.Enum):
    RED = "r"


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    def __str__(self) -> str:
        return "a lie"

    def __eq__(self, other: object) -> bool:
        raise AssertionError("no comparison of ours may run this")

    __hash__ = str.__hash__


class Number(int):
    def __repr__(self) -> str:
        return "alert(1)"

    __str__ = __repr__


class Real(float):
    def __repr__(self) -> str:
        return "alert(1)"


class Items(list[Any]):
    def __iter__(self) -> Any:
        return iter(["a lie"])


class Members(dict[str, Any]):
    def items(self) -> Any:
        return [("a", "lie")]


Point = collections.namedtuple("Point", "x y")

FORMS: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true"),
    (-1.5, "-1.5"),
    (2**70, "1180591620717411303424"),
    ('ä\u2028😀\x00"\\', '"ä\u2028😀\\u0000\\"\\\\"'),
    ((1, (2,)), "[1,[2]]"),
    ({"a": {"b": []}}, '{"a":{"b":[]}}'),
    ({1: "a", 2.5: "b", False: "c", None: "d"}, '{"1":"a","2.5":"b","false":"c","null":"d"}'),
    ({datetime.date(2026, 1, 2): 1}, '{"2026-01-02":1}'),
    ({uuid.UUID(int=1): 1}, '{"00000000-0000-0000-0000-000000000001":1}'),
    (datetime.datetime(2026, 1, 2, 3, 4, 5, 678), '"2026-01-02T03:04:05.000678"'),
    (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), '"2026-01-02T00:00:00+00:00"'),
    (datetime.date(2026, 1, 2), '"2026-01-02"'),
    (datetime.time(3, 4), '"03:04:00"'),
    (datetime.timedelta(seconds=90), "90.0"),
    (decimal.Decimal("1.10"), '"1.10"'),
    (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    (b"\xff\x00", '"/wA="'),
    (bytearray(b"a"), '"YQ=="'),
    ({3, 1, 2}, "[1,2,3]"),
    (frozenset({"b", "a"}), '["a","b"]'),
    (collections.deque([1, 2]), "[1,2]"),
    (collections.OrderedDict(a=1), '{"a":1}'),
    (collections.defaultdict(int, a=1), '{"a":1}'),
    (collections.Counter("aab"), '{"a":2,"b":1}'),
    (Point(1, 2), "[1,2]"),
    (Color.RED, '"r"'),
    (Level.LOW, "1"),
    ([{"a": {1}}, (b"", decimal.Decimal(1))], '[{"a":[1]},["","1"]]'),
    (Text("the truth"), '"the truth"'),
    (Number(5), "5"),
    (Real(1.5), "1.5"),
]


@pytest.mark.parametrize(("value", "text"), FORMS, ids=[repr(form[1])[:40] for form in FORMS])
def test_a_value_gets_its_usual_form(value: Any, text: str) -> None:
    assert to_json(value, "x").decode() == text
    json.loads(to_json(value, "x"))


@pytest.mark.parametrize("value", [Members(a=1), Items([1]), {"a": Items([Members()])}])
def test_containers_that_lie_still_give_json(value: Any) -> None:
    json.loads(to_json(value, "x"))


class Deep(enum.Enum):
    DEEP = json.loads("[" * 200 + "]" * 200)


def nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def cyclic_list() -> Any:
    value: list[Any] = [0]
    value.append({"self": value})
    return value


def cyclic_dict() -> Any:
    value: dict[str, Any] = {}
    value["a"] = [value]
    return value


FAULTS: list[tuple[Callable[[], Any], str]] = [
    (lambda: {"a": [1, 2, 3, float("nan")]}, "output_value['a'][3] is nan"),
    (lambda: float("inf"), "output_value is inf"),
    (lambda: [float("-inf")], "output_value[0] is -inf"),
    (lambda: {"a": decimal.Decimal("NaN")}, "output_value['a'] is NaN"),
    (lambda: {"a": decimal.Decimal("-Infinity")}, "output_value['a'] is -Infinity"),
    (lambda: {float("nan"): 1}, "has a float as a name"),
    (lambda: {"a": object()}, "output_value['a'] is an object, which has no JSON form"),
    (lambda: {"a": {object()}}, "output_value['a'][0] is an object"),
    (lambda: {"a": lambda: 0}, "is a function"),
    (lambda: {"a": (n for n in "")}, "is a generator"),
    (lambda: {"a": 1j}, "is a complex"),
    (lambda: {"a": range(3)}, "is a range"),
    (lambda: {"a": Exception("x")}, "is an Exception"),
    (lambda: {(1, 2): 1}, "output_value has a tuple as a name"),
    (lambda: {b"x": 1, object(): 2}, "has an object as a name"),
    (cyclic_list, "output_value[1]['self'] holds itself"),
    (cyclic_dict, "output_value['a'][0] holds itself"),
    (lambda: {"a": 10**4300}, "output_value['a'] is an integer with more than 4300 digits"),
    (lambda: {10**5000: 1}, "a name in output_value is an integer with more than 4300 digits"),
    (lambda: {"a": nested(400)}, f"…{'[0]' * 40} is nested more than 400 deep"),
    (lambda: {"a": nested(400)}, f"output_value['a']{'[0]' * 34}"),
    (lambda: nested(100_000), "is nested more than 400 deep"),
    (lambda: {"a": [nested(399), *[[]] * 500]}, "is nested more than 400 deep"),
    (lambda: {"a": nested(300), datetime.date(2026, 1, 2): nested(400)}, "output_value['2026-01-02'][0]"),
    (lambda: nested(250, Deep.DEEP), "is nested more than 400 deep"),
]


@pytest.mark.parametrize(("make", "words"), FAULTS, ids=[fault[1][:50] for fault in FAULTS])
def test_what_is_no_json_is_named_by_its_path(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(NoJsonForm) as caught:
        to_json(make(), "output_value")
    assert words in str(caught.value)
    assert to_json([1], "x") == b"[1]"  # nothing of the failure stays behind


def test_a_payload_of_its_two_hundred_levels_has_room_in_what_wraps_it() -> None:
    assert to_json(nested(400), "x") == b"[" * 400 + b"1" + b"]" * 400
    wide = {"a": [nested(398), *[[]] * 500]}
    assert json.loads(to_json(wide, "x")) == wide
    # The slow way has as much room.
    assert to_json({datetime.date(2026, 1, 2): nested(399)}, "x") == b'{"2026-01-02":%b}' % to_json(nested(399), "x")


@pytest.mark.parametrize("value", ["[" * 1000, {"{" * 1000: '\\"' + "[" * 1000}, [[]] * 1000])
def test_brackets_that_are_no_levels_are_not_counted(value: Any) -> None:
    assert json.loads(to_json(value, "x")) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x\ud800y", '"x\\ud800y"'),
        ({"\udfff": ["ä\udc00\\"]}, '{"\\udfff":["ä\\udc00\\\\"]}'),
        ({datetime.date(2026, 1, 2): "\ud83d"}, '{"2026-01-02":"\\ud83d"}'),
    ],
)
def test_half_of_a_surrogate_pair_is_the_escape_that_it_came_as(value: Any, text: str) -> None:
    assert to_json(value, "x").decode() == text


def test_the_same_object_twice_is_no_cycle() -> None:
    shared = [1]
    assert to_json({"a": shared, "b": [shared, {2}]}, "x") == b'{"a":[1],"b":[[1],[2]]}'


LINES: list[tuple[Callable[[], Any], str]] = [
    (lambda: "ä", '"\\u00e4"'),
    (lambda: "😀", '"\\ud83d\\ude00"'),
    (lambda: "x\ud800", '"x\\ud800"'),
    (lambda: {"a": [1, {2}]}, '{"a":[1,[2]]}'),
    (lambda: float("nan"), '"nan"'),
    (lambda: nested(400), json.dumps(nested(400))),
    (lambda: [[]] * 500, json.dumps([[]] * 500).replace(" ", "")),
    (lambda: nested(401), json.dumps(repr(nested(401)))),
    (lambda: ValueError("text"), '"text"'),
    (lambda: 10**5000, '"<int: ValueError>"'),
]


@pytest.mark.parametrize(("make", "text"), LINES, ids=[line[1][:30] for line in LINES])
def test_a_log_takes_everything(make: Callable[[], Any], text: str) -> None:
    assert to_log_json(make()) == text
