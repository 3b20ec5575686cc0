"""What a head decides is kept and serves again; what one request decides is never kept."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Any

import pytest

from tests.handlers.serving import FLOW, PATH, Answers, HeaderCheck, Serving, post
from whd.auth.callers import OPEN, KeyCheck
from whd.errors import BadPayload, Overloaded, UnsupportedEncoding
from whd.handlers import routes
from whd.handlers.call import Call, CallPlan
from whd.handlers.context import json_response
from whd.http.listeners import PUBLIC
from whd.http.protocol import ClientProtocol
from whd.http.resources import ServerResources
from whd.model.budget import BufferBudget
from whd.model.options import Options
from whd.pool.compiler import Code
from whd.wire.payload import Parsed

REQUEST = (
    f"POST {PATH}?x=1 HTTP/1.1\r\nHost: a\r\nX-Webhook-Key: k3y\r\nContent-Type: application/json\r\n"
    "Content-Length: 2\r\n\r\n{}"
).encode()


class Recorder:
    """A webhook's handler that keeps the calls."""

    def __init__(self) -> None:
        self.calls: list[Call[CallPlan]] = []

    def run(self, call: Call[CallPlan], parsed: Parsed) -> None:
        self.calls.append(call)
        call.respond(json_response(200, {}))


class Transport(asyncio.Transport):
    """Of a client at `peer`."""

    def __init__(self, peer: tuple[str, int]) -> None:
        super().__init__(extra={"peername": peer})
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


def send_from(serving: Serving, loop: asyncio.AbstractEventLoop, *peers: str, times: int = 1) -> None:
    """The same bytes over a connection from each peer."""
    options = Options()
    resources = ServerResources(
        loop, {PUBLIC: serving.app}, lambda: options, BufferBudget(lambda: 1 << 30), bytes, lambda: None
    )
    for peer in peers:
        protocol = ClientProtocol(resources)
        transport = Transport((peer, 1234))
        protocol.connection_made(transport)
        for _ in range(times):
            protocol.data_received(REQUEST)
        assert transport.written.count(b"HTTP/1.1 200 ") == times
        protocol.connection_lost(None)


class TestPlan:
    def test_one_head_from_two_peers_gives_the_same_plan_and_two_calls(self) -> None:
        recorder = Recorder()
        serving = Serving(KeyCheck((b"k3y",)), handlers={routes.WEBHOOK: recorder})
        loop = asyncio.new_event_loop()
        try:
            send_from(serving, loop, "192.0.2.1", "198.51.100.7", times=2)
        finally:
            loop.close()
        one, again, other, _ = recorder.calls
        assert one.plan is again.plan
        assert one.plan == other.plan
        assert len({id(call) for call in recorder.calls}) == 4
        assert not any(peer in repr(one.plan) for peer in ("192.0.2.1", "198.51.100.7", "1234"))

    def test_one_head_object_gives_one_plan_whoever_sends_it(self) -> None:
        recorder = Recorder()
        serving = Serving(OPEN, handlers={routes.WEBHOOK: recorder})
        head = post()
        answers = [serving.send(head, b"{}"), serving.send(head, b"{}")]
        one, other = recorder.calls
        assert one.plan is other.plan
        assert one is not other
        assert (one.respond, other.respond) == (answers[0], answers[1])

    def test_it_has_no_room_for_what_belongs_to_one_request(self) -> None:
        """A field more is a question: does it follow from snapshot and head alone?"""
        assert {field.name for field in fields(CallPlan)} == {
            "snapshot", "webhook", "head", "path", "query", "proof", "takes_key", "is_async", "content_type",
            "is_gzip", "prefix_json", "resolved",
        }  # fmt: skip
        plan = Serving(OPEN).admit(post()).call[1]
        assert isinstance(plan, CallPlan)
        assert not hasattr(plan, "__dict__")

    def test_a_check_that_looks_at_more_than_the_head_is_asked_each_time(self) -> None:
        for repeats in (True, False):
            serving = Serving(HeaderCheck(is_repeatable=repeats))
            head = post((b"x-word", b"open sesame"))
            admission = serving.admit(head)
            assert (serving.app.readmit(head) is admission) is repeats
            assert (serving.admit(head) is admission) is repeats

    def test_a_new_snapshot_asks_anew(self) -> None:
        serving = Serving(KeyCheck((b"k3y",)))
        head = post((b"x-webhook-key", b"k3y"))
        serving.admit(head)
        serving.reloader.snapshot = Serving(KeyCheck((b"new",))).reloader.snapshot
        assert serving.app.readmit(head) is None
        assert serving.send(head, b"{}").codes == ["invalid_key"]


