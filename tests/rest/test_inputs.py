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
    without_credentials,
)
from whd.rest.outputs import TEXT_BESIDE_JSON_BYTES

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


@pytest.mark.parametrize("inputs", [{"data": ""}, {"json": []}, {"json": 0}, {"urlencoded": {}}, {"data": {"a": 1}}])
def test_a_body_without_a_method_is_posted(inputs: dict[str, Any]) -> None:
    assert request(**inputs).method == "POST"
    assert request(**inputs, method=None).method == "POST"
    assert request(**inputs, method="put").method == "PUT"
    assert request(**dict.fromkeys(inputs)).method == "GET"


@pytest.mark.parametrize(
    ("url", "params", "sent"),
    [
        (URL, {}, URL),
        (URL, {"a": None}, URL),
        (URL, {"a": "b c&d=e+f", "n": 1, "yes": True, "f": 1.5}, f"{URL}?a=b%20c%26d%3De%2Bf&n=1&yes=true&f=1.5"),
        (URL, {"a": [1, "2"], "b": []}, f"{URL}?a=1&a=2"),
        (URL, [["a", "1"], ["b", "ä"], ["a", 2]], f"{URL}?a=1&b=%C3%A4&a=2"),
        (f"{URL}?x=y", {"a": "/?"}, f"{URL}?x=y&a=%2F%3F"),
        (f"{URL}?", {"a": ""}, f"{URL}?a="),
        (f"{URL}?x&", {"a": 1}, f"{URL}?x&a=1"),
        (f"{URL}#top?x", {"a": 1}, f"{URL}?a=1"),
        (f"{URL}?x=y#top", {"a": "#"}, f"{URL}?x=y&a=%23"),
    ],
)
def test_params_are_added_to_the_query(url: str, params: Any, sent: str) -> None:
    assert request_from_inputs({"url": url, "params": params}).url == sent


@pytest.mark.parametrize(
    ("inputs", "cookie"),
    [
        ({"cookies": {"a": "b", "n": 1}}, "a=b; n=1"),
        ({"cookies": {"a": "x=y z"}}, "a=x=y z"),
        ({"cookies": {"a": "b"}, "headers": {"cookie": "c=d"}}, "c=d; a=b"),
        ({"cookies": {"a": "b"}, "headers": {"cookie": ""}}, "a=b"),
        ({"cookies": {"a": "b"}, "headers": {"Cookie": ["c=d", "e=f"]}}, "c=d; e=f; a=b"),
    ],
)
def test_cookies_go_into_one_field(inputs: dict[str, Any], cookie: str) -> None:
    assert request(**inputs).headers == (("Cookie", cookie),)


def test_no_cookies_are_no_field() -> None:
    assert request(cookies={}).headers == ()


