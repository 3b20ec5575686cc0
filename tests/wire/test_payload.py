"""CONTRACT 3, Payload: from body bytes to what the flow gets."""

from __future__ import annotations

import base64
import codecs
import gzip
import json
import random
import time
from typing import Any

import pytest

from whd.errors import BadPayload, TooLarge
from whd.wire import charsets, payload, strict_json
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
        # White space is no JSON value, and under a JSON type nothing else can be meant.
        (b" \r\n\t", JSON_TYPE, {"json": None}),
        (b"\xef\xbb\xbf\n", JSON_TYPE, {"json": None}),
        (b" \r\n", "text/plain", {"json": None, "data": " \r\n"}),
        # A byte order mark is no part of a body.
        (b"\xef\xbb\xbf", "text/plain", {"json": None}),
        (b'\xef\xbb\xbf {"a": 1}', FORM_TYPE, {"json": {"a": 1}}),
        (b"\xef\xbb\xbf[1]", "", {"json": [1]}),
        (b"\xef\xbb\xbfa=1", FORM_TYPE, {"json": {"a": "1"}}),
        ("\ufeffgrüß".encode(), "text/plain", {"json": None, "data": "grüß"}),
        ('\ufeff"grüß"\n'.encode(), "", {"json": None, "data": '"grüß"\n'}),
        ("\ufeffgrüß\x01".encode(), "", {"json": None, "data": "grüß\x01"}),
        # Types as some senders write them.
        (b"a=1", f"{FORM_TYPE}, charset=utf-8", {"json": {"a": "1"}}),
        (b"a=1", f'"{FORM_TYPE}"', {"json": {"a": "1"}}),
        (b"a=1", f"{FORM_TYPE} charset=utf-8", {"json": {"a": "1"}}),
        (b"12", "application/json, charset=utf-8", {"json": 12}),
        (b"12", "application/json,application/json", {"json": 12}),
        (b"12", " application/vnd.api+json;v=1", {"json": 12}),
        (b"12", "json", {"json": None, "data": "12"}),
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


# Each with where its fault is.
MEANT_AS_JSON = [
    (b'{"key": "k", "n": 1,}', "line 1 column"),
    (b'{"key": "k", "n": 1, "t": "a\nb"}', "line 1 column 29"),
    (b'{\n "key": "k",\n "n": 1', "line 3 column 8"),
    (b'{"key": "k', "line 1 column 9"),
    (b'{"a": NaN}', "NaN is not JSON (RFC 8259, 6), at line 1 column 7"),
    (b'[[1,\n-Infinity]]', "-Infinity is not JSON (RFC 8259, 6), at line 2 column 1"),
    (b'["a", 1e999]', "a number is too large for a double, at line 1 column 7"),
    (b'[["[[[", ' + b"1" * 4301 + b"]]", "an integer has too many digits, at line 1 column 10"),
    ('{"ä": "\n"}'.encode().replace(b'"\n"', b'\n"\xff"'), "not UTF-8 (RFC 8259, 8.1) at line 2 column 2"),
    (b"[" * 201 + b"]" * 201, "nested more than 200 deep, at line 1 column 201"),
    (b"[" * 100_000, "nested more than 200 deep, at line 1 column 201"),
    (b'{"a":' * 300 + b"nope", "nested more than 200 deep, at line 1 column 1001"),
    (b'["INFO"] started', "line 1 column 10"),
    (b" \t[ ] =1", "line 1 column 7"),
    (b"{}&a=1", "line 1 column 3"),
    (b"\xef\xbb\xbf[{},]", "line 1 column"),
]  # fmt: skip


@pytest.mark.parametrize("content_type", [JSON_TYPE, FORM_TYPE, f"{FORM_TYPE}; charset=utf-8", "", "json"])
@pytest.mark.parametrize(("body", "words"), MEANT_AS_JSON)
def test_what_plainly_means_to_be_json_and_is_not_is_refused_where_its_fault_is(
    body: bytes, words: str, content_type: str
) -> None:
    for has_key in (False, True):
        with pytest.raises(BadPayload) as caught:
            payload.parse(body, content_type, has_key)
        assert words in caught.value.detail


@pytest.mark.parametrize("content_type", ["text/plain", "text/csv", "application/octet-stream", "multipart/mixed"])
@pytest.mark.parametrize("body", [body for body, _ in MEANT_AS_JSON])
def test_under_another_type_it_is_data(body: bytes, content_type: str) -> None:
    given = members(body, content_type)
    data = given["data"].encode() if "data_encoding" not in given else base64.b64decode(given["data"])
    assert (data, given["json"]) == (body.removeprefix(codecs.BOM_UTF8), None)


