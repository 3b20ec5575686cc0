"""Which tests start processes: these get the mark `process`, and `make check` leaves them out. No list says which.

A test is marked if from it, or from a fixture of its, one comes to something that starts a process: by the names that
its code uses, those that their code uses, and so on through tests/, bench/ and whd/. That may mark too many. It must
not mark too few: a test without the mark that starts a process all the same is kept from it and fails, in every run.
What no name leads to (a function that is looked up by a text) is marked by hand: `@pytest.mark.process`.
"""

from __future__ import annotations

import functools
import inspect
import os
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import pytest

_OF_SUBPROCESS = "Popen call check_call check_output getoutput getstatusoutput run".split()
_OF_OS = [name for name in dir(os) if name.startswith(("exec", "fork", "posix_spawn", "spawn", "system", "popen"))]
STARTERS = frozenset(
    {id(getattr(subprocess, name)) for name in _OF_SUBPROCESS} | {id(getattr(os, name)) for name in _OF_OS}
)
# Of sys.addaudithook (library reference, Audit events table).
EVENTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "os.exec"})
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OURS = tuple(os.path.join(ROOT, folder, "") for folder in ("tests", "bench", "whd"))


# ---- what leads where ------------------------------------------------------------------------------------------------


class Map:
    """Remembers of what is known whether it leads to a start."""

    def __init__(self) -> None:
        self._leads: dict[int, bool] = {}
        # What is remembered by its id must stay.
        self._kept: list[object] = []

    def leads_to_a_start(self, root: object) -> bool:
        """Whether one comes from there to something that starts a process."""
        seen = {id(root)}
        waiting = [root]
        while waiting:
            thing = waiting.pop()
            known = self._leads.get(id(thing))
            if known or id(thing) in STARTERS:
                self._keep({id(root): True}, [root])
                return True
            if known is None:
                self._kept.append(thing)
                for each in _used_by(thing):
                    if id(each) not in seen:
                        seen.add(id(each))
                        waiting.append(each)
        self._keep(dict.fromkeys(seen, False), [])
        return False

    def _keep(self, leads: dict[int, bool], kept: list[object]) -> None:
        self._leads.update(leads)
        self._kept += kept


def _used_by(thing: object) -> Iterable[object]:
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args]
    if isinstance(thing, (MethodType, staticmethod, classmethod)):
        return [thing.__func__]
    if isinstance(thing, property):
        return [each for each in (thing.fget, thing.fset) if each is not None]
    if isinstance(thing, (list, tuple, set, frozenset)):
        return thing if len(thing) < 1_000 else ()
    if isinstance(thing, dict):
        return thing.values() if len(thing) < 1_000 else ()
    if not _is_ours(thing):
        return ()
    if isinstance(thing, type):
        return [*vars(thing).values(), *thing.__bases__]
    if isinstance(thing, FunctionType):
        return _used_by_function(thing)
    wrapped = getattr(thing, "__wrapped__", None)
    return () if wrapped is None else [wrapped]


def _is_ours(thing: object) -> bool:
    name = getattr(thing, "__module__", None)
    return isinstance(name, str) and _is_our_module(name)


@functools.cache
def _is_our_module(name: str) -> bool:
    return (getattr(sys.modules.get(name), "__file__", None) or "").startswith(OURS)


def _used_by_function(function: FunctionType) -> Iterator[object]:
    yield from (each for each in (*(function.__defaults__ or ()), getattr(function, "__wrapped__", None)) if each)
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
    known = {**vars(sys.modules["builtins"]), **function.__globals__}
    for code in _codes(function.__code__):
        modules = [sys.modules[name] for name in code.co_names if name in sys.modules]
        for name in code.co_names:
            value = known.get(name)
            if isinstance(value, ModuleType):
                modules.append(value)
            elif value is not None:
                yield value
        # `module.name` in whatever order: each name is looked for in each module.
        for module in modules:
            yield from (value for name in code.co_names if not isinstance(value := vars(module).get(name), ModuleType))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


# ---- the mark, and that it holds -------------------------------------------------------------------------------------

_map = Map()


class _Guard:
    """Keeps tests without the mark from starting processes. `started`: what the present one tried."""

    def __init__(self) -> None:
        self.is_on = False
        self.started = ""

    def __call__(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if self.is_on and event in EVENTS:
            self.started = event
            raise AssertionError(f"{event}: {WHY}")


WHY = "a test without the mark `process` starts none (tests/processes.py says which tests get it)"
_guard = _Guard()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "process: starts processes (tests/processes.py finds most of them by itself)")
    sys.addaudithook(_guard)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and any(map(_map.leads_to_a_start, _roots(item))):
            item.add_marker("process")


def _roots(item: pytest.Function) -> Iterator[object]:
    yield inspect.unwrap(item.function)
    yield item.function
    if hasattr(item, "callspec"):
        yield list(item.callspec.params.values())
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        yield from (definition.func for definition in definitions if _is_ours(definition.func))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _guard.is_on, _guard.started = item.get_closest_marker("process") is None, ""
    try:
        return (yield)
    finally:
        _guard.is_on = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _guard.started and report.passed:
        # Whatever has swallowed the refusal, be it a thread.
        report.outcome, report.longrepr = "failed", f"{_guard.started}: {WHY}"
    return report
