"""From a flow's inputs to a request: each input checked, each error naming it and what was expected. Pure.

    url                    text, needed
    method                 one of METHODS, in any case; default 'post' with a body, else 'get'
    params                 a dict of names to text, numbers, booleans, or lists of these; or such pairs: added to the
                           URL's query, percent-encoded (a space as %20); None as a value leaves the name out
    data, json, urlencoded the body, at most one of them; None is the same as leaving it out
        data               text (sent as UTF-8) or bytes; a dict or a list is sent as JSON, as scripts of 2019 mean it
        json               any JSON value
        urlencoded         as params, but a space as + (the web's forms), and no None
    headers                a dict of names to text or numbers, or lists of these (a field for each)
    cookies                a dict of names to text or numbers: one Cookie field, with that of `headers` if there is one
    auth                   {'username': text, 'password': text}, or the two as a pair: Basic (RFC 7617), UTF-8
    expected_status_code   a number or a list of them; default [200, 201, 202, 204]
    timeout                seconds in all, redirects included, a number or numeric text; within the execution's own
    allow_redirects        False: a redirect is the answer. max_redirects: how many are followed, within MAX_REDIRECTS
    verify, verify_ssl     True, which is so in any case

What frames the message or decides whom it reaches (FORBIDDEN_HEADERS) is the daemon's business, not the flow's.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

from .values import EXPECTED_STATUS_CODES, MAX_REDIRECTS, HeaderFields, RestRequest

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
INPUT_NAMES = (
    "url", "method", "params", "data", "json", "urlencoded", "headers", "cookies", "auth", "expected_status_code",
    "timeout", "allow_redirects", "max_redirects", "verify", "verify_ssl",
)  # fmt: skip
FORBIDDEN_HEADERS = frozenset(
    "connection content-length expect host http2-settings keep-alive proxy-authorization proxy-connection te trailer "
    "transfer-encoding upgrade".split()
)
MAX_HEADERS = 200
MAX_TIMEOUT_S = 1e6
_CERTIFICATES = "the certificates of this machine are trusted, and an operator can add one there"
_RETRIES = "catch flow_api.DependencyFailedError, this.sleep(…), and call again"
# What the original platform's task takes beyond these, or what people know from HTTP libraries.
_INSTEAD = {
    **dict.fromkeys(("cacert", "cert", "ca_cert", "client_cert"), _CERTIFICATES),
    "pass_user_token": "what is called needs a key of its own, in headers",
    **dict.fromkeys(("grant", "oauth", "token"), "get the token with a call of its own, and send it in headers"),
    **dict.fromkeys(("username", "password"), "give auth={'username': …, 'password': …}"),
    **dict.fromkeys(("connect_timeout", "read_timeout", "timeout_sec"), "timeout= bounds the whole call"),
    **dict.fromkeys(("multipart", "files"), "give the encoded form as data=, and its type in headers"),
    **dict.fromkeys(("base_path", "hostname", "path", "port", "scheme"), "give the whole address as url="),
    **dict.fromkeys(("proxies", "proxy"), "whd connects directly"),
    **dict.fromkeys(("query", "query_string"), "give params="),
    **dict.fromkeys(("body", "content"), "give data=, json= or urlencoded="),
    "follow_redirects": "give allow_redirects=",
    "retry_backoff": _RETRIES,
    **dict.fromkeys(("retry_count", "retry_status_codes", "retries"), _RETRIES),
    "stream": "an answer is read whole",
    **dict.fromkeys(("init", "protect_inputs", "protect_outputs"), "it stands beside inputs, not among them"),
    **dict.fromkeys(("retention_time", "location", "save"), "leave it out"),
}

HIDDEN = "***"

_BODIES = ("data", "json", "urlencoded")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, 5.5: a tab is the one control character allowed
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")  # RFC 7617, 2
_TEXT_TYPE = "text/plain; charset=utf-8"
_FORM_TYPE = "application/x-www-form-urlencoded"

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


class InputError(ValueError):
    """An input that cannot be used. `kind`: the flow_api error that the flow gets."""

    def __init__(self, text: str, kind: str = "InvalidInputError") -> None:
        super().__init__(text)
        self.kind = kind


def request_from_inputs(inputs: Mapping[str, Any]) -> RestRequest:
    """The request that this.task('REST', **inputs) means. Raises InputError."""
    for name in inputs:
        if name not in INPUT_NAMES:
            instead = f"; {_INSTEAD[name]}" if name in _INSTEAD else ""
            raise InputError(f"REST has no input {str(name)[:50]!r}{instead}; it has {', '.join(INPUT_NAMES)}")
    url = inputs.get("url")
    if url is None:
        raise InputError("REST needs url, as in url='https://api.example.com/items'", "MissingInputError")
    if type(url) is not str:
        raise _wrong("url", "text", url)
    body, content_type = _body(inputs)
    headers = _headers(inputs.get("headers"))
    if content_type and not _has(headers, "content-type"):
        headers = (*headers, ("Content-Type", content_type))
    headers = _with_cookies(headers, inputs.get("cookies"))
    headers = _with_auth(headers, inputs.get("auth"))
    if len(headers) > MAX_HEADERS:
        raise InputError(f"REST's headers has {len(headers)} fields, at most {MAX_HEADERS} are sent")
    for name in ("verify", "verify_ssl"):
        if not _flag(name, inputs.get(name)):
            raise InputError(f"REST's {name}=False is not available: {_CERTIFICATES}")
    return RestRequest(
        _method(inputs.get("method"), "GET" if body is None else "POST"),
        _with_params(url, inputs.get("params")),
        headers,
        body,
        _status_codes(inputs.get("expected_status_code")),
        _timeout(inputs.get("timeout")),
        _flag("allow_redirects", inputs.get("allow_redirects")),
        _max_redirects(inputs.get("max_redirects")),
    )


def without_credentials(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as a record shows them: `***` for the password of `auth`, and for the cookies' values."""
    shown = dict(inputs)
    auth, cookies = shown.get("auth"), shown.get("cookies")
    if isinstance(auth, Mapping):
        shown["auth"] = {name: HIDDEN if name == "password" else value for name, value in auth.items()}
    elif auth is not None:
        shown["auth"] = [auth[0], HIDDEN] if type(auth) in (list, tuple) and len(auth) == 2 else HIDDEN
    if isinstance(cookies, Mapping):
        shown["cookies"] = dict.fromkeys(cookies, HIDDEN)
    elif cookies is not None:
        shown["cookies"] = HIDDEN
    return shown


