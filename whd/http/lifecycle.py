"""The two lifecycles of a connection, each as one table: of its bytes (State) and of its waiting (Phase).

connection.Connection has a State: where it stands in one exchange, whatever the network does. protocol.ClientProtocol
has a Phase: what it waits for, and so what happens at its deadline. The two are not one, because the first follows from
bytes alone and the second does not: an answer that its client does not read keeps a connection waiting although every
byte of the exchange is dealt with, and a body that is read only to be dropped is waited for like any other.

    State   HEAD → ADMISSION → BODY → ANSWER → HEAD …   one exchange after the other
            ADMISSION or BODY → DISCARD → HEAD          answered early; the rest of a small body is dropped
            HEAD or BODY → FAILED → CLOSED              no request; one answer may still say so
    Phase   FRESH → HEAD → BODY → ANSWER → IDLE → …     what is not needed is left out
            any but the last three → BLOCKED            the client does not read what it was answered
            IDLE → LINGER or FLUSH → LOST               the end, in two steps while the client may still be sending

The code assigns its state plainly: a look-up in a table at each of the five moves of a request would be paid by every
call. The tests pay instead: tests/http/conftest.py puts a check along STATE_MOVES and PHASE_MOVES before each
assignment in all of tests/http, the differential and the fuzz tests included, and tests/http/test_lifecycle.py tries
each event in each state. So a move that is missing here fails there. Nothing here does I/O.
"""

from __future__ import annotations

import enum
from typing import Final


class State(enum.Enum):
    """Where the connection stands in one exchange."""

    HEAD = "reading a head, or waiting for its first byte"
    ADMISSION = "a head was read; admit_body() or send_response() is next"
    BODY = "reading a body"
    ANSWER = "the request is complete; send_response() is next"
    DISCARD = "answered early; a small body is read and dropped"
    FAILED = "an error was raised; send_response() may tell the client, then it ends"
    CLOSED = "nothing more is read or written"


class Step(enum.Enum):
    """What moves a State."""

    READ = "a head was read"
    REPEATED = "the last head came again, with the whole of its body"
    ADMITTED = "the application wants the body"
    COMPLETE = "the body's last byte was read"
    UNREADABLE = "the bytes are no request that can be served"
    LEFT = "the client sends no more, and owes nothing"
    ANSWERED = "an answer was sent, and the next request may come"
    ANSWERED_EARLY = "the same, with a little of a body still to come"
    ANSWERED_LAST = "an answer was sent, and nothing follows it"


STATE_MOVES: Final[dict[tuple[State, Step], State]] = {
    (State.HEAD, Step.READ): State.ADMISSION,
    (State.HEAD, Step.REPEATED): State.ANSWER,
    (State.HEAD, Step.UNREADABLE): State.FAILED,
    (State.HEAD, Step.LEFT): State.CLOSED,
    (State.HEAD, Step.ANSWERED_LAST): State.CLOSED,  # 408, or 503 to one connection too many
    (State.ADMISSION, Step.ADMITTED): State.BODY,
    (State.ADMISSION, Step.ANSWERED): State.HEAD,  # refused; it has no body
    (State.ADMISSION, Step.ANSWERED_EARLY): State.DISCARD,
    (State.ADMISSION, Step.ANSWERED_LAST): State.CLOSED,
    (State.BODY, Step.COMPLETE): State.ANSWER,
    (State.BODY, Step.UNREADABLE): State.FAILED,
    (State.BODY, Step.ANSWERED): State.HEAD,  # refused as its last byte came
    (State.BODY, Step.ANSWERED_EARLY): State.DISCARD,
    (State.BODY, Step.ANSWERED_LAST): State.CLOSED,
    (State.ANSWER, Step.ANSWERED): State.HEAD,
    (State.ANSWER, Step.ANSWERED_LAST): State.CLOSED,
    (State.DISCARD, Step.COMPLETE): State.HEAD,
    (State.DISCARD, Step.LEFT): State.CLOSED,
    (State.DISCARD, Step.ANSWERED_LAST): State.CLOSED,
    (State.FAILED, Step.ANSWERED_LAST): State.CLOSED,
    (State.CLOSED, Step.ANSWERED_LAST): State.CLOSED,
}


class Phase(enum.Enum):
    """What a connection waits for; decides what happens at its deadline."""

    FRESH = "the first byte after connecting: then it is closed"
    IDLE = "the first byte of a further request: then it is closed"
    HEAD = "the rest of a head: then 408"
    BODY = "the rest of a body: then 408"
    ANSWER = "the application: no deadline of ours"
    BLOCKED = "the client to read what it was answered: then it is cut, unless it made progress"
    FLUSH = "the same, and nothing else follows"
    LINGER = "the client to close: then it is cut"
    LOST = "nothing any more"


_OPEN: Final = frozenset({Phase.IDLE, Phase.HEAD, Phase.BODY, Phase.ANSWER, Phase.BLOCKED})

PHASE_MOVES: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.FRESH: _OPEN | {Phase.FLUSH, Phase.LOST},
    # Every answer leads through IDLE, if only for a moment.
    Phase.IDLE: _OPEN | {Phase.FLUSH, Phase.LINGER, Phase.LOST},
    Phase.HEAD: _OPEN | {Phase.FLUSH, Phase.LOST},
    Phase.BODY: _OPEN | {Phase.FLUSH, Phase.LOST},
    Phase.ANSWER: frozenset({Phase.IDLE, Phase.LOST}),
    Phase.BLOCKED: _OPEN | {Phase.FLUSH, Phase.LOST},
    Phase.FLUSH: frozenset({Phase.LOST}),
    Phase.LINGER: frozenset({Phase.LOST}),
    Phase.LOST: frozenset(),
}
