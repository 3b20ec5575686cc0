"""One connection around a fake transport and a clock moved by hand: time-outs, back-pressure, budget, ways to end."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from whd.http.listeners import PUBLIC
from whd.http.messages import Head, ObserveAnswer, Response
from whd.http.protocol import (
    LINGER_BYTES,
    LINGER_S,
    LINGER_SILENCE_S,
    PART_BYTES,
    PIPELINED_BYTES,
    ClientProtocol,
)
from whd.http.resources import ServerResources
from whd.model.budget import BufferBudget
from whd.model.options import Options

from .corpus import head, length, post
from .fakes import LARGE_BYTES, App, FakeLoop, FakeTransport

OPTIONS = Options(header_timeout_s=10, body_timeout_s=30, idle_timeout_s=75, max_body_bytes=10_000_000)
ECHO = head(line=b"GET /x HTTP/1.1")
HOLD = head(line=b"GET /hold HTTP/1.1")


class Stage:
    """A protocol with everything around it faked."""

    def __init__(
        self,
        *,
        is_refused: bool = False,
        buffered_bytes: int = 1 << 30,
        remembers: bool = True,
        observe_answer: ObserveAnswer | None = None,
        app: App | None = None,
    ) -> None:
        self.options = OPTIONS
        self.app = App(OPTIONS, remembers=remembers) if app is None else app
        self.loop = FakeLoop()
        self.budget = BufferBudget(lambda: buffered_bytes)
        self.lost = 0
        self.services = ServerResources(
            loop=self.loop,  # type: ignore[arg-type]
            applications={PUBLIC: self.app},
            get_options=lambda: self.options,
            budget=self.budget,
            get_date=lambda: b"now",
            when_lost=self._count,
            observe_answer=observe_answer,
        )
        self.protocol = ClientProtocol(self.services, "here", is_refused=is_refused)
        self.transport = FakeTransport(self.protocol)
        self.protocol.connection_made(self.transport)

    def _count(self) -> None:
        self.lost += 1

    def receive(self, data: bytes) -> None:
        self.protocol.data_received(data)

    def release(self, number: int = 0) -> None:
        self.app.held[number].respond(Response(200, (), b"released"))


@pytest.fixture
def stage() -> Stage:
    return Stage()


class TestTimeouts:
    def test_a_silent_connection_is_closed_without_a_word(self, stage: Stage) -> None:
        stage.loop.advance(9.9)
        early = stage.transport.is_aborted
        stage.loop.advance(0.2)
        assert (early, stage.transport.is_aborted) == (False, True)
        assert stage.transport.written == b""

    def test_a_slow_head_gets_408(self, stage: Stage) -> None:
        for byte in ECHO[:9]:
            stage.receive(bytes([byte]))
            stage.loop.advance(1)
        assert stage.transport.written == b""
        stage.loop.advance(1.1)
        assert stage.transport.statuses == [408]
        assert b"connection: close" in stage.transport.written
        assert stage.transport.is_eof_written

    def test_the_first_head_has_its_time_from_the_connection_on(self, stage: Stage) -> None:
        stage.loop.advance(5)
        stage.receive(b"GET")
        stage.loop.advance(5.1)
        assert stage.transport.statuses == [408]

    def test_a_further_request_has_its_own_time_from_its_first_byte(self, stage: Stage) -> None:
        stage.receive(ECHO)
        stage.loop.advance(50)
        stage.receive(b"G")
        stage.loop.advance(9.9)
        assert stage.transport.statuses == [200]
        stage.loop.advance(0.2)
        assert stage.transport.statuses == [200, 408]

    def test_a_pipelined_partial_head_has_its_time_from_the_answer(self, stage: Stage) -> None:
        stage.receive(HOLD + b"GET")
        stage.loop.advance(1000)
        stage.release()
        stage.loop.advance(9.9)
        assert stage.transport.statuses == [200]
        stage.loop.advance(0.2)
        assert stage.transport.statuses == [200, 408]

    def test_an_idle_connection_is_closed_without_a_word(self, stage: Stage) -> None:
        stage.receive(ECHO)
        stage.loop.advance(74.9)
        early = stage.transport.is_aborted
        stage.loop.advance(0.2)
        assert (early, stage.transport.is_aborted) == (False, True)
        assert stage.transport.statuses == [200]

    def test_empty_lines_do_not_keep_a_connection_alive(self, stage: Stage) -> None:
        stage.receive(ECHO + b"\r\n")
        stage.loop.advance(10.1)
        assert stage.transport.statuses == [200, 408]

    def test_a_slow_body_gets_408(self, stage: Stage) -> None:
        stage.receive(length(b"100", b"abc"))
        stage.loop.advance(29.9)
        assert stage.transport.written == b""
        stage.loop.advance(0.2)
        assert stage.transport.statuses == [408]
        assert stage.budget.used_bytes == 0

    def test_a_body_that_drips_is_cut(self, stage: Stage) -> None:
        stage.receive(length(b"100"))
        for _ in range(31):
            stage.receive(b"x")
            stage.loop.advance(1)
        assert stage.transport.statuses == [408]

    def test_a_body_that_keeps_coming_has_a_second_for_each_64_kib(self, stage: Stage) -> None:
        size = 100 * 65_536
        stage.receive(length(b"%d" % size))
        for _ in range(99):
            stage.receive(b"x" * 65_536)
            stage.loop.advance(1)
        assert stage.transport.written == b""
        stage.receive(b"x" * 65_536)
        assert stage.transport.statuses == [200]

    def test_a_small_body_that_is_dropped_after_a_refusal_is_not_waited_for_without_end(self, stage: Stage) -> None:
        stage.receive(post(b"Content-Length: 5").replace(b"/p", b"/nowhere"))
        assert stage.transport.statuses == [404]
        stage.loop.advance(30.1)
        assert stage.transport.is_aborted
        assert stage.transport.statuses == [404]

    def test_the_application_has_all_the_time_it_wants(self, stage: Stage) -> None:
        stage.receive(HOLD)
        stage.loop.advance(100_000)
        assert not stage.transport.is_aborted
        stage.release()
        assert stage.transport.statuses == [200]

    def test_time_outs_are_live(self, stage: Stage) -> None:
        stage.options = replace(OPTIONS, idle_timeout_s=1)
        stage.receive(ECHO)
        stage.loop.advance(1.1)
        assert stage.transport.is_aborted

    def test_requests_arm_no_timers(self, stage: Stage) -> None:
        for _ in range(1000):
            stage.receive(ECHO)
            stage.loop.advance(0.001)
        assert stage.loop.armed == 1


REPEATED = {
    "the same": [length(b"3", b"abc"), length(b"3", b"def")],
    "without a body": [ECHO, ECHO, ECHO],
    "answered later": [HOLD, "release", HOLD, "release", HOLD],
    "while an answer is owed": [HOLD, HOLD, "release", "release"],
    "another one": [length(b"3", b"abc"), length(b"2", b"de"), ECHO],
    "a body that is not all here": [length(b"3", b"abc"), length(b"3", b"d"), b"ef", length(b"3", b"ghi")],
    "a head that is not all here": [ECHO, ECHO[:7], ECHO[7:], ECHO],
    "two at once": [ECHO, ECHO + ECHO, ECHO],
    "one and a half": [ECHO, ECHO + ECHO[:9], ECHO[9:]],
    "behind an empty line": [ECHO, b"\r\n", ECHO],
    "HEAD": [head(line=b"HEAD /x HTTP/1.1")] * 3,
    "refused": [head(line=b"GET /nowhere HTTP/1.1")] * 2,
    "refused late": [head(line=b"GET /missing HTTP/1.1")] * 2,
    "a crash": [head(line=b"GET /crash HTTP/1.1")] * 2,
    "an answer that cannot be written": [head(line=b"GET /broken HTTP/1.1")] * 2,
    "the last of its connection": [head(b"Connection: close")] * 2,
    "too large by now": [length(b"3", b"abc"), "limit", length(b"3", b"def")],
    "while the client does not read": [ECHO, "block", ECHO, "unblock", ECHO],
    "while the daemon drains": [HOLD, "drain", "release", HOLD],
    "after the client's end": [HOLD, "eof", "release"],
}


@pytest.mark.parametrize("acts", REPEATED.values(), ids=REPEATED)
def test_the_short_way_of_a_repeated_head_leads_to_the_same_answers(acts: list[bytes | str]) -> None:
    """Whatever comes behind a request: the same bytes, phases, deadlines and calls as without the short way."""
    stages = [Stage(remembers=remembers) for remembers in (True, False)]
    for act in acts:
        for stage in stages:
            if isinstance(act, bytes):
                if not stage.transport.is_eof_written:
                    stage.receive(act)
            elif act == "release":
                stage.release(stage.transport.written.count(b"released"))
            elif act == "limit":
                stage.app.options = replace(OPTIONS, max_body_bytes=2)
                for seen in stage.app.admitted:
                    seen.memo = None  # type: ignore[misc]  # frozen for the type checker only
            elif act == "eof":
                stage.protocol.eof_received()
            elif act == "drain":
                stage.services.is_draining = True
                stage.protocol.drain()
            else:
                stage.protocol.pause_writing() if act == "block" else stage.protocol.resume_writing()
            stage.loop.advance(1)
        with_short_way, without = (
            (
                stage.transport.written,
                stage.transport.is_eof_written,
                stage.transport.is_closed,
                stage.transport.is_paused,
                len(stage.app.held),
                stage.protocol._phase,
                stage.protocol._deadline.at,
            )
            for stage in stages
        )
        assert with_short_way == without


class TestEnds:
    @pytest.mark.parametrize("stream", [head(b"Connection: close"), b"\0"], ids=["asked for", "an error"])
    def test_the_connection_lingers_until_the_client_closes(self, stage: Stage, stream: bytes) -> None:
        """RFC 9112, 9.6."""
        stage.receive(stream)
        assert stage.transport.is_eof_written
        stage.receive(b"x" * 1_000_000)
        assert not stage.transport.is_closed
        stage.protocol.eof_received()
        assert stage.transport.is_closed

    def test_a_client_that_closed_already_is_not_waited_for(self, stage: Stage) -> None:
        stage.receive(HOLD)
        stage.protocol.eof_received()
        stage.release()
        assert stage.transport.is_closed

    def test_lingering_ends_with_the_client_s_silence(self, stage: Stage) -> None:
        stage.receive(b"\0")
        stage.loop.advance(LINGER_SILENCE_S - 0.1)
        stage.receive(b"x")
        stage.loop.advance(LINGER_SILENCE_S - 0.1)
        assert not stage.transport.is_aborted
        stage.loop.advance(0.2)
        assert stage.transport.is_aborted

    def test_lingering_is_bounded_in_time(self, stage: Stage) -> None:
        stage.receive(b"\0")
        for _ in range(int(LINGER_S)):
            assert not stage.transport.is_aborted
            stage.loop.advance(1)
            stage.receive(b"x")
        stage.loop.advance(0.1)
        assert stage.transport.is_aborted

    def test_lingering_is_bounded_in_size(self, stage: Stage) -> None:
        stage.receive(b"\0")
        part = b"x" * (1 << 24)
        for _ in range(LINGER_BYTES // len(part)):
            stage.receive(part)
        assert not stage.transport.is_aborted
        stage.receive(b"x")
        assert stage.transport.is_aborted

    def test_one_connection_too_many_is_told_so(self) -> None:
        stage = Stage(is_refused=True)
        assert stage.transport.statuses == [503]
        assert b"retry-after: 1\r\n" in stage.transport.written
        assert stage.transport.is_eof_written
        stage.receive(ECHO)
        assert stage.transport.statuses == [503]

    def test_a_half_closed_client_gets_all_its_answers(self, stage: Stage) -> None:
        stage.receive(HOLD + HOLD)
        assert stage.protocol.eof_received() is True
        stage.release(0)
        assert not stage.transport.is_closed
        stage.release(1)
        assert stage.transport.statuses == [200, 200]
        assert stage.transport.is_closed

    def test_a_client_that_goes_away_cancels(self, stage: Stage) -> None:
        stage.receive(HOLD)
        stage.protocol.connection_lost(ConnectionResetError())
        assert stage.app.held[0].was_cancelled.is_set()
        stage.release()
        assert stage.transport.written == b""
        assert stage.lost == 1
        assert stage.services.connections == set()

    def test_a_client_that_goes_away_after_its_answer_cancels_nothing(self, stage: Stage) -> None:
        stage.receive(HOLD)
        stage.release()
        stage.protocol.connection_lost(None)
        assert not stage.app.held[0].was_cancelled.is_set()

    def test_draining_ends_idle_connections(self, stage: Stage) -> None:
        stage.receive(ECHO)
        stage.services.is_draining = True
        stage.protocol.drain()
        assert stage.transport.is_closed

    def test_draining_lets_answers_out_and_does_not_linger(self, stage: Stage) -> None:
        stage.receive(HOLD)
        stage.services.is_draining = True
        stage.protocol.drain()
        assert not stage.transport.is_closed
        stage.release()
        assert stage.transport.statuses == [200]
        assert b"connection: close" in stage.transport.written
        assert stage.transport.is_closed

    def test_draining_begins_no_further_request(self, stage: Stage) -> None:
        stage.receive(HOLD + HOLD)
        stage.services.is_draining = True
        stage.release()
        assert len(stage.app.held) == 1
        assert stage.transport.is_eof_written

    def test_draining_waits_for_a_body_on_its_way(self, stage: Stage) -> None:
        stage.receive(length(b"3", b"ab"))
        stage.services.is_draining = True
        stage.protocol.drain()
        stage.receive(b"c")
        assert stage.transport.statuses == [200]
        assert stage.transport.is_closed


class TestBackPressure:
    def test_reading_pauses_while_much_waits_for_its_turn(self, stage: Stage) -> None:
        stage.receive(HOLD)
        stage.receive(b"x" * PIPELINED_BYTES)
        assert not stage.transport.is_paused
        stage.receive(b"x")
        assert stage.transport.is_paused

    def test_reading_resumes_when_its_turn_came(self, stage: Stage) -> None:
        stage.receive(HOLD)
        stage.receive(ECHO * (PIPELINED_BYTES // len(ECHO) + 1))
        full = stage.transport.is_paused
        stage.release()
        assert (full, stage.transport.is_paused) == (True, False)
        assert len(stage.transport.statuses) == PIPELINED_BYTES // len(ECHO) + 2

    def test_no_request_is_begun_while_answers_are_not_read(self, stage: Stage) -> None:
        stage.transport.capacity = 0
        stage.receive(head(line=b"GET /large HTTP/1.1") + ECHO)
        assert stage.transport.statuses == [200]
        stage.transport.read_by_client(LARGE_BYTES + 1000)
        assert stage.transport.statuses == [200, 200]

    def test_a_client_that_does_not_read_is_cut(self, stage: Stage) -> None:
        stage.transport.capacity = 0
        stage.receive(head(line=b"GET /large HTTP/1.1"))
        stage.loop.advance(74.9)
        early = stage.transport.is_aborted
        stage.loop.advance(0.2)
        assert (early, stage.transport.is_aborted) == (False, True)

    def test_a_client_that_reads_slowly_is_not_cut(self, stage: Stage) -> None:
        stage.transport.capacity = 0
        stage.receive(head(line=b"GET /large HTTP/1.1"))
        for _ in range(50):
            stage.transport.read_by_client(100_000)
            stage.loop.advance(74)
        assert not stage.transport.is_aborted
        stage.loop.advance(80)
        assert stage.transport.is_aborted

    def test_a_client_that_reads_a_trickle_is_cut(self, stage: Stage) -> None:
        stage.transport.capacity = 0
        stage.receive(head(line=b"GET /large HTTP/1.1"))
        stage.transport.read_by_client(1000)
        stage.loop.advance(75.1)
        assert stage.transport.is_aborted

    def test_a_last_answer_that_is_not_read_is_cut(self, stage: Stage) -> None:
        stage.transport.capacity = 0
        stage.receive(head(b"Connection: close", line=b"GET /large HTTP/1.1"))
        assert stage.transport.is_eof_written
        stage.loop.advance(75.1)
        assert stage.transport.is_aborted


class TestBudget:
    def test_bodies_are_counted_while_they_are_read(self, stage: Stage) -> None:
        stage.receive(length(b"5", b"abc"))
        assert stage.budget.used_bytes == 3
        stage.receive(b"de")
        assert stage.budget.used_bytes == 0
        assert stage.transport.statuses == [200]

    def test_a_large_body_is_handed_on_in_parts_none_of_them_small(self, stage: Stage) -> None:
        """A list of what came byte by byte would hold many times what is counted."""
        body = bytes(range(256)) * 2048
        sizes = [1, 2, 70_000, 3, 5, 65_536, 1, *[7] * 30_000]
        stage.receive(length(b"%d" % len(body)))
        position = 0
        while position < len(body):
            size = sizes.pop(0) if sizes else 4096
            stage.receive(body[position : position + size])
            position += size
        assert stage.transport.statuses == [200]
        assert stage.transport.written.endswith(b" " + body)
        assert sum(stage.app.parts) == len(body)
        assert all(size >= PART_BYTES for size in stage.app.parts[:-1])

    def test_a_body_that_is_not_large_is_handed_on_in_one_piece(self, stage: Stage) -> None:
        stage.receive(length(b"200000", b"x" * 100_000))
        stage.receive(b"x" * 100_000)
        assert stage.transport.statuses == [200]
        assert stage.app.parts == []

    def test_what_a_lost_client_sent_is_given_back(self, stage: Stage) -> None:
        stage.receive(length(b"5", b"abc"))
        stage.protocol.connection_lost(None)
        assert stage.budget.used_bytes == 0

    def test_an_announced_body_beyond_it_is_refused_unread(self) -> None:
        stage = Stage(buffered_bytes=1000)
        stage.receive(post(b"Content-Length: 1001", b"Expect: 100-continue"))
        assert stage.transport.statuses == [503]
        assert b"retry-after" in stage.transport.written

    def test_a_chunked_body_beyond_it_is_refused_midway(self) -> None:
        stage = Stage(buffered_bytes=1000)
        stage.receive(post(b"Transfer-Encoding: chunked", body=b"258\r\n" + b"x" * 600 + b"\r\n"))
        assert stage.transport.statuses == []
        stage.receive(b"258\r\n" + b"x" * 600 + b"\r\n")
        assert stage.transport.statuses == [503]
        assert stage.budget.used_bytes == 0


class TestApplicationFailures:
    @pytest.mark.parametrize("path", [b"/crash", b"/crash/admit", b"/broken", b"/mistyped"])
    def test_an_exception_is_a_500_and_a_logged_traceback_without_the_query(
        self, stage: Stage, caplog: pytest.LogCaptureFixture, path: bytes
    ) -> None:
        with caplog.at_level(logging.DEBUG, "whd.http"):
            stage.receive(head(line=b"GET " + path + b"?key=secret HTTP/1.1"))
        assert stage.transport.statuses == [500]
        (record,) = caplog.records
        assert record.exc_info
        assert record.getMessage().endswith(f"GET {path.decode()}")
        assert "secret" not in caplog.text

    def test_an_exception_after_the_answer_is_only_logged(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        stage.receive(head(line=b"GET /crash/after HTTP/1.1") + ECHO)
        assert stage.transport.statuses == [200, 200]
        assert "handle failed late" in caplog.text

    def test_a_second_answer_is_only_logged(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        stage.receive(HOLD)
        stage.release()
        stage.release()
        assert stage.transport.statuses == [200]
        assert "answered twice" in caplog.text

    def test_a_late_second_answer_never_answers_another_request(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        stage.receive(HOLD + HOLD)
        stage.release(0)
        stage.release(0)
        assert stage.transport.statuses == [200]

    def test_an_error_that_cannot_be_worded_still_gets_an_answer(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        stage.app.problem = lambda error: 1 / 0  # type: ignore[assignment, method-assign, return-value]
        stage.receive(head(line=b"GET /missing HTTP/1.1"))
        assert stage.transport.statuses == [500]
        assert "ZeroDivisionError" in caplog.text

    def test_a_cancel_callback_that_fails_is_logged(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        stage.app.handle = lambda *_: lambda: 1 / 0  # type: ignore[assignment, method-assign]
        stage.receive(ECHO)
        stage.protocol.connection_lost(None)
        assert "ZeroDivisionError" in caplog.text
        assert stage.lost == 1


class Observed(Stage):
    """`seen`: (status, seconds, target or None) of each answer."""

    def __init__(self, **arguments: Any) -> None:
        self.seen: list[tuple[int, float, str | None]] = []
        super().__init__(**arguments, observe_answer=self._observe)

    def _observe(self, status: int, duration_s: float, head: Head | None, listener: str) -> None:
        assert listener == "here"
        assert self.transport.statuses[-1] == status, "it is sent already"
        self.seen.append((status, duration_s, None if head is None else head.target))


class TestObserver:
    """Hears of each answer once."""

    @pytest.mark.parametrize("remembers", [True, False])
    def test_answers_at_once_and_later(self, remembers: bool) -> None:
        stage = Observed(remembers=remembers)
        for _ in range(3):
            stage.receive(ECHO)
        stage.loop.advance(1)
        stage.receive(HOLD)
        stage.loop.advance(7)
        assert stage.seen == [(200, 0.0, "/x")] * 3
        stage.release()
        assert stage.seen[3:] == [(200, 7.0, "/hold")]

    def test_a_repeated_head_starts_anew(self) -> None:
        stage = Observed()
        for number in range(3):
            stage.receive(HOLD)
            stage.loop.advance(number + 1)
            stage.release(number)
        assert stage.seen == [(200, 1.0, "/hold"), (200, 2.0, "/hold"), (200, 3.0, "/hold")]

    def test_a_body_that_is_slow_counts(self) -> None:
        stage = Observed()
        request = length(b"4", b"body")
        stage.receive(request[:-1])
        stage.loop.advance(2)
        stage.receive(request[-1:])
        assert stage.seen == [(200, 2.0, "/p")]

    @pytest.mark.parametrize(
        ("path", "status"),
        [("/missing", 404), ("/crash", 500), ("/broken", 500), ("/crash/after", 200), ("/nowhere", 404)],
    )
    def test_errors_of_the_application(self, path: str, status: int) -> None:
        stage = Observed()
        stage.receive(head(line=b"GET " + path.encode() + b" HTTP/1.1"))
        assert stage.seen == [(status, 0.0, path)]

    def test_a_refusal_before_the_body(self) -> None:
        stage = Observed()
        stage.receive(length(b"99999999"))
        assert stage.seen == [(413, 0.0, "/p")]

    def test_a_body_that_does_not_come(self) -> None:
        stage = Observed()
        stage.receive(length(b"4", b"bo"))
        stage.loop.advance(31)
        ((status, duration_s, target),) = stage.seen
        assert (status, target) == (408, "/p")
        assert duration_s == pytest.approx(30, abs=0.01)

    def test_without_a_head_there_is_none_even_after_another_request(self) -> None:
        stage = Observed()
        stage.receive(ECHO + b"GET")
        stage.loop.advance(11)
        assert stage.seen == [(200, 0.0, "/x"), (408, 0.0, None)]
        stage = Observed()
        stage.receive(b"no request\r\n\r\n")
        assert stage.seen == [(400, 0.0, None)]
        assert Observed(is_refused=True).seen == [(503, 0.0, None)]

    def test_a_pipeline_is_seen_one_by_one(self) -> None:
        stage = Observed()
        stage.receive(HOLD + ECHO + ECHO)
        assert stage.seen == []
        stage.loop.advance(3)
        stage.release()
        assert stage.seen == [(200, 3.0, "/hold"), (200, 0.0, "/x"), (200, 0.0, "/x")]

    def test_100_continue_is_no_answer(self) -> None:
        stage = Observed()
        stage.receive(post(b"Expect: 100-continue", b"Content-Length: 2"))
        assert stage.transport.statuses == [100]
        assert stage.seen == []
        stage.receive(b"ab")
        assert [status for status, *_ in stage.seen] == [200]

    def test_connections_without_a_request_or_without_an_answer_are_not_seen(self) -> None:
        stage = Observed()
        stage.loop.advance(11)
        assert stage.transport.is_aborted
        stage.protocol.connection_lost(None)
        gone = Observed()
        gone.receive(HOLD)
        gone.protocol.connection_lost(None)
        gone.release()
        half = Observed()
        half.receive(b"GET")
        half.protocol.connection_lost(None)
        assert stage.seen == gone.seen == half.seen == []
