"""The headers of an answer that a flow or an operator chose: the one list of what is refused, and why (SENDERS 8).

Both sides of the wall use it: the worker, so that the flow's author hears what is wrong and what to do instead, and the
daemon once more, for it believes no worker. Pure.

An answer passes a proxy and reaches a browser. Neither may take orders from it that concern more than this webhook: to
serve an internal file (X-Accel-Redirect), to pin the whole site to HTTPS, to read cookies of another path.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from typing import NamedTuple

MAX_FIELDS = 100
MAX_NAME_CHARS = 200
MAX_VALUE_CHARS = 8_192
_MAX_PATH_CHARS = 1_024

Fields = tuple[tuple[str, str], ...]

# RFC 9110, 5.6.2 and 5.5: token; field-value, as latin-1.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t -~\u00a0-\u00ff]*")


class HeaderRefused(ValueError):
    """A header that cannot be sent; the text names it and the way out."""


class Setter(enum.Enum):
    """Who chose a header."""

    FLOW = "a flow, in its answer"
    OPERATOR = "an operator, in the webhook's setting"


class Refusal(NamedTuple):
    """Names (one that ends with * stands for all that begin so), what is said of them, and whose they are."""

    names: tuple[str, ...]
    text: str
    refused_to: tuple[Setter, ...] = (Setter.FLOW, Setter.OPERATOR)


# What the connection itself decides (RFC 9112, 6; RFC 9110, 6.6.1 and 7.6.1).
SERVER_OWN = (
    "connection", "content-length", "date", "keep-alive", "te", "trailer", "trailers", "transfer-encoding", "upgrade",
)  # fmt: skip

REFUSALS = (
    Refusal(SERVER_OWN, "is set by the server; leave it out"),
    Refusal(
        # RFC 9110, 11.7; the last one of HTTP/2's upgrade, RFC 7540, 3.2.1.
        (
            "proxy-authenticate", "proxy-authentication-info", "proxy-authorization", "proxy-connection",
            "http2-settings",
        ),
        "is between two proxies and not for the caller; leave it out",
    ),
    Refusal(
        # nginx; Apache, lighttpd and others; lighttpd; Perlbal and H2O; LiteSpeed; Envoy.
        ("x-accel-*", "x-sendfile*", "x-lighttpd-send-*", "x-reproxy-*", "x-litespeed-*", "x-envoy-*"),
        "is an order to the proxy in front of whd, which may serve internal files for it; leave it out, and send a "
        "file's content as the body",
    ),
    Refusal(
        ("whd-*", "idempotent-replayed", "x-request-id", "traceparent"),
        "is one by which callers know whd's own answers; take another name",
    ),
    Refusal(
        (
            "strict-transport-security", "alt-svc", "clear-site-data", "service-worker-allowed", "nel", "report-to",
            "reporting-endpoints",
        ),
        "holds for the whole site and not only for this webhook; leave it out, the operator sets it in the proxy in "
        "front of whd",
        (Setter.FLOW,),
    ),
)  # fmt: skip

# Of which there is one, or none (RFC 9110, 5.3): a caller would take any of two, or neither. All others may repeat.
SINGLE = frozenset((
    "access-control-allow-credentials", "access-control-allow-origin", "access-control-max-age", "age",
    "content-disposition", "content-location", "content-md5", "content-range", "content-type",
    "cross-origin-embedder-policy", "cross-origin-opener-policy", "cross-origin-resource-policy", "etag", "expires",
    "last-modified", "location", "refresh", "retry-after", "server", "x-content-type-options", "x-frame-options",
    "x-xss-protection",
))  # fmt: skip

_EXACT = {name: refusal for refusal in REFUSALS for name in refusal.names if name[-1] != "*"}
_BY_START = tuple((name[:-1], refusal) for refusal in REFUSALS for name in refusal.names if name[-1] == "*")


def webhook_paths(client_name: str, webhook_name: str) -> tuple[str, ...]:
    """The three forms of a webhook's path; none without a webhook."""
    if not webhook_name:
        return ()
    return tuple(f"/api{version}/webhook/{client_name}/{webhook_name}" for version in ("", "/1", "/latest"))


