"""Files that flows save: names, contents, lists."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.settings.test_reload import on_loop
from whd.errors import SaveRefused
from whd.saved import database

from .samples import world


@on_loop
async def test_a_file_is_saved_read_replaced_and_deleted(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert not here.saved.file_exists("acme", "reports/a.csv")
        assert await here.file("reports/a.csv") is None
        await here.save_file("reports/a.csv", "ä,b\n")
        found = await here.file("reports/a.csv")
        assert (found.content.decode(), found.is_text, found.saver) == ("ä,b\n", True, "kevin")
        assert here.saved.file_exists("acme", "reports/a.csv")
        await here.save_file("reports/a.csv", b"\0\xff")
        found = await here.file("reports/a.csv")
        assert (found.content, found.is_text) == (b"\0\xff", False)
        await here.delete_file("reports/a.csv")
        assert await here.file("reports/a.csv") is None
        assert not here.saved.file_exists("acme", "reports/a.csv")
        assert here.saved.size_bytes("acme") == 0


@on_loop
async def test_files_are_there_after_a_restart(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.save_file("a", b"")
        await here.save_file("b/ä", "x" * 100_000)
    async with world(tmp_path) as here:
        assert await here.files() == ["a", "b/ä"]
        assert here.saved.file_exists("acme", "b/ä")
        assert len((await here.file("b/ä")).content) == 100_000
        assert here.saved.size_bytes("acme") == 100_005


@on_loop
async def test_clients_do_not_see_each_others(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.save_file("a", "acme's")
        await here.save_file("a", "other's", client="other")
        assert ((await here.file("a")).content, (await here.file("a", "other")).content) == (b"acme's", b"other's")
        await here.delete_file("a")
        assert here.saved.file_exists("other", "a")


@on_loop
async def test_a_list_is_sorted_and_takes_a_prefix_and_a_question(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        names = ["a", "reports/2.csv", "reports/1.csv", "reports/1.txt", "reportsx", "\U0001f600", "\ue000"]
        await asyncio.gather(*(here.save_file(name, name) for name in names))
        assert await here.files() == sorted(names)
        assert await here.files(prefix="reports/") == ["reports/1.csv", "reports/1.txt", "reports/2.csv"]
        csv = await here.files(prefix="reports/", is_wanted=lambda name: name.endswith(".csv"))
        assert csv == ["reports/1.csv", "reports/2.csv"]
        assert await here.files(prefix="z") == []


@on_loop
async def test_a_list_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MAX_LISTED", 3)
    async with world(tmp_path) as here:
        await asyncio.gather(*(here.save_file(name, "") for name in "abcd"))
        assert await here.files(is_wanted=lambda name: name != "c") == ["a", "b", "d"]
        with pytest.raises(SaveRefused, match="more than 3 files match"):
            await here.files()


@on_loop
async def test_a_name_is_a_relative_path_in_one_spelling(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        for name in (
            "", "/", "/a", "a//b", "a/", ".", "..", "./a", "a/./b", "a/..", "../a", "a\0b", "\ud800", "x" * 1025,
        ):  # fmt: skip
            for use in (
                lambda name: here.save_file(name, ""),
                lambda name: here.delete_file(name),
                lambda name: here.file(name),
            ):
                with pytest.raises(SaveRefused, match="the file's name") as caught:
                    await use(name)
                assert caught.value.kind == "InvalidInputError"
            with pytest.raises(SaveRefused):
                here.saved.file_exists("acme", name)
        for name in ("a", ".hidden", "...", "a b/ü.v1", "a\nb", "x" * 1024):
            await here.save_file(name, "")


@on_loop
async def test_deleting_what_is_not_there(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        with pytest.raises(SaveRefused, match="no file 'a'") as caught:
            await here.delete_file("a")
        assert caught.value.kind == "ResourceNotFoundError"
        with pytest.raises(SaveRefused, match="surrogate"):
            await here.save_file("a", "\ud800")
