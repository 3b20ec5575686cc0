"""Every answer is judged: what is right passes however it is spelled, what is wrong is named."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest

from bench import answers
from bench.answers import Exchange, Judge

SCRIPT = "def handler(system, this):\n    pass\n"
COMPACT = (",", ":")


def exchange(connection: int = 3, variant: int = 1) -> Exchange:
    return answers.exchange("127.0.0.1:1", "/job", connection, variant)


def document(expected: Exchange, **changes: object) -> dict[str, object]:
    return {
        "id": str(uuid.uuid4()),
        "status": "ENDED_SUCCESS",
        "script": SCRIPT,
        "input_value": {"headers": {"content-type": "application/json"}, "json": expected.payload},
        "output_value": {"greeting": expected.greeting, "total": expected.total},
        **changes,
    }


def judged(judge: Judge, body: bytes, expected: Exchange, status: str = "200 OK", delivery: bytes = b"") -> str | None:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    return judge.fault(head + body, len(head), expected, delivery)


def encoded(value: object, separators: tuple[str, str] = COMPACT) -> bytes:
    return json.dumps(value, separators=separators).encode()


def test_a_request_carries_its_length_the_key_and_numbers_of_its_own() -> None:
    head, _, body = exchange(3, 1).request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /job HTTP/1.1\r\nHost: 127.0.0.1:1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    sent = json.loads(body)
    assert sent["key"] == answers.KEY
    assert sum(item["qty"] * item["price"] for item in sent["items"]) == exchange(3, 1).total
    assert exchange(3, 1).greeting == "Hello " + sent["name"]


def test_consecutive_requests_of_one_connection_expect_different_answers() -> None:
    """So that an answer that belongs to another request shows."""
    turns = answers.exchanges("127.0.0.1:1", "/job", 0)
    assert len({turn.total for turn in turns}) == len({turn.greeting for turn in turns}) == answers.VARIANTS


@pytest.mark.parametrize("separators", [COMPACT, (", ", ": ")])
def test_right_answers_pass_and_most_are_checked_cheaply(separators: tuple[str, str]) -> None:
    judge = Judge("execution", SCRIPT)
    for number in range(250):
        expected = exchange(number % 5, number % 4)
        assert judged(judge, encoded(document(expected), separators), expected) is None
    assert judge.checked == 250
    assert judge.checked_in_full == 3


def test_a_right_answer_in_another_spelling_is_still_right() -> None:
    """The cheap check does not know it; the full one decides."""
    judge = Judge("job")
    expected = exchange()
    assert judged(judge, encoded(document(expected)), expected) is None
    assert judged(judge, encoded(document(expected), (" , ", " : ")), expected) is None
    assert judge.checked_in_full == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "ENDED_ERROR", "message": "no"}, "ENDED_ERROR"),
        ({"output_value": {"greeting": "Hello Ada 3.1", "total": 1.0}}, "output_value"),
        ({"output_value": {"greeting": "Hello Eve", "total": exchange().total}}, "output_value"),
        ({"output_value": {}}, "output_value"),
        ({"input_value": {"headers": {}, "json": {}}}, "input_value.json"),
        ({"input_value": {"headers": {}, "json": exchange().payload}}, "input_value.headers"),
        ({"id": None}, "id"),
        ({"script": "other"}, "script"),
        ({"message": answers.KEY}, "the key"),
    ],
)
def test_a_wrong_first_answer_is_named(changes: dict[str, Any], reason: str) -> None:
    judge = Judge("execution", SCRIPT)
    expected = exchange()
    assert judged(judge, encoded(document(expected, **changes)), expected) == "wrong answer"
    assert reason in judge.example


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "ENDED_ERROR"},
        {"output_value": {"greeting": "Hello Ada 3.1", "total": exchange().total + 0.5}},
        {"output_value": {"greeting": "Hello Ada 3.1", "total": exchange().total * 10 + 0.05}},
        {"output_value": {"greeting": "Hello Ada 4.1", "total": exchange().total}},
        {"id": ""},
    ],
)
def test_the_cheap_check_sees_what_matters_too(changes: dict[str, Any]) -> None:
    judge = Judge("execution", SCRIPT)
    expected = exchange()
    assert judged(judge, encoded(document(expected)), expected) is None
    assert judged(judge, encoded(document(expected, **changes)), expected) == "wrong answer"


def delivered(expected: Exchange, delivery: bytes) -> bytes:
    """The answer to a request with the fields of that delivery."""
    fields = (line.split(": ") for line in answers.delivery_fields(delivery).decode().splitlines())
    shown = {"content-type": "application/json", **{name.lower(): value for name, value in fields}}
    return encoded(document(expected, input_value={"headers": shown, "json": expected.payload}))


def test_a_head_with_the_fields_of_a_delivery_is_the_plain_one_and_these() -> None:
    plain = exchange()
    head, _, body = answers.with_delivery(plain, answers.delivery_id(7)).request.partition(b"\r\n\r\n")
    fields = answers.delivery_fields(answers.delivery_id(7)).rstrip()
    assert head + b"\r\n\r\n" + body == plain.request.replace(b"\r\n\r\n", b"\r\n" + fields + b"\r\n\r\n")
    assert re.search(rb"sha256=[0-9a-f]{64}$", head)


def test_no_two_deliveries_are_alike() -> None:
    numbers = [*range(5_000), *range(2**64 - 5_000, 2**64)]
    texts = {answers.delivery_id(number) for number in numbers}
    assert len(texts) == len(numbers)
    assert {len(text) for text in texts} == {36}
    assert all(str(uuid.UUID(text.decode())).encode() == text for text in texts)


def test_an_answer_that_shows_its_own_delivery_is_right_and_most_are_checked_cheaply() -> None:
    judge = Judge("execution", SCRIPT)
    for number in range(250):
        expected, delivery = exchange(number % 5, number % 4), answers.delivery_id(number)
        assert judged(judge, delivered(expected, delivery), expected, delivery=delivery) is None
    assert judge.checked_in_full == 3


@pytest.mark.parametrize("before", [0, 1])
def test_an_answer_that_shows_the_delivery_of_another_request_is_wrong(before: int) -> None:
    """Of one whose head the server remembered, say: whether it is checked in full or cheaply."""
    judge = Judge("execution", SCRIPT)
    expected = exchange()
    for number in range(before):
        delivery = answers.delivery_id(number)
        assert judged(judge, delivered(expected, delivery), expected, delivery=delivery) is None
    stale = delivered(expected, answers.delivery_id(8))
    assert judged(judge, stale, expected, delivery=answers.delivery_id(9)) == "wrong answer"
    assert "x-request-id" in judge.example


def test_the_answer_to_another_request_is_wrong() -> None:
    judge = Judge("job")
    first, second = answers.exchanges("127.0.0.1:1", "/job", 0)[:2]
    assert judged(judge, encoded(document(first)), first) is None
    assert judged(judge, encoded(document(first)), second) == "wrong answer"


def test_an_id_seen_twice_is_an_error_whether_checked_in_full_or_not() -> None:
    judge = Judge("execution", SCRIPT)
    expected = exchange()
    body = encoded(document(expected))
    assert [judged(judge, body, expected) for _ in range(3)] == [None, "duplicate id", "duplicate id"]


@pytest.mark.parametrize("status", ["202 Accepted", "500 Internal Server Error", "503 Service Unavailable"])
def test_any_status_but_200_is_an_error_of_its_own_kind(status: str) -> None:
    judge = Judge("job")
    expected = exchange()
    assert judged(judge, encoded(document(expected)), expected, status) == f"status {status[:3]}"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
def test_what_is_not_the_json_object_is_wrong(body: bytes) -> None:
    assert judged(Judge("job"), body, exchange()) == "wrong answer"


def test_a_fixed_answer_must_stay_the_same() -> None:
    judge = Judge("fixed")
    body = b'{"status":"ENDED_SUCCESS"}'
    assert [judged(judge, body, exchange()) for _ in range(2)] == [None, None]
    assert judged(judge, body + b" ", exchange()) == "wrong answer"
