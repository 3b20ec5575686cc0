"""The jobs that servers are measured on: the requests, and how each answer is judged.

The job (shared with bench/floors.py and bench/peer_apps): a POST of {"key", "name", "items": [{"sku", "qty",
"price"}]}; the server checks the key, and answers with the greeting and the total in output_value.

Every answer is checked, at a cost of about a microsecond: its status, that it says ENDED_SUCCESS, that greeting and
total are this request's own (each connection sends several requests in turn, of different names and numbers, so that
a stale or swapped answer shows), and for whd that its id was not seen before. How the server spells these in JSON is
learned from the first answer, which is parsed and checked in full, as is every hundredth after it. An answer that
fails the cheap check is parsed too: what it means decides, not how it is spelled.

A head can carry the fields that a real sender numbers its deliveries with (HEADS); then whd must also hand the flow
this delivery's own, and not those of another request whose head it remembers.

Nothing here does I/O.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

KEY = "my-secret-api-key"

# What is expected of an answer:
#   execution   whd: the job's result, a unique id, the script, and nowhere the key
#   job         the job's result
#   fixed       status 200 and always the same body, with "ENDED_SUCCESS" in it
#   accepted    whd, called with ?async: 202, PENDING, a unique id
#   length      status 200 and {"length": the body's length in bytes}; the request is of another kind, see `lengths`
CHECKS = ("execution", "job", "fixed", "accepted", "length")

# What stands in a request's head besides what the job needs:
#   plain       nothing
#   repeated    the fields of a delivery, the same in each request
#   new         the fields of a delivery, with new values in each request, as a real sender's are
# Fields and values are of the same length in both, so that these two differ in nothing but whether a head comes again.
HEADS = ("plain", "repeated", "new")
_DELIVERY_FIELDS = b"X-Request-Id: %b\r\nX-GitHub-Delivery: %b\r\nX-Hub-Signature-256: sha256=%b%b\r\n"
# Odd, so that no two numbers below 2 ** 64 come out the same; large, so that following ones differ in all digits.
_SCATTER = 0x9E3779B97F4A7C15
_64_BITS = (1 << 64) - 1

# How a float is written: by Python, and by JavaScript.
_NUMBERS = (b"%.1f", b"%g")
_AFTER_NUMBER = (b",", b"}", b" ", b"\n", b"\r")

VARIANTS = 4
FULL_EVERY = 100
ID_CHARACTERS = 36


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, ready to be sent, and what its answer must hold."""

    request: bytes
    payload: dict[str, Any]
    greeting: str
    total: float
    greeting_text: bytes


