"""The sender's side: what a request must carry so that its webhook's scheme accepts it.

For `whd send` and for tests. It shares the table with the verifier and none of its code, so that a mistake in one of
them shows.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .locators import parse_locator
from .scheme import PLAIN, Scheme, SignedRequest

_ITEM = "item:"


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A delivery before it is signed. `url`: as registered with the sender. `headers`: what the sender adds itself."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at_s: float
    id: str = ""


def timestamp_text(unit: str, at_s: float) -> str:
    """A moment as the sender writes it: `unit` of encodings.TIME_UNITS."""
    if unit == "rfc3339":
        return datetime.fromtimestamp(int(at_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(int(at_s * 1000) if unit == "ms" else int(at_s))


def sign(scheme: Scheme, key: bytes, delivery: Unsigned) -> tuple[tuple[str, str], ...]:
    """The headers that prove the delivery; those of a signature that stands in the body are not among them.

    `key`: the secret's bytes as the scheme uses them.
    """
    locator = parse_locator(scheme.signature[0])
    if scheme.algorithm == PLAIN:
        return ((locator.name, scheme.prefix + key.decode()),)
    timestamp = timestamp_text(scheme.unit, delivery.at_s)
    headers: list[tuple[str, str]] = []
    if scheme.timestamp.startswith("header:"):
        headers.append((parse_locator(scheme.timestamp).name, timestamp))
    if scheme.id:
        headers.append((parse_locator(scheme.id).name, delivery.id))
    digest = hmac.digest(key, _signed_text(scheme, delivery, timestamp), scheme.algorithm)
    signature = digest.hex() if scheme.encoding == "hex" else base64.b64encode(digest).decode()
    items = [scheme.prefix + signature]
    if scheme.timestamp.startswith(_ITEM):
        items.insert(0, scheme.timestamp.removeprefix(_ITEM) + timestamp)
    headers.append((locator.name, scheme.separator.join(items)))
    return tuple(headers)


def _signed_text(scheme: Scheme, delivery: Unsigned, timestamp: str) -> bytes:
    if scheme.texts is not None:
        return scheme.texts(_request_of(delivery, timestamp))[-1]
    text = scheme.signed.encode()
    target = delivery.url.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    words = {
        b"{timestamp}": timestamp.encode(),
        b"{id}": delivery.id.encode(),
        b"{method}": delivery.method.encode(),
        b"{url}": delivery.url.encode(),
        b"{path}": b"/" + path.encode(),
        b"{query}": query.encode(),
    }
    for word, value in words.items():
        text = text.replace(word, value)
    return text.replace(b"{body}", delivery.body)


@dataclass(frozen=True, slots=True)
class _Head:
    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    content_length: int | None
    raw: bytes | None = None


def _request_of(delivery: Unsigned, timestamp: str) -> SignedRequest:
    target = "/" + delivery.url.partition("://")[2].partition("/")[2]
    head = _Head(delivery.method, target, (), len(delivery.body))
    types = [value for name, value in delivery.headers if name.lower() == "content-type"]
    return SignedRequest(head, delivery.body, types[0] if types else "", delivery.url, timestamp.encode())


def sign_members(scheme: Scheme, key: bytes, delivery: Unsigned) -> bytes:
    """The body with what proves it among its members, for a scheme that signs those (`json:/…`)."""
    document = json.loads(delivery.body)
    timestamp = timestamp_text(scheme.unit, delivery.at_s)
    text = scheme.signed
    for pointer in re.findall(r"\{json:([^}]*)\}", scheme.signed):
        value = timestamp if scheme.timestamp == f"json:{pointer}" else delivery.id
        _put(document, pointer, value)
        text = text.replace(f"{{json:{pointer}}}", value)
    digest = hmac.digest(key, text.encode(), scheme.algorithm)
    signature = digest.hex() if scheme.encoding == "hex" else base64.b64encode(digest).decode()
    _put(document, parse_locator(scheme.signature[0]).name, scheme.prefix + signature)
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _put(document: Any, pointer: str, value: str) -> None:
    *parents, last = pointer.split("/")[1:]
    for name in parents:
        document = document.setdefault(name, {})
    document[last] = value


def proved(scheme: Scheme, key: bytes, delivery: Unsigned) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """All headers and the body as the sender sends them."""
    if scheme.signature[0].startswith("header:"):
        return (*delivery.headers, *sign(scheme, key, delivery)), delivery.body
    return delivery.headers, sign_members(scheme, key, delivery)
