"""`only`: which deliveries run a webhook's flow, and what is wrong with the field."""

from __future__ import annotations

from typing import Any

import pytest

from whd.model.options import Options
from whd.settings.only import Only

from .webhook_files import parse_webhook

START = "flow_name: a\nuser_name: b\n"
BOTH = '{"header:X-GitHub-Event": [push], "json:/ref": ["refs/heads/main", "refs/tags/*"]}'


def only_of(yaml: str) -> Any:
    webhook, faults = parse_webhook(f"{START}only: {yaml}\n", "w.yaml", "acme", "x", Options())
    assert not faults, faults
    assert webhook is not None
    assert isinstance(webhook.only, Only)
    assert webhook.has_rules
    return webhook.only


def mismatch(yaml: str, event: str = "", query: dict[str, Any] | None = None, **picked: str | None) -> str:
    headers = ((b"x-github-event", event.encode()),) if event else ()
    pointers = {"/" + name: text for name, text in picked.items()}
    found: str = only_of(yaml).mismatch(headers, query or {}, pointers)
    return found


@pytest.mark.parametrize(
    ("event", "ref", "place"),
    [
        ("push", "refs/heads/main", ""),
        ("push", "refs/tags/v1/rc", ""),
        ("push", "refs/heads/mainx", "json:/ref"),
        ("push", "REFS/heads/main", "json:/ref"),
        ("push", None, "json:/ref"),
        ("ping", "refs/heads/main", "header:X-GitHub-Event"),
        ("", "refs/heads/main", "header:X-GitHub-Event"),
    ],
)
def test_every_place_must_have_one_of_its_texts(event: str, ref: str | None, place: str) -> None:
    assert mismatch(BOTH, event, ref=ref) == place


def test_a_place_in_the_query_has_one_value() -> None:
    only = '{"query:kind": "a*"}'
    assert mismatch(only, query={"kind": "ab"}) == ""
    assert mismatch(only, query={"kind": ["ab", "ac"]}) == "query:kind"
    assert mismatch(only) == "query:kind"


def test_numbers_and_booleans_are_compared_as_json_writes_them() -> None:
    assert mismatch('{"json:/merged": [true], "json:/number": 7}', merged="true", number="7") == ""
    assert mismatch('{"json:/merged": [true]}', merged="false") == "json:/merged"


def test_what_it_needs_of_the_payload_is_picked_there() -> None:
    webhook, _ = parse_webhook(f"{START}only: {BOTH}\n", "w.yaml", "acme", "x", Options())
    assert webhook is not None
    assert webhook.pointers == ("/ref",)


def test_without_it_a_webhook_has_no_rules() -> None:
    webhook, _ = parse_webhook(START, "w.yaml", "acme", "x", Options())
    assert webhook is not None
    assert not webhook.has_rules


@pytest.mark.parametrize(
    ("yaml", "what"),
    [
        ("{}", "only: is empty"),
        ("", "only: is empty"),
        ("[push]", "only: is a list"),
        ('{"event": [push]}', "only: 'event' names nothing of a request"),
        ('{"json:ref": [push]}', "expected json: and a JSON pointer"),
        ('{"form:a": [push]}', "names nothing of a request"),
        ('{"json:/ref": []}', "only.json:/ref: is an empty list"),
        ('{"json:/ref": [[a]]}', "only.json:/ref: is no glob"),
        ('{"json:/ref": ""}', "only.json:/ref: is empty"),
    ],
)
def test_a_fault_says_what_is_wrong(yaml: str, what: str) -> None:
    webhook, faults = parse_webhook(f"{START}only: {yaml}\n", "w.yaml", "acme", "x", Options())
    assert webhook is None
    assert what in str(faults[0])
    assert faults[0].line == 3