def exchange(host: str, path: str, connection: int, variant: int, key: str = KEY) -> Exchange:
    """The request that a connection sends as its `variant`-th in turn. Prices are exact in binary, so totals are."""
    name = f"Ada {connection}.{variant}"
    first, second = 2 + variant, 1 + connection % 97
    payload = {
        "name": name,
        "items": [{"sku": "a", "qty": first, "price": 3.5}, {"sku": "b", "qty": second, "price": 10.0}],
    }
    body = json.dumps({"key": key, **payload}, separators=(",", ":")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    greeting = "Hello " + name
    return Exchange(
        head.encode("ascii") + body, payload, greeting, first * 3.5 + second * 10.0, f'"{greeting}"'.encode()
    )


def exchanges(host: str, path: str, connection: int) -> tuple[Exchange, ...]:
    """What a connection sends, in turn."""
    return tuple(exchange(host, path, connection, variant) for variant in range(VARIANTS))


# Bodies of a size, whose length is the answer: a JSON object with one text, or plain text.
KINDS = ("json", "text")
_JSON_AROUND = (b'{"text":"', b'"}')


def lengths(host: str, path: str, size: int, kind: str) -> tuple[Exchange, ...]:
    """The one request of the other job: `size` bytes of body, the key in a header; answered with their number."""
    begin, end = _JSON_AROUND if kind == "json" else (b"", b"")
    text = b"the quick brown fox jumps over the lazy dog, 0123456789; " * (size // 57 + 1)
    body = begin + text[: max(0, size - len(begin) - len(end))] + end
    media_type = "application/json" if kind == "json" else "text/plain"
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {media_type}\r\nX-Webhook-Key: {KEY}\r\n"
    request = b"%sContent-Length: %d\r\n\r\n%s" % (head.encode("ascii"), len(body), body)
    return (Exchange(request, {}, "", float(len(body)), b""),)


def delivery_id(number: int) -> bytes:
    """A delivery's own text, of the form of a UUID: another one for each number."""
    scattered = number * _SCATTER & _64_BITS
    return b"%08x-0000-4000-8000-%012x" % (scattered >> 32, scattered & 0xFFFF_FFFF)


def delivery_fields(delivery: bytes) -> bytes:
    """The fields of that delivery, for a request's head."""
    digits = delivery.replace(b"-", b"")
    return _DELIVERY_FIELDS % (delivery, delivery, digits, digits)


def halves(one: Exchange) -> tuple[bytes, bytes]:
    """Its request before and after the place where further fields of the head belong."""
    at = one.request.index(b"\r\n\r\n") + 2
    return one.request[:at], one.request[at:]


def with_delivery(one: Exchange, delivery: bytes) -> Exchange:
    """The same with the fields of that delivery."""
    before, after = halves(one)
    return replace(one, request=before + delivery_fields(delivery) + after)


def fault_in(
    document: Any, expected: Exchange, check: str, script: str | None = None, delivery: bytes = b""
) -> str | None:
    """Why a parsed answer is not the one expected, or None. `script` is the flow's source, where it must be shown.

    `delivery`: the one whose fields stood in the head, if any did; whd must show them.
    """
    if not isinstance(document, dict):
        return "the answer is not a JSON object"
    if document.get("status") != "ENDED_SUCCESS":
        return f"status is {document.get('status')!r}: {document.get('message', '')}"
    if check == "fixed":
        return None
    if document.get("output_value") != {"greeting": expected.greeting, "total": expected.total}:
        return f"output_value is {document.get('output_value')!r}, not {expected.greeting!r} and {expected.total}"
    given = document.get("input_value")
    if not isinstance(given, dict) or given.get("json") != expected.payload:
        return "input_value.json is not what was sent, less the key"
    headers = given.get("headers")
    if not isinstance(headers, dict) or headers.get("content-type") != "application/json":
        return "input_value.headers are not what was sent"
    if check == "execution":
        identity = document.get("id")
        if not isinstance(identity, str) or len(identity) != ID_CHARACTERS:
            return f"id is {identity!r}, not a UUID"
        for name, value in _shown(delivery):
            if headers.get(name) != value:
                return f"input_value.headers.{name} is {headers.get(name)!r}, not this request's {value!r}"
        if script is not None and document.get("script") != script:
            return "script is not the flow's source"
    return None


def _shown(delivery: bytes) -> list[tuple[str, str]]:
    """The fields of a delivery as a flow sees them."""
    if not delivery:
        return []
    fields = (line.split(": ", 1) for line in delivery_fields(delivery).decode("ascii").splitlines())
    return [(name.lower(), value) for name, value in fields]


class Judge:
    """Judges every answer of one run. Keeps the ids that it has seen, so it grows with the run: ~150 bytes per call."""

    def __init__(self, check: str, script: str | None = None, full_every: int = FULL_EVERY) -> None:
        if check not in CHECKS:
            raise ValueError(f"unknown check {check!r}")
        self._check = check
        self._status = b" 202 " if check == "accepted" else b" 200 "
        self._script = script
        self._full_every = full_every
        self._until_full = 0
        self._seen: set[bytes] = set()
        self._fixed: bytes | None = None
        self._status_text = b""
        self._total_text: tuple[bytes, bytes, bytes] | None = None
        self._id_text = b""
        self.checked = 0
        self.checked_in_full = 0
        self.example = ""

    def fault(self, answer: bytes, start: int, expected: Exchange, delivery: bytes = b"") -> str | None:
        """The kind of fault of an answer, or None. `answer` begins with the status line; its body begins at `start`.

        `delivery`: the one whose fields stood in the request's head, if any did.
        Kinds: "status NNN", "wrong answer", "duplicate id". `example` tells more about the first one.
        """
        self.checked += 1
        if not answer.startswith(self._status, 8):
            return self._fault(f"status {answer[9:12].decode('latin-1')}", answer[start:])
        if self._check == "fixed":
            return self._fault_of_fixed(answer[start:], expected, delivery)
        if self._check in ("accepted", "length"):
            return self._fault_of_short(answer[start:], expected)
        self._until_full -= 1
        if self._until_full < 0 or not self._plainly_right(answer, start, expected):
            return self._full(answer[start:], expected, delivery)
        if self._check != "execution":
            return None
        if delivery and answer.find(delivery, start) < 0:
            return self._full(answer[start:], expected, delivery)
        at = answer.find(self._id_text, start) + len(self._id_text)
        if answer.find(b'"', at) != at + ID_CHARACTERS:
            return self._full(answer[start:], expected, delivery)
        return self._fault_of_id(answer[at : at + ID_CHARACTERS])

    def _plainly_right(self, answer: bytes, start: int, expected: Exchange) -> bool:
        if self._total_text is None:
            return False
        before, number, after = self._total_text
        return (
            answer.find(self._status_text, start) >= 0
            and answer.find(expected.greeting_text, start) >= 0
            and answer.find(before + number % expected.total + after, start) >= 0
            and (self._check != "execution" or answer.find(self._id_text, start) >= 0)
        )

    def _full(self, body: bytes, expected: Exchange, delivery: bytes) -> str | None:
        self.checked_in_full += 1
        self._until_full = self._full_every - 1
        try:
            document = json.loads(body)
        except ValueError:
            return self._fault("wrong answer", b"not JSON: " + body)
        fault = fault_in(document, expected, self._check, self._script, delivery)
        if fault is None and self._check == "execution" and KEY.encode() in body:
            fault = "the key stands in the answer"
        if fault is not None:
            return self._fault("wrong answer", fault.encode())
        self._learn(body, expected)
        return self._fault_of_id(document["id"].encode()) if self._check == "execution" else None

    def _learn(self, body: bytes, expected: Exchange) -> None:
        """Takes the spelling of a right answer as the one to look for."""
        for colon in (b":", b": "):
            self._learn_total(body, expected, b'"total"' + colon)
            if (status := b'"status"' + colon + b'"ENDED_SUCCESS"') in body:
                self._status_text = status
            if self._check == "execution" and body.find(identity := b'"id"' + colon + b'"') >= 0:
                self._id_text = identity

    def _learn_total(self, body: bytes, expected: Exchange, before: bytes) -> None:
        if self._total_text is not None and not expected.total.is_integer():
            return  # 10.5 is spelled alike by all; only a whole number tells 17.0 from 17
        for number in _NUMBERS:
            text = before + number % expected.total
            at = body.rfind(text)
            after = body[at + len(text) : at + len(text) + 1]
            if at >= 0 and after in _AFTER_NUMBER:
                self._total_text = (before, number, after)
                return

    def _fault_of_fixed(self, body: bytes, expected: Exchange, delivery: bytes) -> str | None:
        if body == self._fixed:
            return None
        if self._fixed is not None:
            return self._fault("wrong answer", b"the fixed answer has changed: " + body)
        fault = self._full(body, expected, delivery)
        self._fixed = body if fault is None else None
        return fault

    def _fault_of_short(self, body: bytes, expected: Exchange) -> str | None:
        """Answers of a few members, each parsed."""
        self.checked_in_full += 1
        try:
            document = json.loads(body)
            if self._check == "length":
                right = document == {"length": int(expected.total)}
            else:
                right = document["status"] in ("PENDING", "RUNNING", "ENDED_SUCCESS") and len(document["id"]) == 36
        except (ValueError, TypeError, KeyError):
            right = False
        if not right:
            return self._fault("wrong answer", body)
        return None if self._check == "length" else self._fault_of_id(document["id"].encode())

    def _fault_of_id(self, identity: bytes) -> str | None:
        size = len(self._seen)
        self._seen.add(identity)
        return self._fault("duplicate id", identity) if len(self._seen) == size else None

    def _fault(self, kind: str, text: bytes) -> str:
        if not self.example:
            self.example = f"{kind}: {text[:300].decode('utf-8', 'replace')}"
        return kind
