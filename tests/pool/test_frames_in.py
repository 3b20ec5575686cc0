"""What a hostile worker may send: everything but the protocol is a FrameError."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import pytest

from whd.model.execution import Cause, Status
from whd.model.options import Limits
from whd.pool import frames_in as frames
from whd.pool.job import FlowResponse
from whd.wire.frames import LARGE_BYTES, FrameError, FrameReader, frame, split
from whd.wire.response_headers import webhook_paths
from whd.wire.strict_json import MAX_OUTPUT_DEPTH

LIMITS = Limits(max_output_bytes=1000)


def end(**head: Any) -> dict[str, Any]:
    return {"op": "end", "job": 1, "status": "ENDED_SUCCESS", "message": "", **head}


def test_a_plain_end() -> None:
    read = frames.read_end(end(message="done"), b'{"a": 1}', LIMITS)
    assert (read.status, read.message, read.output_json) == (Status.ENDED_SUCCESS, "done", b'{"a": 1}')


def test_a_limit_is_a_cause_only_of_an_error() -> None:
    assert frames.read_end(end(limit="memory_bytes"), b"{}", LIMITS).cause is Cause.NONE
    failed = end(status="ENDED_ERROR", limit="timeout_s")
    assert frames.read_end(failed, b"{}", LIMITS).cause is Cause.LIMIT


@pytest.mark.parametrize(
    ("head", "value"),
    [
        (end(status="ENDED_CANCELLED"), b"{}"),
        (end(status="RUNNING"), b"{}"),
        (end(status=None), b"{}"),
        (end(status=["ENDED_SUCCESS"]), b"{}"),
        (end(message=5), b"{}"),
        (end(limit={}), b"{}"),
        (end(status="ENDED_ERROR", limit=[]), b"{}"),
        (end(name=1), b"{}"),
        (end(), b"{"),
        (end(), b"{} {}"),
        (end(), b"NaN"),
        (end(), b"[Infinity]"),
        (end(), b'"\xff"'),
        (end(), b"[" * 401 + b"]" * 401),
        (end(), b"[" + b"1" * 990 + b"0" * 20 + b"]"),
        (end(), b'"' + b"x" * 1000 + b'"'),
        (end(response=[], output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {}}), b"{}"),
        (end(response={"status": 200, "headers": {}}, output_bytes=-1), b"{}"),
        (end(response={"status": 99, "headers": {}}, output_bytes=2), b"{}"),
        (end(response={"status": 100, "headers": {}}, output_bytes=2), b"{}"),
        (end(response={"status": True, "headers": {}}, output_bytes=2), b"{}"),
        (end(response={"status": 200}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"a": 1}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"a\r\nb": "1"}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"a": "1\r\nset-cookie: x"}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"Content-Length": "5"}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"transfer-encoding": "chunked"}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"Connection": "close"}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"a": "€"}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"a": ["b", 1]}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"a": ["b", ["c"]]}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"etag": ["b", "c"]}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"x-accel-redirect": "/a"}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"nel": "{}"}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {"set-cookie": "a=b; domain=c"}}, output_bytes=2), b"{}"),
        (end(response={"status": 200, "headers": {}}, output_bytes=2), b"{}" + b"x" * 1001),
    ],
)  # fmt: skip
def test_forged_ends_are_refused(head: Any, value: bytes) -> None:
    with pytest.raises(FrameError):
        frames.read_end(head, value, LIMITS)


@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff", b"[" * 409 + b"]" * 409, b"[" * 100_000])
def test_forged_calls_are_refused(value: bytes | None) -> None:
    with pytest.raises(FrameError):
        frames.read_call({"call": 1, "name": "sleep"}, value, LIMITS)


@pytest.mark.parametrize(
    "head", [{}, {"call": -1}, {"call": "1"}, {"call": 1.0}, {"call": True}, {"call": 1, "name": 2}]
)
def test_calls_need_a_number_and_a_name(head: Any) -> None:
    with pytest.raises(FrameError):
        frames.read_call(head, b"{}", LIMITS)


def test_what_a_flow_may_put_out_may_stand_in_what_it_asks_for() -> None:
    """The worker finds what is too deep, with its path; here nothing is too deep that it lets through."""
    deep = b"[" * MAX_OUTPUT_DEPTH + b"]" * MAX_OUTPUT_DEPTH
    assert frames.read_end(end(), deep, LIMITS).output_json == deep
    frames.read_call({"call": 1, "name": "task.start"}, b'{"inputs":{"json":%b}}' % deep, LIMITS)
    assert frames.strict_json(deep, "the input")


def test_what_a_request_carries_as_it_is_stands_behind_its_arguments() -> None:
    head = {"call": 1, "name": "file.save", "raw_bytes": 3}
    assert frames.read_call(head, b'{"a":1}\xff{}', LIMITS) == (1, "file.save", {"a": 1}, b"\xff{}")


@pytest.mark.parametrize("raw_bytes", [-1, 3, True, 1.0, "1", None, 2**70])
def test_it_is_a_number_of_some_of_the_bytes(raw_bytes: Any) -> None:
    with pytest.raises(FrameError):
        frames.read_call({"call": 1, "name": "sleep", "raw_bytes": raw_bytes}, b"{}", LIMITS)


def test_it_is_bounded_by_the_executions_limits() -> None:
    head = {"call": 1, "name": "file.save", "raw_bytes": frames.MAX_CALL_BYTES}
    frames.read_call(head, b"{}" + bytes(frames.MAX_CALL_BYTES), LIMITS)
    head["raw_bytes"] = frames.MAX_CALL_BYTES + 1
    with pytest.raises(FrameError, match="a request that carries 1048577 bytes, past 1048576"):
        frames.read_call(head, b"{}" + bytes(frames.MAX_CALL_BYTES + 1), LIMITS)


def test_a_flows_own_answer_travels_behind_the_output() -> None:
    head = end(response={"status": 201, "headers": {"X-A": "b"}}, output_bytes=2)
    read = frames.read_end(head, b"{}body", LIMITS)
    assert read.output_json == b"{}"
    assert read.response == FlowResponse(201, ((b"x-a", b"b"),), b"body")


def test_a_cookie_of_it_stays_with_its_webhook() -> None:
    paths = webhook_paths("acme", "signup")
    cookies = ["a=1; Path=/api/webhook/acme/signup", "b=2; Path=/api/1/webhook/acme/signup/more"]
    head = end(response={"status": 200, "headers": {"set-cookie": cookies}}, output_bytes=2)
    read = frames.read_end(head, b"{}", LIMITS, paths)
    assert read.response is not None
    assert read.response.headers == tuple((b"set-cookie", cookie.encode()) for cookie in cookies)
    with pytest.raises(FrameError, match="needs the webhook's own path"):
        frames.read_end(head, b"{}", LIMITS, webhook_paths("acme", "sign"))


@pytest.mark.parametrize("value", [None, b"[1,\n2]"])
def test_a_log_is_one_line(value: bytes | None) -> None:
    with pytest.raises(FrameError):
        frames.read_log(value)


@pytest.mark.parametrize("payload", [b"", b"5", b"[]", b"{", b"\xff", b"[" * 100_000, b"\n{}"])
def test_a_head_is_one_object(payload: bytes) -> None:
    with pytest.raises(FrameError):
        split(payload)


def test_a_frame_past_the_limit_is_refused_before_it_is_read() -> None:
    reader = FrameReader(100)
    with pytest.raises(FrameError):
        reader.feed(b"\xff\xff\xff\x7f")
    assert reader.pending_bytes <= 4


def test_frames_survive_any_cut() -> None:
    choose = random.Random(1)
    sent = [frame({"job": n}, json.dumps("x" * choose.randrange(50)).encode()) for n in range(200)]
    stream = b"".join(sent)
    reader = FrameReader(1000)
    received: list[bytes | bytearray] = []
    position = 0
    while position < len(stream):
        size = choose.randrange(1, 40)
        received += reader.feed(stream[position : position + size])
        position += size
    assert received == [whole[4:] for whole in sent]
    assert reader.pending_bytes == 0


def test_what_a_log_begins_with_is_what_workers_write() -> None:
    assert frame({"op": "log", "job": 31}, b"[]")[4:] == frames.log_start(31) + b"[]"


@pytest.mark.parametrize("after", [b"", b"\x05", frame({"job": 2})])
@pytest.mark.parametrize("size", [0, 10, LARGE_BYTES, 3 * LARGE_BYTES])
def test_large_frames_are_read_as_small_ones_are(size: int, after: bytes) -> None:
    value = random.Random(size).randbytes(size)
    stream = frame({"job": 1}, value) + after
    reader = FrameReader(10 * LARGE_BYTES)
    received: list[bytes | bytearray] = []
    for position in range(0, len(stream), 50_000):
        received += reader.feed(stream[position : position + 50_000])
    heads = [({"job": 1}, value), ({"job": 2}, None)]
    assert [split(payload) for payload in received] == heads[: len(received)]
    assert len(received) == 1 + (len(after) > 1)
    assert reader.pending_bytes == len(after) * (len(after) == 1)


@pytest.mark.parametrize("first", [1, 4, 5, 50_000])
@pytest.mark.parametrize("size", [10, LARGE_BYTES, 3 * LARGE_BYTES])
def test_a_large_frame_may_be_read_into_its_place(size: int, first: int) -> None:
    value = random.Random(size).randbytes(size)
    stream = io.BytesIO(frame({"job": 1}, value) + frame({"job": 2}))
    reader = FrameReader(10 * LARGE_BYTES)
    received: list[bytes | bytearray] = reader.feed(stream.read(first))
    while not received or stream.tell() < len(stream.getvalue()):
        room = reader.room()
        if room is None:
            received += reader.feed(stream.read(30_000))
        else:
            assert size >= LARGE_BYTES
            received += reader.filled(stream.readinto(room[:30_000]))
    assert [split(payload) for payload in received] == [({"job": 1}, value), ({"job": 2}, None)]
    assert reader.pending_bytes == 0


@pytest.mark.parametrize("seed", range(300))
def test_garbage_is_never_more_than_a_frame_error(seed: int) -> None:
    choose = random.Random(seed)
    data = bytearray(frame(end(response={"status": 200, "headers": {"a": "b"}, "body": "x"}), b'{"a": [1, "x"]}'))
    for _ in range(choose.randrange(1, 6)):
        data[choose.randrange(len(data))] = choose.randrange(256)
    try:
        for payload in FrameReader(2000).feed(bytes(data)):
            head, value = split(payload)
            frames.int_member(head, "job")
            frames.read_end(head, value, LIMITS)
            frames.read_log(value)
    except FrameError:
        pass


PLAIN = b'{"op":"end","job":7,"status":"ENDED_SUCCESS","took_us":31,"message":"all done"}\n{"a":[1,"x"],"b":null}'
# What a short way could take for something else than the long one does.
PARTS = (
    b"", b" ", b"\n", b'"', b"\\", b"\\n", b"\\u0041", b"\\ud800", b"0", b"-1", b"1e5", b"007", b"true", b"{}", b"{",
    b"}", b"[", b",", b":", b"NaN", b"\xff", b"\xc3\xa9", b"\xe2\x80\xa8", b"\x00", b"\x1f", b"\x7f", b"9" * 16,
    b"ENDED_ERROR", b"ended", b'"limit":"cpu_s",', b'"fresh":true,', b'"name":"n",', b'"job":8,', b'"message":"other",',
    b'"took_us":-1,', b'"response":{},', b'"output_bytes":1,', b"x" * 1001,
)  # fmt: skip


def read_both_ways(payload: bytes) -> tuple[Any, Any]:
    """What the short way makes of a frame, and what the long one does; None for a refusal."""
    try:
        plain: Any = frames.read_plain_end(payload, LIMITS)
    except FrameError:
        plain = FrameError
    try:
        head, value = split(payload)
        if head.get("op") != "end":
            raise FrameError("another op")
        long: Any = (
            frames.int_member(head, "job"), frames.read_end(head, value, LIMITS), frames.int_member(head, "took_us")
        )  # fmt: skip
        if head.get("fresh"):
            long = FrameError
    except FrameError:
        long = FrameError
    return plain, long


def test_the_short_way_reads_an_end_as_the_long_one_does() -> None:
    choose = random.Random(5)
    taken = 0
    for number in range(6_000):
        data = bytearray(PLAIN)
        for _ in range(number and choose.randrange(1, 4)):
            at = choose.randrange(len(data) + 1)
            match choose.randrange(3):
                case 0:
                    data[at:at] = choose.choice(PARTS)
                case 1:
                    del data[at : at + choose.randrange(1, 6)]
                case _:
                    data[at : at + choose.randrange(1, 8)] = choose.choice(PARTS)
        plain, long = read_both_ways(bytes(data))
        assert plain is None or plain == long, bytes(data)
        taken += plain is not None
    assert taken > 500
