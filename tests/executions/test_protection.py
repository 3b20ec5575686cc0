"""What of a child is not written down: parts of its input, texts wherever they stand, members of its output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from whd.executions.protection import Protection, masked_input, protected_task, values_of
from whd.model.execution import Execution


def record(**fields: Any) -> Execution:
    return Execution("", "acme", "kid", "kevin", "", b"{}", **fields)


def covered(output: Any, values: set[str] = frozenset(), outputs: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
    execution = record(output_json=json.dumps(output).encode())
    Protection(b"{}", frozenset(outputs), frozenset(values)).cover(execution, has_output=True)
    return json.loads(execution.output_json)


def test_parts_of_an_input_are_masked_where_they_stand() -> None:
    text = b'{"a":1,"password":{"deep":[1,2]},"b":"x"}'
    start = text.index(b'{"deep"')
    size = len(b'{"deep":[1,2]}')
    assert masked_input(text, [(start, size, True)]) == b'{"a":1,"password":"***","b":"x"}'


@pytest.mark.parametrize(
    "parts", [[(-1, 2, True)], [(0, 0, True)], [(0, -1, True)], [(5, 2, True), (6, 1, True)], [(0, 99, True)]]
)
def test_parts_that_are_none_are_refused(parts: list[tuple[int, int, bool]]) -> None:
    with pytest.raises(ValueError, match="masked part"):
        masked_input(b'{"a":"bcd"}', parts)


def test_the_texts_and_numbers_of_the_named_parts_are_known_and_those_of_headers_are_not() -> None:
    text = b'["token",{"user":"ada","pins":[1234,true,null]},"not json'
    parts = [(1, 7, False), (9, 38, True), (48, 9, True)]
    assert values_of(text, parts) == {"ada", "1234"}


SECRET = 'hun"ter\\2 ü/€'
TEXTS = [
    ("a text of its own", "hunter22", "***"),
    ("within a text", "the hunter22 is", "the *** is"),
    ("twice", "hunter22hunter22", "******"),
    ("as a member's name", {"hunter22": 1}, {"***": 1}),
    ("deep within", {"a": [{"b": "hunter22"}]}, {"a": [{"b": "***"}]}),
    ("nothing of the kind", {"a": ["hunter", 22, None, True, 1.5]}, {"a": ["hunter", 22, None, True, 1.5]}),
    ("an escaped one", f"x{SECRET}", "x***"),
    ("a number", {"pin": 4711, "more": 47110, "text": "4711"}, {"pin": "***", "more": 47110, "text": "***"}),
    ("a short text, alone", {"a": "no", "b": "nothing"}, {"a": "***", "b": "nothing"}),
    ("a short text as a name", {"no": 1}, {"no": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("output", "masked"), [case[1:] for case in TEXTS], ids=[case[0] for case in TEXTS])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_protected_text_is_masked_wherever_it_stands(output: Any, masked: Any, ascii_only: bool) -> None:
    protection = Protection(b"{}", values=frozenset({"hunter22", SECRET, "4711", "no"}))
    text = json.dumps(output, ensure_ascii=ascii_only).encode()
    assert json.loads(protection.output(text)) == masked
    assert json.loads(protection.json(text)) == masked


IN_TEXTS = {"key": "-----BEGIN KEY-----\nMIIB'x\"\n", "password": "cörrect\\horse"}


@pytest.mark.parametrize("shown", [str, lambda inputs: f"no {inputs['password']!r}", json.dumps, lambda inputs: (
    json.dumps(inputs, ensure_ascii=False))], ids=["a dict", "an error", "JSON in ASCII", "JSON"])  # fmt: skip
def test_a_protected_text_is_masked_as_a_flow_shows_it_within_another_text(shown: Any) -> None:
    text = json.dumps(IN_TEXTS).encode()
    parts = [(text.index(part), len(part), True) for part in (json.dumps(v).encode() for v in IN_TEXTS.values())]
    protection = Protection(b"{}", values=values_of(text, parts))
    written = protection.text(shown(IN_TEXTS))
    assert "MIIB" not in written
    assert "horse" not in written
    assert json.loads(protection.json(json.dumps([shown(IN_TEXTS)]).encode())) == [written]


def test_another_spelling_of_the_same_text_is_found() -> None:
    protection = Protection(b"{}", values=frozenset({"a/b/c/d"}))
    assert json.loads(protection.output(b'["a\\/b\\u002fc/d"]')) == ["***"]


def test_an_output_without_protected_texts_is_not_copied() -> None:
    protection = Protection(b"{}", values=frozenset({"hunter22"}))
    execution = record(output_json=b'{"a": 1.0e2}')
    before = execution.output_json
    protection.cover(execution, has_output=True)
    assert execution.output_json is before
    assert protection.output_json == b""


@pytest.mark.parametrize(
    ("output", "masked"),
    [
        (b'{"token": {"a": [1]}, "b": 1.50}', b'{"token": "***", "b": 1.50}'),
        (b'{ "b" :2,"token":"x" }', b'{ "b" :2,"token":"***" }'),
        (b'{"b":{"token":1}}', b'{"b":{"token":1}}'),
        (b"{}", b"{}"),
        (b'["token"]', b'["token"]'),
        (b'{"t\\u006fken":1}', b'{"t\\u006fken":"***"}'),
        ('{"ü":"€","token":1}'.encode(), '{"ü":"€","token":"***"}'.encode()),
    ],
)
def test_named_members_of_an_output_are_masked_and_the_rest_stays_as_it_is_written(
    output: bytes, masked: bytes
) -> None:
    execution = record(output_json=output)
    protection = Protection(b"{}", frozenset({"token"}))
    protection.cover(execution, has_output=True)
    assert execution.output_json == masked
    assert protection.output_json == (b"" if output == masked else output)


def test_an_output_that_cannot_be_read_shows_nothing() -> None:
    assert Protection(b"{}", frozenset({"token"})).output(b'{"token":' + b"1" * 5000 + b"}") == b'"***"'


def test_message_and_name_are_masked() -> None:
    execution = record(message="wrong: hunter22", name="call hunter22")
    Protection(b"{}", values=frozenset({"hunter22"})).cover(execution, has_output=False)
    assert (execution.message, execution.name) == ("wrong: ***", "call ***")


@pytest.mark.parametrize(
    ("inputs", "names", "written", "values"),
    [
        ({"url": "u", "json": {"p": "hunter22"}}, ["json"], {"url": "u", "json": "***"}, {"hunter22"}),
        ({"headers": {"Authorization": "t", "A": "b"}}, [], {"headers": {"Authorization": "***", "A": "b"}}, set()),
        ({"headers": {"Cookie": "c", "X-API-Key": "k"}}, [], {"headers": {"Cookie": "***", "X-API-Key": "***"}}, set()),
        ({"headers": {"proxy-authorization": "p"}}, [], {"headers": {"proxy-authorization": "***"}}, set()),
        ({"auth": ["ada", "x"], "cookies": {"a": "b"}}, [], {"auth": ["ada", "***"], "cookies": {"a": "***"}}, set()),
    ],
)  # fmt: skip
def test_a_tasks_inputs_are_masked(inputs: Any, names: list[str], written: Any, values: set[str]) -> None:
    before = json.dumps(inputs)
    masked, protection = protected_task(inputs, names, [], [])
    assert masked == written
    assert protection is not None
    assert protection.values == values
    assert json.dumps(inputs) == before


@pytest.mark.parametrize(
    "inputs", [{"url": "u"}, {"url": "u", "headers": {"A": "b"}}, {"headers": None, "auth": None}, {"headers": "x"}]
)
def test_an_ordinary_task_needs_no_protection(inputs: Any) -> None:
    assert protected_task(inputs, [], [], ["/u"]) == (inputs, None)


def test_a_protected_url_is_masked_as_messages_write_it() -> None:
    shown = "https://api.example/bot1:tokentoken/send"
    _masked, protection = protected_task(
        {"url": "HTTPS://API.example/bot1:tokentoken/send?chat=1"}, ["url"], [], (shown, "/bot1:tokentoken/send")
    )
    assert protection is not None
    assert protection.text(f"GET {shown}: status 500") == "GET ***: status 500"
    redirected = "GET https://www.example/bot1:tokentoken/send: status 500"
    assert protection.text(redirected) == "GET https://www.example***: status 500"
