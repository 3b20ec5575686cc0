"""An Engine's parts come up in order and go down in reverse, also when one of them does not come up. No processes."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.executions.runner_fakes import NoQueue, interrupted, run_scene
from tests.running import Project, simple_project
from whd.engine.engine import Engine, open_engine
from whd.engine.http_engine import EnginePhase, HttpEngine
from whd.engine.shared import Shared, open_local
from whd.engine.state import Paths, StateLock
from whd.engine.vetting import VettedSettings
from whd.errors import ConfigError, StateError
from whd.executions.queue import LocalQueue
from whd.http.listeners import ListenAddress
from whd.model.execution import Status
from whd.model.options import Options
from whd.model.snapshot import Snapshot
from whd.pool.pool import Pool
from whd.pool.quota import WholeQuota
from whd.store.interface import Stored


class Parts:
    """What came up and went down, in that order. `fault`: what the pool's start raises."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.fault: Exception | None = None


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Pools without processes."""
    parts = Parts()

    class QuietPool(Pool):
        async def start(self) -> None:
            if parts.fault is not None:
                raise parts.fault
            parts.log.append("pool up")

        async def close(self) -> None:
            parts.log.append("pool down")

    monkeypatch.setattr("whd.engine.engine.Pool", QuietPool)
    return parts


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return simple_project(tmp_path)


def paths_of(project: Project) -> Paths:
    return Paths(project.config, project.flows, project.state)


def scene_in(project: Project, scene: Callable[[Paths], Any]) -> None:
    """Runs a scene; afterwards state/ is free and no descriptor is left open."""
    project.state.mkdir(exist_ok=True)
    # What other tests left to the collector is not to be closed while a scene is counted.
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    run_scene(scene(paths_of(project)))
    assert len(os.listdir("/proc/self/fd")) == before
    with StateLock(project.state):
        pass


@asynccontextmanager
async def noted(parts: Parts, settings: VettedSettings, paths: Paths, **changes: Any) -> AsyncIterator[Shared]:
    assert "acme" in settings.reloader.snapshot.clients, "the settings are read first"
    async with open_local(paths, settings.reloader) as shared:
        parts.log.append("shared up")
        try:
            yield replace(shared, **changes)
        finally:
            parts.log.append("shared down")


def opened(parts: Parts, paths: Paths, *, serves: bool = False, **changes: Any) -> AbstractAsyncContextManager[Engine]:
    settings = VettedSettings(paths)
    return Engine.open(paths, settings, noted(parts, settings, paths, **changes), WholeQuota(), serves=serves)


def test_what_came_up_first_goes_down_last(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        async with opened(parts, paths) as engine:
            assert parts.log == ["shared up", "pool up"]
            assert "acme" in engine.snapshot.clients
        assert parts.log == ["shared up", "pool up", "pool down", "shared down"]

    scene_in(project, scene)


def test_a_pool_that_does_not_start_takes_everything_down(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        parts.fault = ConfigError("no such layer")
        with pytest.raises(ConfigError, match="no such layer"):
            async with opened(parts, paths):
                raise AssertionError
        assert parts.log == ["shared up", "pool down", "shared down"]

    scene_in(project, scene)


def test_the_report_counts_attempts_whose_end_was_dropped(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        async with opened(parts, paths) as engine:
            assert engine.report().executions.fenced == 0
            # Epoch 7 of an execution that nobody claimed here: the claim was overtaken.
            assert not engine.runner.finish_claim(interrupted().execution, 7)
            assert engine.report().executions.fenced == 1

    scene_in(project, scene)


def test_settings_that_cannot_be_read_open_nothing(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        (project.config / "whd.yaml").write_text("workers: [", encoding="utf-8")
        with pytest.raises(ConfigError):
            async with open_engine(paths, serves=False):
                raise AssertionError
        assert parts.log == []

    scene_in(project, scene)


def test_a_damaged_store_opens_nothing_more(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        (project.state / "executions.sqlite").write_bytes(b"no database" * 1_000)
        with pytest.raises(StateError, match=r"executions\.sqlite"):
            async with open_engine(paths, serves=False):
                raise AssertionError
        assert parts.log == []

    scene_in(project, scene)


def test_records_that_were_lost_are_said_at_the_end_when_all_else_is_down(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        @asynccontextmanager
        async def losing(settings: VettedSettings) -> AsyncIterator[Shared]:
            async with noted(parts, settings, paths) as shared:
                yield shared
            raise StateError("3 records were lost")

        settings = VettedSettings(paths)
        with pytest.raises(StateError, match="3 records"):
            async with Engine.open(paths, settings, losing(settings), WholeQuota(), serves=False):
                pass
        assert parts.log == ["shared up", "pool up", "pool down", "shared down"]

    scene_in(project, scene)


def test_state_is_one_engines(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        async with open_engine(paths, serves=False):
            with pytest.raises(StateError, match=f"in use by the whd process with pid {os.getpid()}"):
                async with open_engine(paths, serves=False):
                    raise AssertionError

    scene_in(project, scene)


def test_state_stays_its_engines_when_its_lock_is_deleted(project: Project) -> None:
    with StateLock(project.state):
        (project.state / "lock").unlink()
        with pytest.raises(StateError, match="is in use by"):
            StateLock(project.state).acquire()
    with StateLock(project.state):
        assert (project.state / "lock").exists()


def test_only_what_serves_claims_what_a_stop_interrupted(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        stored = interrupted(is_async=False)

        async def read() -> list[Stored]:
            return [stored]

        async with opened(parts, paths, queue=NoQueue()):
            pass
        async with opened(parts, paths, queue=LocalQueue(read), serves=True) as engine:
            found = await engine.lookup.get(stored.execution.id)
            assert found is not None
            assert (found.execution.status, found.execution.message) == (Status.ENDED_ERROR, "interrupted by a restart")

    scene_in(project, scene)


def test_a_change_of_the_settings_reaches_the_pool_while_it_is_up(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        async with opened(parts, paths) as engine:
            project.options(workers=7)
            await engine.reloader.reload()
            assert engine.pool.scheduler.slots == 7

    scene_in(project, scene)


# ---- HTTP in front ---------------------------------------------------------------------------------------------------


def test_http_listens_where_the_settings_say_and_no_more_afterwards(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        asked: list[Options] = []

        def addresses(snapshot: Snapshot) -> list[ListenAddress]:
            asked.append(snapshot.options)
            return [ListenAddress("127.0.0.1:0")]

        async with opened(parts, paths) as engine:
            async with HttpEngine.open(engine, addresses) as http:
                assert asked == [engine.options]
                phases = [http.phase]
                (address,) = http.server.addresses
                port = int(address.rpartition(":")[2])
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                for phase, status in ((None, b"503"), (EnginePhase.SERVING, b"200")):
                    if phase is not None:
                        http.move(phase)
                    writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
                    assert status in (await reader.readuntil(b"}"))
                await http.drain(asyncio.Event())
                writer.close()
            assert [*phases, http.phase] == [EnginePhase.STARTING, EnginePhase.STOPPED]
            with pytest.raises(OSError, match=r"refused|failed"):
                socket.create_connection(("127.0.0.1", port))

    scene_in(project, scene)


def test_http_ends_its_connections_also_when_nothing_drains_it(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        async with opened(parts, paths) as engine:
            async with HttpEngine.open(engine, lambda _snapshot: [ListenAddress("127.0.0.1:0")]) as http:
                port = int(http.server.addresses[0].rpartition(":")[2])
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
            assert http.server.connection_count == 0
            writer.close()

    scene_in(project, scene)


def test_an_address_that_is_taken_takes_everything_down(project: Project, parts: Parts) -> None:
    async def scene(paths: Paths) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            address = ListenAddress(f"127.0.0.1:{port}")
            with pytest.raises(ConfigError):
                async with opened(parts, paths) as engine, HttpEngine.open(engine, lambda _new: [address]):
                    raise AssertionError
        assert parts.log == ["shared up", "pool up", "pool down", "shared down"]

    scene_in(project, scene)
