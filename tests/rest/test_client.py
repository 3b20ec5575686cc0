"""The outgoing HTTP client against real servers: what it sends, what it takes, how its calls end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from whd.auth.connections import BadUrl
from whd.auth.permissions import PermissionDenied
from whd.rest import RestClient, RestFault, RestLimits, RestRequest, RestResult

from .servers import (
    LOOPS,
    OK,
    LocalServer,
    Reader,
    Run,
    Writer,
    answering,
    authorizing,
    call,
    fails,
    left,
    open_descriptors,
    runner,
    serving,
    silent_after,
    unanswered_port,
    until,
)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return runner(request.param)


@pytest.fixture
def full_backlog() -> Iterator[int]:
    with unanswered_port() as port:
        yield port


def test_a_get_has_a_host_asks_for_no_coding_and_gives_the_connection_up(run: Run) -> None:
    async def test() -> None:
        async with serving(answering(b"HTTP/1.1 201 Created\r\nX-One: 1\r\nx-one: 2\r\n\r\nhello")) as server:
            result = await call(f"{server.url}/a//b/../c?d=e#f", headers=(("X-Name", "ä"),), expected=(201,))
        heard = server.heard[0]
        assert heard.line == "GET /a/c?d=e HTTP/1.1"
        assert heard.headers["host"] == f"127.0.0.1:{server.port}"
        assert heard.headers["accept-encoding"] == "identity"
        assert heard.headers["connection"] == "close"
        assert heard.headers["x-name"].encode("latin-1").decode() == "ä"
        assert "content-length" not in heard.headers
        assert (result.status_code, result.body, result.is_expected) == (201, b"hello", True)
        assert result.headers == (("x-one", "1"), ("x-one", "2"))
        assert result.message == f"GET {server.url}/a/c: status 201"

    run(test)


def test_a_body_is_sent_with_its_length_and_a_post_without_one_says_so(run: Run) -> None:
    async def test() -> None:
        async with serving(answering(OK)) as server:
            await call(server.url, method="POST", body=b"x" * 1000)
            await call(server.url, method="POST")
            await call(server.url, method="DELETE")
        assert [heard.body for heard in server.heard] == [b"x" * 1000, b"", b""]
        assert [heard.headers.get("content-length") for heard in server.heard] == ["1000", "0", None]

    run(test)


def test_a_large_body_goes_up_whole(run: Run) -> None:
    async def test() -> None:
        body = bytes(range(256)) * 20_000
        async with serving(answering(OK)) as server:
            assert (await call(server.url, method="PUT", body=body)).body == b"ok"
        assert server.heard[0].body == body

    run(test)


def test_an_answer_that_comes_before_the_body_is_read_is_taken(run: Run) -> None:
    def make(server: LocalServer) -> Callable[[Reader, Writer], Awaitable[None]]:
        async def handle(reader: Reader, writer: Writer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            await left(reader)

        return handle

    async def test() -> None:
        async with serving(make) as server:
            result = await call(server.url, method="POST", body=b"x" * 30_000_000)
        assert result.status_code == 413
        assert result.message == f"POST {server.url}/: status 413 was not expected (expected_status_code: 200)"

    run(test)


ANSWERS = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd": b"abc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nX: y\r\n\r\n": b"abc",
    b"HTTP/1.1 200 OK\r\n\r\nabc": b"abc",
    b"HTTP/1.0 200 OK\r\n\r\nabc": b"abc",
    b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc": b"abc",
    b"HTTP/1.1 204 No Content\r\n\r\n": b"",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99999999999\r\n\r\n": b"",
    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc": b"abc",
}


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
def test_every_way_of_framing_an_answer_is_read(run: Run, answer: bytes) -> None:
    async def test() -> None:
        async with serving(answering(answer)) as server:
            assert (await call(server.url)).body == ANSWERS[answer]

    run(test)


NO_ANSWERS = {
    b"": RestFault.NOT_CONNECTED,
    b"HTTP/1.1 200 OK\r\nContent-": RestFault.NOT_CONNECTED,
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab": RestFault.NOT_CONNECTED,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab": RestFault.NOT_CONNECTED,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nab\r\n": RestFault.PROTOCOL,
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab": RestFault.PROTOCOL,
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab": RestFault.PROTOCOL,
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n": RestFault.PROTOCOL,
    b"SSH-2.0-OpenSSH_9.2\r\n": RestFault.NOT_CONNECTED,
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n": RestFault.PROTOCOL,
    b"\x15\x03\x01\x00\x02\x02\x46" * 100: RestFault.PROTOCOL,
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000: RestFault.PROTOCOL,
}


@pytest.mark.parametrize("answer", NO_ANSWERS, ids=range(len(NO_ANSWERS)))
def test_what_is_no_whole_answer_is_an_error_that_says_so(run: Run, answer: bytes) -> None:
    async def test() -> None:
        async with serving(answering(answer)) as server:
            text = await fails(NO_ANSWERS[answer], call(f"{server.url}/x?key=secret"))
        assert text.startswith(f"GET {server.url}/x: ")
        assert "secret" not in text

    run(test)


def test_proxies_of_the_environment_are_ignored(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")

    async def test() -> None:
        async with serving(answering(OK)) as server:
            assert (await call(server.url)).status_code == 200
        assert server.heard[0].line == "GET / HTTP/1.1"

    run(test)


def test_a_started_call_tells_its_end_once(run: Run) -> None:
    async def test() -> None:
        client = RestClient(asyncio.get_running_loop())
        outcomes: list[object] = []
        async with serving(answering(OK)) as server:
            for url in (server.url, "http://127.0.0.1:1/", "no url"):
                authorize = authorizing(f"{server.url}/*")
                client.start(RestRequest("GET", url), authorize, RestLimits(), outcomes.append)
                await until(lambda: client.open_count == 0)
        assert [type(outcome) for outcome in outcomes] == [RestResult, PermissionDenied, BadUrl]

    run(test)


def test_a_defect_in_a_call_is_an_outcome_too(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        def authorize(url: str) -> Any:
            raise KeyError(url)

        client = RestClient(asyncio.get_running_loop())
        outcomes: list[Any] = []
        client.start(RestRequest("GET", "http://a.test/"), authorize, RestLimits(), outcomes.append)
        await until(lambda: client.open_count == 0)
        assert outcomes[0].fault == RestFault.INTERNAL

    run(test)
    assert "an outgoing call failed" in caplog.text


@pytest.mark.parametrize("stage", ["head", "body", "upload"])
def test_cancelling_frees_the_socket_and_tells_nobody(run: Run, stage: str) -> None:
    def deaf(server: LocalServer) -> Callable[[Reader, Writer], Awaitable[None]]:
        async def handle(reader: Reader, writer: Writer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            server.heard.append(await _nothing())
            # Reading nothing for a while makes the client's upload wait; then its end shows.
            await cancelled.wait()
            await left(reader)

        return handle

    async def _nothing() -> Any:
        return None

    cancelled = asyncio.Event()

    async def test() -> None:
        client = RestClient(asyncio.get_running_loop())
        outcomes: list[object] = []
        sent = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" if stage == "body" else b""
        async with serving(deaf if stage == "upload" else silent_after(sent)) as server:
            body = b"x" * 30_000_000 if stage == "upload" else None
            request = RestRequest("POST", server.url, body=body)
            started = client.start(request, authorizing(f"{server.url}/*"), RestLimits(), outcomes.append)
            await until(lambda: len(server.heard) == 1)
            assert client.open_count == 1
            started.cancel()
            cancelled.set()
            await until(lambda: server.gone == 1 and client.open_count == 0)
            started.cancel()
        assert outcomes == []

    run(test)


def test_cancelling_ends_a_connection_that_is_not_answered(run: Run, full_backlog: int) -> None:
    async def test() -> None:
        client = RestClient(asyncio.get_running_loop())
        before = open_descriptors()
        url = f"http://127.0.0.1:{full_backlog}/"
        started = client.start(RestRequest("GET", url), authorizing(url), RestLimits(), lambda outcome: None)
        await until(lambda: open_descriptors() == before + 1)
        started.cancel()
        await until(lambda: open_descriptors() == before)
        assert client.open_count == 0

    run(test)


def test_cancelling_in_the_round_in_which_it_ended_still_tells_nobody(run: Run) -> None:
    async def test() -> None:
        client = RestClient(asyncio.get_running_loop())
        outcomes: list[object] = []
        authorize = authorizing("http://a.test/*")
        started = client.start(RestRequest("GET", "no url"), authorize, RestLimits(), outcomes.append)
        # The task's first step runs before what is scheduled here, its callback after it.
        asyncio.get_running_loop().call_soon(started.cancel)
        await until(lambda: client.open_count == 0)
        assert outcomes == []

    run(test)


def test_cancelling_does_not_wait_for_the_name_service(run: Run) -> None:
    async def test() -> None:
        asked, answer = threading.Event(), threading.Event()

        def look_up(host: str) -> tuple[str, ...]:
            asked.set()
            answer.wait(20)
            return ("127.0.0.1",)

        client = RestClient(asyncio.get_running_loop(), look_up=look_up)
        authorize = authorizing("http://slow.test/*")
        started = client.start(RestRequest("GET", "http://slow.test/"), authorize, RestLimits(), lambda outcome: None)
        await until(asked.is_set)
        started.cancel()
        await until(lambda: client.open_count == 0)
        answer.set()

    run(test)


def test_closing_the_client_ends_what_is_under_way(run: Run) -> None:
    async def test() -> None:
        client = RestClient(asyncio.get_running_loop())
        async with serving(silent_after(b"")) as server:
            for _ in range(3):
                request = RestRequest("GET", server.url)
                client.start(request, authorizing(f"{server.url}/*"), RestLimits(), lambda outcome: None)
            await until(lambda: len(server.heard) == 3)
            await client.close()
            await until(lambda: server.gone == 3)
        assert client.open_count == 0

    run(test)
