"""A call of a webhook in two halves: what its head alone decides (CallPlan), and one request with that head (Call).

A client that keeps its connection may send the same head again and again; the plan is made once for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import HttpError, UnsupportedEncoding
from ..http.messages import Head, Headers, Respond
from ..model.caller_check import HeadProof, Query
from ..model.snapshot import Flow, Snapshot, User, Webhook
from ..wire.charsets import codec_of
from ..wire.payload import Parsed
from .context import problem_response
from .query import parse as parse_query

PlanT = TypeVar("PlanT")
ResultT = TypeVar("ResultT")

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@dataclass(slots=True)
class CallPlan:
    """What follows from a snapshot and the bytes of a head, and from nothing else, as it serves every such request.

    So nothing of it may depend on the peer, the listener, the time, or what other requests did: who calls from where,
    whether a token or a timestamp is still good, rates and repeats are a Call's. It exists only if the webhook's caller
    check let the head pass. `prefix_json`, `resolved`: worked out at the first call.
    """

    snapshot: Snapshot
    webhook: Webhook
    head: Head
    path: str
    query: Query
    proof: HeadProof
    takes_key: bool
    is_async: bool
    content_type: str
    is_gzip: bool
    prefix_json: bytes = b""
    resolved: tuple[Flow, User] | None = None


def plan_call(snapshot: Snapshot, webhook: Webhook, head: Head, path: str, query_text: str) -> CallPlan:
    """Reads a head and asks the webhook's caller check. Raises HttpError."""
    content_type, is_gzip, prefers_async = _read_headers(head.headers)
    check = webhook.caller_check
    takes_key = check.takes_key
    query = parse_query(query_text, has_key=takes_key)
    proof = check.check_head(head, query)
    is_async = prefers_async if query.is_async is None else query.is_async
    if webhook.answering is not None and webhook.answering.is_ack:
        is_async = True
    return CallPlan(snapshot, webhook, head, path, query, proof, takes_key, is_async, content_type, is_gzip)


@dataclass(slots=True, eq=False)
class Call(Generic[PlanT]):
    """One request on its way from its body to its answer.

    `respond`: to be called once. `body_digest`: the body's SHA-256, where the webhook's rules need it.
    """

    plan: PlanT
    respond: Respond
    body_digest: bytes = b""

    def then(self, step: Callable[[ResultT], None]) -> Callable[[ResultT], None]:
        """A callback that goes on with `step`; an HttpError that it raises is the answer.

        For all that goes on later, when nobody is above it. What is raised before App.handle returns gets the same
        answer from the server, by App.problem.
        """

        def resume(result: ResultT) -> None:
            try:
                step(result)
            except HttpError as error:
                self.respond(problem_response(error))

        return resume


def input_json(plan: CallPlan, parsed: Parsed) -> bytes:
    """The flow's input_value (CONTRACT 3), with the payload's JSON as it came."""
    if parsed.is_whole:
        return parsed.members_json
    return b"%b,%b}" % (plan.prefix_json or input_start(plan), parsed.members_json)


def input_start(plan: CallPlan) -> bytes:
    """What of it comes before the payload: an object that is not closed. For callers who have passed every check."""
    if not plan.prefix_json:
        headers, query = plan.webhook.caller_check.visible(plan.head, plan.proof, plan.query)
        fields = {"method": plan.head.method, "path": plan.path, "query": query, "headers": _header_texts(headers)}
        plan.prefix_json = _encode(fields).encode("ascii")[:-1]
    return plan.prefix_json


def _header_texts(headers: Headers) -> dict[str, str]:
    texts: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("ascii")
        try:
            value = raw_value.decode("utf-8")
        except UnicodeDecodeError:
            value = raw_value.decode("latin-1")
        present = texts.get(name)
        if present is None:
            texts[name] = value
        else:
            # RFC 9110, 5.3: repeated fields are one list; cookies are joined in their own way (RFC 9113, 8.2.3).
            texts[name] = f"{present}; {value}" if name == "cookie" else f"{present}, {value}"
    return texts


def _read_headers(headers: Headers) -> tuple[str, bool, bool]:
    """Content type, whether the body is gzip, whether Prefer asks for async. Raises UnsupportedEncoding."""
    content_type = ""
    is_gzip = False
    prefers_async = False
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == b"content-encoding":
            is_gzip = _is_gzip(value, is_gzip)
        elif name == b"prefer":
            # RFC 7240, 2 and 4.1: a comma-separated list, names without regard to case.
            prefers_async |= any(
                item.partition(b";")[0].strip().lower() == b"respond-async" for item in value.split(b",")
            )
    return content_type, is_gzip, prefers_async


# Senders write here what is no compression: what changes nothing in mail (RFC 2045, 6.2), or a charset.
_NO_CODINGS = frozenset((b"", b"identity", b"none", b"binary", b"8bit", b"7bit"))


def _is_gzip(value: bytes, is_gzip: bool) -> bool:
    for coding in value.split(b","):
        name = coding.strip().lower()
        if name in (b"gzip", b"x-gzip"):  # RFC 9110, 8.4.1.3: the two are the same
            if is_gzip:
                raise UnsupportedEncoding("the body is packed more than once")
            is_gzip = True
        elif name not in _NO_CODINGS and codec_of(name.decode("latin-1")) is None:
            raise UnsupportedEncoding("content-encoding must be identity or gzip")
    return is_gzip