def read_fields(
    headers: Iterable[tuple[str, str | list[str]]], setter: Setter, cookie_paths: tuple[str, ...] = ()
) -> Fields:
    """The fields to send, names in lower case. A list gives one field for each of its texts.

    A name that comes again in another case is the same field, and the later one wins; Set-Cookie, which cannot be put
    together in any other way, adds up. `cookie_paths`: webhook_paths of the webhook that is answered, empty if none is.

    Raises HeaderRefused.
    """
    fields: dict[str, list[str]] = {}
    for given, value in headers:
        name = _checked_name(given, setter)
        texts = value if isinstance(value, list) else [value]
        if len(texts) > 1 and name in SINGLE:
            raise HeaderRefused(f"the header {given!r} is sent once at most; give it one text, not a list")
        for text in texts:
            _check_value(given, text)
            if name == "set-cookie" and setter is Setter.FLOW:
                _check_cookie(given, text, cookie_paths)
        if name == "set-cookie":
            fields.setdefault(name, []).extend(texts)
        else:
            fields[name] = texts
    found = tuple((name, text) for name, texts in fields.items() for text in texts)
    if len(found) > MAX_FIELDS:
        raise HeaderRefused(f"at most {MAX_FIELDS} headers")
    return found


def _checked_name(given: str, setter: Setter) -> str:
    if len(given) > MAX_NAME_CHARS or _TOKEN.fullmatch(given) is None:
        raise HeaderRefused(f"{given[:80]!r} cannot be a header's name")
    name = given.lower()
    # Some servers take _ for -, as in CGI's names (RFC 3875, 4.1.18).
    spelled = name.replace("_", "-")
    refusal = _EXACT.get(spelled)
    if refusal is None:
        refusal = next((refusal for start, refusal in _BY_START if spelled.startswith(start)), None)
    if refusal is not None and setter in refusal.refused_to:
        raise HeaderRefused(f"the header {given!r} {refusal.text}")
    return name


def _check_value(given: str, text: str) -> None:
    if len(text) > MAX_VALUE_CHARS:
        raise HeaderRefused(f"the value of header {given!r} is too long; {MAX_VALUE_CHARS} characters can be")
    if _VALUE.fullmatch(text) is None:
        # CR, LF and NUL would let a value end the header (RFC 9110, 5.5).
        raise HeaderRefused(
            f"the value of header {given!r} has a line break or another character that HTTP does not allow; remove it, "
            "or encode the value with urllib.parse.quote"
        )


def _check_cookie(given: str, text: str, paths: tuple[str, ...]) -> None:
    """RFC 6265, 5.2: attributes after the first semicolon, spaces and tabs around them and their case do not count."""
    found = []
    for attribute in text.split(";")[1:]:
        name, _, value = attribute.partition("=")
        if name.strip().lower() == "domain":  # whatever else a client may take for white space
            raise HeaderRefused(
                f"the header {given!r} has a Domain, and other hosts would get the cookie; leave Domain out"
            )
        if name.strip(" \t").lower() == "path":
            found.append(value.strip(" \t"))
    # Of several the last counts, but not for every client; without one it would be the path above, of all webhooks.
    if paths and not (found and all(_is_below(path, paths) for path in found)):
        raise HeaderRefused(
            f"the header {given!r} needs the webhook's own path, or one below it, as other webhooks would get the "
            f"cookie: add '; Path={paths[0]}'"
        )


def _is_below(path: str, tops: tuple[str, ...]) -> bool:
    # Browsers pass over a longer one, as if there were none (draft-ietf-httpbis-rfc6265bis, 5.6).
    return len(path) <= _MAX_PATH_CHARS and any(path == top or path.startswith(f"{top}/") for top in tops)
