"""The store's files vanish while it is open: nothing is promised any more, everything else goes on."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from tests.sqlite.test_anchor import DEEDS
from whd.errors import StateError
from whd.model.execution import Status
from whd.model.options import Options
from whd.store.interface import Stored
from whd.store.sqlite_store import SqliteStore

from .store_samples import SOURCE, accepted, make, opened, until

# Of an emptied file nothing can be read either.
READABLE = [deed for deed in DEEDS if deed != "emptied"]


def opened_store(path: Path) -> SqliteStore:
    store = SqliteStore(path, asyncio.get_running_loop(), Options)
    store.open()
    return store


@pytest.mark.parametrize("deed", READABLE)
def test_it_is_noticed_within_a_second_and_nothing_is_promised(tmp_path: Path, deed: str) -> None:
    path = tmp_path / "state" / "executions.sqlite"

    async def main() -> None:
        store = opened_store(path)
        before, after = make(), make()
        assert await accepted(store, before) is None
        DEEDS[deed](path)
        gone = time.monotonic()
        await until(lambda: store.is_detached)
        assert time.monotonic() - gone < 1.0
        assert str(path) in store.fault
        assert "restart whd" in store.fault
        assert store.counters().fault == store.fault
        assert isinstance(await accepted(store, make()), StateError)
        with pytest.raises(StateError):
            await store.flush()
        store.save_nowait(after, SOURCE)
        assert await store.get(after.id) == Stored(after, SOURCE), "sync calls go on"
        assert await store.get(before.id) == Stored(before, SOURCE)
        if deed == "no WAL":
            await store.close()
        else:
            with pytest.raises(StateError, match="1 executions could not be written"):
                await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("deed", READABLE)
def test_no_promise_of_the_very_moment_either(tmp_path: Path, deed: str) -> None:
    """The first call after it has gone, before anybody has looked."""
    path = tmp_path / "state" / "executions.sqlite"

    async def main() -> None:
        store = opened_store(path)
        assert await accepted(store, make()) is None
        DEEDS[deed](path)
        assert isinstance(await accepted(store, make(status=Status.PENDING, ended_ms=0)), StateError)
        assert await store.unfinished() == [], "what was refused must not run at a later start"
        await store.close()

    asyncio.run(main())


def test_what_goes_during_the_commit_is_refused_and_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state" / "executions.sqlite"

    async def main() -> None:
        store = opened_store(path)
        assert store._writer is not None
        looks = iter([""])
        monkeypatch.setattr(store._writer._anchor, "fault", lambda: next(looks, f"{path}: gone"))
        assert isinstance(await accepted(store, make(status=Status.PENDING, ended_ms=0)), StateError)
        assert await store.unfinished() == []
        with pytest.raises(StateError):
            await store.close()

    asyncio.run(main())


def test_what_was_promised_is_there_after_the_wal_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "state" / "executions.sqlite"
    first, second = make(), make()

    async def main() -> None:
        store = opened_store(path)
        assert await accepted(store, first) is None
        DEEDS["no WAL"](path)
        await until(lambda: store.is_detached)
        store.save_nowait(second, SOURCE)
        await store.close()
        async with opened(path) as again:
            assert await again.get(first.id) == Stored(first, SOURCE)
            assert await again.get(second.id) == Stored(second, SOURCE)

    asyncio.run(main())


def test_a_folder_that_is_moved_back_is_as_before(tmp_path: Path) -> None:
    path = tmp_path / "state" / "executions.sqlite"

    async def main() -> None:
        async with opened(path) as store:
            path.parent.rename(tmp_path / "elsewhere")
            await until(lambda: store.is_detached)
            (tmp_path / "elsewhere").rename(path.parent)
            await until(lambda: not store.is_detached)
            assert store.fault == ""
            assert await accepted(store, make()) is None

    asyncio.run(main())


def test_a_store_that_was_restored_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """Its WAL has the name that SQLite would delete at the end of the old one."""
    path = tmp_path / "state" / "executions.sqlite"
    kept = make()

    async def main() -> None:
        store = opened_store(path)
        assert await accepted(store, kept) is None
        path.parent.rename(tmp_path / "old")
        shutil.copytree(tmp_path / "old", path.parent)
        await store.close()
        async with opened(path) as restored:
            assert await restored.get(kept.id) == Stored(kept, SOURCE)

    asyncio.run(main())