def _wrong(name: str, expected: str, value: object) -> InputError:
    return InputError(f"REST's {name} must be {expected}, not {type(value).__name__}")


def _method(value: Any, default: str) -> str:
    if value is None:
        return default
    if type(value) is not str:
        raise _wrong("method", "text", value)
    method = value.upper()
    if method not in METHODS:
        raise InputError(f"REST's method must be one of {', '.join(METHODS)}, not {value[:50]!r}")
    return method


def _body(inputs: Mapping[str, Any]) -> tuple[bytes | None, str]:
    given = [name for name in _BODIES if inputs.get(name) is not None]
    if not given:
        return None, ""
    if len(given) > 1:
        raise InputError(f"REST takes one of data, json and urlencoded, not {' and '.join(given)}")
    name = given[0]
    return _BODY_READERS[name](inputs[name])


def _read_data(value: Any) -> tuple[bytes, str]:
    if type(value) is bytes:
        return value, "application/octet-stream"
    if type(value) in (dict, list):
        return _read_json(value)
    if type(value) is not str:
        raise InputError(
            f"REST's data must be text, not {type(value).__name__}: json= sends JSON, urlencoded= sends a form"
        )
    return _utf_8("data", value), _TEXT_TYPE


def _read_json(value: Any) -> tuple[bytes, str]:
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"REST's json cannot be written as JSON: {error}") from None
    # Half of a surrogate pair, which UTF-8 lacks, goes out as the escape that JSON has for it.
    return text.encode("utf-8", "backslashreplace"), "application/json"


def _read_urlencoded(value: Any) -> tuple[bytes, str]:
    fields = [(name, _form_text("urlencoded", name, item)) for name, item in _pairs("urlencoded", value)]
    return _encoded("urlencoded", fields, plus=True).encode("ascii"), _FORM_TYPE


def _with_params(url: str, value: Any) -> str:
    """The URL with further members of its query; a fragment, which is never sent, goes."""
    if value is None:
        return url
    given = [(name, item) for name, item in _pairs("params", value) if item is not None]
    fields = [(name, _form_text("params", name, item)) for name, item in given]
    if not fields:
        return url
    base = url.partition("#")[0]
    joint = "?" if "?" not in base else "" if base[-1] in "?&" else "&"
    return f"{base}{joint}{_encoded('params', fields, plus=False)}"