@pytest.mark.parametrize(
    "auth", [{"username": "Aladdin", "password": "open sesame"}, ["Aladdin", "open sesame"], ("Aladdin", "open sesame")]
)
def test_auth_is_basic(auth: Any) -> None:
    """RFC 7617, 2, has this example."""
    assert request(auth=auth).headers == (("Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),)


def test_credentials_in_auth_are_utf_8() -> None:
    """RFC 7617, 2.1, has this example."""
    assert request(auth=["test", "123£"]).headers == (("Authorization", "Basic dGVzdDoxMjPCow=="),)


@pytest.mark.parametrize(("given", "seconds"), [(2, 2.0), (0.5, 0.5), ("3.5", 3.5), (None, None)])
def test_a_timeout_is_a_number_of_seconds(given: Any, seconds: float | None) -> None:
    assert request(timeout=given).timeout_s == seconds


def test_redirects_are_followed_unless_they_are_the_answer() -> None:
    assert (request().follows_redirects, request().max_redirects) == (True, 5)
    assert not request(allow_redirects=False).follows_redirects
    assert [request(max_redirects=number).max_redirects for number in (0, 3, 20)] == [0, 3, 5]


def test_certificates_are_verified_in_any_case() -> None:
    assert request(verify=True, verify_ssl=True) == request()


def test_a_record_shows_no_credentials() -> None:
    shown = without_credentials({"url": URL, "auth": ["kevin", "s3cr3t"], "cookies": {"session": "s3cr3t"}})
    assert shown == {"url": URL, "auth": ["kevin", "***"], "cookies": {"session": "***"}}
    shown = without_credentials({"auth": {"username": "kevin", "password": "s3cr3t"}, "json": {"auth": "stays"}})
    assert shown == {"auth": {"username": "kevin", "password": "***"}, "json": {"auth": "stays"}}
    assert without_credentials({"auth": "s3cr3t", "cookies": ["s3cr3t"]}) == {"auth": "***", "cookies": "***"}
    assert without_credentials({"auth": None, "cookies": None}) == {"auth": None, "cookies": None}


def test_headers_may_be_numbers_and_lists_and_lose_white_space_around_them() -> None:
    made = request(headers={"X-A": 1, "X-B": ["b", " c\t"], "X-C": "ä\tö", "X-D": ""})
    assert made.headers == (("X-A", "1"), ("X-B", "b"), ("X-B", "c"), ("X-C", "ä\tö"), ("X-D", ""))


@pytest.mark.parametrize(("given", "codes"), [(201, (201,)), ([200, 404], (200, 404)), ((999,), (999,))])
def test_expected_status_codes_are_one_or_several(given: Any, codes: tuple[int, ...]) -> None:
    assert request(expected_status_code=given).expected_status_codes == codes


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"url": 1}, "url must be text, not int"),
    ({"nonsense": False}, "REST has no input 'nonsense'; it has url, method, params, data, json"),
    ({"verify": False}, "REST's verify=False is not available: the certificates of this machine are trusted"),
    ({"verify_ssl": False}, "REST's verify_ssl=False is not available"),
    ({"verify": "/ca.pem"}, "REST's verify must be True or False, not str"),
    ({"allow_redirects": 1}, "REST's allow_redirects must be True or False, not int"),
    ({"max_redirects": -1}, "REST's max_redirects must be a number, 0 or more"),
    ({"timeout": 0}, "REST's timeout must be a number of seconds, more than 0"),
    ({"timeout": "soon"}, "REST's timeout must be a number of seconds"),
    ({"timeout": float("nan")}, "REST's timeout must be a number of seconds"),
    ({"timeout": float("inf")}, "REST's timeout must be a number of seconds"),
    ({"timeout": 10**400}, "REST's timeout must be a number of seconds"),
    ({"timeout": True}, "REST's timeout must be a number of seconds"),
    ({"timeout": [1, 2]}, "REST's timeout must be a number of seconds"),
    ({"params": "a=b"}, "params must be a dict"),
    ({"params": {"a": {}}}, "params['a'] must be text, a number"),
    ({"params": {1: "a"}}, "params must be keyed by text"),
    ({"params": {"a": "\ud800"}}, "params holds half a surrogate pair"),
    ({"cookies": [["a", "b"]]}, "cookies must be a dict"),
    ({"cookies": {"a b": "c"}}, "cookies has a name that HTTP does not allow: 'a b'"),
    ({"cookies": {"a": None}}, "cookies['a'] must be text or a number"),
    ({"cookies": {"a": "secret; b=c"}}, "cookies['a'] holds a semicolon"),
    ({"cookies": {"a": "secret\r\nX: y"}}, "cookies['a'] holds a control character"),
    ({"auth": "Bearer secret"}, "another scheme goes into headers={'Authorization': …}"),
    ({"auth": {"username": "kevin"}}, "auth must be {'username': …, 'password': …} or a pair"),
    ({"auth": ["kevin", 7]}, "both text"),
    ({"auth": ["ke:vin", "secret"]}, "a colon in its username"),
    ({"auth": ["kevin", "secret\n"]}, "a control character"),
    ({"auth": ["kevin", "secret\ud800"]}, "surrogate"),
    ({"auth": ["a", "b"], "headers": {"authorization": "secret"}}, "auth or an Authorization header, not both"),
    ({"username": "kevin"}, "REST has no input 'username'; give auth={'username': …, 'password': …}; it has url"),
    ({"multipart": {}}, "REST has no input 'multipart'; give the encoded form as data="),
    ({"grant": "x"}, "REST has no input 'grant'; get the token with a call of its own"),
    ({"hostname": "x"}, "REST has no input 'hostname'; give the whole address as url="),
    ({"retry_backoff": {}}, "REST has no input 'retry_backoff'; catch flow_api.DependencyFailedError"),
    ({"read_timeout": 1}, "REST has no input 'read_timeout'; timeout= bounds the whole call"),
    ({"cacert": "x"}, "REST has no input 'cacert'; the certificates of this machine are trusted"),
    ({"Url": URL}, "REST has no input 'Url'"),
    ({"method": 1}, "method must be text"),
    ({"method": "CONNECT"}, "method must be one of GET, HEAD"),
    ({"method": "GET / HTTP/1.1\r\nX: "}, "method must be one of"),
    ({"data": "a", "json": 1}, "one of data, json and urlencoded, not data and json"),
    ({"data": 1}, "urlencoded= sends a form"),
    ({"data": {"a": {1}}}, "cannot be written as JSON"),
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
    """What the body became: `json` without the text that stands beside it, or `text`, or `data`."""
    output = output_of(answer(body, ("content-type", content_type)))
    assert output.pop("status_code") == 200
    assert output.pop("headers") == {"content-type": content_type}
    assert output.pop("cookies") == {}
    encoding = output.pop("encoding")
    if "json" in output:
        assert encoding == "utf-8"
        assert output.pop("text") == body.decode("utf-8-sig")
    assert (encoding is None) == ("data" in output)
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
    always = {"status_code": 200, "headers": {}, "cookies": {}, "encoding": "utf-8"}
    assert output_of(answer(b'{"a": 1}')) == {**always, "json": {"a": 1}, "text": '{"a": 1}'}
    assert output_of(answer(b"a")) == {**always, "text": "a"}


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
    ("content_type", "encoding"),
    [
        ("text/plain", "utf-8"),
        ("text/plain; charset=ISO-8859-1", "iso-8859-1"),
        ('text/html; charset="Windows-1252"', "windows-1252"),
        ("text/plain; charset=rot13", "utf-8"),
        ("image/png", "utf-8"),
    ],
)
def test_the_charset_that_a_text_was_read_by_is_said(content_type: str, encoding: str) -> None:
    assert output_of(answer(b"a", ("content-type", content_type)))["encoding"] == encoding


def test_the_text_stands_beside_json_unless_it_would_double_a_large_answer() -> None:
    small, large = b'["a"]', b'["' + b"a" * TEXT_BESIDE_JSON_BYTES + b'"]'
    assert output_of(answer(small)).keys() >= {"json", "text"}
    assert "text" not in output_of(answer(small), text_beside_json=False)
    assert "text" not in output_of(answer(large))
    assert "text" not in json.loads(output_json(answer(large), large))
    assert "text" not in json.loads(output_json(answer(small), small, text_beside_json=False))


def test_cookies_are_given_by_name() -> None:
    fields = ["session=a=b; Path=/; HttpOnly", ' theme = "dark" ;Secure', "session=new", "empty=", "nameless", "=x", ""]
    output = output_of(answer(b"", *(("set-cookie", field) for field in fields)))
    assert output["cookies"] == {"session": "new", "theme": '"dark"', "empty": ""}
    assert request(cookies=output["cookies"]).headers == (("Cookie", 'session=new; theme="dark"; empty='),)


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
