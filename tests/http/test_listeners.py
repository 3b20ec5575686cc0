"""Addresses become listening sockets, and connections keep being accepted whatever accept(2) says."""

from __future__ import annotations

import errno
import os
import re
import socket

import pytest

from whd.errors import ConfigError
from whd.http import listeners
from whd.http.listeners import RETRY_S, Acceptor, ListenAddress, Listener
from whd.http.messages import Response
from whd.model.options import Options

from .corpus import head
from .fakes import App, FakeLoop

ECHO = head(line=b"GET /x HTTP/1.1")


def test_the_real_port_is_named(running):
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", running.address)
    assert running.server.sockets[0].getsockname()[1] == int(running.address.rpartition(":")[2])


def test_several_at_once(make, tmp_path):
    running = make().start("127.0.0.1:0", f"unix:{tmp_path}/s", "localhost:0")
    for address in running.server.addresses:
        client = running.client(address)
        client.send(ECHO)
        assert client.answer().status == 200


def test_ipv6(make):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    running = make().start("[::1]:0")
    assert running.address.startswith("[::1]:")
    client = running.client()
    client.send(ECHO)
    assert client.answer().status == 200


def test_a_socket_that_listens_already(make):
    """Socket activation (sd_listen_fds(3))."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        running = make().start(socket.socket(fileno=os.dup(given.fileno())))
        client = running.client()
        client.send(ECHO)
        assert client.answer().status == 200


class Admin(App):
    def handle(self, admission, body, respond):
        respond(Response(200, (), b"of the admin"))


def test_each_listener_serves_the_application_of_its_name(make):
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
        connections = running.server._services.connections
        assert sorted(protocol.listener for protocol in connections) == ["admin", "admin", "public", "whd"]


def test_a_unix_socket_has_its_mode_and_is_removed(make, tmp_path):
    path = tmp_path / "s"
    running = make().start(f"unix:{path}", unix_mode=0o660)
    assert path.stat().st_mode & 0o777 == 0o660
    client = running.client()
    client.send(ECHO)
    assert client.answer().status == 200
    running.wait_for(running.server.close())
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(make, tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    running = make().start(f"unix:{path}")
    client = running.client()
    client.send(ECHO)
    assert client.answer().status == 200


def test_a_live_unix_socket_is_an_error_that_says_so(make, tmp_path):
    running = make().start(f"unix:{tmp_path}/s")
    with pytest.raises(ConfigError, match="another process listens there"):
        make().start(f"unix:{tmp_path}/s")
    client = running.client()
    client.send(ECHO)
    assert client.answer().status == 200


def test_another_server_s_file_is_left_alone(make, tmp_path):
    path = tmp_path / "s"
    running = make().start(f"unix:{path}")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        running.wait_for(running.server.close())
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(make, tmp_path):
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="no socket"):
        make().start(f"unix:{path}")
    assert path.read_text() == "mine"


def test_a_port_in_use_is_an_error_that_says_so(make, running):
    with pytest.raises(ConfigError, match="another process listens there"):
        make().start(running.address)


def test_an_address_of_another_machine_is_an_error_that_says_so(make):
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
def test_bad_addresses_are_errors_that_say_why(make, address, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        make().start(address)


def test_nothing_stays_open_when_one_address_is_bad(make, tmp_path):
    with pytest.raises(ConfigError):
        make().start(f"unix:{tmp_path}/s", "bad")
    assert not (tmp_path / "s").exists()


class ReaderLoop(FakeLoop):
    """A clock that also knows who waits for a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = None

    def add_reader(self, _, callback) -> None:
        self.reader = callback

    def remove_reader(self, _) -> None:
        self.reader = None

    def call_later(self, seconds, callback):
        return self.call_at(self.now + seconds, callback)


class FailingSocket:
    """accept() goes through `script`: an errno, or a connection; then nobody is waiting."""

    def __init__(self, *script) -> None:
        self.script = list(script)

    def accept(self):
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
    def make(*script):
        loop, accepted, refused = ReaderLoop(), [], []
        listener = Listener(FailingSocket(*script), "here")
        return loop, Acceptor(loop, listener, accepted.append, refused.append), accepted, refused

    def test_a_connection_that_failed_does_not_hold_up_the_next(self):
        loop, acceptor, accepted, _ = self.make(errno.ECONNABORTED, "a", errno.EPROTO, "b")
        loop.reader()
        assert accepted == ["a", "b"]
        acceptor.close()

    def test_without_descriptors_the_reserve_accepts_and_refuses(self, caplog):
        loop, acceptor, accepted, refused = self.make(errno.EMFILE, "a", errno.ENFILE, "b", "c")
        loop.reader()
        assert (accepted, refused) == (["c"], ["a", "b"])
        assert caplog.text.count("no file descriptor is left") == 1
        acceptor.close()

    @pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL])
    def test_otherwise_accepting_pauses_and_goes_on(self, monkeypatch, caplog, code):
        monkeypatch.setattr(listeners, "_open_reserve", lambda: -1)
        loop, acceptor, accepted, _ = self.make(code, code, "a")
        loop.reader()
        assert loop.reader is None
        loop.advance(RETRY_S)
        assert (loop.reader, accepted) == (None, [])
        loop.advance(RETRY_S)
        assert accepted == ["a"]
        assert loop.reader is not None
        assert caplog.text.count("trying again") == 1
        acceptor.close()
        assert loop.reader is None

    def test_closing_while_it_pauses_ends_it(self, monkeypatch):
        monkeypatch.setattr(listeners, "_open_reserve", lambda: -1)
        loop, acceptor, accepted, _ = self.make(errno.EMFILE, "a")
        loop.reader()
        acceptor.close()
        loop.advance(10 * RETRY_S)
        assert accepted == []
