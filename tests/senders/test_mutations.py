"""Mutations of signed deliveries, judged by an oracle that knows nothing of the verifier.

One is harmless if its signatures, the signed bytes, the timestamp's and the id's text are those of the delivery. Every
one that is accepted is harmless, and every harmless one of the allowed forms is accepted.
"""

from __future__ import annotations

import base64
import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from whd.senders.presets import PRESETS
from whd.senders.scheme import PLAIN, Preset, Scheme, SignatureRefused, SignedRequest

from .deliveries import URL, Delivery, check_of, delivery_of, refusal, secret_for

MUTATIONS = 100_000
FORM = "application/x-www-form-urlencoded"
JSON_BODY = b'{"id": 7, "text": "Jos\\u00e9", "list": [1, 2, 3]}'
FORM_BODY = b"payload=%7B%22a%22%3A1%7D&b=2&b=1&c=%2B"
SUBJECTS = [
    (preset, scheme)
    for preset in PRESETS.values()
    for scheme in preset.schemes
    if scheme.signature[0].startswith("header:") and not scheme.timestamp.startswith("json:")
]


class Oracle:
    """Knows what was sent, and says whether a mutation of it is the same proof over the same bytes."""

    def __init__(self, scheme: Scheme, delivery: Delivery) -> None:
        self.scheme = scheme
        self.delivery = delivery
        self.signature_names = [name.removeprefix("header:").lower().encode() for name in scheme.signature]
        self.named = [
            locator.removeprefix("header:").lower().encode()
            for locator in (scheme.timestamp, scheme.id)
            if locator.startswith("header:")
        ]
        self.right = self.signatures_of(self.items_of(delivery))
        self.times = self.times_of(self.items_of(delivery))

    def values(self, delivery: Delivery, name: bytes) -> list[bytes]:
        return [value for given, value in delivery.headers if given == name]

    def items_of(self, delivery: Delivery) -> list[bytes]:
        for name in self.signature_names:
            values = self.values(delivery, name)
            if values and not self.scheme.every:
                return self.split(values)
        found = [self.values(delivery, name) for name in self.signature_names]
        return [item for values in found for item in self.split(values)]

    def split(self, values: list[bytes]) -> list[bytes]:
        if len(values) != 1:
            return []
        separator = self.scheme.separator.encode()
        return [item.strip() for item in (values[0].split(separator) if separator else values)]

    def signatures_of(self, items: list[bytes]) -> set[bytes]:
        prefix = self.scheme.prefix.encode()
        texts = [item[len(prefix) :] for item in items if item.startswith(prefix)]
        return {text for text in map(self.plainly, texts) if text}

    def plainly(self, text: bytes) -> bytes:
        """One spelling for all that an encoder may write."""
        if self.scheme.algorithm == PLAIN:
            return text
        if self.scheme.encoding == "hex":
            return text.lower() if re.fullmatch(rb"([0-9a-fA-F]{2})+", text) else b""
        for padding in (b"", b"=", b"=="):
            if re.fullmatch(rb"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2,4})={0,2}", text) and len(text + padding) % 4 == 0:
                whole = base64.b64encode(base64.b64decode(text + padding))
                return whole if text in (whole, whole.rstrip(b"=")) else b""
        return b""

    def times_of(self, items: list[bytes]) -> list[bytes]:
        if not self.scheme.timestamp.startswith("item:"):
            return []
        prefix = self.scheme.timestamp.removeprefix("item:").encode()
        return [item for item in items if item.startswith(prefix)]

    def is_harmless(self, mutation: Delivery) -> bool:
        items = self.items_of(mutation)
        if not self.right & self.signatures_of(items) or self.times != self.times_of(items):
            return False
        if any(self.values(mutation, name) != self.values(self.delivery, name) for name in self.named):
            return False
        if self.scheme.algorithm == PLAIN:
            return True
        return self.texts(mutation) & self.texts(self.delivery) != set()

    def texts(self, delivery: Delivery) -> set[bytes]:
        if self.scheme.texts is None:
            return {delivery.body}
        types = self.values(delivery, b"content-type")
        request = SignedRequest(delivery.head, delivery.body, types[-1].decode("latin-1") if types else "", URL, b"")
        try:
            return set(self.scheme.texts(request))
        except SignatureRefused:
            return set()


