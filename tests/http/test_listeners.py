"""Addresses become listening sockets, and connections keep being accepted whatever accept(2) says."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from whd.errors import ConfigError
from whd.http import listeners
from whd.http.listeners import RETRY_S, Acceptor, ListenAddress, Listener
from whd.http.messages import Admission, Body, Respond, Response
from whd.model.options import Options

from .conftest import Running
from .corpus import head
from .fakes import App, FakeLoop

ECHO = head(line=b"GET /x HTTP/1.1")


def test_the_real_port_is_named(running: Running) -> None:
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", running.address)
    client = running.client(running.address)
    client.send(ECHO)
    assert client.answer().status == 200


def test_several_at_once(make: Callable[..., Running], tmp_path: Path) -> None:
    running = make().start("127.0.0.1:0", f"unix:{tmp_path}/s", "localhost:0")
    for address in running.server.addresses:
        client = running.client(address)
        client.send(ECHO)
        assert client.answer().status == 200


def test_ipv6(make: Callable[..., Running]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    running = make().start("[::1]:0")
    assert running.address.startswith("[::1]:")
    client = running.client()
    client.send(ECHO)
    assert client.answer().status == 200


def test_a_socket_that_listens_already(make: Callable[..., Running]) -> None:
    """Socket activation (sd_listen_fds(3))."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        running = make().start(socket.socket(fileno=os.dup(given.fileno())))
        client = running.client()
        client.send(ECHO)
        assert client.answer().status == 200


class Admin(App):
    def handle(self, admission: Admission, body: Body, respond: Respond) -> None:
        respond(Response(200, (), b"of the admin"))


def test_each_listener_serves_the_application_of_its_name(make: Callable[..., Running]) -> None:
    options = Options()
    with socket.create_server(("127.0.0.1", 0)) as given:
        running = make().start(
            "127.0.0.1:0",
            ListenAddress("127.0.0.1:0", "admin"),
            ListenAddress(socket.socket(fileno=os.dup(given.fileno())), "admin"),
            ListenAddress("127.0.0.1:0", "whd"),  # a name without an application of its own
            admin=Admin(options),
        )
        answers = []
        for address in running.server.addresses:
            client = running.client(address)
            for _ in range(2):  # the second goes the short way, by its repeated head
                client.send(ECHO)
                answers.append(client.answer().body)
        assert answers == [b"/x "] * 2 + [b"of the admin"] * 4 + [b"/x "] * 2, (
            "a name without its own has the public one"
        )
        services = running.server._services
        assert services is not None
        connections = services.connections
        assert sorted(protocol.listener for protocol in connections) == ["admin", "admin", "public", "whd"]


