"""Calls everything that flows are offered with odd values, and looks at what the library still holds afterwards.

Run as a program, in a process that has done what a zygote does; prints JSON:

{"answers": [what was called and answered with what no flow may have…],
 "kept": {kind of value: [what was called and kept it…]}, "changed": {container: [what was added, as types…]}}
"""

from __future__ import annotations

import contextlib
import enum
import functools
import gc
import itertools
import json
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from whd.sandbox import zygote
from whd.sandbox.flow_builtins import BUILTINS
from whd.sandbox.frozen_types import all_classes
from whd.sandbox.modules import FACADES, RUN_FACADES
from whd.sandbox.modules.classes import forget_typing
from whd.sandbox.modules.facade import public_names

# Would wait, or would write to what the process itself lives on.
NOT_CALLED = frozenset({"time.sleep"})


def callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every callable of every facade and of the builtins, and the public methods of the classes among them."""
    facades = {**FACADES, **{name: make(None) for name, make in RUN_FACADES.items()}}
    offered = [(f"{at}.{name}", vars(facade)[name]) for at, facade in facades.items() for name in public_names(facade)]
    offered += [(name, value) for name, value in BUILTINS.items() if not name.startswith("_")]
    for path, value in offered:
        if path in NOT_CALLED or not callable(value) or path.startswith("flow_api"):
            continue
        yield path, value
        if isinstance(value, type) and not issubclass(value, BaseException):
            for name in dir(value):
                method = getattr(value, name, None)
                if not name.startswith("_") and callable(method):
                    yield f"{path}.{name}", method


# ---- odd values ------------------------------------------------------------------------------------------------------


def plain_object() -> Any:
    class Held:
        """Has the methods that a flow can give its classes and that the library asks for."""

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: object) -> str:
            if index != 0:
                raise IndexError
            return "a"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash("a")

        def decode(self, *_given: object) -> str:
            return "http://a"

        encode = lstrip = replace = translate = strip = lower = decode

        def split(self, *_given: object) -> list[str]:
            return ["0", "0", "0", "0"]

        def isascii(self) -> bool:
            return False

        def read(self, *_given: object) -> str:
            return ""

    return Held()


def text_of_ones_own() -> Any:
    return type("Text", (str,), {})("%d")


def number_of_ones_own() -> Any:
    return type("Number", (int,), {})(8)


def bytes_of_ones_own() -> Any:
    return type("Bytes", (bytes,), {})(b"%d")


def text_of_an_enum() -> Any:
    return enum.StrEnum("Text", {"A": "%d"}).A  # type: ignore[attr-defined]


def number_of_an_enum() -> Any:
    return enum.IntEnum("Number", {"A": 8}).A  # type: ignore[attr-defined]


ODD = (plain_object, text_of_ones_own, number_of_ones_own, bytes_of_ones_own, text_of_an_enum, number_of_an_enum)


def arguments(odd: Any) -> Iterator[tuple[Any, ...]]:
    """The odd value at each place beside ordinary ones."""
    beside: tuple[Any, ...]
    for beside in ((), ("a",), (b"a",), (1,), ("1", "1"), (["a"],), ("a", "b", "c")):
        for place in range(len(beside) + 1):
            yield (*beside[:place], odd, *beside[place:])
    yield (odd, odd)
    yield (("10.1.2.0", odd),)


def call(function: Callable[..., Any], given: tuple[Any, ...]) -> None:
    with contextlib.suppress(BaseException):
        result = function(*given)
        # Some work only begins when they are asked.
        if isinstance(result, Iterator) and not isinstance(
            result, (itertools.cycle, itertools.repeat, itertools.count)
        ):
            deque(itertools.islice(result, 3), maxlen=0)


def kept() -> dict[str, list[str]]:
    """What kept an odd value. Each callable gets values of classes of its own, so that it can be named."""
    alive: dict[str, list[tuple[str, Any]]] = {make.__name__: [] for make in ODD}
    for path, function in callables():
        for make in ODD:
            odd = make()
            alive[make.__name__].append((path, weakref.ref(type(odd))))
            for given in arguments(odd):
                call(function, given)
    odd, given = None, ()
    forget_typing()  # as at the end of a flow that imported it
    gc.collect()
    return {
        name: sorted({path for path, reference in found if reference() is not None}) for name, found in alive.items()
    }


# ---- state -----------------------------------------------------------------------------------------------------------

CONTAINERS = (dict, list, set, deque)


def state() -> dict[int, tuple[str, Any, list[Any]]]:
    """Every container that can be reached from what flows are offered: where, itself, and what is in it."""
    found: dict[int, tuple[str, Any, list[Any]]] = {}
    seen = {id(found)}
    waiting: deque[tuple[str, Any]] = deque(sorted(sys.modules.items()))
    while waiting:
        path, thing = waiting.popleft()
        if id(thing) in seen or isinstance(thing, (str, bytes, int, float, types.FrameType, types.CodeType)):
            continue
        seen.add(id(thing))
        if isinstance(thing, CONTAINERS):
            items = [*thing.items()] if isinstance(thing, dict) else [*thing]
            found[id(thing)] = (path, thing, list(itertools.chain(*items)) if isinstance(thing, dict) else items)
        if isinstance(thing, types.ModuleType) and thing.__name__.startswith(("tests", "__main__")):
            continue
        for part in gc.get_referents(thing):
            waiting.append((f"{path} > {_name(thing, part)}", part))
    return found


def _name(holder: Any, part: Any) -> str:
    if isinstance(holder, dict):
        return next((repr(key)[:60] for key, value in holder.items() if value is part), type(part).__name__)
    return str(getattr(part, "__name__", type(part).__name__))


def numbers() -> list[tuple[Any, ...]]:
    """Equal numbers of other types: what remembers one by equality takes the other for it."""
    values: list[Any] = [True, 1.0, False, 8.0, 1]
    return [given for value in values for given in arguments(value)]


def changed() -> dict[str, list[str]]:
    """The containers that hold something else after calls with equal numbers, and what that is."""
    before = state()
    for _path, function in callables():
        for given in numbers():
            call(function, given)
    gc.collect()
    after = state()
    grown: dict[str, list[str]] = {}
    for key, (path, thing, items) in after.items():
        if key in before and before[key][1] is thing:
            old = {id(item) for item in before[key][2]}
            new = [item for item in items if id(item) not in old]
            if new:
                grown[path] = sorted(kinds(new))
    return grown


def kinds(items: Iterable[Any]) -> set[str]:
    """The types of these and of what is in the tuples among them."""
    found: set[str] = set()
    for item in items:
        found |= kinds(item) if type(item) is tuple else {type(item).__name__}
    return found


# ---- answers ---------------------------------------------------------------------------------------------------------


def subjects() -> list[Any]:
    """What a flow can hand over that is more than data: classes, functions, methods, descriptors, a traceback."""

    class Own:
        """Has what library methods read of their `self`."""

        maps: list[Any] = [(), {}]  # noqa: RUF012
        data: dict[str, str] = {}  # noqa: RUF012
        default_factory = None

        def method(self) -> None:
            pass

        def values(self) -> list[Any]:
            return [1]

        items = keys = values

    def function(*_given: Any) -> Any:
        yield 1

    Own.method.maps = [1]  # type: ignore[attr-defined]
    function.maps = [1]  # type: ignore[attr-defined]
    try:
        raise ValueError("x")
    except ValueError as error:
        caught = error
    own = Own()
    return [
        int, Own, own, own.method, function, function(), len, "a".join, property(function), classmethod(function),
        staticmethod(len), caught, caught.__traceback__, FACADES["json"], enum.Enum, functools.partial(len),
        functools.lru_cache(function), functools.cached_property(function), Own.method, super(Own, own), list[int],
        iter([1]), zip(), 1, "a",
    ]  # fmt: skip


# Of names and types only, which modules/classes.py checks; and of the sniffer's own choice.
MAKES_CLASSES = frozenset(
    "typing.TypedDict typing.NamedTuple collections.namedtuple enum.Enum enum.Flag csv.Sniffer.sniff".split()
)
_NEVER = (types.ModuleType, types.FrameType, types.CodeType, types.TracebackType, types.CellType)


def answers() -> list[str]:
    """What calls answer that no flow may have: real modules, frames, metaclasses, what all executions share."""
    given = subjects()
    calls = [(one,) for one in given] + [(one, other) for one in given for other in given]
    shared = {key for key, (_path, thing, _items) in state().items() if not any(thing is one for one in given)}
    found: set[str] = set()
    classes = {object, *all_classes()}
    for path, function in callables():
        for arguments_given in calls:
            try:
                result = function(*arguments_given)
            except BaseException:
                continue
            for answer in parts_of(result):
                is_made = isinstance(answer, type) and answer not in classes and path not in MAKES_CLASSES
                if (is_made or is_forbidden(answer, shared)) and not any(answer is one for one in given):
                    found.add(f"{path} gives {type(answer).__name__} {answer!r}"[:160])
    return sorted(found)


def parts_of(result: Any) -> list[Any]:
    """The answer, and what is in it where it is a container of its own."""
    with contextlib.suppress(BaseException):
        if type(result) in (list, tuple, set, deque):
            return [result, *itertools.islice(result, 5)]
        if type(result) is dict:
            return [result, *itertools.islice(result.values(), 5)]
        if isinstance(result, Iterator):
            return [result, *itertools.islice(result, 3)]
    return [result]


def is_forbidden(answer: Any, shared: set[int]) -> bool:
    return (
        isinstance(answer, _NEVER)
        or (isinstance(answer, type) and issubclass(answer, type))
        or id(answer) in shared
        or type(answer).__name__ == "Run"
    )


if __name__ == "__main__":
    zygote._warm_up()
    print(json.dumps({"answers": answers(), "kept": kept(), "changed": changed()}, indent=1))
