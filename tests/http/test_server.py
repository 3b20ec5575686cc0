"""The server over real sockets: order, limits, time-outs, ways to end, drain, running out of descriptors."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from whd.http.listeners import ListenAddress
from whd.http.messages import Response

from .client import Client
from .conftest import Running
from .corpus import CASES, Case, chunked, head, length, post
from .fakes import LARGE_BYTES

ECHO = head(line=b"GET /x HTTP/1.1")
HOLD = head(line=b"GET /hold HTTP/1.1")
LARGE = head(line=b"GET /large HTTP/1.1")
PROJECT = Path(__file__).parents[2]


def release(running: Running, number: int = 0, body: bytes = b"released") -> None:
    running.call(running.app.held[number].respond, Response(200, (), body))


def wait_held(running: Running, count: int = 1) -> None:
    for _ in range(count):
        assert running.app.was_held.acquire(timeout=10)


class TestExchange:
    def test_answers_are_observed_with_the_listener_s_name(self, make: Callable[..., Running]) -> None:
        seen: list[Any] = []
        running = make().start(
            ListenAddress("127.0.0.1:0", "admin"), observe_answer=lambda *answer: seen.append(answer)
        )
        client = running.client()
        client.send(ECHO)
        assert client.answer().status == 200
        running.until(lambda: bool(seen))  # after the answer is written, which the client may read first
        [(status, duration_s, request, listener)] = seen
        assert (status, request.target, listener) == (200, "/x", "admin")
        assert 0 <= duration_s < 10

    def test_get(self, running: Running) -> None:
        client = running.client()
        client.send(head(line=b"GET /x?y=1 HTTP/1.1"))
        answer = client.answer()
        assert (answer.status, answer.body) == (200, b"/x?y=1 ")
        assert parsedate_to_datetime(answer.fields["date"]).tzinfo

    def test_bodies_by_length_and_by_chunks(self, running: Running) -> None:
        client = running.client()
        client.send(length(b"3", b"abc") + chunked(b"2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"))
        assert [client.answer().body, client.answer().body] == [b"/p abc", b"/p def"]

    def test_a_large_body(self, running: Running) -> None:
        client = running.client()
        body = os.urandom(1 << 20) * 8
        client.send(length(b"%d" % len(body), body))
        assert client.answer().body == b"/p " + body

    def test_answers_may_come_later(self, running: Running) -> None:
        client = running.client()
        client.send(length(b"3", b"abc").replace(b"/p", b"/later"))
        assert client.answer().body == b"abc"

    def test_head_has_no_body(self, running: Running) -> None:
        client = running.client()
        client.send(head(line=b"HEAD /x HTTP/1.1") + ECHO)
        assert client.answer(has_body=False).fields["content-length"] == "3"
        assert client.answer().body == b"/x "

    def test_pipelined_answers_come_in_order_though_the_first_is_slow(self, running: Running) -> None:
        client = running.client()
        client.send(HOLD + ECHO + head(line=b"GET /y HTTP/1.1"))
        wait_held(running)
        assert len(running.app.admitted) == 1
        release(running)
        assert [client.answer().body for _ in range(3)] == [b"released", b"/x ", b"/y "]

    def test_a_thousand_pipelined_requests(self, running: Running) -> None:
        client = running.client()
        client.send(b"".join(head(line=b"GET /%d HTTP/1.1" % n) for n in range(1000)))
        assert [client.answer().body for n in range(1000)] == [b"/%d " % n for n in range(1000)]

    def test_connections_do_not_wait_for_each_other(self, running: Running) -> None:
        slow, quick = running.client(), running.client()
        slow.send(HOLD)
        wait_held(running)
        quick.send(ECHO)
        assert quick.answer().status == 200
        release(running)
        assert slow.answer().status == 200

    def test_nagle_is_off(self, running: Running) -> None:
        client = running.client()
        client.send(ECHO)
        client.answer()

        def is_off() -> bool:
            assert running.server._services is not None
            (protocol,) = running.server._services.connections
            sock = protocol._transport.get_extra_info("socket")
            return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        assert running.call(is_off)

    def test_the_client_that_leaves_cancels(self, running: Running) -> None:
        client = running.client()
        client.send(HOLD)
        wait_held(running)
        # A close with SO_LINGER 0 is a reset: gone, not half-closed.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert running.app.held[0].was_cancelled.wait(10)

    def test_a_client_that_shuts_its_side_gets_its_answers(self, running: Running) -> None:
        client = running.client()
        client.send(HOLD + ECHO)
        client.shut()
        wait_held(running)
        release(running)
        assert client.answer().body == b"released"
        assert client.answer().body == b"/x "
        assert client.rest() == b""

    def test_an_exception_in_the_application_is_a_500(self, running: Running, caplog: pytest.LogCaptureFixture) -> None:
        client = running.client()
        client.send(head(line=b"GET /crash HTTP/1.1") + ECHO)
        answer = client.answer()
        assert (answer.status, answer.fields["x-code"]) == (500, "internal")
        assert client.answer().status == 200
        assert "handle failed" in caplog.text


# Those that do not depend on the corpus's own, small limits.
SENT = [case for case in CASES if not re.search("limit|long|without end|digits|many", case.name)]


class TestCorpus:
    """The same streams as for the sans-IO connection, through a socket."""

    @pytest.mark.parametrize("cut", ["whole", "cut in two"])
    def test_statuses(self, running: Running, cut: str) -> None:
        for case in SENT:
            with running.client() as client:
                middle = len(case.stream) // 2
                parts = [case.stream] if cut == "whole" else [case.stream[:middle], case.stream[middle:]]
                for part in parts:
                    client.send(part)
                client.shut()
                statuses = [int(found) for found in re.findall(rb"HTTP/1\.1 (\d+) ", client.rest())]
                assert [status for status in statuses if status != 100] == self.expected(case), case.name

    @staticmethod
    def expected(case: Case) -> list[int]:
        *requests, end = case.outcome
        statuses = [200] * len(requests)
        if end == "open" and not case.eof and _is_within_a_request(case):
            return [*statuses, 400]  # here every stream ends with the client's end
        return [*statuses, int(end)] if end.isdigit() else statuses


def _is_within_a_request(case: Case) -> bool:
    return case.name.endswith("so far")


class TestContinue:
    """RFC 9110, 10.1.1: 100 Continue says that the body is wanted."""

    def test_comes_before_the_body_is_sent(self, running: Running) -> None:
        client = running.client()
        client.send(post(b"Expect: 100-continue", b"Content-Length: 3"))
        assert client.answer(has_body=False).status == 100
        client.send(b"abc")
        assert client.answer().body == b"/p abc"

    @pytest.mark.parametrize(
        ("path", "size", "status"), [(b"/nowhere", 3, 404), (b"/p", 1 << 40, 413)], ids=["refused", "too large"]
    )
    def test_never_comes_for_a_body_that_is_not_wanted(
        self, running: Running, path: bytes, size: int, status: int
    ) -> None:
        client = running.client()
        client.send(post(b"Expect: 100-continue", b"Content-Length: %d" % size).replace(b"/p", path))
        assert client.answer().status == status
        client.shut()
        assert client.rest() == b""


class TestEarlyRefusal:
    @pytest.mark.parametrize("size", [30_000_000, 100_000_000])
    def test_is_read_by_a_client_that_sends_its_large_body_first(self, running: Running, size: int) -> None:
        client = running.client()
        client.send(length(b"%d" % size))
        client.send(b"x" * size)
        answer = client.answer()
        assert (answer.status, answer.fields["connection"]) == (413, "close")
        client.shut()
        assert client.rest() == b""

    def test_of_a_small_body_keeps_the_connection(self, running: Running) -> None:
        client = running.client()
        client.send(length(b"3", b"abc").replace(b"/p", b"/nowhere") + ECHO)
        assert [client.answer().status, client.answer().status] == [404, 200]

    def test_a_framing_error_closes(self, running: Running) -> None:
        client = running.client()
        client.send(b"BAD\r\n\r\n" + ECHO)
        assert client.answer().status == 400
        assert client.rest() == b""


class TestTimeouts:
    def test_half_a_head(self, make: Callable[..., Running]) -> None:
        client = make(header_timeout_s=0.05).start().client()
        client.send(b"GET / HT")
        answer = client.answer()
        assert (answer.status, answer.fields["connection"]) == (408, "close")
        assert client.rest() == b""

    def test_nothing_at_all(self, make: Callable[..., Running]) -> None:
        assert make(header_timeout_s=0.05).start().client().rest() == b""

    def test_half_a_body(self, make: Callable[..., Running]) -> None:
        client = make(body_timeout_s=0.05).start().client()
        client.send(length(b"3", b"a"))
        assert client.answer().status == 408
        assert client.rest() == b""

    def test_idle(self, make: Callable[..., Running]) -> None:
        client = make(idle_timeout_s=0.05).start().client()
        client.send(ECHO)
        assert client.answer().status == 200
        assert client.rest() == b""

    def test_a_client_that_does_not_read(self, make: Callable[..., Running]) -> None:
        running = make(idle_timeout_s=0.1).start()
        client = running.client()
        client.send(LARGE)
        running.until(lambda: len(running.app.admitted) == 1 and running.server.connection_count == 0)
        received = 0
        with contextlib.suppress(ConnectionError):
            while data := client.socket.recv(1 << 20):
                received += len(data)
        assert received < LARGE_BYTES

    def test_a_client_that_reads_gets_all(self, make: Callable[..., Running]) -> None:
        client = make(idle_timeout_s=5).start().client()
        client.send(LARGE * 3)
        assert [len(client.answer().body) for _ in range(3)] == [LARGE_BYTES] * 3


class TestLimits:
    def test_beyond_max_connections_clients_are_told_so(self, make: Callable[..., Running]) -> None:
        running = make(max_connections=2).start()
        first, second = running.client(), running.client()
        for client in (first, second):
            client.send(ECHO)
            assert client.answer().status == 200
        third = running.client()
        third.send(ECHO)
        answer = third.answer()
        assert (answer.status, answer.fields["x-code"]) == (503, "overloaded")
        assert answer.fields["retry-after"] == "1"
        third.close()
        first.close()
        running.until(lambda: running.server.connection_count == 1)
        fourth = running.client()
        fourth.send(ECHO)
        assert fourth.answer().status == 200

    def test_far_beyond_it_too(self, make: Callable[..., Running]) -> None:
        """Then nothing is kept of them, and a client may see no more than that it was closed."""
        running = make(max_connections=1).start()
        first = running.client()
        first.send(ECHO)
        first.answer()
        others = [running.client() for _ in range(300)]
        running.until(lambda: running.server.connection_count >= 129)
        statuses = [other.answer().status for other in others]
        assert set(statuses) == {503}
        assert running.call(lambda: running.server.connection_count) <= 129
        first.send(ECHO)
        assert first.answer().status == 200

    def test_live_options_hold_for_new_connections(self, running: Running) -> None:
        running.set(max_target_bytes=16)
        client = running.client()
        client.send(head(line=b"GET /0123456789abcdef HTTP/1.1"))
        assert client.answer().status == 414

    def test_bodies_of_all_connections_share_one_budget(self, make: Callable[..., Running]) -> None:
        running = make(max_buffered_bytes=1000).start()
        first, second = running.client(), running.client()
        first.send(length(b"900", b"x" * 800))
        running.until(lambda: running.budget.used_bytes == 800)
        second.send(length(b"300", b"x" * 300))
        assert second.answer().status == 503
        first.send(b"x" * 100)
        assert first.answer().status == 200
        second.send(length(b"300", b"x" * 300))
        assert second.answer().status == 200


class TestDrain:
    def test_idle_connections_end_and_owed_answers_come(self, running: Running) -> None:
        idle, busy, reading = running.client(), running.client(), running.client()
        idle.send(ECHO)
        idle.answer()
        reading.send(length(b"3", b"a"))
        busy.send(HOLD + ECHO)
        wait_held(running)
        running.until(lambda: len(running.app.admitted) == 3)
        drained = running.call(lambda: running.loop.create_task(running.server.drain()))
        assert idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            running.client()
        assert not drained.done()
        reading.send(b"bc")
        assert reading.answer().fields["connection"] == "close"
        release(running)
        answer = busy.answer()
        assert (answer.body, answer.fields["connection"]) == (b"released", "close")
        assert busy.rest() == b""
        busy.close()
        running.until(drained.done)
        assert running.server.connection_count == 0

    def test_close_cancels_what_is_owed(self, running: Running) -> None:
        client = running.client()
        client.send(HOLD)
        wait_held(running)
        running.wait_for(running.server.close())
        assert running.app.held[0].was_cancelled.is_set()
        assert client.rest() == b""


OUT_OF_DESCRIPTORS = """
import asyncio, logging, os, resource, sys, uvloop
from functools import partial
from tests.http.fakes import App
from whd.model.budget import BufferBudget
from whd.http.listeners import PUBLIC, ListenAddress
from whd.http.server import Server
from whd.model.options import Options

