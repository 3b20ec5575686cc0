"""`answer`, `answer_status`, `answer_headers` and `ack` of a webhook's setting."""

from __future__ import annotations

import pytest

from whd.model.answering import NONE, Answering
from whd.model.options import Options
from whd.model.snapshot import Fault, Webhook

from .webhook_files import parse_webhook

GITHUB = "verify: {scheme: github, secret: a-Secret-of-24-characters}\n"
ZOOM = GITHUB.replace("github", "zoom")
TOKEN = "verify: {scheme: token, header: X-Token, secret: a-Secret-of-24-characters}\n"


def read(more: str) -> tuple[Webhook | None, tuple[Fault, ...]]:
    return parse_webhook(f"flow_name: a\nuser_name: b\n{more}", "w.yaml", "acme", "x", Options())


def answering(more: str) -> Answering | None:
    webhook, faults = read(more)
    assert webhook is not None, faults
    return webhook.answering


@pytest.mark.parametrize("more", ["", "answer: execution\n", "ack: false\n", "answer_headers: {}\n", GITHUB])
def test_without_a_word_of_it_answers_are_as_they_were(more: str) -> None:
    assert answering(more) is None


@pytest.mark.parametrize(
    ("more", "status", "body"),
    [
        ("", 0, None),
        ("answer_status: 200\n", 200, None),
        (GITHUB, 202, b""),
        (ZOOM, 204, b""),
        (ZOOM + "answer_status: 200\n", 200, b""),
        (TOKEN, 0, None),
    ],
)
def test_success_is_the_settings_else_the_senders(more: str, status: int, body: bytes | None) -> None:
    found = answering("ack: true\n" + more)
    assert found is not None
    assert (found.is_ack, found.success_status, found.success_body) == (True, status, body)


def test_headers_are_texts_or_lists_of_them() -> None:
    found = answering("answer_headers: {X-A: a, X-B: [b, c], Strict-Transport-Security: max-age=1}\n")
    assert found is not None
    assert found.headers == (
        (b"x-a", b"a"), (b"x-b", b"b"), (b"x-b", b"c"), (b"strict-transport-security", b"max-age=1")
    )  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        "answer: nothing\n", "answer: no\n", "answer: [none]\n", "answer: \n",
        "answer_status: 199\n", "answer_status: 600\n", "answer_status: '200'\n", "answer_status: true\n",
        "ack: 1\n",
        "answer_headers: [a]\n", "answer_headers: {X-A: 1}\n", 'answer_headers: {X-A: "a\\r\\nb"}\n',
        "answer_headers: {X A: a}\n", "answer_headers: {Content-Length: '1'}\n",
        "answer_headers: {X-Accel-Redirect: /}\n",
        "answer_headers: {Whd-Execution-Id: x}\n", "answer_headers: {X-A: a, x-a: b}\n",
        "answer_headers: {Content-Type: [a/b, c/d]}\n",
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_a_fault_that_names_the_line(more: str) -> None:
    webhook, faults = read(more)
    assert webhook is None
    assert [(fault.line, fault.is_warning) for fault in faults] == [(3, False)]
    assert faults[0].field.startswith(more.partition(":")[0])


@pytest.mark.parametrize(
    ("more", "is_told"),
    [
        (GITHUB, True), (GITHUB + "answer_status: 200\n", True), (GITHUB + "answer: execution\n", True),
        (GITHUB + "answer: none\n", False), (GITHUB + "answer: output\n", False), (GITHUB + "ack: true\n", False),
        ("key: k3y-of-the-webhook\n", False), ("", False),
    ],
)  # fmt: skip
def test_check_warns_where_a_sender_would_get_the_record(more: str, is_told: bool) -> None:
    webhook, faults = read(more)
    assert webhook is not None
    assert [fault.field for fault in faults if fault.field == "answer"] == ["answer"] * is_told


def test_none_of_a_sender_is_its_success() -> None:
    assert answering(ZOOM + "answer: none\n") == Answering(NONE, success_status=204, success_body=b"")
