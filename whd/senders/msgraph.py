"""Microsoft Graph's change notifications: every item of a delivery carries the secret as its `clientState`.

Source: learn.microsoft.com, graph/change-notifications-delivery-webhooks. It proves the caller and signs nothing. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import BadPayload, InvalidSignature, NotFound
from ..model.caller_check import BodyCheck, CallerCheck, HeadProof, Query, RequestHead
from ..wire.payload import Parsed
from ..wire.strict_json import decode_strict, decode_utf8
from .credentials import any_equal, matching

MOST_ITEMS = 10_000


@dataclass(frozen=True, slots=True)
class ClientStateCheck(CallerCheck):
    """`clientState` of each item in `value` is one of the secrets."""

    secrets: tuple[bytes, ...] = field(repr=False)

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        return HeadProof(head.headers, True, [])

    def body_check(self, head: RequestHead, proof: HeadProof) -> BodyCheck:
        return _ItemsCheck(self.secrets, proof.evidence)

    def proved_by(self, head: RequestHead, proof: HeadProof, query: Query, parsed: Parsed) -> bytes:
        used: list[bytes] = proof.evidence
        return used[0]

    def check_status(self, head: RequestHead, query: Query) -> None:
        raise NotFound


class _ItemsCheck:
    """One delivery's body."""

    __slots__ = ("_secrets", "_used")

    def __init__(self, secrets: tuple[bytes, ...], used: list[bytes]) -> None:
        self._secrets = secrets
        self._used = used

    def update(self, part: bytes | bytearray | memoryview) -> None:
        """All parts come with `finish`."""

    def finish(self, body: bytes | list[bytes | bytearray]) -> None:
        whole = b"".join(body) if isinstance(body, list) else body
        try:
            document = decode_strict(decode_utf8(whole))
        except BadPayload:
            raise InvalidSignature("the body has no value whose items carry clientState: it is not JSON") from None
        items = document.get("value") if type(document) is dict else None
        if type(items) is not list or not items or len(items) > MOST_ITEMS:
            raise InvalidSignature("the body has no list `value` of items that carry clientState")
        for number, item in enumerate(items):
            given = item.get("clientState") if type(item) is dict else None
            if type(given) is not str or not any_equal(self._secrets, given.encode("utf-8", "surrogatepass")):
                raise InvalidSignature(f"clientState of value/{number} is missing or wrong")
        self._used[:] = [matching(self._secrets, items[0]["clientState"].encode("utf-8", "surrogatepass"))]
