"""Proof of origin as a check of a webhook's callers: signatures over the head, the raw body or its members.

One SignatureCheck is one mapping under `verify`: a preset, or `hmac` and `token` with fields of their own. The time is
passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from ..errors import BadPayload, InvalidSignature, NotFound
from ..model.caller_check import BodyCheck, CallerCheck, Headers, HeadProof, Query, RequestHead
from ..wire import multipart
from ..wire.payload import Parsed, is_multipart
from ..wire.strict_json import decode_strict, decode_utf8
from .rows import MAX_FIELDS, is_form
from .scheme import SignatureRefused, SignedRequest
from .template import joined
from .verifier import Evidence, Hashing, Verifier, text_at

# Authorization is what a bearer token or a password proves with; a flow never sees one that did.
AUTHORIZATION: Final = b"authorization"


@dataclass(frozen=True, slots=True)
class SignatureCheck(CallerCheck):
    """A delivery is signed with one of the secrets. `verifiers`: the first whose headers are there decides."""

    verifiers: tuple[Verifier, ...] = field(repr=False)
    now: Callable[[], float] = field(repr=False)
    header_names: frozenset[bytes] = field(init=False, repr=False)
    proof_names: frozenset[bytes] = field(init=False, repr=False)
    is_repeatable: bool = field(init=False, repr=False)
    pointers: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = frozenset[bytes]().union(*(verifier.header_names for verifier in self.verifiers))
        proofs = frozenset[bytes]().union(*(verifier.proof_names for verifier in self.verifiers))
        object.__setattr__(self, "header_names", names)
        object.__setattr__(self, "proof_names", proofs)
        late = [verifier.late_timestamp for verifier in self.verifiers if not verifier.needs_body]
        object.__setattr__(self, "pointers", tuple(locator.name for locator in late if locator is not None))
        # What is sent as it is follows from the head alone.
        object.__setattr__(self, "is_repeatable", all(verifier.is_plain for verifier in self.verifiers))

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        values, rest = self._part(head.headers)
        verifier = self._verifier_of(values, head)
        try:
            evidence = verifier.read(values, query.fields, self.now())
            used = [verifier.check_plain(evidence)] if verifier.is_plain else []
        except SignatureRefused as refused:
            raise InvalidSignature(str(refused)) from None
        # Where the whole body is read anyway, its timestamp is judged there.
        is_complete = verifier.late_timestamp is None or verifier.needs_body
        # Of a signature the key that it was made with comes with the body.
        return HeadProof(rest, is_complete, (verifier, evidence, used))

    def body_check(self, head: RequestHead, proof: HeadProof) -> BodyCheck | None:
        verifier, evidence, used = proof.evidence
        if verifier.is_plain:
            return None
        if verifier.needs_body:
            return _WholeBody(verifier, evidence, head, self.now, used)
        try:
            return _Streamed(verifier.start(evidence, head), used)
        except SignatureRefused as refused:
            raise InvalidSignature(str(refused)) from None

    def check_payload(self, proof: HeadProof, parsed: Parsed) -> bool:
        verifier, _evidence, _used = proof.evidence
        locator = verifier.late_timestamp
        text = None if locator is None else (parsed.picked or {}).get(locator.name)
        try:
            if text is None:
                raise SignatureRefused(f"{locator} is missing")
            verifier.check_age(text.encode("utf-8", "surrogatepass"), self.now())
        except SignatureRefused as refused:
            raise InvalidSignature(str(refused)) from None
        return True

    def proved_by(self, head: RequestHead, proof: HeadProof, query: Query, parsed: Parsed) -> bytes:
        used: list[bytes] = proof.evidence[2]
        return used[0]

    def check_status(self, head: RequestHead, query: Query) -> None:
        # Nobody signs a look at the status: SENDERS 3, Status.
        raise NotFound

    def _part(self, headers: Headers) -> tuple[dict[bytes, list[bytes]], Headers]:
        """The values of the headers that the verifiers look at, and the headers that the flow may see."""
        wanted, hidden = self.header_names, self.proof_names
        values: dict[bytes, list[bytes]] = {}
        rest = []
        for header in headers:
            name = header[0]
            if name in wanted:
                values.setdefault(name, []).append(header[1])
            if name not in hidden:
                rest.append(header)
        return values, tuple(rest)

    def _verifier_of(self, values: Mapping[bytes, list[bytes]], head: RequestHead) -> Verifier:
        if len(self.verifiers) > 1:
            content_type = content_type_of(head.headers)
            for verifier in self.verifiers:
                if verifier.is_addressed(values, is_a_form=is_form(content_type) or is_multipart(content_type)):
                    return verifier
        return self.verifiers[0]


class _Streamed:
    """The digests of one body, as it comes."""

    __slots__ = ("_hashing", "_used", "update")

    def __init__(self, hashing: Hashing, used: list[bytes]) -> None:
        """`used`: gets the key that the body was signed with."""
        self._hashing = hashing
        self._used = used
        self.update = hashing.update

    def finish(self, body: bytes | list[bytes | bytearray]) -> None:
        try:
            self._used[:] = [self._hashing.finish()]
        except SignatureRefused as refused:
            raise InvalidSignature(str(refused)) from None


class _WholeBody:
    """For schemes that sign members of the body, or what only a function can say: nothing is known before its end."""

    __slots__ = ("_evidence", "_head", "_now", "_used", "_verifier")

    def __init__(
        self, verifier: Verifier, evidence: Evidence, head: RequestHead, now: Callable[[], float], used: list[bytes]
    ) -> None:
        """`used`: gets the key that the body was signed with."""
        self._used = used
        self._verifier = verifier
        self._evidence = evidence
        self._head = head
        self._now = now

    def update(self, part: bytes | bytearray | memoryview) -> None:
        """The connection keeps the parts; all of them come with `finish`."""

    def finish(self, body: bytes | list[bytes | bytearray]) -> None:
        whole = b"".join(body) if isinstance(body, list) else body
        try:
            self._used[:] = [self._check(whole)]
        except SignatureRefused as refused:
            raise InvalidSignature(str(refused)) from None

    def _check(self, body: bytes) -> bytes:
        verifier, evidence = self._verifier, self._evidence
        content_type = content_type_of(self._head.headers)
        if verifier.scheme.texts is not None:
            request = SignedRequest(self._head, body, content_type, verifier.url, evidence.timestamp)
            return verifier.check_texts(verifier.scheme.texts(request), evidence.signatures)
        document = _document_of(body, content_type)
        signatures = evidence.signatures or verifier.signatures_in(document)
        if verifier.late_timestamp is not None:
            timestamp = text_at(document, verifier.late_timestamp)
            verifier.check_age(timestamp, self._now())
            evidence = Evidence(signatures, timestamp, evidence.id)
        template = verifier.template
        fill = verifier.filler(evidence, self._head, document)
        text = joined(template.before, fill) + (body if template.has_body else b"") + joined(template.behind, fill)
        return verifier.check_texts([text], signatures)


def _document_of(body: bytes, content_type: str) -> Any:
    """The body's members: of JSON, read strictly, or of a form. Raises SignatureRefused, for nobody is verified yet."""
    try:
        if is_form(content_type):
            return dict(parse_qsl(body.decode("utf-8"), True, errors="strict", max_num_fields=MAX_FIELDS))
        if is_multipart(content_type):
            return multipart.parse(body, content_type, has_key=False).fields
        return decode_strict(decode_utf8(body))
    except (BadPayload, ValueError):
        raise SignatureRefused("the body has no members to verify: it is neither JSON nor a form") from None


def content_type_of(headers: Headers) -> str:
    """The last content-type, "" without one."""
    found = [value for name, value in headers if name == b"content-type"]
    return found[-1].decode("latin-1") if found else ""
