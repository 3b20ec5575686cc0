"""Where the outgoing client connects to: names, addresses, redirects, each decided upon before it is used."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from whd.auth.connections import BadUrl
from whd.auth.permissions import PermissionDenied
from whd.rest import RestClient, RestFault
from whd.rest.resolver import MAX_THREADS, Resolver

from .servers import LOOPS, OK, Run, answering, call, fails, named, redirect, runner, serving, until


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return runner(request.param)


def test_a_url_that_no_rule_allows_is_refused_before_anything_is_looked_up(run: Run) -> None:
    async def test() -> None:
        looked_up: list[str] = []

        def look_up(host: str) -> tuple[str]:
            looked_up.append(host)
            return ("127.0.0.1",)

        client = RestClient(asyncio.get_running_loop(), look_up=look_up)
        with pytest.raises(PermissionDenied):
            await call("http://other.test/", rules=("http://a.test/*",), client=client)
        with pytest.raises(BadUrl):
            await call("http://a.test:99999/", rules=("http://a.test/*",), client=client)
        assert looked_up == []

    run(test)


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("1.1.1.1", "127.0.0.1"), ("::ffff:127.0.0.1",), ("::1",)])
def test_a_name_under_a_wildcard_reaches_no_address_that_is_not_public(run: Run, addresses: tuple[str, ...]) -> None:
    async def test() -> None:
        async with serving(answering(OK)) as server:
            client = RestClient(asyncio.get_running_loop(), look_up=named(*addresses))
            rules = (f"http://*.test:{server.port}/*",)
            url = f"http://inside.test:{server.port}/"
            text = await fails(RestFault.ADDRESS_REFUSED, call(url, rules=rules, client=client))
        assert f"inside.test has the address {addresses[-1]}, which is refused (loopback)" in text
        assert server.accepted == 0

    run(test)


def test_a_name_that_stands_literally_in_a_rule_reaches_any_address(run: Run) -> None:
    async def test() -> None:
        async with serving(answering(OK)) as server:
            client = RestClient(asyncio.get_running_loop(), look_up=named("127.0.0.1"))
            await call(f"http://inside.test:{server.port}/", client=client)
            assert (await call(f"http://localhost:{server.port}/")).status_code == 200
        assert server.heard[0].headers["host"] == f"inside.test:{server.port}"

    run(test)


def test_a_name_service_that_changes_its_answer_after_the_check_changes_nothing(run: Run) -> None:
    """DNS rebinding: one look-up in a call, redirects included; the connection goes to the address that was checked."""

    async def test() -> None:
        answers = iter([("127.0.0.1",), ("127.0.0.2",), ("127.0.0.2",)])
        looked_up: list[str] = []

        def look_up(host: str) -> tuple[str, ...]:
            looked_up.append(host)
            return next(answers)

        client = RestClient(asyncio.get_running_loop(), look_up=look_up)
        async with serving(answering(redirect(302, "/second"), OK)) as server:
            result = await call(f"http://inside.test:{server.port}/first", client=client)
        assert [heard.line for heard in server.heard] == ["GET /first HTTP/1.1", "GET /second HTTP/1.1"]
        assert result.body == b"ok"
        assert looked_up == ["inside.test"]

    run(test)


def test_the_next_address_is_tried_if_one_refuses(run: Run) -> None:
    async def test() -> None:
        client = RestClient(asyncio.get_running_loop(), look_up=named("127.9.9.9", "127.0.0.1"))
        async with serving(answering(OK)) as server:
            assert (await call(f"http://inside.test:{server.port}/", client=client)).status_code == 200

    run(test)


def test_a_refused_connection_names_address_and_port(run: Run) -> None:
    async def test() -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            text = await fails(RestFault.NOT_CONNECTED, call(f"http://127.0.0.1:{port}/x"))
        assert text == (f"GET http://127.0.0.1:{port}/x: cannot connect to 127.0.0.1 port {port}: connection refused")

    run(test)


def test_a_name_that_does_not_exist_is_named(run: Run) -> None:
    async def test() -> None:
        def look_up(host: str) -> tuple[str, ...]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        client = RestClient(asyncio.get_running_loop(), look_up=look_up)
        text = await fails(RestFault.NAME_NOT_FOUND, call("http://nowhere.test/", client=client))
        assert text == "GET http://nowhere.test/: the name nowhere.test was not found: Name or service not known"

    run(test)


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (302, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (308, "GET", "GET"),
    ],
)
def test_a_redirect_keeps_or_changes_the_method_as_rfc_9110_has_it(
    run: Run, status: int, method: str, then: str
) -> None:
    async def test() -> None:
        body = b"body" if method in ("POST", "PUT") else None
        headers = (("Content-Type", "text/plain"), ("Authorization", "Bearer x"), ("Cookie", "a=b"))
        async with serving(answering(redirect(status, "there?x=y"), OK)) as server:
            result = await call(f"{server.url}/here/", method=method, body=body, headers=headers)
        first, second = server.heard
        assert second.line == f"{then} /here/there?x=y HTTP/1.1"
        assert second.body == (first.body if then == method else b"")
        assert ("content-type" in second.headers) is (then == method)
        assert second.headers["authorization"] == "Bearer x"
        assert second.headers["cookie"] == "a=b"
        assert result.url == f"{server.url}/here/there?x=y"

    run(test)


def test_credentials_do_not_go_to_another_origin(run: Run) -> None:
    async def test() -> None:
        async with serving(answering(OK)) as other, serving(answering(redirect(307, other.url))) as server:
            headers = (("authorization", "Bearer x"), ("COOKIE", "a=b"), ("X-Other", "c"))
            await call(server.url, headers=headers, rules=(f"{server.url}/*", f"{other.url}/*"))
        assert server.heard[0].headers["authorization"] == "Bearer x"
        assert not {"authorization", "cookie"} & set(other.heard[0].headers)
        assert other.heard[0].headers["x-other"] == "c"

    run(test)


def test_each_redirect_is_decided_upon_again(run: Run) -> None:
    async def test() -> None:
        async with serving(answering(OK)) as other, serving(answering(redirect(302, f"{other.url}/x?y=z"))) as server:
            with pytest.raises(PermissionDenied, match=f"kevin may not connect to {other.url}/x$"):
                await call(server.url)
            with pytest.raises(PermissionDenied):
                await call(f"{server.url}/only/this", rules=(f"{server.url}/only/this",))
        assert other.accepted == 0

    run(test)


def test_a_redirect_to_a_wildcard_host_reaches_no_private_address(run: Run) -> None:
    async def test() -> None:
        client = RestClient(asyncio.get_running_loop(), look_up=named("127.0.0.1"))
        async with serving(answering(OK)) as other:
            location = f"http://metadata.test:{other.port}/"
            async with serving(answering(redirect(302, location))) as server:
                rules = (f"http://start.test:{server.port}/*", f"http://*.test:{other.port}/*")
                url = f"http://start.test:{server.port}/"
                text = await fails(RestFault.ADDRESS_REFUSED, call(url, rules=rules, client=client))
        assert "metadata.test has the address 127.0.0.1" in text
        assert other.accepted == 0

    run(test)


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "javascript:1", "http://", "http://[::1", "http://a@127.0.0.1/", "\\\\x"]
)
def test_a_redirect_to_what_is_no_url_is_an_error(run: Run, location: str) -> None:
    async def test() -> None:
        async with serving(answering(redirect(302, location))) as server:
            assert "redirects to" in await fails(RestFault.PROTOCOL, call(server.url))

    run(test)


def test_at_most_five_redirects_are_followed(run: Run) -> None:
    async def test() -> None:
        async with serving(answering(*[redirect(302, "/next")] * 5, OK)) as server:
            assert (await call(server.url)).status_code == 200
        async with serving(answering(redirect(302, "/again"))) as server:
            assert "more than 5 redirects" in await fails(RestFault.REDIRECTS, call(server.url))
        assert len(server.heard) == 6

    run(test)


def test_a_request_may_follow_fewer_redirects_or_none(run: Run) -> None:
    async def test() -> None:
        async with serving(answering(redirect(302, "/next"), OK)) as server:
            answer = await call(server.url, asked={"follows_redirects": False})
            assert (answer.status_code, answer.body, answer.is_expected) == (302, b"moved", False)
        async with serving(answering(redirect(302, "/again"))) as server:
            for number in (0, 2):
                text = f"more than {number} redirects"
                assert text in await fails(RestFault.REDIRECTS, call(server.url, asked={"max_redirects": number}))

    run(test)


@pytest.mark.parametrize("location", ["/a b?c=d e", "/a%20b?c=d%20e", "a b?c=d e"])
def test_a_redirect_is_sent_with_its_spaces_encoded(run: Run, location: str) -> None:
    async def test() -> None:
        async with serving(answering(redirect(302, location), OK)) as server:
            await call(server.url)
        assert server.heard[1].line == "GET /a%20b?c=d%20e HTTP/1.1"

    run(test)


def test_a_redirect_that_is_expected_or_leads_nowhere_is_the_answer(run: Run) -> None:
    async def test() -> None:
        async with serving(answering(redirect(302, "/next"))) as server:
            result = await call(server.url, expected=(302,))
            assert (result.status_code, result.body, result.is_expected) == (302, b"moved", True)
        async with serving(answering(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")) as server:
            result = await call(server.url)
            assert (result.status_code, result.is_expected) == (302, False)

    run(test)


def test_those_who_ask_for_the_same_name_wait_for_one_look_up(run: Run) -> None:
    async def test() -> None:
        looked_up: list[str] = []
        answer = threading.Event()

        def look_up(host: str) -> tuple[str, ...]:
            looked_up.append(host)
            answer.wait(20)
            return ("192.0.2.1", "192.0.2.2")

        resolver = Resolver(asyncio.get_running_loop(), look_up)
        asking = [asyncio.create_task(resolver.addresses("a.test")) for _ in range(50)]
        await until(lambda: len(looked_up) == 1)
        asking[0].cancel()
        answer.set()
        assert await asyncio.gather(*asking[1:]) == [("192.0.2.1", "192.0.2.2")] * 49
        await resolver.addresses("a.test")
        assert looked_up == ["a.test", "a.test"]

    run(test)


def test_names_are_looked_up_by_a_bounded_number_of_threads_and_cancelled_ones_not_at_all(run: Run) -> None:
    async def test() -> None:
        looked_up: list[str] = []
        answer = threading.Event()

        def look_up(host: str) -> tuple[str, ...]:
            looked_up.append(host)
            answer.wait(20)
            return ("192.0.2.1",)

        resolver = Resolver(asyncio.get_running_loop(), look_up)
        asking = [asyncio.create_task(resolver.addresses(f"{number}.test")) for number in range(MAX_THREADS + 20)]
        await until(lambda: len(looked_up) == MAX_THREADS)
        for task in asking[-10:]:
            task.cancel()
        await asyncio.wait(asking[-10:])
        answer.set()
        await asyncio.gather(*asking[:-10])
        assert len(looked_up) == MAX_THREADS + 10

    run(test)