class TestContentEncoding:
    @pytest.mark.parametrize(
        "value",
        [b"identity", b"", b"UTF-8", b"utf8", b"none", b"Binary", b"8bit", b"7bit", b"iso-8859-1", b"identity, utf-8"],
    )
    def test_what_is_no_compression_changes_nothing(self, value: bytes) -> None:
        serving = Serving(OPEN)
        serving.send(post((b"content-encoding", value)), b'{"a":1}')
        (active,) = serving.runner.started
        assert active.execution.input_json.endswith(b'"json":{"a":1}}')

    @pytest.mark.parametrize("value", [b"br", b"deflate", b"base64", b"rot13", b"zlib", b"utf-8, br", b"gzip, gzip"])
    def test_any_other_is_415(self, value: bytes) -> None:
        serving = Serving(OPEN)
        with pytest.raises(UnsupportedEncoding):
            serving.admit(post((b"content-encoding", value)))

    @pytest.mark.parametrize("value", [b"gzip", b"utf-8, X-GZIP", b"gzip, binary"])
    def test_gzip_beside_such_is_gzip(self, value: bytes) -> None:
        serving = Serving(OPEN)
        plan = serving.admit(post((b"content-encoding", value))).call[1]
        assert isinstance(plan, CallPlan)
        assert plan.is_gzip

    def test_an_empty_body_is_not_unpacked(self) -> None:
        serving = Serving(OPEN)
        serving.send(post((b"content-encoding", b"gzip"), (b"content-type", b"application/json")), b"")
        (active,) = serving.runner.started
        assert active.execution.input_json.endswith(b'"json":null}')


class TestThen:
    @staticmethod
    def call(answers: Answers) -> Call[None]:
        return Call(None, answers)

    def test_an_error_of_a_step_is_the_answer(self) -> None:
        answers = Answers()

        def step(value: str) -> None:
            raise BadPayload(value)

        self.call(answers).then(step)("no")
        assert answers.codes == ["bad_payload"]

    def test_what_a_step_answers_is_the_answer_and_a_defect_stays_one(self) -> None:
        answers = Answers()
        call = self.call(answers)
        call.then(call.respond)(json_response(204, {}))
        assert answers.statuses == [204]

        def defect(value: int) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            call.then(defect)(0)

    def test_a_flow_that_is_refused_once_compiled_is_answered(self) -> None:
        serving = Serving(OPEN)
        serving.compiler.code = None
        answers = serving.send(post(), b"{}")
        assert (answers.given, len(serving.compiler.waiting)) == ([], 1)
        serving.compiler.waiting[0](Code(("acme", "0", "order"), FLOW, refusal="order.py:1: no"))
        assert answers.codes == ["misconfigured"]
        assert [str(fault) for _, fault in serving.flow_faults] == ["flows/acme/order.py:1: no"]

    def test_one_that_is_good_once_compiled_runs(self) -> None:
        serving = Serving(OPEN)
        serving.compiler.code = None
        serving.send(post(), b"{}")
        serving.compiler.waiting[0](Code(("acme", "0", "order"), FLOW, frame=b"code"))
        assert len(serving.runner.started) == 1

    def test_no_room_after_a_callback_is_answered(self) -> None:
        def full(*_: Any) -> None:
            raise Overloaded("full")

        serving = Serving(OPEN)
        serving.runner.start = full  # type: ignore[method-assign, assignment]
        answers = serving.send(post(), [b"{}"])
        serving.payload_parser.waiting[0]()
        assert answers.codes == ["overloaded"]

    def test_an_async_call_is_accepted_or_says_why_not(self) -> None:
        serving = Serving(OPEN)
        answers = Answers()
        for error in (None, OSError("the disk is full")):
            serving.send(post(path=f"{PATH}?async=1"), b"{}", answers)
            serving.runner.accepted.pop()(error)
        assert answers.statuses == [202, 503]
        assert b"disk" not in answers.given[1].body


def test_who_waits_too_long_gets_202_and_the_end_is_not_told_again() -> None:
    serving = Serving(OPEN)
    answers = serving.send(post(), b"{}")
    (active,) = serving.runner.started
    assert active.stop_waiting is not None
    active.stop_waiting(active)
    serving.runner.accepted.pop()(None)
    active.release_waiters()
    active.stop_waiting(active)
    assert answers.statuses == [202]
    assert serving.runner.accepted == []
