"""One request and its answer over one connection: h11 in the client's role, on the streams of asyncio.

h11 is the daemon's HTTP engine anyway, and without sockets of its own it is not bound to threads as http.client is.
A connection serves one exchange and is then cut off: what a server sends beyond its answer is not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, SOCK_STREAM, socket
from typing import Any

import h11

from ..auth.connections import Target
from ..model.budget import BufferBudget
from .values import HeaderFields, RestError, RestFault, RestLimits

MAX_HEAD_BYTES = 65_536
READ_BYTES = 16_384
UPLOAD_BYTES = 262_144
# Each piece costs the loop about 10 us however small it is: a body in chunks of one byte would cost a minute.
MAX_PIECES = 65_536
PIECES_AT_ONCE = 256
MAX_INFORMATIONAL = 100
# Chunk headers, informational responses and trailers are not the body, yet must be read.
FRAMING_BYTES = 1_048_576
ATTEMPT_S = 5.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent, without the fields that frame it."""

    method: str
    headers: HeaderFields
    body: bytes | None


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """What a server answered, a redirect included. `body` is empty if only the head was wanted."""

    status_code: int
    headers: HeaderFields
    body: bytes = b""


@dataclass(slots=True)
class Progress:
    """What a call is doing, for the message if it takes too long, and what it has taken from the budget."""

    doing: str = "waiting for its turn"
    held_bytes: int = 0


