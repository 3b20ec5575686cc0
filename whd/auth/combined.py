"""Several checks of a webhook's callers as one: all must hold, or any of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import HttpError, InvalidSignature, NotFound
from ..model.caller_check import BodyCheck, CallerCheck, Headers, HeadProof, Query, RequestHead
from ..valueclass import valueclass
from ..wire.payload import Parsed

MOST_DETAILS = 4


@valueclass
class _ReducedHead:
    """A head without the headers that an earlier check took."""

    method: str
    target: str
    headers: Headers
    content_length: int | None
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class AllOf(CallerCheck):
    """Each of the checks must hold, asked in this order. Those that want a key decide on the status."""

    checks: tuple[CallerCheck, ...]

    @property
    def is_repeatable(self) -> bool:  # type: ignore[override]
        """Only if each of them is."""
        return all(check.is_repeatable for check in self.checks)

    @property
    def takes_key(self) -> bool:  # type: ignore[override]
        """If one of them does."""
        return any(check.takes_key for check in self.checks)

    @property
    def key_required(self) -> bool:  # type: ignore[override]
        """If one of them does."""
        return any(check.key_required for check in self.checks)

    @property
    def pointers(self) -> tuple[str, ...]:  # type: ignore[override]
        """What any of them needs."""
        return tuple(dict.fromkeys(pointer for check in self.checks for pointer in check.pointers))

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        proofs = []
        reduced: RequestHead = head
        for check in self.checks:
            proof = check.check_head(reduced, query)
            proofs.append(proof)
            reduced = _ReducedHead(head.method, head.target, proof.headers, head.content_length)
        return HeadProof(reduced.headers, all(proof.is_complete for proof in proofs), tuple(proofs))

    def body_check(self, head: RequestHead, proof: HeadProof) -> BodyCheck | None:
        found = [check.body_check(head, each) for check, each in zip(self.checks, proof.evidence, strict=True)]
        needed = [check for check in found if check is not None]
        return _EachBody(needed) if len(needed) > 1 else needed[0] if needed else None

    def check_payload(self, proof: HeadProof, parsed: Parsed) -> bool:
        stays_out = True
        for check, each in zip(self.checks, proof.evidence, strict=True):
            if not each.is_complete or (check.takes_key and parsed.keys):
                is_key = check.check_payload(each, parsed)
                stays_out = is_key if check.takes_key else stays_out
        return stays_out

    def proved_by(self, head: RequestHead, proof: HeadProof, query: Query, parsed: Parsed) -> bytes:
        found = [
            check.proved_by(head, each, query, parsed) for check, each in zip(self.checks, proof.evidence, strict=True)
        ]
        return b"".join(b"%d:%b" % (len(each), each) for each in found)

    def visible(self, head: RequestHead, proof: HeadProof, query: Query) -> tuple[Headers, dict[str, Any]]:
        headers, fields = proof.headers, query.fields
        for check in self.checks:
            headers, fields = check.visible(head, HeadProof(headers, True), Query(fields, query.keys))
        return headers, fields

    def check_status(self, head: RequestHead, query: Query) -> None:
        with_key = [check for check in self.checks if check.key_required]
        if not with_key:
            raise NotFound
        for check in with_key:
            check.check_status(head, query)


class _EachBody:
    """Several checks of one body, all of which must hold."""

    def __init__(self, checks: Sequence[BodyCheck]) -> None:
        self._checks = checks

    def update(self, part: bytes | bytearray | memoryview) -> None:
        for check in self._checks:
            check.update(part)

    def finish(self, body: bytes | list[bytes | bytearray]) -> None:
        for check in self._checks:
            check.finish(body)


@dataclass(frozen=True, slots=True)
class AnyOf(CallerCheck):
    """One of the checks must hold, as while a webhook moves from one scheme to another.

    None of them takes a key. Headers that any of them takes are hidden whichever of them held.
    """

    checks: tuple[CallerCheck, ...]

    @property
    def is_repeatable(self) -> bool:  # type: ignore[override]
        """Only if each of them is."""
        return all(check.is_repeatable for check in self.checks)

    @property
    def pointers(self) -> tuple[str, ...]:  # type: ignore[override]
        """What any of them needs."""
        return tuple(dict.fromkeys(pointer for check in self.checks for pointer in check.pointers))

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        held: _Held = []
        refused: list[HttpError] = []
        for check in self.checks:
            try:
                held.append((check, check.check_head(head, query)))
            except InvalidSignature as error:
                refused.append(error)
        if not held:
            raise _joined(refused)
        kept = set(held[0][1].headers).intersection(*(proof.headers for _check, proof in held))
        headers = tuple(header for header in head.headers if header in kept)
        return HeadProof(headers, all(proof.is_complete for _check, proof in held), held)

    def body_check(self, head: RequestHead, proof: HeadProof) -> BodyCheck | None:
        held: _Held = proof.evidence
        bodies = [check.body_check(head, each) for check, each in held]
        needed = [body for body in bodies if body is not None]
        if len(needed) < len(bodies):
            # What asks nothing of the body has proved all with its head; the others prove nothing from here on.
            held[:] = [pair for pair, body in zip(held, bodies, strict=True) if body is None]
            return None
        return needed[0] if len(needed) == 1 else _AnyBody(held, needed)

    def check_payload(self, proof: HeadProof, parsed: Parsed) -> bool:
        held: _Held = proof.evidence
        refused: list[HttpError] = []
        for check, each in held:
            try:
                if not each.is_complete:
                    check.check_payload(each, parsed)
            except InvalidSignature as error:
                refused.append(error)
            else:
                return True
        raise _joined(refused)

    def proved_by(self, head: RequestHead, proof: HeadProof, query: Query, parsed: Parsed) -> bytes:
        held: _Held = proof.evidence
        check, each = held[0]
        return check.proved_by(head, each, query, parsed)

    def check_status(self, head: RequestHead, query: Query) -> None:
        raise NotFound


# The checks that held so far, of one request; each step leaves in it what it did not refuse.
_Held = list[tuple[CallerCheck, HeadProof]]


class _AnyBody:
    """Several checks of one body, one of which must hold."""

    def __init__(self, held: _Held, bodies: Sequence[BodyCheck]) -> None:
        self._held = held
        self._bodies = bodies

    def update(self, part: bytes | bytearray | memoryview) -> None:
        for body in self._bodies:
            body.update(part)

    def finish(self, body: bytes | list[bytes | bytearray]) -> None:
        refused: list[HttpError] = []
        holding = []
        for pair, check in zip(self._held, self._bodies, strict=True):
            try:
                check.finish(body)
            except InvalidSignature as error:
                refused.append(error)
            else:
                holding.append(pair)
        if not holding:
            raise _joined(refused)
        self._held[:] = holding


def _joined(refused: Sequence[HttpError]) -> InvalidSignature:
    details = list(dict.fromkeys(str(error) for error in refused))[:MOST_DETAILS]
    error = InvalidSignature("; ".join(details))
    # A Basic challenge, if one of them has it, makes senders show their credentials.
    error.headers = max((each.headers for each in refused), key=lambda headers: b"Basic" in headers[0][1])
    return error
