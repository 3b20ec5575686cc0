"""saved.sqlite vanishes while it is open: a save that returned is there at the next start, no other returns."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sqlite.test_anchor import DEEDS
from tests.store.store_samples import until
from whd.errors import StateError
from whd.futures import done_of
from whd.saved import read_settings
from whd.saved.saved import Saved

from .samples import world


@contextlib.asynccontextmanager
async def opened(base: Path) -> AsyncIterator[Saved]:
    async with world(base) as here:
        yield here.saved


async def save(saved: Saved, name: str) -> None:
    await done_of(lambda done: saved.setting_save("acme", name, b"1", "kevin", done))


@pytest.mark.parametrize("deed", DEEDS)
def test_it_is_noticed_within_a_second_and_no_save_returns(tmp_path: Path, deed: str) -> None:
    async def main() -> None:
        async with opened(tmp_path) as saved:
            await save(saved, "before")
            DEEDS[deed](tmp_path / "state" / "saved.sqlite")
            async with asyncio.timeout(1.0):
                await until(lambda: saved.is_detached)
            assert "saved.sqlite" in saved.fault
            assert "restart whd" in saved.fault
            with pytest.raises(StateError):
                await save(saved, "after")
            assert [record.name for record in saved.settings()] == ["before"]

    asyncio.run(main())


@pytest.mark.parametrize("deed", DEEDS)
def test_not_the_first_one_either(tmp_path: Path, deed: str) -> None:
    async def main() -> None:
        async with opened(tmp_path) as saved:
            await save(saved, "before")
            DEEDS[deed](tmp_path / "state" / "saved.sqlite")
            with pytest.raises(StateError):
                await save(saved, "after")
            assert saved.is_detached

    asyncio.run(main())


def test_a_folder_that_is_moved_back_is_as_before(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as saved:
            (tmp_path / "state").rename(tmp_path / "elsewhere")
            await until(lambda: saved.is_detached)
            (tmp_path / "elsewhere").rename(tmp_path / "state")
            await until(lambda: not saved.is_detached)
            await save(saved, "after")
        assert [record.name for record in read_settings(tmp_path / "state")] == ["after"]

    asyncio.run(main())


def test_a_change_that_was_written_into_a_vanished_file_keeps_it_out_of_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who made it was refused: should the file come back, it would hold what nobody here knows of."""

    async def main() -> None:
        async with opened(tmp_path) as saved:
            looks = iter(["", "gone during the commit"])
            monkeypatch.setattr(type(saved._anchor), "fault", lambda anchor: anchor._condemned or next(looks, ""))
            with pytest.raises(StateError):
                await save(saved, "after")
            with pytest.raises(StateError):
                await save(saved, "again")
            assert saved.is_detached

    asyncio.run(main())


def test_what_was_promised_is_there_after_the_wal_was_deleted(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as saved:
            await save(saved, "before")
            DEEDS["no WAL"](tmp_path / "state" / "saved.sqlite")
            await until(lambda: saved.is_detached)
        assert [record.name for record in read_settings(tmp_path / "state")] == ["before"]

    asyncio.run(main())
