"""max_saved_bytes: settings and files together, per client, with all that is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.settings.test_reload import on_loop
from whd.errors import SaveRefused
from whd.saved import ledger

from .samples import world


@on_loop
async def test_settings_and_files_count_together_and_the_error_names_the_limit(tmp_path: Path) -> None:
    async with world(tmp_path, max_saved_bytes=100) as here:
        await here.save_file("f", b"x" * 59)
        await here.save("s", "y" * 36)
        assert here.saved.size_bytes("acme") == 60 + 39
        attempts: tuple[Callable[[], Awaitable[None]], ...] = (
            lambda: here.save("t", 1),
            lambda: here.save("s", "y" * 38),
            lambda: here.save_file("f", b"x" * 61),
        )
        for attempt in attempts:
            with pytest.raises(SaveRefused, match=r"max_saved_bytes: .* may take 100 bytes in all; 99 are taken"):
                await attempt()
        await here.save_file("f", b"x" * 61, client="other")
        await here.save("s", "y" * 37)


@on_loop
async def test_what_is_on_its_way_counts_and_what_is_deleted_does_not(tmp_path: Path) -> None:
    async with world(tmp_path, max_saved_bytes=100) as here:
        results = await asyncio.gather(*(here.save_file(str(n), b"x" * 29) for n in range(5)), return_exceptions=True)
        assert [type(result) for result in results] == [type(None)] * 3 + [SaveRefused] * 2
        await asyncio.gather(here.delete_file("0"), here.save_file("9", b"x" * 29))
        assert here.saved.size_bytes("acme") == 90
    async with world(tmp_path, max_saved_bytes=100) as here:
        with pytest.raises(SaveRefused, match="90 are taken"):
            await here.save_file("8", b"x" * 29)


@on_loop
async def test_past_a_limit_that_was_lowered_less_can_be_saved_but_not_more(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.save_file("f", b"x" * 1000)
    async with world(tmp_path, max_saved_bytes=10) as here:
        with pytest.raises(SaveRefused):
            await here.save("a", 1)
        await here.save_file("f", b"x" * 999)
        await here.delete_file("f")
        await here.save("a", 1)


@on_loop
async def test_the_number_of_records_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record takes memory, however small it is."""
    monkeypatch.setattr(ledger, "LEAST_RECORDS", 3)
    async with world(tmp_path, max_saved_bytes=1000) as here:
        for name in "abc":
            await here.save(name, 1)
        with pytest.raises(SaveRefused, match=r"max_saved_bytes.* at most 3 settings and files"):
            await here.save("d", 1)
        await here.save("a", 2)
