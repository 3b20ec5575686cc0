"""system.file(name) and system.files(): rights, contents as they are, and the four ways to ask for a list."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.clock import on_virtual_clock
from whd.model.snapshot import User

from .flows import KEVIN, ROOT, Answer, Flows


@on_virtual_clock
async def test_a_file_is_saved_read_and_deleted() -> None:
    here = Flows()
    flow = await here.start()
    for content, is_text in ((b"\x00\xff", False), ("grüß".encode(), True), (b"", False)):
        assert await flow.ask("file.save", {"name": "out/a", "is_text": is_text}, content) == Answer()
        assert await flow.ask("file.get", {"name": "out/a"}) == Answer({"is_text": is_text}, content)
        assert await flow.ask("file.exists", {"name": "out/a"}) == Answer(True)
    assert here.saved.savers == ["root"] * 3
    assert await flow.ask("file.delete", {"name": "out/a"}) == Answer()
    assert await flow.ask("file.exists", {"name": "out/a"}) == Answer(False)
    gone = Answer(kind="ResourceNotFoundError", text="there is no file 'out/a'")
    assert await flow.ask("file.get", {"name": "out/a"}) == gone
    assert await flow.ask("file.delete", {"name": "out/a"}) == gone


@pytest.mark.parametrize(
    ("name", "file", "verb"),
    [
        ("file.get", "out/a", "read"),
        ("file.exists", "out/a", "read"),
        ("file.save", "in/a", "write"),
        ("file.delete", "in/a", "write"),
    ],
)
@on_virtual_clock
async def test_reading_and_writing_are_two_rights(name: str, file: str, verb: str) -> None:
    here = Flows()
    flow = await here.start(KEVIN)
    answer = await flow.ask(name, {"name": file}, b"x")
    assert answer == Answer(kind="PermissionDenied", text=f"user kevin may not {verb} the file {file}")
    assert not here.saved.files


@pytest.mark.parametrize("name", ["file.get", "file.exists", "file.save", "file.delete"])
@on_virtual_clock
async def test_what_is_no_files_name_is_refused(name: str) -> None:
    here = Flows()
    answer = await (await here.start()).ask(name, {"name": "../a"})
    assert answer.kind == "InvalidInputError"
    assert "the file's name '../a'" in answer.text


@on_virtual_clock
async def test_whether_it_is_text_is_true_or_false() -> None:
    here = Flows()
    answer = await (await here.start()).ask("file.save", {"name": "a", "is_text": 1}, b"x")
    assert answer == Answer(kind="InvalidInputError", text="is_text must be true or false, not int")


@pytest.mark.parametrize("name", ["file.get", "file.exists", "file.list", "file.save"])
@on_virtual_clock
async def test_a_disk_that_fails_is_an_error_without_the_files_name(name: str) -> None:
    here = Flows()
    here.saved.fault = "state/saved.sqlite: disk full"
    answer = await (await here.start()).ask(name, {"name": "a"})
    assert answer == Answer(kind="CloudomationException", text="what flows save cannot be kept")


NAMES = ["a.txt", "in/a.csv", "in/b.csv", "in/deep/c.csv", "in/x.txt", "other/a.csv"]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, NAMES),
        ({"dir": "in"}, ["in/a.csv", "in/b.csv", "in/deep/c.csv", "in/x.txt"]),
        ({"dir": "in/"}, ["in/a.csv", "in/b.csv", "in/deep/c.csv", "in/x.txt"]),
        ({"dir": ""}, NAMES),
        ({"dir": "none"}, []),
        ({"glob": "*.txt"}, ["a.txt", "in/x.txt"]),
        ({"dir": "in", "glob": "?.csv"}, ["in/a.csv", "in/b.csv"]),
        ({"glob": "**/a.*"}, ["a.txt", "in/a.csv", "other/a.csv"]),
        ({"like": "in/_.csv"}, ["in/a.csv", "in/b.csv"]),
        ({"like": "%a%v"}, ["in/a.csv", "other/a.csv"]),
        ({"like": "in"}, []),
        ({"eq": "a.txt"}, ["a.txt"]),
        ({"eq": "a.txt", "dir": "in"}, []),
        ({"dir": "in", "glob": "*.csv", "like": "%/b%"}, ["in/b.csv"]),
    ],
)
@on_virtual_clock
async def test_a_list_has_what_fits_all_that_is_asked_for(arguments: dict[str, Any], names: list[str]) -> None:
    here = Flows()
    flow = await here.start()
    for name in NAMES:
        await flow.ask("file.save", {"name": name}, b"x")
    assert (await flow.ask("file.list", arguments)).value == names


@on_virtual_clock
async def test_a_list_has_what_one_may_read() -> None:
    here = Flows()
    root = await here.start(ROOT)
    for name in NAMES:
        await root.ask("file.save", {"name": name}, b"x")
    assert (await (await here.start(KEVIN)).ask("file.list")).value == [name for name in NAMES if name[:3] == "in/"]
    here.change(User("kevin"))
    assert (await (await here.start(User("kevin"))).ask("file.list")).value == []


@pytest.mark.parametrize("name", ["dir", "glob", "like", "eq"])
@on_virtual_clock
async def test_what_a_list_is_asked_for_is_text(name: str) -> None:
    here = Flows()
    answer = await (await here.start()).ask("file.list", {name: 7})
    assert answer == Answer(kind="InvalidInputError", text=f"{name} must be text, not int")
