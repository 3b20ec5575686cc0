"""The worker's end of its socket: blocking reads of whole frames, writes at once.

The one place of the far side that does I/O. What the daemon sends ahead (more jobs behind the present one) is kept in
order. When the daemon is gone, the process ends.
"""

from __future__ import annotations

import json
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from ..wire.frames import LENGTH, RUN, FrameError, FrameReader, RunHead, frame, read_run

# The daemon is trusted: the bound is for a stream that this side misreads.
MAX_FRAME_BYTES = 2_147_483_647
READ_BYTES = 65_536

EXIT_DAEMON_GONE = 0
EXIT_PROTOCOL = 70  # EX_SOFTWARE, sysexits(3)

# decode() would look for white space around the text, which our own heads do not have.
_scan: Callable[[str, int], tuple[Any, int]] = vars(json.JSONDecoder())["scan_once"]

# What a revocation is on the wire, and the answer to it.
_REVOKE = frame({"op": "revoke"})[LENGTH.size :]
_REVOKED = frame({"op": "revoked"})

Frame = tuple[dict[str, Any], bytes | bytearray | None]
RunFrame = tuple[RunHead, bytes | bytearray]


class Channel:
    """Frames over one stream socket."""

    __slots__ = ("_reader", "_revocations", "_socket", "_waiting")

    def __init__(self, stream: socket.socket) -> None:
        self._socket = stream
        self._reader = FrameReader(MAX_FRAME_BYTES)
        self._waiting: deque[bytes | bytearray] = deque()
        # How many revocations wait in there.
        self._revocations = 0

    def next(self) -> Frame | RunFrame:
        """Waits for the next frame: its head and its value's text."""
        while True:
            while not self._waiting:
                self._receive()
            payload = self._waiting.popleft()
            if payload[0] == RUN:
                order, start = read_run(payload)
                if order.is_behind and self._is_revoked():
                    continue
                return order, _value(payload, start)
            if payload == _REVOKE:
                self._revocations -= 1
                # The daemon may have read the end of the job before and not know whether the next one began.
                self.send_bytes(_REVOKED)
                continue
            head, end = _head(payload)
            return head, _value(payload, end) if end else None

    def _is_revoked(self) -> bool:
        """Whether the daemon has revoked what it had prefetched; asked before each job that waited behind another."""
        while self._read_nowait():
            pass
        return self._revocations > 0

    def _read_nowait(self) -> bool:
        try:
            self._receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def _receive(self, flags: int = 0) -> None:
        """One read. Raises BlockingIOError, if the flags say so."""
        reader = self._reader
        room = reader.room()
        try:
            if room is not None:
                size = self._socket.recv_into(room, 0, flags or socket.MSG_WAITALL)
                frames = reader.filled(size)
            else:
                data = self._socket.recv(READ_BYTES, flags)
                size = len(data)
                frames = reader.feed(data)
        except BlockingIOError:
            raise
        except OSError:
            leave(EXIT_DAEMON_GONE)
        except FrameError:
            leave(EXIT_PROTOCOL)
        if not size:
            leave(EXIT_DAEMON_GONE)
        self._waiting.extend(frames)
        self._revocations += frames.count(_REVOKE)

    def answer_to(self, job: int, call: int) -> tuple[dict[str, Any], bytes | None]:
        """Waits for the answer to one call; frames that come before it stay in line."""
        skipped: list[bytes | bytearray] = []
        while True:
            while not self._waiting:
                self._receive()
            payload = self._waiting.popleft()
            if payload[0] == RUN:
                skipped.append(payload)
                continue
            head, end = _head(payload)
            if head.get("op") == "answer":
                if head.get("job") != job or head.get("call") != call:
                    leave(EXIT_PROTOCOL)
                self._waiting.extendleft(reversed(skipped))
                # Flows get bytes, not a view.
                return head, bytes(memoryview(payload)[end:]) if end else None
            skipped.append(payload)

    def send(self, head: dict[str, Any], value: bytes | bytearray | None = None) -> None:
        """Writes one frame."""
        self.send_bytes(frame(head, value))

    def send_bytes(self, data: bytes) -> None:
        """Writes a frame that is already put together."""
        try:
            self._socket.sendall(data)
        except OSError:
            leave(EXIT_DAEMON_GONE)


def leave(status: int) -> NoReturn:
    """Ends the process at once: no handlers, no finalizers, nothing of a flow runs again."""
    os._exit(status)


def _value(payload: bytes | bytearray, start: int) -> bytes | bytearray:
    """What follows the head. A large frame, that is a bytearray (FrameReader), becomes its value."""
    if isinstance(payload, bytearray):
        del payload[:start]  # only moves its start
        return payload
    return payload[start:]


def _head(payload: bytes | bytearray) -> tuple[dict[str, Any], int]:
    """A frame's head, and where its value begins; 0 for a frame without one."""
    end = payload.find(b"\n") + 1
    try:
        return _scan((payload[: end - 1] if end else payload).decode("ascii"), 0)[0], end
    except (ValueError, StopIteration):
        leave(EXIT_PROTOCOL)