logging.basicConfig(level="WARNING", format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

async def main():
    options = Options()
    server = Server({PUBLIC: App(options)}, lambda: options, BufferBudget(lambda: 1 << 30))
    await server.start([ListenAddress("127.0.0.1:0")])
    read_line = partial(asyncio.get_running_loop().run_in_executor, None, sys.stdin.readline)
    print(server.addresses[0], flush=True)
    await read_line()
    taken = []
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            break
    for fd in taken[-2:]:
        os.close(fd)
    print("two are left", flush=True)
    await read_line()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_utime, flush=True)
    await server.close()

uvloop.run(main())
"""


class TestOutOfDescriptors:
    """accept(2): EMFILE. The server lives, tells who it can, and serves again once descriptors are free."""

    def test_all(self) -> None:
        with contextlib.ExitStack() as stack:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", OUT_OF_DESCRIPTORS],
                    env={**os.environ, "PYTHONPATH": str(PROJECT)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdin is not None
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            served = [stack.enter_context(Client(address))]
            served[0].send(ECHO)  # by now every descriptor of the loop itself is open
            assert served[0].answer().status == 200
            process.stdin.write("take them\n")
            process.stdin.flush()
            assert process.stdout.readline() == "two are left\n"
            served += [stack.enter_context(Client(address)) for _ in range(2)]
            for client in served:
                client.send(ECHO)
                assert client.answer().status == 200
            refused = [stack.enter_context(Client(address)) for _ in range(20)]
            assert {client.answer().status for client in refused} == {503}
            served.pop().close()
            # The server sees the close when it gets to it; until then a new client is refused.
            for _ in range(1000):
                with Client(address) as client:
                    if self.is_served(client):
                        break
            else:
                pytest.fail("never served again")
            served[0].send(ECHO)
            assert served[0].answer().status == 200
            out, errors = process.communicate("end\n", timeout=10)
        assert process.returncode == 0
        assert float(out) < 5, "the loop spins"
        assert errors.count("no file descriptor is left") == 1

    @staticmethod
    def is_served(client: Client) -> bool:
        with contextlib.suppress(ConnectionError):
            client.send(ECHO)
        select.select([client.socket], [], [], 10)
        with contextlib.suppress(ConnectionError, AssertionError):
            return bool(client.answer().status == 200)
        return False
