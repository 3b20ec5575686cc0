"""README and docs say what the program does: options, errors, commands and links, checked against the source."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tests.test_layers import FLOORS
from whd import errors
from whd.cli import build_parser
from whd.model.options import LIMIT_NAMES, Options, option_fields

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def option_rows() -> list[str]:
    """The README's table of options, as the schema has it."""
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for field in option_fields():
        default = getattr(Options(), field.name)
        shown = "[" + ", ".join(default) + "]" if isinstance(default, tuple) else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown.removesuffix(".0")
        star = " *" if field.name in LIMIT_NAMES else ""
        restart = "" if field.metadata["live"] else " (needs a restart)"
        rows.append(f"| `{field.name}`{star} | {shown} | {field.metadata['text']}{restart} |")
    return rows


def test_the_options_table_is_the_schemas() -> None:
    table = README.split("<!-- options -->")[1].split("<!-- /options -->")[0].strip()
    assert table.splitlines() == option_rows()


def test_every_error_code_is_documented() -> None:
    def codes(error: type[errors.HttpError]) -> set[tuple[int, str]]:
        return {(error.status, error.code)}.union(*(codes(child) for child in error.__subclasses__()))

    documented = set()
    for line in README.splitlines():
        match = re.fullmatch(r"\| ([\d, ]+) \| ([a-z_, ]+) \| .* \|", line)
        if match:
            documented |= {(int(status), code) for status in match[1].split(", ") for code in match[2].split(", ")}
    assert codes(errors.HttpError) <= documented


COMMANDS = ["serve", "check", "run", "webhooks", "executions", "settings", "send", "status", "doctor", "units"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert re.search(rf"^    whd {command}\b", README, re.MULTILINE)
    assert command in build_parser().format_help()


def test_no_command_is_left_out() -> None:
    listed = set(re.findall(r"^    ([a-z]+)\b", build_parser().format_help(), re.MULTILINE))
    assert listed == set(COMMANDS)


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "bench" / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_test_that_is_named_exists() -> None:
    """Promises are named with what proves them: `tests/folder/test_it.py`, or `…::test_name`, or a whole folder."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for path, name in re.findall(r"\b(tests/[\w/.]*\w/?)(?:::([\w:]+))?", page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
            if name:
                text = (ROOT / path).read_text(encoding="utf-8")
                assert all(
                    re.search(rf"^\s*(?:async )?(?:def|class) {each}\b", text, re.MULTILINE)
                    for each in name.split("::")
                ), f"{page.name}: {path}::{name}"


def test_the_schema_is_complete() -> None:
    assert {field.name for field in option_fields()} == {field.name for field in fields(Options)}


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_file_of_the_architecture_page_exists() -> None:
    named = re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.(?:py|md))`", ARCHITECTURE)
    assert len(named) > 20
    for name in named:
        assert (ROOT / "whd" / name).exists() or (ROOT / name).exists(), name


def test_the_architecture_page_shows_the_floors() -> None:
    shown = ARCHITECTURE.split("## The floors")[1].split("## ")[0].split("\n\n")[2]
    # What stands after the rooms of a line, two spaces apart, says what they are for.
    rooms = [room for line in shown.splitlines() for room in re.split(r"\s{2,}", line[22:].strip())[0].split(" · ")]
    assert rooms == [room for floor in FLOORS for room in floor]
