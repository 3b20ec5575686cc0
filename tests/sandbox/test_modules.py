"""The facades: nothing that a flow can import leads to a real module or can be changed for the next execution."""

from __future__ import annotations

import sys
import types
from collections.abc import MutableMapping, MutableSequence, MutableSet
from typing import Any

import pytest

from whd.sandbox import flow_builtins, modules
from whd.sandbox.imports import flow_import
from whd.sandbox.modules.facade import public_names
from whd.sandbox.names import CAREFUL_NAMES, is_plain_name

SHARED = {**modules.FACADES, **{name: make(None) for name, make in modules.RUN_FACADES.items()}}

# FLOW_API, The language: each of these, and nothing else, can be imported.
PROMISED = (
    "base64 binascii bisect calendar collections collections.abc contextlib copy csv dataclasses datetime decimal "
    "difflib enum flow_api fnmatch fractions functools hashlib heapq hmac html io ipaddress itertools json math "
    "operator os.path random re secrets statistics string struct textwrap time typing unicodedata urllib.parse uuid "
    "xml.sax.saxutils yaml zlib zoneinfo"
).split()


def test_the_promised_modules_are_there() -> None:
    assert modules.importable_names() == sorted(PROMISED)


def _reachable(name: str) -> list[tuple[str, Any]]:
    """Every public value of a facade, and of the classes in it."""
    found: list[tuple[str, Any]] = []
    for attribute in public_names(SHARED[name]):
        value = SHARED[name].__dict__[attribute]
        found.append((f"{name}.{attribute}", value))
        if isinstance(value, type):
            for member in dir(value):
                if is_plain_name(member) and member not in CAREFUL_NAMES:
                    found.append((f"{name}.{attribute}.{member}", getattr(value, member, None)))
    return found


@pytest.mark.parametrize("name", sorted(SHARED))
def test_a_facade_leads_to_no_module_and_no_metaclass(name: str) -> None:
    for path, value in _reachable(name):
        assert not isinstance(value, types.ModuleType), path
        assert not (isinstance(value, type) and issubclass(value, type)), path
        assert not isinstance(value, (types.CodeType, types.FrameType, types.TracebackType)), path


@pytest.mark.parametrize("name", sorted(SHARED))
def test_nothing_in_a_facade_holds_state_that_can_be_changed(name: str) -> None:
    for path, value in _reachable(name):
        assert isinstance(value, type) or not hasattr(value, "__setitem__"), path
        assert not isinstance(value, (MutableMapping, MutableSequence, MutableSet, types.MappingProxyType)), path


def test_a_facade_has_no_name_under_which_python_finds_the_real_module() -> None:
    # IMPORT_FROM looks into sys.modules for f"{module.__name__}.{name}" where an attribute is missing.
    assert "os.path" in sys.modules
    for facade in SHARED.values():
        with pytest.raises(AttributeError):
            facade.__name__  # noqa: B018
        with pytest.raises(AttributeError):
            facade.__spec__  # noqa: B018
        with pytest.raises(AttributeError):
            facade.__file__  # noqa: B018


def test_missing_modules_are_answered_with_what_there_is() -> None:
    with pytest.raises(ImportError, match=r"flows have no module 'numpy'; they have: base64, binascii, .*zoneinfo"):
        flow_import("numpy", {}, None, None, 0)


def test_c_code_that_imports_gets_none_and_only_for_what_is_loaded() -> None:
    modules.warm_up()
    assert flow_import("_strptime", {}, {}, [], 0) is None
    assert flow_import("sys", {}, {}, [], 0) is None
    with pytest.raises(ImportError):
        flow_import("antigravity", {}, {}, [], 0)


def test_builtins_hold_nothing_that_runs_text_or_opens_files() -> None:
    for name in "exec eval compile open input globals locals vars dir breakpoint help memoryview __loader__".split():
        assert name not in flow_builtins.BUILTINS
    for name, value in flow_builtins.BUILTINS.items():
        assert not isinstance(value, types.ModuleType), name


def test_fast_names_leave_out_what_needs_a_guard() -> None:
    names = modules.fast_names()
    assert not names & CAREFUL_NAMES
    assert all(is_plain_name(name) for name in names)
    assert {"get", "append", "set_output", "log", "items", "join"} <= names
