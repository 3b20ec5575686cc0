"""Proof by something that is sent as it is, in Authorization: a bearer token, or a user's name and password.

Both say who calls and nothing of what is sent. Pure.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final

from ..errors import InvalidSignature, NotFound
from ..model.caller_check import CallerCheck, Headers, HeadProof, Query, RequestHead
from ..wire.payload import Parsed

_AUTHORIZATION: Final = b"authorization"


def authorization_of(headers: Headers) -> tuple[bytes, bytes, Headers]:
    """Scheme in lower case and credentials of the one Authorization field (RFC 9110, 11.6.2), and the other headers.

    Raises InvalidSignature if it is missing or given more than once.
    """
    found = [value for name, value in headers if name == _AUTHORIZATION]
    if len(found) != 1:
        raise InvalidSignature(f"Authorization is {'given more than once' if found else 'missing'}")
    scheme, _, credentials = found[0].partition(b" ")
    return scheme.lower(), credentials.strip(), tuple(header for header in headers if header[0] != _AUTHORIZATION)


def any_equal(secrets: tuple[bytes, ...], given: bytes) -> bool:
    """Whether what was given is one of the secrets, in a time that does not tell which."""
    found = False
    for secret in secrets:
        found |= compare_digest(secret, given)
    return found


def matching(secrets: tuple[bytes, ...], given: bytes) -> bytes:
    """Which of the secrets was given, of a caller who has given one."""
    return next((secret for secret in secrets if compare_digest(secret, given)), b"")


@dataclass(frozen=True, slots=True)
class BearerCheck(CallerCheck):
    """`Authorization: Bearer …` with one of the secrets (RFC 6750, 2.1)."""

    secrets: tuple[bytes, ...] = field(repr=False)

    is_repeatable = True

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        scheme, given, rest = authorization_of(head.headers)
        if scheme != b"bearer":
            raise InvalidSignature("Authorization has no bearer token")
        if not any_equal(self.secrets, given):
            raise InvalidSignature("no secret matches")
        return HeadProof(rest, True)

    def proved_by(self, head: RequestHead, proof: HeadProof, query: Query, parsed: Parsed) -> bytes:
        return matching(self.secrets, authorization_of(head.headers)[1])

    def check_status(self, head: RequestHead, query: Query) -> None:
        raise NotFound


@dataclass(frozen=True, slots=True)
class BasicCheck(CallerCheck):
    """`Authorization: Basic …` with the user's name and one of the passwords (RFC 7617).

    The 401 has a Basic challenge: some senders show their credentials only when they are asked (Twilio, SNS).
    """

    user: bytes = field(repr=False)
    passwords: tuple[bytes, ...] = field(repr=False)

    is_repeatable = True

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        try:
            scheme, given, rest = authorization_of(head.headers)
        except InvalidSignature as error:
            raise _refused(str(error)) from None
        if scheme != b"basic":
            raise _refused("Authorization has no user and password")
        if not any_equal(self._valid(), given):
            raise _refused("user or password is wrong")
        return HeadProof(rest, True)

    def proved_by(self, head: RequestHead, proof: HeadProof, query: Query, parsed: Parsed) -> bytes:
        return matching(self._valid(), authorization_of(head.headers)[1])

    def check_status(self, head: RequestHead, query: Query) -> None:
        raise NotFound

    def _valid(self) -> tuple[bytes, ...]:
        return tuple(base64.b64encode(self.user + b":" + password) for password in self.passwords)


def _refused(detail: str) -> InvalidSignature:
    error = InvalidSignature(detail)
    error.headers = ((b"www-authenticate", b'Basic realm="webhook", charset="UTF-8"'),)
    return error
