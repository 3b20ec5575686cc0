"""How senders ask whether a webhook wants their deliveries, and what each takes for a yes (SENDERS 7).

One row each. Pure functions: no handshake runs a flow, and none signs, hashes or encrypts what an unverified caller
sent. Text that is sent back is short, printable ASCII and plain text, so that it is no page in anybody's browser.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import BadRequest, Forbidden
from ..model.caller_check import CallerCheck, Headers, Query, RequestHead

MOST_ECHOED: Final = 1_024
# The body of a handshake that nobody has signed.
MOST_BODY_BYTES: Final = 4_096
_ECHOED = re.compile(rf"[ -~]{{1,{MOST_ECHOED}}}")
# Zoom's own tokens. With a colon in it the answer would be a valid signature of something else.
_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with 200, or another status."""

    body: bytes = b""
    content_type: bytes = b"text/plain; charset=us-ascii"
    status: int = 200

    @property
    def headers(self) -> Headers:
        """Those of the answer."""
        guards = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
        return ((b"content-type", self.content_type), *guards) if self.body else guards


@dataclass(frozen=True, slots=True)
class Request:
    """What a row sees: the head, the query's fields, and of the payload the texts at the row's pointers."""

    head: RequestHead
    query: Mapping[str, Any]
    picked: Mapping[str, str | None] = field(default_factory=dict)
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    verify_tokens: tuple[bytes, ...] = field(default=(), repr=False)

    def header(self, name: bytes) -> str | None:
        """The value of a header that is there once."""
        values = [value for found, value in self.head.headers if found == name]
        return values[0].decode("latin-1") if len(values) == 1 else None

    def in_query(self, name: str) -> str | None:
        """The text of a field of the query that is there once."""
        value = self.query.get(name)
        return value if type(value) is str else None


@dataclass(frozen=True, slots=True)
class Handshake:
    """A row. `is_asked`: whether the head may be one; `reply` has the last word and gives None if it is none.

    `pointers`: what it needs of the payload; without any the head says it all. `is_signed`: asked only once the
    webhook's `verify` has held.
    """

    name: str
    is_asked: Callable[[Request], bool]
    reply: Callable[[Request], Reply | None]
    pointers: tuple[str, ...] = ()
    is_signed: bool = False


@dataclass(frozen=True, slots=True)
class Consent:
    """The handshake of one webhook. `key_check`: what its setting asks of callers besides `verify`."""

    handshake: Handshake
    key_check: CallerCheck = field(repr=False)
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    verify_tokens: tuple[bytes, ...] = field(default=(), repr=False)

    def request(self, head: RequestHead, query: Query, picked: Mapping[str, str | None] | None = None) -> Request:
        """What the row sees of a request."""
        return Request(head, query.fields, picked or {}, self.secrets, self.verify_tokens)


def _echo(text: str | None, what: str) -> Reply | None:
    if text is None:
        return None
    if _ECHOED.fullmatch(text) is None:
        raise BadRequest(f"{what} is not 1 to {MOST_ECHOED} printable ASCII characters")
    return Reply(text.encode("ascii"))


def _json(document: Mapping[str, Any]) -> Reply:
    return Reply(json.dumps(document, separators=(",", ":")).encode("ascii"), b"application/json")


def _short(text: str, what: str) -> str:
    if len(text) > MOST_ECHOED:
        raise BadRequest(f"{what} has more than {MOST_ECHOED} characters")
    return text


def _is_post(request: Request) -> bool:
    return request.head.method == "POST"


def _slack(request: Request) -> Reply | None:
    if request.picked.get("/type") != "url_verification":
        return None
    return _echo(request.picked.get("/challenge"), "challenge")


def _zoom(request: Request) -> Reply | None:
    if request.picked.get("/event") != "endpoint.url_validation":
        return None
    token = request.picked.get("/payload/plainToken") or ""
    if _PLAIN_TOKEN.fullmatch(token) is None or not request.secrets:
        raise BadRequest("plainToken is not 1 to 128 of A-Z, a-z, 0-9, _ and -")
    digest = hmac.new(request.secrets[0], token.encode("ascii"), hashlib.sha256).hexdigest()
    return _json({"plainToken": token, "encryptedToken": digest})


def _discord(request: Request) -> Reply | None:
    # Interactions ping with type 1, webhook events, which have an application_id at the top and no id, with type 0.
    kind = request.picked.get("/type")
    if kind == "1" and request.picked.get("/id") is not None:
        return _json({"type": 1})
    return Reply(status=204) if kind == "0" else None


def _meta(request: Request) -> Reply | None:
    given = (request.in_query("hub.verify_token") or "").encode("utf-8", "surrogatepass")
    found = False
    for token in request.verify_tokens:
        found |= hmac.compare_digest(given, token)
    if not found:
        raise Forbidden("hub.verify_token is missing or wrong")
    return _echo(request.in_query("hub.challenge") or "", "hub.challenge")


def _is_meta(request: Request) -> bool:
    return request.head.method == "GET" and request.in_query("hub.mode") == "subscribe"


def _is_dropbox(request: Request) -> bool:
    return request.head.method == "GET" and "challenge" in request.query


def _is_msgraph(request: Request) -> bool:
    return _is_post(request) and "validationToken" in request.query


def _eventgrid(request: Request) -> Reply | None:
    code = request.picked.get("/0/data/validationCode")
    return None if code is None else _json({"validationResponse": _short(code, "validationCode")})


def _is_eventgrid(request: Request) -> bool:
    return _is_post(request) and (request.header(b"aeg-event-type") or "").lower() == "subscriptionvalidation"


def _okta(request: Request) -> Reply | None:
    value = request.header(b"x-okta-verification-challenge")
    return None if value is None else _json({"verification": _short(value, "the challenge")})


def _is_okta(request: Request) -> bool:
    return request.head.method == "GET" and request.header(b"x-okta-verification-challenge") is not None


def _monday(request: Request) -> Reply | None:
    text = request.picked.get("/challenge")
    return None if text is None else _json({"challenge": _short(text, "challenge")})


def _woocommerce(request: Request) -> Reply | None:
    # On saving: the form webhook_id=<digits> and nothing else.
    number = request.picked.get("/webhook_id") or ""
    is_all = request.head.content_length == len("webhook_id=") + len(number)
    return Reply() if is_all and re.fullmatch("[0-9]{1,20}", number) else None


def _is_head(request: Request) -> bool:
    return request.head.method == "HEAD"


_ROWS: Final = (
    Handshake("slack", _is_post, _slack, ("/type", "/challenge"), is_signed=True),
    Handshake("zoom", _is_post, _zoom, ("/event", "/payload/plainToken"), is_signed=True),
    Handshake("discord", _is_post, _discord, ("/type", "/id"), is_signed=True),
    Handshake("meta", _is_meta, _meta),
    Handshake("dropbox", _is_dropbox, lambda request: _echo(request.in_query("challenge") or "", "challenge")),
    Handshake(
        "msgraph", _is_msgraph, lambda request: _echo(request.in_query("validationToken") or "", "validationToken")
    ),
    Handshake("eventgrid", _is_eventgrid, _eventgrid, ("/0/data/validationCode",)),
    Handshake("okta", _is_okta, _okta),
    Handshake("monday", _is_post, _monday, ("/challenge",)),
    Handshake("woocommerce", _is_post, _woocommerce, ("/webhook_id",)),
    Handshake("mandrill", _is_head, lambda request: Reply()),
    Handshake("trello", _is_head, lambda request: Reply()),
)

HANDSHAKES: Final[dict[str, Handshake]] = {row.name: row for row in _ROWS}
