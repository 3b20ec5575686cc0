"""What this.task('REST') takes and gives: inputs to request, answer to output_value."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from whd.rest import (
    INPUT_NAMES,
    InputError,
    RestRequest,
    RestResult,
    json_text,
    output_json,
    output_of,
    request_from_inputs,
)

URL = "https://api.example.com/items"


def request(**inputs: Any) -> RestRequest:
    return request_from_inputs({"url": URL, **inputs})


def test_a_url_is_enough() -> None:
    assert request() == RestRequest("GET", URL, (), None, (200, 201, 202, 204))


def test_none_is_the_same_as_leaving_an_input_out() -> None:
    assert request(**{name: None for name in INPUT_NAMES if name != "url"}) == request()


@pytest.mark.parametrize("method", ["post", "POST", "Post"])
def test_a_method_is_taken_in_any_case(method: str) -> None:
    assert request(method=method).method == "POST"


@pytest.mark.parametrize(
    ("inputs", "body", "content_type"),
    [
        ({"json": {"a": [1, "ä", None]}}, '{"a":[1,"ä",null]}'.encode(), "application/json"),
        ({"json": []}, b"[]", "application/json"),
        ({"json": ["\ud800ä"]}, '["\\ud800ä"]'.encode(), "application/json"),
        ({"json": False}, b"false", "application/json"),
        ({"data": "ä"}, "ä".encode(), "text/plain; charset=utf-8"),
        ({"data": ""}, b"", "text/plain; charset=utf-8"),
        ({"data": b"\x00\xff"}, b"\x00\xff", "application/octet-stream"),
        ({"data": {"a": [1]}}, b'{"a":[1]}', "application/json"),
        ({"data": []}, b"[]", "application/json"),
        ({"urlencoded": {"a": "b c&", "d": 1}}, b"a=b+c%26&d=1", "application/x-www-form-urlencoded"),
        ({"urlencoded": {"a": ["1", 2, True]}}, b"a=1&a=2&a=true", "application/x-www-form-urlencoded"),
        ({"urlencoded": [["a", "ä"], ["a", 1.5]]}, b"a=%C3%A4&a=1.5", "application/x-www-form-urlencoded"),
        ({"urlencoded": {}}, b"", "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_brings_its_content_type(inputs: dict[str, Any], body: bytes, content_type: str) -> None:
    made = request(method="post", **inputs)
    assert made.body == body
    assert made.headers == (("Content-Type", content_type),)


def test_a_content_type_that_is_given_stays() -> None:
    made = request(data="<a/>", headers={"content-type": "text/xml"})
    assert made.headers == (("content-type", "text/xml"),)


def test_headers_may_be_numbers_and_lists_and_lose_white_space_around_them() -> None:
    made = request(headers={"X-A": 1, "X-B": ["b", " c\t"], "X-C": "ä\tö", "X-D": ""})
    assert made.headers == (("X-A", "1"), ("X-B", "b"), ("X-B", "c"), ("X-C", "ä\tö"), ("X-D", ""))


@pytest.mark.parametrize(("given", "codes"), [(201, (201,)), ([200, 404], (200, 404)), ((999,), (999,))])
def test_expected_status_codes_are_one_or_several(given: Any, codes: tuple[int, ...]) -> None:
    assert request(expected_status_code=given).expected_status_codes == codes


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"url": 1}, "url must be text, not int"),
    ({"verify": False}, "REST has no input 'verify'; it has url, method, data, json"),
    ({"Url": URL}, "REST has no input 'Url'"),
    ({"method": 1}, "method must be text"),
    ({"method": "CONNECT"}, "method must be one of GET, HEAD"),
    ({"method": "GET / HTTP/1.1\r\nX: "}, "method must be one of"),
    ({"data": "a", "json": 1}, "one of data, json and urlencoded, not data and json"),
    ({"data": 1}, "urlencoded= sends a form"),
    ({"data": {"a": {1}}}, "cannot be written as JSON"),
    ({"cookies": {"a": "b"}}, "REST has no input 'cookies'; send headers={'Cookie': 'name=value'}; it has url"),
    ({"data": "\ud800"}, "surrogate"),
    ({"json": float("nan")}, "cannot be written as JSON"),
    ({"json": {"a": {1, 2}}}, "cannot be written as JSON"),
    ({"urlencoded": "a=b"}, "urlencoded must be a dict"),
    ({"urlencoded": {"a": None}}, "urlencoded['a'] must be text, a number"),
    ({"urlencoded": {"a": {"b": 1}}}, "urlencoded['a'] must be text, a number"),
    ({"urlencoded": {1: "a"}}, "keyed by text"),
    ({"urlencoded": {"a": "\ud800"}}, "surrogate"),
    ({"headers": [("a", "b")]}, "headers must be a dict"),
    ({"headers": {"a b": "c"}}, "a name that HTTP does not allow: 'a b'"),
    ({"headers": {"a\r\nb": "c"}}, "a name that HTTP does not allow"),
    ({"headers": {"a:": "c"}}, "a name that HTTP does not allow"),
    ({"headers": {"ä": "c"}}, "a name that HTTP does not allow"),
    ({"headers": {"": "c"}}, "a name that HTTP does not allow"),
    ({"headers": {"X-A": "secret\r\nHost: evil.example"}}, "headers['X-A'] holds a control character"),
    ({"headers": {"X-A": "secret\nb"}}, "headers['X-A'] holds a control character"),
    ({"headers": {"X-A": "secret\x00"}}, "headers['X-A'] holds a control character"),
    ({"headers": {"X-A": None}}, "headers['X-A'] must be text or a number"),
    ({"headers": {"X-A": "\ud800"}}, "surrogate"),
    ({"headers": {"Host": "evil.example"}}, "must not have Host"),
    ({"headers": {"transfer-encoding": "chunked"}}, "must not have transfer-encoding"),
    ({"headers": {"Content-Length": 3}}, "must not have Content-Length"),
    ({"headers": {f"X-{number}": "a" for number in range(201)}}, "201 fields"),
    ({"expected_status_code": "200"}, "expected_status_code must be a number"),
    ({"expected_status_code": [True]}, "expected_status_code must be a number"),
    ({"expected_status_code": 99}, "expected_status_code must be a number"),
    ({"expected_status_code": []}, "an empty list"),
]


@pytest.mark.parametrize(("inputs", "text"), WRONG, ids=[text for _, text in WRONG])
def test_a_wrong_input_is_named_with_what_was_expected(inputs: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as caught:
        request(**inputs)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.kind == "InvalidInputError"


def test_without_a_url_something_is_missing() -> None:
    with pytest.raises(InputError, match="REST needs url") as caught:
        request_from_inputs({})
    assert caught.value.kind == "MissingInputError"


def test_secrets_are_not_in_a_repr() -> None:
    made = request_from_inputs({"url": f"{URL}?key=secret", "headers": {"Authorization": "secret"}, "data": "secret"})
    assert "secret" not in repr(made)


def answer(body: bytes, *headers: tuple[str, str], status: int = 200) -> RestResult:
    return RestResult(status, headers, body, True, URL, f"GET {URL}")


def typed(body: bytes, content_type: str) -> dict[str, Any]:
    output = output_of(answer(body, ("content-type", content_type)))
    assert output.pop("status_code") == 200
    assert output.pop("headers") == {"content-type": content_type}
    return output


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/hal+json"]
)
def test_json_by_its_content_type_is_given_as_json(content_type: str) -> None:
    assert typed('{"a": ["ä"]}'.encode(), content_type) == {"json": {"a": ["ä"]}}
    assert typed(b'\xef\xbb\xbf{"a": 1}', content_type) == {"json": {"a": 1}}


@pytest.mark.parametrize("body", [b"<html>", b"", b"{", b"NaN", b"[" * 300 + b"]" * 300, b"1e999", b"9" * 5000])
def test_what_is_not_strict_json_is_given_as_text(body: bytes) -> None:
    assert typed(body, "application/json") == {"text": body.decode()}


@pytest.mark.parametrize("content_type", ["text/plain", "text/html; charset=utf-8", "application/octet-stream", ""])
def test_an_object_or_array_is_json_where_nothing_else_is_said(content_type: str) -> None:
    assert typed(b'{"a": 1}', content_type) == {"json": {"a": 1}}
    assert typed(b"\n [1]", content_type) == {"json": [1]}
    for body in (b"1", b'"a"', b"null", b"{a}", b"[1", b"<b>{}</b>", b"{NaN}"):
        assert "json" not in typed(body, content_type)


def test_json_under_a_content_type_that_means_something_else_is_text() -> None:
    assert typed(b'{"a": 1}', "application/x-ndjson") == {"text": '{"a": 1}'}
    assert typed(b"[1]", "image/svg+xml") == {"text": "[1]"}


def test_without_any_content_type_it_is_read_like_that_too() -> None:
    assert output_of(answer(b'{"a": 1}')) == {"status_code": 200, "headers": {}, "json": {"a": 1}}
    assert output_of(answer(b"a")) == {"status_code": 200, "headers": {}, "text": "a"}


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("ä".encode(), "text/plain", "ä"),
        ("ä".encode("latin-1"), "text/plain; charset=ISO-8859-1", "ä"),
        ("ä".encode("latin-1"), 'text/plain;charset="latin1"', "ä"),
        ("€".encode("cp1252"), "text/html; x=y; charset=windows-1252", "€"),
        ("日本".encode("shift_jis"), "text/html; charset=Shift_JIS", "日本"),
        ("ä".encode("utf-16"), "text/plain; charset=utf-16", "ä"),
        (b"\xef\xbb\xbfa", "text/plain", "a"),
        (b"rot13", "text/plain; charset=rot13", "rot13"),
        (b"\\x41", "text/plain; charset=unicode_escape", "\\x41"),
        (b"a", "text/plain; charset=../../x", "a"),
    ],
)
def test_text_is_read_by_its_charset_utf_8_if_there_is_none(body: bytes, content_type: str, text: str) -> None:
    assert typed(body, content_type) == {"text": text}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\x89PNG\xff", "image/png"),
        (b"\xff", "text/plain"),
        (b"\xff", "application/json"),
        (b"\xff", "a; charset=ascii"),
    ],
)
def test_what_is_no_text_is_given_in_base64(body: bytes, content_type: str) -> None:
    assert typed(body, content_type) == {"data": base64.b64encode(body).decode(), "data_encoding": "base64"}


def test_a_body_with_a_content_coding_is_given_as_it_is() -> None:
    output = output_of(answer(b"{}", ("content-type", "application/json"), ("content-encoding", "gzip")))
    assert output["data"] == base64.b64encode(b"{}").decode()
    assert output_of(answer(b"{}", ("content-encoding", "identity")))["json"] == {}


def test_repeated_headers_are_joined() -> None:
    headers = [("vary", "a"), ("set-cookie", "a=b; Expires=Mon, 1"), ("vary", "b"), ("set-cookie", "c=d")]
    assert output_of(answer(b"", *headers))["headers"] == {
        "vary": "a, b",
        "set-cookie": "a=b; Expires=Mon, 1\nc=d",
    }


def test_large_json_is_passed_on_byte_for_byte_once_it_was_checked() -> None:
    result = answer(b'\xef\xbb\xbf{"a" : 1}\n', ("content-type", "application/json"), status=201)
    text = json_text(result)
    assert text == b'{"a" : 1}\n'
    assert json.loads(output_json(result, text)) == output_of(result)
    assert output_of(result, may_be_json=False)["text"] == '{"a" : 1}\n'
    assert json_text(answer(b"{")) == b"{"  # not parsed yet
    assert json_text(answer(b"1")) is None
    assert json_text(answer(b"\xff", ("content-type", "application/json"))) is None


def test_a_message_says_what_came_and_what_was_expected() -> None:
    assert answer(b"").message == f"GET {URL}: status 200"
    unexpected = RestResult(404, (), b"", False, URL, f"GET {URL}", (200, 204))
    assert unexpected.message == f"GET {URL}: status 404 was not expected (expected_status_code: 200 or 204)"