def test_a_unix_socket_has_its_mode_and_is_removed(make: Callable[..., Running], tmp_path: Path) -> None:
    path = tmp_path / "s"
    running = make().start(f"unix:{path}", unix_mode=0o660)
    assert path.stat().st_mode & 0o777 == 0o660
    client = running.client()
    client.send(ECHO)
    assert client.answer().status == 200
    running.wait_for(running.server.close())
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(make: Callable[..., Running], tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    running = make().start(f"unix:{path}")
    client = running.client()
    client.send(ECHO)
    assert client.answer().status == 200


def test_a_live_unix_socket_is_an_error_that_says_so(make: Callable[..., Running], tmp_path: Path) -> None:
    running = make().start(f"unix:{tmp_path}/s")
    with pytest.raises(ConfigError, match="another process listens there"):
        make().start(f"unix:{tmp_path}/s")
    client = running.client()
    client.send(ECHO)
    assert client.answer().status == 200


def test_another_server_s_file_is_left_alone(make: Callable[..., Running], tmp_path: Path) -> None:
    path = tmp_path / "s"
    running = make().start(f"unix:{path}")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        running.wait_for(running.server.close())
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(make: Callable[..., Running], tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="no socket"):
        make().start(f"unix:{path}")
    assert path.read_text() == "mine"


def test_a_port_in_use_is_an_error_that_says_so(make: Callable[..., Running], running: Running) -> None:
    with pytest.raises(ConfigError, match="another process listens there"):
        make().start(running.address)


def test_an_address_of_another_machine_is_an_error_that_says_so(make: Callable[..., Running]) -> None:
    with pytest.raises(ConfigError, match="this machine has no such address"):
        make().start("192.0.2.1:0")  # RFC 5737: of documentation alone


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("8080", "neither HOST:PORT"),
        (":8080", "neither HOST:PORT"),
        ("127.0.0.1:", "neither HOST:PORT"),
        ("127.0.0.1:http", "neither HOST:PORT"),
        ("127.0.0.1:65536", "neither HOST:PORT"),
        ("::1:8080", "brackets"),
        ("unix:s", "must start with /"),
        ("unix:/" + "x" * 200, "unix"),
        ("unix:/nowhere/at/all", "No such file"),
        ("no.such.host.invalid:0", "no address is known"),
    ],
)
def test_bad_addresses_are_errors_that_say_why(make: Callable[..., Running], address: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        make().start(address)


def test_nothing_stays_open_when_one_address_is_bad(make: Callable[..., Running], tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        make().start(f"unix:{tmp_path}/s", "bad")
    assert not (tmp_path / "s").exists()


class ReaderLoop(FakeLoop):
    """A clock that also knows who waits for a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.reader: Callable[[], None] | None = None

    def add_reader(self, _: int, callback: Callable[[], None]) -> None:
        self.reader = callback

    def remove_reader(self, _: int) -> None:
        self.reader = None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> object:
        return self.call_at(self.now + seconds, callback)

    def read(self) -> None:
        """Somebody connects."""
        assert self.reader is not None
        self.reader()


class FailingSocket:
    """accept() goes through `script`: an errno, or a connection; then nobody is waiting."""

    def __init__(self, *script: int | str) -> None:
        self.script = list(script)

    def accept(self) -> tuple[str, None]:
        if not self.script:
            raise BlockingIOError(errno.EAGAIN, "nobody")
        step = self.script.pop(0)
        if isinstance(step, int):
            raise OSError(step, os.strerror(step))
        return step, None

    def close(self) -> None:
        pass


class TestAcceptor:
    @staticmethod
    def make(*script: int | str) -> tuple[ReaderLoop, Acceptor, list[Any], list[Any]]:
        loop = ReaderLoop()
        accepted: list[Any] = []
        refused: list[Any] = []
        listener = Listener(cast(socket.socket, FailingSocket(*script)), "here")
        acceptor = Acceptor(cast(asyncio.AbstractEventLoop, loop), listener, accepted.append, refused.append)
        return loop, acceptor, accepted, refused

    def test_a_connection_that_failed_does_not_hold_up_the_next(self) -> None:
        loop, acceptor, accepted, _ = self.make(errno.ECONNABORTED, "a", errno.EPROTO, "b")
        loop.read()
        assert accepted == ["a", "b"]
        acceptor.close()

    def test_without_descriptors_the_reserve_accepts_and_refuses(self, caplog: pytest.LogCaptureFixture) -> None:
        loop, acceptor, accepted, refused = self.make(errno.EMFILE, "a", errno.ENFILE, "b", "c")
        loop.read()
        assert (accepted, refused) == (["c"], ["a", "b"])
        assert caplog.text.count("no file descriptor is left") == 1
        acceptor.close()

    @pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL])
    def test_otherwise_accepting_pauses_and_goes_on(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
    ) -> None:
        monkeypatch.setattr(listeners, "_open_reserve", lambda: -1)
        loop, acceptor, accepted, _ = self.make(code, code, "a")
        loop.read()
        waits = [loop.reader is not None]
        loop.advance(RETRY_S)
        waits.append(loop.reader is not None)
        assert accepted == []
        loop.advance(RETRY_S)
        waits.append(loop.reader is not None)
        assert accepted == ["a"]
        assert caplog.text.count("trying again") == 1
        acceptor.close()
        waits.append(loop.reader is not None)
        assert waits == [False, False, True, False]

    def test_closing_while_it_pauses_ends_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listeners, "_open_reserve", lambda: -1)
        loop, acceptor, accepted, _ = self.make(errno.EMFILE, "a")
        loop.read()
        acceptor.close()
        loop.advance(10 * RETRY_S)
        assert accepted == []
