"""What the outgoing client does not wait for and does not take: time, size, pieces, numbers at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from whd.model.budget import BufferBudget
from whd.rest import RestClient, RestFault

from .servers import (
    LOOPS,
    OK,
    LocalServer,
    Reader,
    Run,
    Writer,
    answering,
    call,
    endless,
    fails,
    hear,
    redirect,
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


@pytest.mark.parametrize(
    ("sent", "doing"),
    [
        (b"", "waiting for the answer"),
        (b"HTTP/1.1 200 OK\r\nX:", "waiting for the answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "reading the answer"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", "reading the answer"),
    ],
)
def test_a_slow_answer_times_out_and_the_error_says_after_how_long(run: Run, sent: bytes, doing: str) -> None:
    async def test() -> None:
        async with serving(silent_after(sent)) as server:
            text = await fails(RestFault.TIMEOUT, call(f"{server.url}/x", timeout_s=0.3))
            assert text == f"GET {server.url}/x: timed out after 0.3 s, while {doing}"
            await until(lambda: server.gone == 1)

    run(test)


@pytest.mark.parametrize(("asked_s", "limit_s"), [(0.2, 60.0), (60.0, 0.2)])
def test_a_request_may_ask_for_less_time_never_for_more(run: Run, asked_s: float, limit_s: float) -> None:
    async def test() -> None:
        async with serving(silent_after(b"")) as server:
            calling = call(server.url, timeout_s=limit_s, asked={"timeout_s": asked_s})
            assert "timed out after 0.2 s" in await fails(RestFault.TIMEOUT, calling)

    run(test)


def test_the_time_is_for_all_redirects_together(run: Run) -> None:
    def make(server: LocalServer) -> Callable[[Reader, Writer], Awaitable[None]]:
        async def handle(reader: Reader, writer: Writer) -> None:
            server.heard.append(await hear(reader))
            await asyncio.sleep(0.2)
            writer.write(redirect(302, "/again"))

        return handle

    async def test() -> None:
        async with serving(make) as server:
            await fails(RestFault.TIMEOUT, call(server.url, timeout_s=0.5))
        assert len(server.heard) < 5

    run(test)


def test_a_name_service_that_does_not_answer_times_out(run: Run) -> None:
    async def test() -> None:
        answer = threading.Event()

        def look_up(host: str) -> tuple[str]:
            answer.wait(20)
            return ("127.0.0.1",)

        client = RestClient(asyncio.get_running_loop(), look_up=look_up)
        text = await fails(RestFault.TIMEOUT, call("http://slow.test/", client=client, timeout_s=0.2))
        assert text.endswith("while looking up slow.test")
        answer.set()

    run(test)


def test_a_connection_that_is_not_answered_times_out(run: Run, full_backlog: int) -> None:
    async def test() -> None:
        text = await fails(RestFault.TIMEOUT, call(f"http://127.0.0.1:{full_backlog}/", timeout_s=0.3))
        assert text.endswith(f"while connecting to 127.0.0.1:{full_backlog}")

    run(test)


TOO_LARGE = {
    "endless body": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000),
    "endless chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + b"x" * 1000 + b"\r\n"),
    "endless chunk extension": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 10_000 + b"\r\nx\r\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOO_LARGE)
def test_an_answer_without_an_end_is_cut_off(run: Run, case: str) -> None:
    async def test() -> None:
        async with serving(endless(*TOO_LARGE[case])) as server:
            text = await fails(RestFault.TOO_LARGE, call(server.url, max_body_bytes=100_000))
            await until(lambda: server.gone == 1)
        assert "larger than 100000 bytes" in text

    run(test)


def test_endless_early_hints_are_cut_off(run: Run) -> None:
    async def test() -> None:
        async with serving(endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 10)) as server:
            assert "more than 100 informational" in await fails(RestFault.TOO_LARGE, call(server.url))

    run(test)


def test_a_body_in_tiny_pieces_is_cut_off_before_it_has_cost_much(run: Run) -> None:
    async def test() -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with serving(endless(head, b"1\r\nx\r\n" * 10_000)) as server:
            assert "more than 65536 pieces" in await fails(RestFault.TOO_LARGE, call(server.url))

    run(test)


def test_an_announced_body_that_is_too_large_is_refused_unread(run: Run) -> None:
    async def test() -> None:
        async with serving(silent_after(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")) as server:
            await fails(RestFault.TOO_LARGE, call(server.url, max_body_bytes=1000))
            assert (await call(server.url, method="HEAD", max_body_bytes=1000)).status_code == 200

    run(test)


def test_a_body_of_just_the_limit_is_taken(run: Run) -> None:
    async def test() -> None:
        body = b"x" * 100_000
        async with serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + body)) as server:
            assert (await call(server.url, max_body_bytes=100_000)).body == body
            await fails(RestFault.TOO_LARGE, call(server.url, max_body_bytes=99_999))

    run(test)


def test_answers_that_are_read_at_once_share_a_budget_which_is_given_back(run: Run) -> None:
    async def test() -> None:
        budget = BufferBudget(lambda: 150_000)
        client = RestClient(asyncio.get_running_loop(), budget=budget)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n" + b"x" * 100_000
        async with serving(silent_after(answer)) as slow, serving(answering(answer + b"x")) as server:
            first = asyncio.create_task(call(slow.url, client=client))
            await until(lambda: budget.used_bytes == 100_000)
            await fails(RestFault.OVERLOADED, call(server.url, client=client))
            first.cancel()
            await asyncio.wait([first])
            assert budget.used_bytes == 0
            assert len((await call(server.url, client=client)).body) == 100_001
            assert budget.used_bytes == 0

    run(test)


def test_calls_beyond_the_number_at_once_wait_for_their_turn(run: Run) -> None:
    async def test() -> None:
        client = RestClient(asyncio.get_running_loop(), max_open=2)
        async with serving(silent_after(b"")) as slow, serving(answering(OK)) as server:
            holders = [asyncio.create_task(call(slow.url, client=client)) for _ in range(2)]
            await until(lambda: len(slow.heard) == 2)
            text = await fails(RestFault.TIMEOUT, call(server.url, client=client, timeout_s=0.1))
            assert text.endswith("while waiting for its turn")
            waiting = asyncio.create_task(call(server.url, client=client))
            holders[0].cancel()
            assert (await waiting).status_code == 200
            holders[1].cancel()
            await asyncio.wait(holders)

    run(test)


def test_two_hundred_calls_at_once_need_no_threads_of_their_own(run: Run) -> None:
    async def test() -> None:
        everyone = asyncio.Barrier(200)

        def make(server: LocalServer) -> Callable[[Reader, Writer], Awaitable[None]]:
            async def handle(reader: Reader, writer: Writer) -> None:
                await hear(reader)
                await everyone.wait()
                writer.write(OK)

            return handle

        threads = threading.active_count()
        async with serving(make) as server:
            results = await asyncio.gather(*(call(server.url) for _ in range(200)))
        assert [result.body for result in results] == [b"ok"] * 200
        assert threading.active_count() == threads

    run(test)