def mutate(delivery: Delivery, scheme: Scheme, chance: random.Random) -> Delivery:
    headers = list(delivery.headers)
    body = delivery.body
    for _ in range(chance.choice((1, 1, 1, 2))):
        kind = chance.randrange(9)
        if kind == 0:
            body = changed(body, chance)
        elif kind == 1:
            number = chance.randrange(len(headers))
            headers[number] = (headers[number][0], changed(headers[number][1], chance).strip())
        elif kind == 2:
            headers.append(chance.choice(headers))
        elif kind == 3:
            chance.shuffle(headers)
        elif kind == 4 and len(headers) > 1:
            headers.pop(chance.randrange(len(headers)))
        else:
            respell(headers, scheme, chance)
    return replace(delivery, headers=tuple(headers), body=body)


def changed(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    kind = chance.randrange(4)
    if kind == 0:
        return data[:at] + bytes((data[at] ^ 1 << chance.randrange(7),)) + data[at + 1 :] if at < len(data) else data
    if kind == 1:
        return data[:at] + bytes((chance.choice(b"=, ;AaZz09+/\"'\\"),)) + data[at:]
    if kind == 2:
        return data[:at] + data[at + 1 :]
    other = chance.randrange(len(data) + 1)
    return data[:at] + data[min(at, other) : other] + data[at:]


def respell(headers: list[tuple[bytes, bytes]], scheme: Scheme, chance: random.Random) -> None:
    """A form that is allowed, or nearly."""
    names = [name.removeprefix("header:").lower().encode() for name in scheme.signature]
    for number, (name, value) in enumerate(headers):
        if name in names:
            kind = chance.randrange(5)
            if kind == 0:
                value = value[: len(scheme.prefix)] + value[len(scheme.prefix) :].upper()
            elif kind == 1:
                value = value.rstrip(b"=")
            elif kind == 2 and scheme.separator:
                items = value.split(scheme.separator.encode())
                chance.shuffle(items)
                value = scheme.separator.encode().join(items)
            elif kind == 3 and scheme.separator:
                value += scheme.separator.encode() + scheme.prefix.encode() + b"00" * 32
            else:
                value = value + b"=" if chance.random() < 0.5 else value.replace(b"+", b"-").replace(b"/", b"_")
            headers[number] = (name, value)


@pytest.mark.parametrize(
    ("preset", "scheme"), SUBJECTS, ids=[f"{preset.name}-{scheme.prefix}" for preset, scheme in SUBJECTS]
)
def test_mutations_are_judged_rightly(preset: Preset, scheme: Scheme) -> None:
    chance = random.Random(preset.name + scheme.signature[0])
    is_form = preset.name in ("twilio", "mandrill")
    body, content_type = (FORM_BODY, FORM) if is_form else (JSON_BODY, "application/json")
    delivery = delivery_of(preset, scheme, body, content_type)
    check = check_of(preset, secret_for(scheme))
    oracle = Oracle(scheme, delivery)
    assert oracle.is_harmless(delivery)
    seen: Counter[tuple[bool, bool]] = Counter()
    for _ in range(MUTATIONS // len(SUBJECTS)):
        mutation = mutate(delivery, scheme, chance)
        is_accepted = refusal(check, mutation) == ""
        is_harmless = oracle.is_harmless(mutation)
        seen[is_accepted, is_harmless] += 1
        assert is_accepted == is_harmless, mutation
    assert seen[True, True] > 100
    assert seen[False, False] > 100
