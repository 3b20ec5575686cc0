"""SENDERS 5, multipart/form-data: from a body's bytes to text fields and files."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from whd.errors import BadPayload
from whd.wire import multipart, payload

TYPE = "multipart/form-data; boundary=XX"
FIELD = b'Content-Disposition: form-data; name="%b"'


def form(*parts: tuple[bytes, bytes]) -> bytes:
    """A body of (head lines, content)."""
    return b"".join(b"--XX\r\n%b\r\n\r\n%b\r\n" % part for part in parts) + b"--XX--\r\n"


def field(name: bytes, text: bytes) -> tuple[bytes, bytes]:
    return FIELD % name, text


def members(body: bytes, content_type: str = TYPE) -> Any:
    return json.loads(b"{" + payload.parse(body, content_type, False).members_json + b"}")


def test_text_fields_are_json_and_files_are_files() -> None:
    file = FIELD % b"doc" + b'; filename="a.txt"\r\nContent-Type: text/plain', b"one\r\ntwo"
    assert members(form(field(b"a", b"1"), file)) == {
        "json": {"a": "1"},
        "files": {"doc": {"filename": "a.txt", "content_type": "text/plain", "size": 8, "data": "one\r\ntwo"}},
    }


def test_bytes_that_are_no_text_are_base64() -> None:
    raw = bytes(range(256))
    file = members(form((FIELD % b"f" + b'; filename="x"', raw)))["files"]["f"]
    assert file == {
        "filename": "x",
        "content_type": None,
        "size": 256,
        "data": base64.b64encode(raw).decode(),
        "data_encoding": "base64",
    }


def test_what_is_repeated_is_a_list_in_order() -> None:
    files = [(FIELD % b"f" + b'; filename="%d"' % number, b"") for number in range(3)]
    got = members(form(field(b"a", b"1"), field(b"a", b"2"), field(b"a", b"3"), *files))
    assert got["json"] == {"a": ["1", "2", "3"]}
    assert [file["filename"] for file in got["files"]["f"]] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("written", "filename"),
    [
        (b'filename="%22q%22.txt"', '"q".txt'),  # Chrome, Firefox, Safari
        (rb'filename="\"q\".txt"', '"q".txt'),  # curl before 7.81
        (rb'filename="C:\dir\x.txt"', r"C:\dir\x.txt"),
        (b'filename="a;b=c.txt"', "a;b=c.txt"),
        (b"filename=plain.txt", "plain.txt"),
        (b'filename=""', ""),
        ('filename="übung.txt"'.encode(), "übung.txt"),
        (b"filename*=utf-8''%C3%BC.txt", "ü.txt"),  # urllib3 before 2
        (b"filename=\"u.txt\"; filename*=UTF-8''%C3%BC.txt", "ü.txt"),
    ],
)
def test_names_as_clients_write_them(written: bytes, filename: str) -> None:
    assert members(form((FIELD % b"f" + b"; " + written, b"x")))["files"]["f"]["filename"] == filename


def test_charsets_of_a_part_and_of_the_form() -> None:
    own = FIELD % b"a" + b"\r\nContent-Type: text/plain; charset=windows-1252", b"\x80"
    assert members(form(own))["json"] == {"a": "€"}
    assert members(form(field(b"_charset_", b"windows-1252"), field(b"a", b"\x80")))["json"]["a"] == "€"


def test_a_field_that_no_charset_fits_is_kept_as_it_came() -> None:
    got = members(form(field(b"a", b"\xff\xfe\xff")))
    assert got["json"] == {}
    assert base64.b64decode(got["files"]["a"]["data"]) == b"\xff\xfe\xff"
    assert got["files"]["a"]["filename"] is None


def test_only_a_text_field_key_is_a_key() -> None:
    body = form(field(b"key", b"secret"), (FIELD % b"key" + b'; filename="key"', b"file"))
    parsed = payload.parse(body, TYPE, True)
    assert parsed.keys == ("secret",)
    assert b"secret" not in parsed.members_json
    assert list(json.loads(b"{" + parsed.members_json + b"}")["files"]) == ["key"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\r\n", b"y--XX", b"x--XX--", b"\r\n--X", b"\r\n--XXY\r\n", b"\r\n--XX-\r\n", b"\n--XX--\n"],
)
def test_content_that_looks_like_a_delimiter_is_content(content: bytes) -> None:
    assert members(form((FIELD % b"f" + b'; filename="x"', content)))["files"]["f"]["data"].encode() == content


def test_preamble_padding_and_epilogue_mean_nothing() -> None:
    body = b"hello\r\n--XX \t\r\n" + FIELD % b"a" + b"\r\n\r\n1\r\n--XX--  \r\nbye\r\n--XX\r\n"
    assert members(body) == {"json": {"a": "1"}, "files": {}}
    assert members(b"--XX--\r\n") == {"json": {}, "files": {}}


def test_a_boundary_may_be_quoted() -> None:
    assert members(form(field(b"a", b"1")), 'Multipart/Form-Data; charset=utf-8; Boundary="XX"')["json"] == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (form(field(b"a", b"1")), "multipart/form-data", "boundary"),
        (form(field(b"a", b"1")), "multipart/form-data; boundary=" + "X" * 71, "70 characters"),
        (form(field(b"a", b"1"))[:-6], TYPE, "cut off"),
        (b"no delimiter", TYPE, "cut off"),
        (form((b"Content-Type: text/plain", b"1")), TYPE, "part 1"),
        (form((b'Content-Disposition: attachment; name="a"', b"1")), TYPE, "form-data"),
        (form((FIELD % b"a" + b'; name="b"', b"1")), TYPE, "form-data"),
        (form((FIELD % b"a" + b"\r\n folded", b"1")), TYPE, "part 1"),
        (form((FIELD % b"a" + b"\r\n" + FIELD % b"b", b"1")), TYPE, "part 1"),
        (form((FIELD % b"a" + b"\r\nContent-Transfer-Encoding: base64", b"MQ==")), TYPE, "RFC 7578"),
        (form((FIELD % b"a" + b"\r\nX: " + b"x" * 8_192, b"1")), TYPE, "8192 bytes"),
        (form(*[field(b"a", b"1")] * 1_001), TYPE, "1000 parts"),
    ],
)
def test_what_cannot_be_read_says_why(body: bytes, content_type: str, says: str) -> None:
    with pytest.raises(BadPayload, match=says):
        payload.parse(body, content_type, False)


def test_a_thousand_parts_are_read() -> None:
    assert len(members(form(*[field(b"a", b"1")] * 1_000))["json"]["a"]) == 1_000


def test_any_bytes_come_back_or_are_refused() -> None:
    dice = random.Random(7578)
    seed = form(field(b"a", b"1"), (FIELD % b"f" + b'; filename="x"', b"\r\n--X\r\n--XXX"), field(b"", b""))
    pieces = [b"\r\n", b"--XX", b"--", b"\r", b"\n", b'"', b"\\", b";", b"=", b":", b"\0", b"\xff", b"*=", b"''"]
    for _ in range(5_000):
        body = bytearray(seed)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(body))
            body[at : at + dice.randrange(3)] = dice.choice(pieces)
        try:
            parsed = multipart.parse(body, TYPE, True)
        except BadPayload:
            continue
        json.dumps([parsed.fields, parsed.files])