@pytest.mark.parametrize(
    "body", [b"[INFO] started", b"[NaN,1]", b"[1e999] x", b"[1, 2", b"{'a': 1}", b"{", b"[", b"{a}", b"[ -1,]"]
)
def test_what_only_begins_with_a_bracket_is_a_form_or_data(body: bytes) -> None:
    assert members(body) == {"json": None, "data": body.decode()}
    assert members(body, FORM_TYPE) == {"json": {body.decode(): ""}}
    with pytest.raises(BadPayload, match="line 1 column"):
        payload.parse(body, JSON_TYPE, False)


def test_a_form_may_have_names_in_brackets() -> None:
    assert members(b"[0]=a&[x][y]=b", FORM_TYPE) == {"json": {"[0]": "a", "[x][y]": "b"}}


def test_where_the_fault_is_is_found_in_linear_time() -> None:
    """A text in which each quote looks like the beginning of another."""
    body = b"[{}," * 150 + b'"' + b'\\"' * 1_000_000 + b"\\q"
    started = time.process_time()
    with pytest.raises(BadPayload, match="escape"):
        payload.parse(body, JSON_TYPE, False)
    assert time.process_time() - started < 5


def test_two_hundred_levels_are_allowed() -> None:
    deep = b"[" * 200 + b"]" * 200
    assert payload.parse(deep, JSON_TYPE, False).members_json == b'"json":' + deep


def test_brackets_in_text_are_not_levels() -> None:
    body = json.dumps(["[" * 500]).encode()
    assert payload.parse(body, JSON_TYPE, False).members_json == b'"json":' + body


@pytest.mark.parametrize(
    ("body", "parameters", "fields"),
    [
        (b"name=Jos%E9", "; charset=windows-1252", {"name": "José"}),
        (b"name=Jos%E9", ";charset=ISO-8859-1", {"name": "José"}),
        (b"name=Jos\xe9", '; charset="latin1"', {"name": "José"}),
        (b"na%EFve=%80+1", ", charset=iso-8859-1", {"naïve": "€ 1"}),
        (b"name=%81%8D", "; charset=windows-1252", {"name": "\x81\x8d"}),
        (b"name=%CC%EE%F1%EA%E2%E0", "; charset=windows-1251", {"name": "Москва"}),
        (b"name=%83e%83X%83g", "; charset=Shift_JIS", {"name": "テスト"}),
        (b"name=%1B%24B%46%7C%1B%28B", "; charset=iso-2022-jp", {"name": "日"}),
        (b"name=%C4%E3", "; charset=gb2312", {"name": "你"}),
        (b"name=%A7A", "; charset=big5", {"name": "你"}),
        (b"name=Jos%E9&charset=windows-1252", "", {"name": "José", "charset": "windows-1252"}),
        (b"name=%E9&_charset_=latin1&charset=utf-8", "", {"name": "é", "_charset_": "latin1", "charset": "utf-8"}),
        (b"name=%E9&charset=mine&charset=l1", "", {"name": "é", "charset": ["mine", "l1"]}),
        # The type comes before the members, and what names no charset of the web names none.
        (b"name=%C3%A9&charset=latin1", "; charset=utf-8", {"name": "é", "charset": "latin1"}),
        (b"name=%C3%A9&charset=latin1", "; charset=rot13", {"name": "Ã©", "charset": "latin1"}),
        (b"name=%C3%A9", "; charset=klingon", {"name": "é"}),
        # Nobody escapes bytes of UTF-16; a body may be in it.
        (b"name=%C3%A9", "; charset=utf-16", {"name": "é"}),
        ("\ufeffname=é&a=%41".encode("utf-16-le"), "; charset=utf-16le", {"name": "é", "a": "A"}),
    ],
)
def test_a_form_is_read_in_the_charset_that_it_declares(body: bytes, parameters: str, fields: Any) -> None:
    assert members(body, FORM_TYPE + parameters) == {"json": fields}


@pytest.mark.parametrize(
    "label",
    ["rot13", "rot-13", "zlib", "bz2", "hex", "base64", "idna", "punycode", "utf-7", "unicode_escape", "undefined",
     "raw_unicode_escape", "mbcs", "utf-32", "hz", "palmos", "../latin1", "latin1\0", "utf_8_sig", "charmap"],
)  # fmt: skip
@pytest.mark.parametrize("where", ["type", "member"])
def test_nothing_is_decoded_by_what_is_no_charset_of_the_web(label: str, where: str) -> None:
    assert charsets.codec_of(label) is None
    content_type = FORM_TYPE + (f"; charset={label}" if where == "type" else "")
    body = b"a=%2BAOk-&x=78" + (f"&charset={label}".encode() if where == "member" else b"")
    given = members(body, content_type)["json"]
    assert (given["a"], given["x"]) == ("+AOk-", "78")
    assert members(body + b"&b=%E9", content_type) == {"json": None, "data": (body + b"&b=%E9").decode()}


