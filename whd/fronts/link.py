"""What hub and front say to each other: frames of wire/frames.py over a stream socket, in order, with questions and
answers.

Both ends are ours and trusted; the length is bounded only against a defect. A head is {"op": …} with the op's members;
"ask" in it numbers a question, whose answer is {"op": "answer", "ask": the number} with a value if there is one. What
is sent within one turn of the loop leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from ..errors import StateError
from ..futures import value_of
from ..wire.frames import FrameReader, frame, split

MAX_FRAME_BYTES: Final = 2_147_483_648

log = logging.getLogger("whd.fronts")

# The answer's head and value; the head is None when the other end is gone, or was given up.
Answered = Callable[[dict[str, Any] | None, bytes | None], None]


class LinkLost(StateError):
    """The process at the other end is gone, or was given up; the question may have been heard."""


@dataclass(frozen=True, slots=True)
class Message:
    """What came; a question if `number` is not negative."""

    link: Link
    head: dict[str, Any]
    value: bytes | None
    number: int = -1

    def answer(self, value: bytes | None = None, **members: Any) -> None:
        """Answers a question; harmless for a statement, and when who asked is gone."""
        if self.number >= 0:
            self.link.send({"op": "answer", "ask": self.number, **members}, value)


Handlers = Mapping[str, Callable[[Message], None]]


class Link(asyncio.Protocol):
    """One end. `handlers` by op, each called on the loop; `lost` once, when the other end is gone."""

    def __init__(self, handlers: Handlers, lost: Callable[[], None]) -> None:
        self._handlers = handlers
        self._lost = lost
        self._reader = FrameReader(MAX_FRAME_BYTES)
        self._transport: asyncio.WriteTransport | None = None
        # By number, the op and what takes the answer.
        self._asked: dict[int, tuple[str, Answered]] = {}
        self._numbers = 0

    async def connect(self, sock: socket.socket) -> None:
        """Speaks over a connected stream socket, which it owns from here on."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    # ---- what the transport calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ready."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Handles every frame that is complete."""
        for payload in self._reader.feed(data):
            head, value = split(payload, MAX_FRAME_BYTES)
            try:
                # A large one is a bytearray, which is its reader's alone.
                self._handle(head, cast("bytes | None", value))
            except Exception:
                # A defect of ours: it must not take every other question along.
                log.exception("a message between hub and front: %s", head.get("op"))

    def _handle(self, head: dict[str, Any], value: bytes | None) -> None:
        if head["op"] == "answer":
            asked = self._asked.pop(head["ask"], None)
            if asked is not None:
                asked[1](head, value)
            return
        self._handlers[head["op"]](Message(self, head, value, head.get("ask", -1)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody will answer what was asked."""
        self._transport = None
        self.give_up()
        self._lost()

    # ---- what the owner calls ----------------------------------------------------------------------------------------

    @property
    def unsent_bytes(self) -> int:
        """What the other end has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, head: dict[str, Any], value: bytes | None = None) -> None:
        """Sends a frame; dropped when the other end is gone."""
        if self._transport is not None:
            self._transport.write(frame(head, value))

    def tell(self, op: str, value: bytes | None = None, **members: Any) -> None:
        """A statement."""
        self.send({"op": op, **members}, value)

    def ask(self, answered: Answered, op: str, value: bytes | None = None, **members: Any) -> None:
        """A question; `answered` is called once, at once if the other end is gone."""
        if self._transport is None:
            answered(None, None)
            return
        self._numbers += 1
        self._asked[self._numbers] = op, answered
        self.send({"op": op, "ask": self._numbers, **members}, value)

    def give_up(self, but: Collection[str] = ()) -> None:
        """Nobody waits any longer for what was asked, except for these ops; an answer that comes later is dropped."""
        given_up = {number: asked for number, asked in self._asked.items() if asked[0] not in but}
        for number, (_op, answered) in given_up.items():
            if self._asked.pop(number, None) is not None:
                answered(None, None)

    async def fetch(self, op: str, value: bytes | None = None, **members: Any) -> tuple[dict[str, Any], bytes | None]:
        """The answer to a question. Raises LinkLost."""
        answer: tuple[dict[str, Any] | None, bytes | None] = await value_of(
            lambda answered: self.ask(lambda *answer: answered(answer), op, value, **members)
        )
        if answer[0] is None:
            raise LinkLost("another process of the daemon ended, or does not answer")
        return answer[0], answer[1]

    def close(self) -> None:
        """Sends what is left and closes."""
        if self._transport is not None:
            self._transport.close()
