"""The errors that whd raises on purpose: one small tree, each with an HTTP status and a stable code.

`detail` is what a client may read; `log_detail` is for the operator's log only. Nothing here does I/O.
Statuses and fields follow RFC 9110 (HTTP semantics) and RFC 9457 (problem details).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

MORE_PROCESSES = "raise the limit of processes (ulimit -u, TasksMax=)"


def way_out(error: OSError) -> str:
    """For an error of fork(2): "; " and what to do about it if it is a limit of processes, else ""."""
    return f"; {MORE_PROCESSES}" if error.errno == errno.EAGAIN else ""


class WhdError(Exception):
    """Root of the tree. `str(error)` is the client's text."""

    def __init__(self, detail: str, *, log_detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.log_detail = log_detail or detail


class ConfigError(WhdError):
    """Options, files or the command line cannot be used; the text names what, where and the way out."""


class UsageError(WhdError):
    """A command was given what it does not take; its exit status is that of a wrong option."""


class StateError(WhdError):
    """state/ cannot be used: locked by another daemon, not writable, written by a newer whd."""


class SaveRefused(WhdError):
    """Something that a flow, or an operator by command, may not save: `kind` names the flow_api error it becomes."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class HttpError(WhdError):
    """A request that is answered with `status` and a problem document that carries `code` (CONTRACT 3, Errors).

    `headers` are added to the answer, names in lower case.
    """

    status = 500
    code = "internal"
    title = "Internal Server Error"
    members: Mapping[str, Any] = MappingProxyType({})
    """What else the problem document has (RFC 9457, 3.2)."""

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        log_detail: str = "",
    ) -> None:
        super().__init__(detail, log_detail=log_detail)
        self.headers = headers
        if status is not None:
            self.status = status
            self.title = TITLES[status]


TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}


class BadRequest(HttpError):
    """The bytes are not HTTP/1.1 or 1.0 as RFC 9112 has it."""

    status, code, title = 400, "bad_request", TITLES[400]


class BadPayload(HttpError):
    """The JSON or form body cannot be read."""

    status, code, title = 400, "bad_payload", TITLES[400]


class InvalidKey(HttpError):
    """The webhook's key is missing or wrong. The text never repeats what was sent."""

    status, code, title = 401, "invalid_key", TITLES[401]

    def __init__(self, detail: str = "the webhook's key is missing or wrong", *, log_detail: str = "") -> None:
        # RFC 9110, 11.6.1: a 401 names at least one challenge.
        super().__init__(detail, headers=((b"www-authenticate", b'Bearer realm="webhook"'),), log_detail=log_detail)


class InvalidSignature(HttpError):
    """The proof of origin is missing, malformed, stale or wrong; the text says which check failed."""

    status, code, title = 401, "invalid_signature", TITLES[401]

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers=((b"www-authenticate", b'Signature realm="webhook"'),))


class IdempotencyKeyReused(HttpError):
    """The Idempotency-Key came with another body before."""

    status, code, title = 422, "idempotency_key_reused", TITLES[422]

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used before, with another body")


class Forbidden(HttpError):
    """The webhook's user may not run its flow."""

    status, code, title = 403, "forbidden", TITLES[403]


class FlowFailed(HttpError):
    """A flow failed, and its webhook does not answer with the execution. `detail`: nothing of its source."""

    status, code, title = 500, "flow_failed", TITLES[500]

    def __init__(self, detail: str, execution_id: str, *, status: int = 500) -> None:
        super().__init__(detail, status=status)
        self.members = {"id": execution_id}


class NotFound(HttpError):
    """No such client, webhook, execution or path: the same answer for all four."""

    status, code, title = 404, "not_found", TITLES[404]

    def __init__(self, detail: str = "there is nothing here") -> None:
        super().__init__(detail)


class MethodNotAllowed(HttpError):
    """A known path, but not with this method. `allowed` fills the Allow field (RFC 9110, 10.2.1)."""

    status, code, title = 405, "method_not_allowed", TITLES[405]

    def __init__(self, allowed: tuple[str, ...]) -> None:
        names = ", ".join(allowed)
        super().__init__(f"allowed here: {names}", headers=((b"allow", names.encode("ascii")),))


class RequestTimeout(HttpError):
    """Header or body came too slowly."""

    status, code, title = 408, "timeout", TITLES[408]


class TooLarge(HttpError):
    """Body (413), target (414) or header (431) over its limit; give `status` for the latter two."""

    status, code, title = 413, "too_large", TITLES[413]


class UnsupportedEncoding(HttpError):
    """A content-encoding other than gzip, and none of those that change nothing."""

    status, code, title = 415, "unsupported_encoding", TITLES[415]

    def __init__(self, detail: str) -> None:
        # RFC 9110, 12.5.3: a 415 caused by a coding lists in Accept-Encoding what would do.
        super().__init__(detail, headers=((b"accept-encoding", b"gzip, identity"),))


class NotImplementedByServer(HttpError):
    """Unknown method or transfer coding (RFC 9110, 9.1; RFC 9112, 6.1)."""

    status, code, title = 501, "not_implemented", TITLES[501]


class VersionNotSupported(HttpError):
    """An HTTP major version other than 1."""

    status, code, title = 505, "version", TITLES[505]


class Unavailable(HttpError):
    """Root of the three reasons for 503; each says when to come back (whole seconds, at least 1)."""

    status, code, title = 503, "overloaded", TITLES[503]

    def __init__(self, detail: str, *, retry_after_s: int = 1, log_detail: str = "") -> None:
        value = str(max(1, retry_after_s)).encode("ascii")
        super().__init__(detail, headers=((b"retry-after", value),), log_detail=log_detail)


class Overloaded(Unavailable):
    """Queue, connections, buffers or processes are at their limit."""


class Draining(Unavailable):
    """The daemon is stopping."""

    code = "draining"


class Misconfigured(Unavailable):
    """The webhook has no usable version: broken file, missing user or flow, flow that does not compile."""

    code = "misconfigured"