@pytest.mark.parametrize(
    ("body", "parameters"), [(b"a=%ff", ""), (b"\xff=1", ""), (b"a=%ff", "; charset=euc-jp"), (b"a%ff", "")]
)
def test_a_form_in_no_known_charset_is_data_as_it_came(body: bytes, parameters: str) -> None:
    given = members(body, FORM_TYPE + parameters)
    if body.isascii():
        assert given == {"json": None, "data": body.decode()}
    else:
        assert given == {"json": None, "data": base64.b64encode(body).decode(), "data_encoding": "base64"}


@pytest.mark.parametrize(
    ("body", "keys", "left"),
    [
        (b"key=k&a=%E9", ("k",), b"a=%E9"),
        (b"a=%E9&k%65y=%20k+&b=1&key=l", (" k ", "l"), b"a=%E9&b=1"),
        (b"a=%E9&key=caf%E9", (None,), b"a=%E9"),
        (b"a=%E9&kez=k", (), b"a=%E9&kez=k"),
    ],
)
def test_the_key_of_a_form_in_no_known_charset_is_taken_out(body: bytes, keys: Any, left: bytes) -> None:
    parsed = payload.parse(body, FORM_TYPE, True)
    assert parsed.keys == keys
    assert json.loads(b"{" + parsed.members_json + b"}") == {"json": None, "data": left.decode()}


def test_every_charset_of_the_table_reads_what_is_written_in_it() -> None:
    for labels in charsets.LABELS.values():
        for label in labels.split():
            codec = charsets.codec_of(f' "{label.upper()}"')
            assert codec is not None
            assert "A-1".encode(codec).decode(codec, charsets.STRICT) == "A-1"


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
        (b"key=caf%E9&a=1", f"{FORM_TYPE}; charset=latin1", ("café",), {"a": "1"}),
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
    for padding in (b"\0", bytes(512)):
        assert payload.gunzip(packed + padding, 6) == b"abcdef"
        assert payload.gunzip(bytearray(packed + padding), 6) == b"abcdef"
    with pytest.raises(TooLarge):
        payload.gunzip(packed, 5)
    with pytest.raises(TooLarge):
        payload.gunzip(gzip.compress(bytes(10_000_000)), 1_000_000)


@pytest.mark.parametrize(
    "body",
    [b"plain", gzip.compress(b"abc")[:-4], gzip.compress(b"abc") + b"rest", b"\0\0", gzip.compress(b"a") + b"\0x"],
)
def test_what_is_not_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(BadPayload):
        payload.gunzip(body, 1_000)


def test_many_members_take_no_longer_than_their_bytes() -> None:
    packed = gzip.compress(b"") * 200_000 + gzip.compress(b"abc")
    started = time.process_time()
    assert payload.gunzip(packed, 3) == b"abc"
    assert time.process_time() - started < 5


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 1_000_000])
def test_what_is_larger_than_a_piece_is_unpacked_whole(size: int) -> None:
    data = random.Random(7).randbytes(size)
    packed = gzip.compress(data)
    assert payload.gunzip(packed, size) == data
    assert payload.gunzip(packed + packed + bytes(20_000), 2 * size) == data + data
    with pytest.raises(BadPayload, match="too early"):
        payload.gunzip(packed[:-1], size)
    if size:
        with pytest.raises(TooLarge):
            payload.gunzip(packed, size - 1)


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


class TestUnwrap:
    FORM = "application/x-www-form-urlencoded"

    @pytest.mark.parametrize(
        ("body", "members"),
        [
            (b"payload=%7B%22a%22%3A1.10%7D&b=2", {"json": {"a": 1.1}, "form": {"b": "2"}}),
            (b"payload=%5B%5D", {"json": [], "form": {}}),
            (b"payload=plain&b=2", {"json": {"payload": "plain", "b": "2"}}),
            (b"payload=%7B%7D&payload=%7B%7D", {"json": {"payload": ["{}", "{}"]}}),
            (b"b=2", {"json": {"b": "2"}}),
        ],
    )
    def test_a_member_of_a_form_that_is_json_is_the_payload(self, body: bytes, members: Any) -> None:
        parsed = payload.parse(body, self.FORM, False, ("/a",), "payload")
        assert json.loads(b"{%b}" % parsed.members_json) == members
        assert parsed.picked == {"/a": "1.1" if b"1.10" in body else None}

    def test_its_text_is_passed_on_as_it_came(self) -> None:
        parsed = payload.parse(b"payload=%7B%22a%22%3A1.10%7D", self.FORM, False, (), "payload")
        assert parsed.members_json == b'"json":{"a":1.10},"form":{}'

    def test_what_means_to_be_json_and_is_not_is_refused(self) -> None:
        with pytest.raises(BadPayload, match=r"the form's member payload: .* line 1 column 6"):
            payload.parse(b"payload=%7B%22a%22%3Ax%7D", self.FORM, False, (), "payload")

    def test_json_is_no_form(self) -> None:
        parsed = payload.parse(b'{"payload": "{}"}', "application/json", False, (), "payload")
        assert parsed.members_json == b'"json":{"payload": "{}"}'
