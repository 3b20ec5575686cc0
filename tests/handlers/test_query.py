"""CONTRACT 3: the query string, and what in it is whd's own."""

from __future__ import annotations

from typing import Any

import pytest

from whd.errors import BadRequest
from whd.handlers.query import parse


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", {}),
        ("debug=1", {"debug": "1"}),
        ("debug", {"debug": ""}),
        ("debug=", {"debug": ""}),
        ("a=1&a=2&b=3&a=4", {"a": ["1", "2", "4"], "b": "3"}),
        ("a=b=c", {"a": "b=c"}),
        ("q=two+words%21", {"q": "two words!"}),
        ("n%C3%A9=%E2%82%AC", {"né": "€"}),
        # What fits no charset stays as it came.
        ("a=%ff", {"a": "%FF"}),
        ("name=Jos%e9+%C3%A9", {"name": "Jos%E9 é"}),
        ("%E9=1", {"%E9": "1"}),
        ("name=Jos%E9&charset=windows-1252", {"name": "José", "charset": "windows-1252"}),
        (
            "_charset_=shift_jis&n%83e=%83e%83X%83g&charset=utf-8",
            {"_charset_": "shift_jis", "nテ": "テスト", "charset": "utf-8"},
        ),
        ("charset=mine&charset=latin1&name=%E9", {"charset": ["mine", "latin1"], "name": "é"}),
        ("name=%C3%A9&charset=utf-8", {"name": "é", "charset": "utf-8"}),
        ("name=%C3%A9&charset=rot13", {"name": "é", "charset": "rot13"}),
        ("name=%D2%81&charset=windows-1253", {"name": "%D2\x81", "charset": "windows-1253"}),
        ("&&a=1&", {"a": "1"}),
        ("a=%zz", {"a": "%zz"}),
    ],
)
def test_fields(text: str, fields: dict[str, Any]) -> None:
    assert parse(text).fields == fields


@pytest.mark.parametrize(
    ("text", "is_async"),
    [
        ("async", True), ("async=", True), ("async=1", True), ("async=TRUE", True), ("async=yes", True),
        ("async=on", True), ("async=0", False), ("async=false", False), ("async=No", False), ("async=off", False),
        ("a=1", None),
    ],
)  # fmt: skip
def test_async_is_read_and_taken_out(text: str, is_async: bool | None) -> None:
    query = parse(text)
    assert query.is_async is is_async
    assert "async" not in query.fields


def test_another_value_of_async_is_refused() -> None:
    with pytest.raises(BadRequest):
        parse("async=perhaps")


def test_every_key_is_taken_out() -> None:
    query = parse("key=a%20b&x=1&key=%ff")
    assert query.keys == (b"a b", b"\xff")
    assert query.fields == {"x": "1"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("key=caf%C3%A9", "café"),
        ("key=caf%E9&charset=latin1", "café"),
        ("key=caf%E9", b"caf\xe9"),
        ("key=%FF&charset=euc-jp", b"\xff"),
    ],
)
def test_a_key_is_compared_as_bytes_of_utf8(text: str, key: str | bytes) -> None:
    assert parse(text).keys == (key.encode() if isinstance(key, str) else key,)


def test_without_a_webhook_key_the_key_is_the_flows() -> None:
    query = parse("key=a", has_key=False)
    assert query.keys == ()
    assert query.fields == {"key": "a"}
