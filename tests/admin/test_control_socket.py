"""Both ends of state/control.sock: what is asked arrives, what is answered comes back, and nothing else gets in."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.store.store_samples import until
from whd.admin import client
from whd.admin import server as server_module
from whd.admin.server import ControlServer
from whd.errors import StateError, WhdError


async def dispatch(command: str, arguments: dict[str, Any]) -> Any:
    """Gives back what it was asked, or fails as its name says."""
    if command == "refuse":
        raise WhdError("for callers", log_detail="for the person at the terminal")
    if command == "break":
        raise ValueError("a defect")
    return {"command": command, "arguments": arguments}


def with_server(
    state: Path, test: Callable[[Callable[..., Coroutine[Any, Any, Any]]], Coroutine[Any, Any, None]]
) -> None:
    async def main() -> None:
        server = ControlServer(state, dispatch)
        await server.start()
        try:

            async def ask(command: str, **arguments: Any) -> Any:
                return await asyncio.to_thread(client.ask, state, command, arguments)

            await test(ask)
        finally:
            await server.close()
        assert not (state / client.SOCKET_NAME).exists()

    asyncio.run(main())


def test_what_is_asked_is_answered(tmp_path: Path) -> None:
    async def test(ask: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        for arguments in ({}, {"a": None, "é": [1.5, "\ud800"]}, {"large": "x" * 3_000_000}):
            assert await ask("echo", **arguments) == {"command": "echo", "arguments": arguments}
        many = await asyncio.gather(*(ask("echo", n=n) for n in range(20)))
        assert [one["arguments"]["n"] for one in many] == list(range(20))

    with_server(tmp_path, test)


def test_an_error_is_told_in_the_words_for_the_operator(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(ask: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        with pytest.raises(WhdError, match="for the person at the terminal"):
            await ask("refuse")
        assert not caplog.records
        with pytest.raises(WhdError, match=r"the daemon could not do this: ValueError\('a defect'\)"):
            await ask("break")
        assert "a command failed" in caplog.text
        assert (await ask("echo"))["command"] == "echo", "it goes on"

    with_server(tmp_path, test)


@pytest.mark.parametrize("line", [b"\n", b"nonsense\n", b"[]\n", b"{}\n", b'{"command": "echo"'])
def test_nonsense_is_answered_with_an_error(tmp_path: Path, line: bytes) -> None:
    async def test(ask: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / client.SOCKET_NAME)
        writer.write(line)
        writer.write_eof()
        assert "error" in json.loads(await reader.read())
        writer.close()
        assert (await ask("echo"))["command"] == "echo"

    with_server(tmp_path, test)


def test_who_goes_away_without_a_word_costs_nothing(tmp_path: Path) -> None:
    async def test(ask: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(tmp_path / client.SOCKET_NAME))
        assert (await ask("echo"))["command"] == "echo"

    with_server(tmp_path, test)


def test_the_socket_is_the_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    async def test(ask: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        assert stat.S_IMODE((tmp_path / client.SOCKET_NAME).stat().st_mode) == 0o600
        assert os.umask(0) == 0, "and the mask is as it was"

    before = os.umask(0)
    try:
        with_server(tmp_path, test)
    finally:
        os.umask(before)


def test_a_socket_that_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / client.SOCKET_NAME))
    with pytest.raises(StateError, match=r"no daemon answers on .*: Connection refused"):
        client.ask(tmp_path, "echo", {})

    async def test(ask: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        assert (await ask("echo"))["command"] == "echo"

    with_server(tmp_path, test)


def test_state_may_lie_deeper_than_a_sockets_name_may_be_long(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8)
    deep.mkdir(parents=True)
    assert len(str(deep)) > 107

    async def test(ask: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        assert (await ask("echo"))["command"] == "echo"

    with_server(deep, test)


def test_without_a_daemon_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"control\.sock: No such file or directory; `whd serve` starts one"):
        client.ask(tmp_path, "status", {})


def test_a_daemon_that_ends_before_it_answers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / client.SOCKET_NAME))
        listener.listen()

        async def main() -> None:
            asked = asyncio.create_task(asyncio.to_thread(client.ask, tmp_path, "status", {}))
            connection, _ = await asyncio.to_thread(listener.accept)
            await asyncio.to_thread(connection.recv, 1_000)
            connection.close()
            with pytest.raises(StateError, match="the daemon ended before it answered"):
                await asked

        asyncio.run(main())


def test_a_socket_that_was_deleted_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever deletes what is in state/ must still be able to ask what is wrong."""
    monkeypatch.setattr(server_module, "LOOK_S", 0.01)

    async def test(ask: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        (tmp_path / client.SOCKET_NAME).unlink()
        await until((tmp_path / client.SOCKET_NAME).exists)
        assert (await ask("echo"))["command"] == "echo"

    with_server(tmp_path, test)


def test_a_folder_that_is_gone_is_not_made_again_but_a_command_learns_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator may be about to put another one there."""
    monkeypatch.setattr(server_module, "LOOK_S", 0.01)
    state = tmp_path / "state"
    state.mkdir()

    async def test(ask: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        state.rename(tmp_path / "elsewhere")
        with pytest.raises(StateError, match="one still runs that had its state here"):
            await ask("echo")

    with_server(state, test)
    assert not state.exists()


def test_a_socket_that_another_daemon_has_put_there_is_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        old = ControlServer(tmp_path, dispatch)
        await old.start()
        new = ControlServer(tmp_path, dispatch)
        await new.start()
        await old.close()
        answer = await asyncio.to_thread(client.ask, tmp_path, "echo", {})
        assert answer["command"] == "echo"
        await new.close()

    asyncio.run(main())
