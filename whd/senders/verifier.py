"""The one verifier: is this request signed by a holder of the secret, as its scheme says?

`read` looks at the head, `Hashing` at the body's bytes as they come. Pure: the time is passed in. Comparison is in
constant time, over every secret and every signature; what is refused says which check failed and never what would have
been right, nor anything that was sent.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from hmac import compare_digest
from typing import Any, Final
from urllib.parse import parse_qsl

from ..model.caller_check import RequestHead
from ..valueclass import valueclass
from ..wire.pointer import MISSING, look_up, text_of
from .encodings import DECODERS, TIME_UNITS
from .locators import Locator, parse_locator
from .scheme import PLAIN, Scheme, SignatureRefused
from .template import Template, Word, compile_template, joined

MOST_SECRETS: Final = 8
MOST_SIGNATURES: Final = 16
_ITEM = "item:"


@valueclass
class Evidence:
    """What a head brought: the signatures as bytes, the timestamp's and the id's text as they stand there."""

    signatures: tuple[bytes, ...]
    timestamp: bytes
    id: bytes


class Verifier:
    """A scheme with its secrets, compiled. Nobody changes it."""

    def __init__(self, scheme: Scheme, keys: Sequence[bytes], *, url: str = "", tolerance_s: int | None = None) -> None:
        """`keys`: of the form that the scheme says. `url`: as registered with the sender, "" to take the request's."""
        self.scheme = scheme
        self.url = url
        self.tolerance_s = scheme.tolerance_s if tolerance_s is None else tolerance_s
        self._keys = tuple(keys)
        self._locators = tuple(parse_locator(locator) for locator in scheme.signature)
        self._prefix = scheme.prefix.encode()
        self._separator = scheme.separator.encode()
        self._decode = DECODERS[scheme.encoding]
        self.template: Template = compile_template(scheme.signed)
        self._seconds = TIME_UNITS[scheme.unit]
        self._item = scheme.timestamp.removeprefix(_ITEM).encode() if scheme.timestamp.startswith(_ITEM) else b""
        self.timestamp_locator = parse_locator(scheme.timestamp) if scheme.timestamp and not self._item else None
        self._id_locator = parse_locator(scheme.id) if scheme.id else None
        self.is_plain = scheme.algorithm == PLAIN
        # Copied for each request: the key's blocks are hashed once.
        self._begun = () if self.is_plain else tuple(hmac.new(key, digestmod=scheme.algorithm) for key in self._keys)
        # The rest follows from the scheme, and every request asks for it.
        every = (*self._locators, self.timestamp_locator, self._id_locator, *self.template.locators)
        named = [locator for locator in every if locator is not None]
        self.header_names = frozenset(locator.field_name for locator in named if locator.kind == "header")
        """The headers that `read` looks at."""
        proofs = [locator.field_name for locator in self._locators if locator.kind == "header"]
        self.proof_names = frozenset([*proofs, *(name.lower().encode() for name in scheme.siblings)])
        """The headers that carry what was derived from the secret, which nobody is to see."""
        of_signature = (*self._locators, *self.template.locators)
        self.needs_body = scheme.texts is not None or any(not locator.is_in_head for locator in of_signature)
        """Whether the whole body is read, as text, before it is known whether the signature holds."""
        late = self.timestamp_locator
        self.late_timestamp = None if late is None or late.is_in_head else late
        """The timestamp's locator if it is in the body."""

    def is_addressed(self, headers: Mapping[bytes, list[bytes]], *, is_a_form: bool) -> bool:
        """Whether this scheme's signature is in the head, or would be in such a body."""
        for locator in self._locators:
            if locator.field_name in headers if locator.kind == "header" else is_a_form == (locator.kind == "form"):
                return True
        return False

    def read(self, headers: Mapping[bytes, list[bytes]], query: Mapping[str, Any], now_s: float) -> Evidence:
        """What the head proves with. `headers`: the values of header_names. Raises SignatureRefused."""
        id_text = b"" if self._id_locator is None else _one(headers, query, self._id_locator)
        timestamp = b""
        locator = self.timestamp_locator
        if locator is not None and locator.is_in_head:
            timestamp = _one(headers, query, locator)
            self.check_age(timestamp, now_s)
        signatures: list[bytes] = []
        for locator in self._locators:
            if locator.kind != "header" or locator.field_name in headers:
                if not locator.is_in_head:
                    continue
                text = _one(headers, query, locator)
                items = text.split(self._separator) if self._separator else [text]
                signatures += self._signatures(items, locator)
                if self._item:
                    timestamp = self._timestamp_of(items, locator)
                    self.check_age(timestamp, now_s)
                if not self.scheme.every:
                    break
        if not signatures and all(locator.is_in_head for locator in self._locators):
            raise SignatureRefused(f"{' or '.join(locator.name for locator in self._locators[:2])} is missing")
        return Evidence(tuple(signatures), timestamp, id_text)

    def _signatures(self, items: list[bytes], locator: Locator) -> list[bytes]:
        found = []
        for item in items:
            text = item.strip()
            if not text.startswith(self._prefix):
                continue
            text = text[len(self._prefix) :]
            found.append(text if self.is_plain else self._decode(text))
        signatures = [signature for signature in found if signature is not None]
        if len(found) > MOST_SIGNATURES:
            raise SignatureRefused(f"{locator.name} has more than {MOST_SIGNATURES} signatures")
        if not found:
            raise SignatureRefused(f"{locator.name} has no signature that begins with {self.scheme.prefix}")
        if not signatures:
            raise SignatureRefused(f"what {locator.name} has is not {self.scheme.encoding}")
        return signatures

    def _timestamp_of(self, items: list[bytes], locator: Locator) -> bytes:
        found = [item.strip() for item in items]
        found = [item[len(self._item) :] for item in found if item.startswith(self._item)]
        if len(found) != 1:
            name = self._item.decode()
            raise SignatureRefused(f"{locator.name} has {'no' if not found else 'more than one'} {name}")
        return found[0]

    def check_age(self, text: bytes, now_s: float) -> None:
        """The timestamp must be within the tolerance, in both directions. Raises SignatureRefused, StaleSignature."""
        then_s = self._seconds(text)
        if then_s is None:
            raise SignatureRefused("the timestamp is no timestamp of this sender's")
        age_s = now_s - then_s
        if self.tolerance_s and abs(age_s) > self.tolerance_s:
            age = f"{age_s:.0f} s old" if age_s > 0 else f"{-age_s:.0f} s ahead of this machine's clock"
            raise StaleSignature(f"the timestamp is {age}, tolerance_s is {self.tolerance_s}")

    def check_plain(self, evidence: Evidence) -> bytes:
        """For a scheme that signs nothing: what was sent is the secret, which it gives. Raises SignatureRefused."""
        return self._keys[_matching(self._keys, evidence.signatures)]

    def start(self, evidence: Evidence, head: RequestHead) -> Hashing:
        """The digests of one request, to be fed with its body."""
        template = self.template
        begin = joined(template.before, self.filler(evidence, head)) if template.before else b""
        digests = []
        for begun in self._begun:
            digest = begun.copy()
            if begin:
                digest.update(begin)
            digests.append(digest)
        end = joined(template.behind, self.filler(evidence, head)) if template.behind else b""
        return Hashing(self._keys, digests, evidence.signatures, end, template.has_body)

    def check_texts(self, texts: Sequence[bytes], signatures: Sequence[bytes]) -> bytes:
        """Any of the texts must be what was signed; gives the key that it was signed with. Raises SignatureRefused."""
        digests = [hmac.digest(key, text, self.scheme.algorithm) for key in self._keys for text in texts]
        return self._keys[_matching(digests, signatures) // len(texts)]

    def signatures_in(self, document: Any) -> tuple[bytes, ...]:
        """The signatures that stand in a body. Raises SignatureRefused."""
        locator = self._locators[0]
        return tuple(self._signatures([text_at(document, locator)], locator))

    def filler(self, evidence: Evidence, head: RequestHead, document: Any = None) -> Callable[[Word], bytes]:
        """What stands for each word of the template. `document`: the body's members, for words that name them."""

        def value_of(word: Word) -> bytes:
            if word.locator is not None:
                return _value_at(word.locator, head) if word.locator.is_in_head else text_at(document, word.locator)
            if word.name == "timestamp":
                return evidence.timestamp
            if word.name == "id":
                return evidence.id
            if word.name == "method":
                return head.method.encode("ascii")
            if word.name == "url":
                return (self.url or head.target).encode()
            path, _, query = head.target.partition("?")
            return (path if word.name == "path" else query).encode("ascii")

        return value_of


class StaleSignature(SignatureRefused):
    """The timestamp is out of tolerance: many of these at once tell of a wrong clock."""


class Hashing:
    """The digests of one body. `update` takes the next part; `finish` raises SignatureRefused unless one is right."""

    __slots__ = ("_digests", "_end", "_keys", "_signatures", "update")

    def __init__(
        self,
        keys: Sequence[bytes],
        digests: list[Any],
        signatures: Sequence[bytes],
        end: bytes,
        has_body: bool,
    ) -> None:
        """A digest for each of the keys."""
        self._keys = keys
        self._digests = digests
        self._signatures = signatures
        self._end = end
        # The digest's own method where there is one secret: a body is hashed without a step of ours.
        self.update = digests[0].update if len(digests) == 1 and has_body else self._each if has_body else _nothing

    def _each(self, part: bytes | bytearray | memoryview) -> None:
        for digest in self._digests:
            digest.update(part)

    def finish(self) -> bytes:
        """The body is complete: the key that it was signed with. Raises SignatureRefused."""
        if self._end:
            for digest in self._digests:
                digest.update(self._end)
        return self._keys[_matching([digest.digest() for digest in self._digests], self._signatures)]


def _nothing(part: bytes | bytearray | memoryview) -> None:
    """The template has no body."""


def _matching(expected: Sequence[bytes], candidates: Sequence[bytes]) -> int:
    """The index of the first that is equal to any candidate, in a time that does not tell which.

    Raises SignatureRefused.
    """
    found = len(expected)
    for index, text in enumerate(expected):
        for candidate in candidates:
            found = min(found, (len(expected), index)[compare_digest(text, candidate)])
    if found == len(expected):
        raise SignatureRefused("no secret matches")
    return found


def _one(headers: Mapping[bytes, list[bytes]], query: Mapping[str, Any], locator: Locator) -> bytes:
    """The one value at a locator of the head. Raises SignatureRefused."""
    if locator.kind == "header":
        values = headers.get(locator.field_name, ())
        if not values:
            raise SignatureRefused(f"{locator.name} is missing")
        if len(values) > 1:
            raise SignatureRefused(f"{locator.name} is given more than once")
        return values[0]
    value = query.get(locator.name, MISSING)
    if type(value) is not str:
        raise SignatureRefused(f"{locator} is {'missing' if value is MISSING else 'given more than once'}")
    return value.encode("utf-8", "surrogatepass")


def _value_at(locator: Locator, head: RequestHead) -> bytes:
    if locator.kind == "header":
        return _one(_values_of(head, locator.field_name), {}, locator)
    return b"".join(
        value.encode() for name, value in parse_qsl(head.target.partition("?")[2], True) if name == locator.name
    )


def _values_of(head: RequestHead, name: bytes) -> dict[bytes, list[bytes]]:
    return {name: [value for field_name, value in head.headers if field_name == name]}


def text_at(document: Any, locator: Locator) -> bytes:
    """The text at a locator of a parsed body. Raises SignatureRefused."""
    value = document.get(locator.name, MISSING) if locator.kind == "form" else look_up(document, locator.name)
    text = text_of(value)
    if text is None:
        raise SignatureRefused(f"{locator} is missing")
    return text.encode("utf-8", "surrogatepass")