async def connect(
    target: Target, addresses: tuple[str, ...], tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first of the addresses that takes it, with TLS verified for the target's host.

    The addresses are connected to as they are; nothing is looked up here. Raises RestError.
    """
    loop = asyncio.get_running_loop()
    peer = await _connected(loop, target, addresses)
    reader = asyncio.StreamReader(limit=READ_BYTES * 4, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    try:
        server_hostname = target.host if tls is not None else None
        transport, _ = await loop.create_connection(
            lambda: protocol, sock=peer, ssl=tls, server_hostname=server_hostname
        )
    except BaseException as error:
        peer.close()
        if isinstance(error, OSError):
            raise _tls_error(target, error) from None
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _connected(loop: asyncio.AbstractEventLoop, target: Target, addresses: tuple[str, ...]) -> socket:
    reason = ""
    for index, address in enumerate(addresses):
        # One address that swallows packets must not use up the time of the others; the last one may have all of it.
        limit_s = ATTEMPT_S if index + 1 < len(addresses) else None
        try:
            peer = socket(AF_INET6 if ":" in address else AF_INET, SOCK_STREAM)
        except OSError as error:
            raise RestError(RestFault.NOT_CONNECTED, f"no socket can be opened: {error.strerror}") from None
        try:
            peer.setblocking(False)
            async with asyncio.timeout(limit_s):
                await _sock_connect(loop, peer, address, target.port)
            return peer
        except RestError as error:
            peer.close()
            reason = str(error)
        except TimeoutError:
            peer.close()
            reason = f"no answer within {limit_s or 0:g} s"
        except BaseException:
            peer.close()
            raise
        reason = f"{address} port {target.port}: {reason}"
    raise RestError(RestFault.NOT_CONNECTED, f"cannot connect to {reason}")


async def _sock_connect(loop: asyncio.AbstractEventLoop, peer: socket, address: str, port: int) -> None:
    try:
        await loop.sock_connect(peer, (address, port))
    except OSError as error:
        # Caught here, because ETIMEDOUT is a TimeoutError, which further up would mean our own clock.
        text = "connection refused" if isinstance(error, ConnectionRefusedError) else error.strerror or str(error)
        raise RestError(RestFault.NOT_CONNECTED, text) from None


def _tls_error(target: Target, error: OSError) -> RestError:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the certificate of {target.host} could not be verified: {error.verify_message}"
        return RestError(RestFault.CERTIFICATE, text)
    if isinstance(error, ssl.SSLError):
        return RestError(RestFault.TLS, f"TLS with {target.authority} failed: {error.reason or error}")
    return RestError(RestFault.TLS, f"TLS with {target.authority} failed: the connection was closed")


async def exchange(
    target: Target,
    outgoing: Outgoing,
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    limits: RestLimits,
    budget: BufferBudget,
    progress: Progress,
    wants_body: Callable[[RestAnswer], bool],
) -> RestAnswer:
    """Sends the request and reads the answer. `wants_body` is asked with the head; the connection is always cut off.

    Raises RestError.
    """
    reader, writer = streams
    engine = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    upload: asyncio.Task[None] | None = None
    try:
        head = _head(engine, target, outgoing)
        body = outgoing.body or b""
        if len(body) <= UPLOAD_BYTES:
            writer.write(head + body)
        else:
            # At the same time as the reading: a server may answer, and refuse, before it has read everything.
            upload = asyncio.create_task(_upload(writer, head, body))
        progress.doing = "waiting for the answer"
        return await _Reading(engine, reader, limits, budget, progress).answer(outgoing.method, wants_body)
    except h11.RemoteProtocolError as error:
        if reader.at_eof():
            raise RestError(RestFault.NOT_CONNECTED, "the server closed the connection within its answer") from None
        raise RestError(RestFault.PROTOCOL, f"the answer is not HTTP/1.1: {error}") from None
    except OSError as error:
        text = f"the connection broke while {progress.doing}: {error.strerror or error}"
        raise RestError(RestFault.NOT_CONNECTED, text) from None
    finally:
        if upload is not None:
            upload.cancel()
        # Not close(): that would wait for what is still to be written, and for the other side of TLS.
        writer.transport.abort()


def _head(engine: h11.Connection, target: Target, outgoing: Outgoing) -> bytes:
    given = {name.lower() for name, _ in outgoing.headers}
    headers = [("Host", target.authority), ("Connection", "close"), *outgoing.headers]
    headers += [(name, value) for name, value in _DEFAULT_HEADERS if name.lower() not in given]
    body = outgoing.body
    if body is not None or outgoing.method in ("POST", "PUT", "PATCH"):
        # RFC 9110, 8.6: methods that anticipate content say so when there is none.
        headers.append(("Content-Length", str(len(body or b""))))
    fields = [(name.encode("ascii"), value.encode("utf-8")) for name, value in headers]
    request = h11.Request(method=outgoing.method, target=target.path_and_query, headers=fields)
    sent = engine.send(request) or b""
    if body:
        engine.send(h11.Data(data=body))
    return sent + (engine.send(h11.EndOfMessage()) or b"")


_DEFAULT_HEADERS = (("User-Agent", "whd"), ("Accept", "*/*"), ("Accept-Encoding", "identity"))


async def _upload(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
    """Sends slice by slice, so that TLS does not encrypt all of a large body at once on the loop."""
    writer.write(head)
    view = memoryview(body)
    # If the server goes away, the reading side learns why.
    with contextlib.suppress(OSError):
        for start in range(0, len(body), UPLOAD_BYTES):
            writer.write(view[start : start + UPLOAD_BYTES])
            await writer.drain()


class _Reading:
    """Reads one answer within the limits."""

    def __init__(
        self,
        engine: h11.Connection,
        reader: asyncio.StreamReader,
        limits: RestLimits,
        budget: BufferBudget,
        progress: Progress,
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._limits = limits
        self._budget = budget
        self._progress = progress
        self._received_bytes = 0
        self._pieces = 0

    async def answer(self, method: str, wants_body: Callable[[RestAnswer], bool]) -> RestAnswer:
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            if self._pieces > MAX_INFORMATIONAL:
                raise RestError(
                    RestFault.TOO_LARGE, f"more than {MAX_INFORMATIONAL} informational answers came before it"
                )
            event = await self._next()
        headers = tuple((name.decode("ascii"), _text(value)) for name, value in event.headers)
        answer = RestAnswer(event.status_code, headers)
        if not wants_body(answer):
            return answer
        self._progress.doing = "reading the answer"
        if method != "HEAD" and answer.status_code != 304:
            # RFC 9110, 8.6: only there it announces nothing.
            self._check_announced(event)
        return RestAnswer(answer.status_code, answer.headers, await self._body())

    def _check_announced(self, head: h11.Response) -> None:
        """Refuses what is too large, unread. h11 has made sure that these are digits, at most 20."""
        announced = next((value for name, value in head.headers if name == b"content-length"), b"0")
        if int(announced) > self._limits.max_body_bytes:
            raise _too_large(self._limits.max_body_bytes)

    async def _body(self) -> bytes:
        limit_bytes = self._limits.max_body_bytes
        body = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            if len(body) + len(event.data) > limit_bytes:
                raise _too_large(limit_bytes)
            if not self._budget.take(len(event.data)):
                raise RestError(RestFault.OVERLOADED, "whd is reading too many large answers at once, try again later")
            self._progress.held_bytes += len(event.data)
            body += event.data
        return bytes(body)

    async def _next(self) -> Any:
        while (event := self._engine.next_event()) is h11.NEED_DATA:
            data = await self._reader.read(READ_BYTES)
            self._received_bytes += len(data)
            if self._received_bytes > 2 * self._limits.max_body_bytes + FRAMING_BYTES:
                raise _too_large(self._limits.max_body_bytes)
            if not data and self._engine.their_state is h11.SEND_RESPONSE:
                when = "within its answer" if self._received_bytes else "before it answered"
                raise RestError(RestFault.NOT_CONNECTED, f"the server closed the connection {when}")
            self._engine.receive_data(data)
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            raise RestError(RestFault.TOO_LARGE, f"the answer came in more than {MAX_PIECES} pieces")
        if self._pieces % PIECES_AT_ONCE == 0:
            await asyncio.sleep(0)
        return event


def _too_large(limit_bytes: int) -> RestError:
    return RestError(RestFault.TOO_LARGE, f"the answer is larger than {limit_bytes} bytes")


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
