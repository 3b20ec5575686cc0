"""docs/flow_api_tests.md: every test that it names exists, and every public name of the flow API stands in a row."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from whd.sandbox.api import executions, records, system, this
from whd.sandbox.errors import ERRORS
from whd.sandbox.flow_api import FLOW_API
from whd.sandbox.modules.facade import public_names
from whd.sandbox.run import READABLE

from .test_flow_api import ROWS

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "flow_api_tests.md").read_text(encoding="utf-8")
TABLE = re.findall(r"^\| (?!row \||---)(.+?) \| (`.+`) \|$", PAGE, re.MULTILINE)

KINDS = (
    this.This,
    executions.Child,
    system.System,
    system.ReturnWhen,
    records.Setting,
    records.File,
    records.Flow,
    records.User,
    records.Client,
)


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of a file's tests as pytest knows them: function, or Class::method."""
    found = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        holders = [("", node)]
        if isinstance(node, ast.ClassDef):
            holders = [(f"{node.name}::", inner) for inner in node.body]
        for prefix, inner in holders:
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner.name.startswith("test_"):
                found.add(prefix + inner.name)
    return frozenset(found)


def test_the_page_has_a_table() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(("| row |", "|---"))]
    assert len(TABLE) == len(lines) >= 50


@pytest.mark.parametrize(("row", "tests"), TABLE, ids=[row[:40] for row, _ in TABLE])
def test_every_test_that_a_row_names_exists(row: str, tests: str) -> None:
    named = tests.split(", `")
    assert named
    for one in (name.strip("`") for name in named):
        inner = re.fullmatch(r"rows\[(.+)\]", one)
        if inner is not None:
            assert inner[1] in ROWS, row
            continue
        path, _, name = one.partition("::")
        assert name in names_in(path), f"{row}: {one}"


def test_every_flow_that_asserts_a_row_stands_in_the_table() -> None:
    assert set(re.findall(r"`rows\[(\S.*?)\]`", PAGE)) == set(ROWS)


def test_every_public_name_of_the_api_stands_in_a_row() -> None:
    names = {name for kind in KINDS for name in dir(kind) if not name.startswith("_")}
    names |= set(public_names(FLOW_API)) | ERRORS.keys()
    rows = "\n".join(row for row, _ in TABLE)
    missing = {name for name in names if not re.search(rf"\b{name}\b", rows)}
    assert not missing


def test_every_field_of_an_execution_is_read_by_its_row() -> None:
    assert all(f"'{field}'" in ROWS["this.get"].body for field in READABLE)


def test_the_collector_sees_functions_and_methods() -> None:
    assert "test_the_page_has_a_table" in names_in("tests/contract/test_flow_api_table.py")
    assert "TestLists::test_no_caller_loses_an_item" in names_in("tests/saved/test_settings.py")
    assert "names_in" not in names_in("tests/contract/test_flow_api_table.py")
