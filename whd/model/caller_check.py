"""What a webhook may ask of its callers: the interface between the checks (auth.callers) and the handlers that ask.

A new kind of proof is one more CallerCheck; handlers, router and commands know nothing of keys or signatures. Nothing
here does I/O.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import InvalidKey
from ..valueclass import valueclass
from ..wire.payload import Parsed

Headers = tuple[tuple[bytes, bytes], ...]


class RequestHead(Protocol):
    """What a check sees of a request's head; http.messages.Head is one and says what each holds."""

    @property
    def method(self) -> str:
        """In upper case."""

    @property
    def target(self) -> str:
        """Path and query as sent."""

    @property
    def headers(self) -> Headers:
        """Names in lower case, in order of arrival."""

    @property
    def content_length(self) -> int | None:
        """None for a chunked body, 0 without a body."""

    @property
    def raw(self) -> bytes | None:
        """All of it as it came, None if that is not at hand: to search at once what else takes a look at each value."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query string. `keys`: every value of `key`, as bytes. `is_async`: what `async` says, None without it."""

    fields: dict[str, Any]
    keys: tuple[bytes, ...] = ()
    is_async: bool | None = None


@valueclass
class HeadProof:
    """What a head proved. `headers`: the request's without what was shown as proof (CallerCheck.visible has the rest).

    `is_complete`: the payload need not prove anything. `evidence`: the check's own notes for its further steps.
    """

    headers: Headers
    is_complete: bool
    evidence: Any = None


class BodyCheck(Protocol):
    """A check over the raw bytes of one request's body, as they come."""

    def update(self, part: bytes | bytearray | memoryview) -> object:
        """The next part. Called as the bytes come in: what takes long holds up everybody."""

    def finish(self, body: bytes | list[bytes | bytearray]) -> None:
        """The body is complete; nothing of it has been used yet. Raises HttpError if the check fails."""


class CallerCheck(ABC):
    """What one webhook asks of its callers; frozen, made when the webhook's setting is read.

    The methods raise HttpError to refuse, never with anything that was sent. They are asked in this order: `check_head`
    and `body_check` before the body is read, BodyCheck.finish before it is parsed, `check_payload` before anything else
    is done with it, `visible` last. What lets callers in if it were forgotten is abstract.
    """

    __slots__ = ()

    # Attributes, not properties, of the class or of each check: every new head asks for them.
    is_repeatable: bool = False
    """Whether check_head's outcome follows from check and head alone and so holds for the same head again.

    False where the time, the peer or anything else of one request counts.
    """

    takes_key: bool = False
    """Whether `key`, in query and payload, is the webhook's and taken out; else it is the flow's."""

    key_required: bool = False
    """Whether callers need a key, as `whd webhooks` says it."""

    pointers: tuple[str, ...] = ()
    """What check_payload needs of the payload, as JSON pointers: Parsed.picked has the texts."""

    @abstractmethod
    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        """Everything that can be decided before the body is read."""

    def body_check(self, head: RequestHead, proof: HeadProof) -> BodyCheck | None:
        """A new check of one request's body, None if its bytes prove nothing. A head with one is never repeatable."""
        return None

    def check_payload(self, proof: HeadProof, parsed: Parsed) -> bool:
        """What the head left to prove. Called unless `proof.is_complete` and no `key` was taken out of the payload.

        Gives whether that `key` stays out; else it is the sender's own, and the flow gets it.
        """
        raise InvalidKey

    def visible(self, head: RequestHead, proof: HeadProof, query: Query) -> tuple[Headers, dict[str, Any]]:
        """What the flow sees of headers and query: nothing that is or contains a proof.

        Like check_head's, the outcome follows from check and head alone. Asked once all checks have passed, so that how
        long it takes tells nobody of a secret.
        """
        return proof.headers, query.fields

    def proved_by(self, head: RequestHead, proof: HeadProof, query: Query, parsed: Parsed) -> bytes:
        """Which secret or key proved the caller, b"" if none did. Asked once all checks have passed, never shown.

        Two callers with different ones may use the same id for two things.
        """
        return b""

    @abstractmethod
    def check_status(self, head: RequestHead, query: Query) -> None:
        """Whether the caller may see and cancel executions of this webhook: there is no body to prove it."""
