"""The load generator against servers that behave in known ways: what it counts, and what it charges them for."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import pytest
import uvloop

from bench.client import Plan, Run

from .serving import answer, right, server


def run(port: int, **changes: Any) -> dict[str, Any]:
    plan = {"connections": 2, "seconds": 0.3, "warm_s": 0.0, "check": "job", "arrivals": "constant", **changes}
    return uvloop.run(Run(Plan("127.0.0.1", port, "/job", **plan)).go())


def obedient(number: int, body: dict[str, object]) -> bytes:
    return answer(right(body))


def test_the_closed_loop_counts_each_answer_once() -> None:
    with server(obedient) as port:
        result = run(port)
    assert result["loop"] == "closed"
    assert result["errors"] == {}
    assert result["answered_per_s"] > 50
    assert result["checked"] >= result["measured"] > 0
    assert not result["saturated"]
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["max"]


@pytest.mark.parametrize("poll", [False, True])
def test_the_open_loop_sends_what_was_scheduled_and_no_more(poll: bool) -> None:
    with server(obedient) as port:
        result = run(port, rate=200, poll=poll)
    assert result["loop"] == "open"
    assert result["errors"] == {}
    assert result["measured"] == result["checked"] == 60
    assert result["unsent"] == 0
    assert 0 <= result["generator_cpu"] <= 1


def heads_of(kind: str) -> list[bytes]:
    """The heads of one connection's requests, all answered rightly."""
    heads: list[bytes] = []
    with server(obedient, heads) as port:
        result = run(port, connections=1, heads=kind, rate=200)
    assert result["errors"] == {}
    assert result["checked"] == len(heads) == 60
    return [re.sub(rb"127\.0\.0\.1:\d+", b"HOST", head) for head in heads]


def test_a_plain_head_has_what_the_job_needs_and_nothing_else() -> None:
    assert set(heads_of("plain")) == {
        b"POST /job HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 119"
    }


def test_new_heads_differ_in_each_request_and_from_repeated_ones_in_nothing_but_the_values() -> None:
    [repeated] = set(heads_of("repeated"))
    new = heads_of("new")
    for name in (b"X-Request-Id", b"X-GitHub-Delivery", b"X-Hub-Signature-256"):
        values = {value for head in new for value in re.findall(rb"\r\n%b: (\S+)" % name, head)}
        assert len(values) == len(new), name
    assert {len(head) for head in new} == {len(repeated)}
    assert {re.sub(rb"[0-9a-f]{8,}", b"?", head) for head in new} == {re.sub(rb"[0-9a-f]{8,}", b"?", repeated)}


def test_two_runs_name_no_delivery_twice() -> None:
    assert set(heads_of("new")).isdisjoint(heads_of("new"))


def test_what_warms_up_is_checked_but_not_measured() -> None:
    with server(obedient) as port:
        result = run(port, rate=200, warm_s=0.2)
    assert result["checked"] == 100
    assert result["measured"] == pytest.approx(60, abs=1)


def test_a_stall_is_charged_to_every_request_that_it_held_up() -> None:
    """No coordinated omission: the server stalls once, for 0.2 s; at 200/s that is some 40 requests, not one."""
    stall = threading.Event()

    def stalls(number: int, body: dict[str, object]) -> bytes:
        if number == 20:
            stall.wait(0.2)
        return answer(right(body))

    with server(stalls) as port:
        result = run(port, rate=200, connections=1, seconds=0.5)
    assert result["errors"] == {}
    assert result["measured"] == 100
    assert result["latency_ms"]["max"] >= 190
    # Those due in the first half of the stall waited for at least its other half: about 20 of 100.
    assert result["latency_ms"]["p90"] >= 50


def test_the_closed_loop_would_hide_the_same_stall() -> None:
    """Which is why it measures throughput and not latency under load: of a stall it sees one request."""
    stall = threading.Event()
    begun = time.monotonic()

    def stalls(number: int, body: dict[str, object]) -> bytes:
        if time.monotonic() > begun + 0.4 and not stall.is_set():
            stall.wait(0.2)
            stall.set()
        return answer(right(body))

    with server(stalls) as port:
        result = run(port, connections=1, seconds=1.0)
    assert stall.is_set()
    assert result["latency_ms"]["max"] >= 190
    assert result["latency_ms"]["p90"] < 50


def test_a_server_that_cannot_keep_up_is_saturated_and_its_backlog_is_latency() -> None:
    slow = threading.Event()

    def slowly(number: int, body: dict[str, object]) -> bytes:
        slow.wait(0.01)
        return answer(right(body))

    with server(slowly) as port:
        result = run(port, rate=2_000, connections=1, seconds=0.3)
    assert result["saturated"]
    assert result["errors"] == {}
    assert result["overdue_at_end"] > 400
    assert result["unsent"] > 0
    assert result["measured"] == 600, "what was never sent is not left out of the percentiles"
    assert result["latency_ms"]["p50"] > 300


@pytest.mark.parametrize("status", [202, 401, 500, 503])
def test_an_unexpected_status_is_an_error(status: int) -> None:
    with server(lambda number, body: answer({}, f"{status} Whatever")) as port:
        result = run(port, rate=50)
    assert result["errors"] == {f"status {status}": 15}


def test_one_wrong_answer_among_right_ones_is_found() -> None:
    def once_wrong(number: int, body: dict[str, object]) -> bytes:
        document = right(body)
        if number == 33:
            document["output_value"] = {"greeting": "Hello", "total": 0.0}
        return answer(document)

    with server(once_wrong) as port:
        result = run(port, rate=200)
    assert result["errors"] == {"wrong answer": 1}
    assert "output_value" in result["error_example"]


def test_a_connection_that_closes_in_a_call_is_an_error_and_is_replaced() -> None:
    with server(lambda number, body: None if number == 5 else obedient(number, body)) as port:
        result = run(port, rate=200)
    assert result["errors"] == {"connection closed before the answer": 1}
    assert result["reconnects"] == 1
    assert result["checked"] == 59


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "answer without content-length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}", "bytes past the answer"),
    ],
)
def test_an_answer_that_cannot_be_delimited_is_an_error(reply: bytes, kind: str) -> None:
    with server(lambda number, body: reply if number == 5 else obedient(number, body)) as port:
        result = run(port, rate=200)
    assert result["errors"] == {kind: 1}


def test_an_answer_that_never_comes_is_an_error_and_does_not_hold_up_the_end() -> None:
    never = threading.Event()

    def silent(number: int, body: dict[str, object]) -> bytes | None:
        if number == 3:
            never.wait()
            return None
        return obedient(number, body)

    with server(silent) as port:
        result = run(port, rate=100, connections=4, timeout_s=0.2)
        never.set()
    assert result["errors"] == {"no answer": 1}


def test_an_answer_in_pieces_is_put_together() -> None:
    def parts(number: int, body: dict[str, object]) -> bytes:
        return answer({**right(body), "padding": "x" * 1_000_000})

    with server(parts) as port:
        result = run(port, rate=20)
    assert result["errors"] == {}
    assert result["checked"] == 6


def test_without_a_server_there_is_no_result() -> None:
    with server(obedient) as port:
        pass
    with pytest.raises(OSError):
        run(port)