def _pairs(what: str, value: Any) -> list[tuple[str, Any]]:
    """A dict, or pairs, of names to values, as single pairs: a list is a value for each of its items."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif type(value) in (list, tuple) and all(type(pair) in (list, tuple) and len(pair) == 2 for pair in value):
        pairs = [(name, item) for name, item in value]
    else:
        raise _wrong(what, "a dict of names to text, numbers or lists of these", value)
    for name, _ in pairs:
        if type(name) is not str:
            raise _wrong(what, "keyed by text", name)
    return [(name, each) for name, item in pairs for each in _each(item)]


def _encoded(what: str, fields: list[tuple[str, str]], *, plus: bool) -> str:
    try:
        return urlencode(fields, errors="strict") if plus else urlencode(fields, errors="strict", quote_via=quote)
    except UnicodeEncodeError:
        raise InputError(f"REST's {what} holds half a surrogate pair, which is no character") from None


_BODY_READERS = {"data": _read_data, "json": _read_json, "urlencoded": _read_urlencoded}


def _form_text(what: str, name: str, value: Any) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) not in (str, int, float):
        raise _wrong(f"{what}[{name[:50]!r}]", "text, a number or a list of these", value)
    return str(value)


def _each(value: Any) -> Iterable[Any]:
    return value if type(value) in (list, tuple) else (value,)


def _utf_8(name: str, text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"REST's {name} holds half a surrogate pair, which is no character") from None


def _headers(value: Any) -> HeaderFields:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise _wrong("headers", "a dict of names to text", value)
    headers = []
    for name, item in value.items():
        if type(name) is not str or not _TOKEN.fullmatch(name):
            raise InputError(f"REST's headers has a name that HTTP does not allow: {str(name)[:50]!r}")
        if name.lower() in FORBIDDEN_HEADERS:
            raise InputError(f"REST's headers must not have {name}, which whd sets itself: leave it out")
        headers += [(name, _header_text(name, each)) for each in _each(item)]
    return tuple(headers)


def _has(headers: HeaderFields, wanted: str) -> bool:
    return any(name.lower() == wanted for name, _ in headers)


def _with_cookies(headers: HeaderFields, value: Any) -> HeaderFields:
    """With one Cookie field for all (RFC 6265, 5.4)."""
    if value is None:
        return headers
    if not isinstance(value, Mapping):
        raise _wrong("cookies", "a dict of names to text", value)
    pairs = [text for name, text in headers if text and name.lower() == "cookie"]
    for name, item in value.items():
        if type(name) is not str or not _TOKEN.fullmatch(name):
            raise InputError(f"REST's cookies has a name that HTTP does not allow: {str(name)[:50]!r}")
        text = _header_text(name, item, "cookies")
        if ";" in text:
            raise InputError(f"REST's cookies[{name[:50]!r}] holds a semicolon, which would begin another cookie")
        pairs.append(f"{name}={text}")
    if not pairs:
        return headers
    return (*(field for field in headers if field[0].lower() != "cookie"), ("Cookie", "; ".join(pairs)))


def _with_auth(headers: HeaderFields, value: Any) -> HeaderFields:
    """With an Authorization field for Basic (RFC 7617)."""
    if value is None:
        return headers
    expected = (
        "{'username': …, 'password': …} or a pair of these; another scheme goes into headers={'Authorization': …}"
    )
    if isinstance(value, Mapping) and value.keys() == {"username", "password"}:
        pair = (value["username"], value["password"])
    elif type(value) in (list, tuple) and len(value) == 2:
        pair = (value[0], value[1])
    else:
        raise InputError(f"REST's auth must be {expected}")
    if not all(type(part) is str for part in pair):
        raise InputError(f"REST's auth must be {expected}, both text")
    if _has(headers, "authorization"):
        raise InputError("REST takes auth or an Authorization header, not both")
    username, password = pair
    # Neither is repeated in a message.
    if ":" in username or _CONTROLS.search(username + password):
        raise InputError("REST's auth holds a colon in its username, or a control character such as a line break")
    credentials = base64.b64encode(_utf_8("auth", f"{username}:{password}")).decode("ascii")
    return (*headers, ("Authorization", f"Basic {credentials}"))


def _header_text(name: str, value: Any, what: str = "headers") -> str:
    if type(value) not in (str, int, float):
        raise _wrong(f"{what}[{name[:50]!r}]", "text or a number", value)
    text = str(value).strip(" \t")
    # Not repeated in the message: it may be a credential.
    if _NO_VALUE.search(text):
        raise InputError(f"REST's {what}[{name[:50]!r}] holds a control character, such as a line break")
    _utf_8(f"{what}[{name[:50]!r}]", text)
    return text


def _status_codes(value: Any) -> tuple[int, ...]:
    if value is None:
        return EXPECTED_STATUS_CODES
    codes = tuple(_each(value))
    for code in codes:
        if type(code) is not int or not 100 <= code <= 999:
            raise InputError("REST's expected_status_code must be a number from 100 to 999, or a list of these")
    if not codes:
        raise InputError("REST's expected_status_code is an empty list: no answer would be right")
    return codes


def _flag(name: str, value: Any) -> bool:
    """True or False; None, for what is left out, is True."""
    if value is not None and type(value) is not bool:
        raise _wrong(name, "True or False", value)
    return value is not False


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    number = 0.0
    if type(value) in (int, float, str):
        with suppress(ValueError, OverflowError):
            number = float(value)
    if not 0 < number < MAX_TIMEOUT_S:
        raise InputError("REST's timeout must be a number of seconds, more than 0")
    return number


def _max_redirects(value: Any) -> int:
    if value is None:
        return MAX_REDIRECTS
    if type(value) is not int or value < 0:
        raise InputError("REST's max_redirects must be a number, 0 or more; allow_redirects=False takes one as answer")
    return min(value, MAX_REDIRECTS)
