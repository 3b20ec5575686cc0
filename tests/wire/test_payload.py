"""CONTRACT 3, Payload: from body bytes to what the flow gets."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from whd.errors import BadPayload, TooLarge
from whd.wire import payload, strict_json
from whd.wire.strict_json import MAX_DEPTH

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"


def members(body: bytes, content_type: str = "", *, has_key: bool = False) -> Any:
    return json.loads(b"{" + payload.parse(body, content_type, has_key).members_json + b"}")


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"", "", {"json": None}),
        (b"", JSON_TYPE, {"json": None}),
        (b'{"a": 1}', JSON_TYPE, {"json": {"a": 1}}),
        (b'{"a": 1}', "application/json; charset=utf-8", {"json": {"a": 1}}),
        (b'{"a": 1}', "APPLICATION/JSON", {"json": {"a": 1}}),
        (b'{"a": 1}', "application/cloudevents+json", {"json": {"a": 1}}),
        (b'"text"', JSON_TYPE, {"json": "text"}),
        (b"null", JSON_TYPE, {"json": None}),
        (b"12", JSON_TYPE, {"json": 12}),
        (b'\xef\xbb\xbf{"a": 1}', JSON_TYPE, {"json": {"a": 1}}),
        # curl -d '{"a": 1}' sends a form type with a JSON body
        (b'{"a": 1}', FORM_TYPE, {"json": {"a": 1}}),
        (b" \r\n[1, 2]", FORM_TYPE, {"json": [1, 2]}),
        (b'{"a": 1}', "", {"json": {"a": 1}}),
        (b'{"a": 1}', "text/plain", {"json": {"a": 1}}),
        (b"12", "", {"json": None, "data": "12"}),
        (b'{"a": 1', "text/plain", {"json": None, "data": '{"a": 1'}),
        (b"a=1&b=two+words&a=%C3%A9&c", FORM_TYPE, {"json": {"a": ["1", "é"], "b": "two words", "c": ""}}),
        (b"a=1;b=2", FORM_TYPE, {"json": {"a": "1;b=2"}}),
        (b"hello", "text/plain", {"json": None, "data": "hello"}),
        (b"a=1", "", {"json": None, "data": "a=1"}),
        ("grüß".encode(), "text/plain", {"json": None, "data": "grüß"}),
        (b"\xff\x00", "application/octet-stream", {"json": None, "data": "/wA=", "data_encoding": "base64"}),
    ],
)
def test_each_kind_of_body(body: bytes, content_type: str, expected: Any) -> None:
    assert members(body, content_type) == expected


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize(
    ("body", "content_type", "passed_on"),
    [
        (b'{"a": 1}', JSON_TYPE, b'{"a": 1}'),
        (b'\xef\xbb\xbf{"a": 1}', JSON_TYPE, b'{"a": 1}'),
        ('{"key": "grüß", "a": "ß"}'.encode(), JSON_TYPE, ' "a": "ß"}'.encode()),
        ('\ufeff{"key": "grüß", "a": "ß"}'.encode(), JSON_TYPE, ' "a": "ß"}'.encode()),
        (b'{"a": 1, "key": "x"}', JSON_TYPE, b""),
        (b"a=1", FORM_TYPE, b""),
        ("grüß".encode(), "text/plain", "grüß".encode()),
        (b'"quoted" \\', "text/plain", b""),
        (b"\xff", "text/plain", b""),
    ],
)
def test_what_needs_no_change_is_passed_on_as_it_came(
    body: bytes, content_type: str, passed_on: bytes, kind: Any
) -> None:
    begin, rest_from, end, keys = payload.parse_in_pieces(kind(body), content_type, has_key=True)
    assert body[rest_from:] == passed_on
    parsed = payload.parse(kind(body), content_type, has_key=True)
    assert (begin + body[rest_from:] + end, keys) == (parsed.members_json, parsed.keys)


@pytest.mark.parametrize("repeats", [1, 2000])
@pytest.mark.parametrize("character", [*map(chr, range(32)), '"', "\\", "/", "\x7f", "é", "\u2028", "\U0001f600"])
def test_every_character_of_a_text_arrives(character: str, repeats: int) -> None:
    text = f'a{character}b\\n\n"{character}' * repeats
    assert members(text.encode(), "text/plain") == {"json": None, "data": text}


@pytest.mark.parametrize("around", [("[", "]"), ('{"a":', "}"), ('[[],{"a":', "}]")])
def test_too_many_levels_are_found_in_a_long_text(around: tuple[str, str]) -> None:
    levels = 2 * MAX_DEPTH
    deep = around[0] * levels + json.dumps("x" * 20_000) + around[1] * levels
    with pytest.raises(BadPayload, match="nested more"):
        strict_json.decode_strict(deep)
    wide = "[" + ",".join(around[0] + "1" + around[1] for _ in range(10_000)) + "]"
    assert len(strict_json.decode_strict(wide)) == 10_000


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1,]",
        b"{'a': 1}",
        b'{"a": NaN}',
        b"[Infinity]",
        b"[1e999]",
        b"[-1.5E+400]",
        b"[-Infinity]",
        b'{"a": "\xff"}',
        b"[" * 201 + b"]" * 201,
        b"[" * 100_000,
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b"[" + b"1" * 5_000 + b"]",
        b"1 2",
        b"\xfe\xff\x00{\x00}",
    ],
)
def test_bad_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadPayload):
        payload.parse(body, JSON_TYPE, False)


@pytest.mark.parametrize("body", [b'{"a": NaN}', b"[" * 201 + b"]" * 201])
def test_what_is_json_but_not_strict_is_refused_under_any_type(body: bytes) -> None:
    with pytest.raises(BadPayload):
        payload.parse(body, FORM_TYPE, False)


def test_two_hundred_levels_are_allowed() -> None:
    deep = b"[" * 200 + b"]" * 200
    assert payload.parse(deep, JSON_TYPE, False).members_json == b'"json":' + deep


def test_brackets_in_text_are_not_levels() -> None:
    body = json.dumps(["[" * 500]).encode()
    assert payload.parse(body, JSON_TYPE, False).members_json == b'"json":' + body


@pytest.mark.parametrize("body", [b"a=%ff", b"\xff=1"])
def test_a_form_that_is_not_utf8_is_refused(body: bytes) -> None:
    with pytest.raises(BadPayload):
        payload.parse(body, FORM_TYPE, False)


@pytest.mark.parametrize(
    ("body", "content_type", "keys", "rest"),
    [
        (b'{"key": "k", "a": 1}', JSON_TYPE, ("k",), {"a": 1}),
        (b'{"a": 1}', JSON_TYPE, (), {"a": 1}),
        (b'{"key": 5}', JSON_TYPE, (None,), {}),
        (b'{"key": null}', JSON_TYPE, (None,), {}),
        (b'{"key": "wrong", "key": "right"}', JSON_TYPE, ("wrong", "right"), {}),
        (b'{"k\\u0065y": "wrong", "key": "right"}', JSON_TYPE, ("wrong", "right"), {}),
        (b'{"\\u006bey": "k"}', JSON_TYPE, ("k",), {}),
        (b'{"a": {"key": "inner"}, "key": "k"}', JSON_TYPE, ("k",), {"a": {"key": "inner"}}),
        (b'["key"]', JSON_TYPE, (), ["key"]),
        (b"key=k&a=1&key=l", FORM_TYPE, ("k", "l"), {"a": "1"}),
    ],
)
def test_the_payloads_key_is_taken_out(body: bytes, content_type: str, keys: Any, rest: Any) -> None:
    parsed = payload.parse(body, content_type, True)
    assert parsed.keys == keys
    assert json.loads(b"{" + parsed.members_json + b"}") == {"json": rest}


def test_a_webhook_without_a_key_leaves_the_payloads_own_alone() -> None:
    assert members(b'{"key": "k"}', JSON_TYPE) == {"json": {"key": "k"}}
    assert members(b"key=k", FORM_TYPE) == {"json": {"key": "k"}}


def test_unchanged_json_is_passed_on_byte_for_byte() -> None:
    body = b'{"price": 1.10, "big": 12345678901234567890123,\n "e": "\\u00e9"}'
    assert payload.parse(body, JSON_TYPE, True).members_json == b'"json":' + body


def test_gunzip_unpacks_and_bounds() -> None:
    packed = gzip.compress(b"abc") + gzip.compress(b"def")
    assert payload.gunzip(packed, 6) == b"abcdef"
    with pytest.raises(TooLarge):
        payload.gunzip(packed, 5)
    with pytest.raises(TooLarge):
        payload.gunzip(gzip.compress(bytes(10_000_000)), 1_000_000)


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"abc")[:-4], gzip.compress(b"abc") + b"rest"])
def test_what_is_not_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(BadPayload):
        payload.gunzip(body, 1_000)


def test_text_that_looks_like_a_huge_number_is_text() -> None:
    body = b'{"a": "1e999", "b": 1e-999, "c": 1e300}'
    assert payload.parse(body, JSON_TYPE, False).members_json == b'"json":' + body


@pytest.mark.parametrize(
    ("body", "is_quick"),
    [
        (b"[" + b"1," * 8_000 + b"1]", True),
        (b'{"text":"' + b"x" * 200_000 + b'"}', True),
        (b'{"text":"' + b"x" * strict_json.LARGE_BYTES + b'"}', False),
        (b"[" + b"1," * 20_000 + b"1]", False),
        (b"[" + b"{}" * 20_000 + b"]", False),
        (b'"' + b"\\n" * 20_000 + b'"', False),
        (b"a=1&" * 20_000, False),
        (b"%20" * 20_000, False),
    ],
)
def test_what_holds_up_the_loop_is_read_elsewhere(body: bytes, is_quick: bool) -> None:
    assert strict_json.is_quick(body) is is_quick
