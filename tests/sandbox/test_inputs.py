"""What flows get from outside: headers ignore case in whatever is done with them, and a call keeps `data_json`."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from whd.sandbox.inputs import CALL, HEADERS, Headers, WebhookInput, as_child_input, as_input, kinds_of

from .far_side import WEBHOOK_INPUT, Ended
from .test_flow_api import flow
from .test_flow_api_children import SmallDaemon

GIVEN = {"x-github-event": "push", "content-type": "application/json"}


def run(body: str) -> Any:
    """What `h` and `got` are after a flow did this."""
    names: dict[str, Any] = {"h": Headers(GIVEN), "got": None, "copy": copy}
    exec(dedent(body), names)
    return names["h"], names["got"]


OPERATIONS = [
    ("[]", "got = h['X-GitHub-Event']", "push"),
    ("get", "got = h.get('X-GitHub-Event')", "push"),
    ("get with a default", "got = h.get('X-None', 1)", 1),
    ("in", "got = 'X-GitHub-Event' in h, 'X-None' in h, 7 in h", (True, False, False)),
    ("in keys", "got = 'X-GitHub-Event' in h.keys()", True),
    ("in items", "got = ('X-GitHub-Event', 'push') in h.items()", True),
    ("pop", "got = h.pop('X-GitHub-Event'), len(h)", ("push", 1)),
    ("pop with a default", "got = h.pop('X-None', 1), len(h)", (1, 2)),
    ("del", "del h['X-GitHub-Event']\ngot = list(h)", ["content-type"]),
    ("assignment", "h['X-GitHub-Event'] = 'ping'\ngot = dict(h)", {**GIVEN, "x-github-event": "ping"}),
    ("assignment of a new one", "h['X-New'] = 1\ngot = h['x-new'], list(h)[-1]", (1, "x-new")),
    ("setdefault", "got = h.setdefault('X-GitHub-Event', 1), h.setdefault('X-New', 1), h['x-new']", ("push", 1, 1)),
    ("update", "h.update({'X-GitHub-Event': 'p'}, Accept='*')\ngot = h['x-github-event'], h['accept']", ("p", "*")),
    ("update by pairs", "h.update([('X-GitHub-Event', 'ping')])\ngot = list(h.values())", ["ping", "application/json"]),
    ("|", "n = h | {'X-GitHub-Event': 1}\ngot = n['X-GITHUB-EVENT'], len(n), h['x-github-event']", (1, 2, "push")),
    ("| on its right", "n = {'X-GitHub-Event': 'ping', 'A': 1} | h\ngot = n['X-GITHUB-EVENT'], n['a']", ("push", 1)),
    ("|=", "h |= {'X-GitHub-Event': 'ping'}\ngot = h['X-GITHUB-EVENT'], len(h)", ("ping", 2)),
    ("copy", "n = h.copy()\nn['X-New'] = 1\ngot = n['X-GitHub-Event'], 'x-new' in h", ("push", False)),
    ("copy.copy", "got = copy.copy(h)['X-GitHub-Event']", "push"),
    ("copy.deepcopy", "got = copy.deepcopy(h)['X-GitHub-Event']", "push"),
    ("==", "got = h == {n.title(): v for n, v in h.items()}, h == {}, h == 1", (True, False, False)),
    ("!=", "got = h != {'X-GitHub-Event': 'push', 'Content-Type': 'application/json'}, h != {}", (False, True)),
    ("the same kind", "got = type(h)({'X-A': 1})['x-A']", 1),
    ("dict", "got = dict(h)", GIVEN),
    ("**", "got = {**h}", GIVEN),
    ("iteration", "got = list(h), list(h.keys()), list(h.items())", (list(GIVEN), list(GIVEN), list(GIVEN.items()))),
]  # fmt: skip


@pytest.mark.parametrize(("body", "got"), [case[1:] for case in OPERATIONS], ids=[case[0] for case in OPERATIONS])
def test_headers_ignore_case(body: str, got: Any) -> None:
    headers, value = run(body)
    assert value == got
    assert type(value) is type(got)
    assert list(headers) == [name.lower() for name in headers]


@pytest.mark.parametrize("body", ["h['X-None']", "del h['X-None']", "h.pop('X-None')"])
def test_a_missing_header_is_a_key_error(body: str) -> None:
    with pytest.raises(KeyError):
        run(body)


CALL_OPERATIONS = [
    ("[]", lambda i: i["data_json"]),
    ("get", lambda i: i.get("data_json")),
    ("dict", lambda i: dict(i)["data_json"]),
    ("**", lambda i: {**i}["data_json"]),
    ("** in a call", lambda i: dict(**i)["data_json"]),
    ("copy", lambda i: i.copy()["data_json"]),
    ("copy.copy", lambda i: copy.copy(i)["data_json"]),
    ("|", lambda i: (i | {"a": 1})["data_json"]),
    ("| on its right", lambda i: ({"a": 1} | i)["data_json"]),
    ("|= of a dict", lambda i: exec_update(i)["data_json"]),
    ("setdefault", lambda i: i.setdefault("data_json", 1)),
    ("pop", lambda i: i.pop("data_json")),
    ("keys", lambda i: i[min(i.keys())]),
]


def exec_update(call: WebhookInput) -> dict[str, Any]:
    plain: dict[str, Any] = {"a": 1}
    plain |= call
    return plain


@pytest.mark.parametrize("read", [case[1] for case in CALL_OPERATIONS], ids=[case[0] for case in CALL_OPERATIONS])
def test_a_call_keeps_data_json(read: Callable[[Any], Any]) -> None:
    call = as_input({"path": "/", "method": "POST", "query": {}, "headers": {}, "json": {"a": 1}})
    assert read(call) == {"a": 1}


def test_a_call_is_written_out_as_it_came() -> None:
    call = as_input({"method": "POST", "path": "/", "query": {}, "headers": {}, "json": {"a": 1}})
    assert json.loads(json.dumps(call)) == {"method": "POST", "path": "/", "query": {}, "headers": {}, "json": {"a": 1}}
    assert list(call) == ["method", "path", "query", "headers", "json"]
    assert list(call.copy()) == list(call)


def test_a_call_without_json_has_no_data_json() -> None:
    call = as_input({"method": "GET", "path": "/", "query": {}, "headers": {}})
    assert "data_json" not in dict(call)
    assert call.get("data_json", 7) == call.pop("data_json", 7) == 7
    assert len(call.keys()) == 4


def test_what_a_parent_hands_on_keeps_its_kind_through_json() -> None:
    call = as_input({"method": "POST", "path": "/", "query": {}, "headers": {"x-a": "1"}, "json": {"b": 2}})
    handed = {"request": {"whole": call}, "h": call["headers"], "plain": {"X-A": "2"}, "n": 1}
    kinds = kinds_of(handed)
    assert sorted(kinds) == [[HEADERS, "h"], [HEADERS, "request", "whole", "headers"], [CALL, "request", "whole"]]
    seen = as_child_input(json.loads(json.dumps(handed)), kinds)
    assert seen["h"]["X-A"] == seen["request"]["whole"]["headers"]["X-A"] == "1"
    assert seen["request"]["whole"]["data_json"] == {"b": 2}
    assert type(seen["plain"]) is dict
    assert kinds_of(call["headers"]) == [[HEADERS]]
    assert as_child_input({"x-a": "1"}, [[HEADERS]])["X-A"] == "1"


@pytest.mark.parametrize("kinds", [[["H", "a", "b"]], [["H", "a"]], [["W"]], [["?"]], [["H", "none", "none"]]])
@pytest.mark.parametrize("value", [None, 1, [1], {}, {"a": 1}, {"a": [1]}, {"a": {"b": 1}}])
def test_kinds_that_do_not_fit_do_no_harm(value: Any, kinds: Any) -> None:
    assert as_child_input(copy.deepcopy(value), kinds) == value


def test_a_child_gets_what_it_is_handed(run_flow: Callable[..., Ended]) -> None:
    body = """
    inputs = this.get('input_value')
    this.flow('a', headers=inputs['headers'], wait=False)
    this.flow('b', inputs['headers'], wait=False)
    this.flow('c', inputs, wait=False)
    this.flow('d', dict(inputs), wait=False)
    this.flow('e', **inputs, wait=False)
    this.flow('f', plain={'X-A': 1}, wait=False)
    """
    ended = run_flow(flow(body), WEBHOOK_INPUT, answers=SmallDaemon().answers)
    calls = {given["flow"]: given for _name, given in ended.calls}
    assert calls["a"].get("kinds") == [["H", "headers"]]
    assert calls["b"].get("kinds") == [["H"]]
    # A call is known by its members, and has its json once.
    assert [calls[name]["inputs"] for name in "cde"] == [WEBHOOK_INPUT] * 3
    assert "kinds" not in calls["f"]
