"""Every event in every state of a connection, and in every phase of what it waits for, with none left out.

That each single assignment is a move of the tables is checked in all of tests/http, see conftest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import product

import pytest

from whd.errors import HttpError
from whd.http.connection import MAX_DISCARDED_BYTES, Connection
from whd.http.lifecycle import STATE_MOVES, Phase, State, Step
from whd.http.messages import Response

from .corpus import LIMITS, length
from .test_protocol import ECHO, HOLD, Stage

OK = Response(200, (), b"ok")
LAST = Response(200, (), b"ok", close=True)
SMALL, LARGE = b"4", b"%d" % (MAX_DISCARDED_BYTES + 1)

# ---- State -----------------------------------------------------------------------------------------------------------


def reading(data: bytes = b"") -> Connection:
    connection = Connection(**LIMITS)
    connection.receive_data(data)
    return connection


def read(data: bytes) -> Connection:
    connection = reading(data)
    connection.next_event()
    return connection


def admitted(data: bytes) -> Connection:
    connection = read(data)
    connection.admit_body(1 << 30)
    return connection


def complete() -> Connection:
    connection = admitted(ECHO)
    connection.next_event()
    return connection


def discarding() -> Connection:
    connection = read(length(SMALL))
    connection.send_response(OK)
    return connection


def failed() -> Connection:
    connection = reading(b"no request\r\n\r\n")
    with pytest.raises(HttpError):
        connection.next_event()
    return connection


def closed() -> Connection:
    connection = complete()
    connection.send_response(LAST)
    return connection


IN_STATE: dict[State, Callable[[], Connection]] = {
    State.HEAD: reading,
    State.ADMISSION: lambda: read(length(SMALL)),
    State.BODY: lambda: admitted(length(SMALL)),
    State.ANSWER: complete,
    State.DISCARD: discarding,
    State.FAILED: failed,
    State.CLOSED: closed,
}


def receive(connection: Connection, data: bytes) -> None:
    connection.receive_data(data)
    while type(connection.next_event()) is bytes:
        pass


def leave(connection: Connection) -> None:
    connection.receive_eof()
    connection.next_event()


# What the outside does: bytes come, the client leaves, the application answers.
EVENTS: dict[str, Callable[[Connection], object]] = {
    "a head comes": lambda connection: receive(connection, length(SMALL)),
    "four bytes come": lambda connection: receive(connection, b"abcd"),
    "bytes come that are no request": lambda connection: receive(connection, b"\0\r\n\r\n"),
    "the client leaves": leave,
    "it is admitted": lambda connection: connection.admit_body(1 << 30),
    "it is answered": lambda connection: connection.send_response(OK),
    "it is answered for the last time": lambda connection: connection.send_response(LAST),
}

# Without an entry, nothing changes: what comes waits in the buffer, or is dropped.
STATE_AFTER: dict[tuple[State, str], State] = {
    (State.HEAD, "a head comes"): State.ADMISSION,
    (State.HEAD, "bytes come that are no request"): State.FAILED,
    (State.HEAD, "the client leaves"): State.CLOSED,
    (State.HEAD, "it is answered"): State.CLOSED,  # nobody asked: the answer says why it ends
    (State.HEAD, "it is answered for the last time"): State.CLOSED,
    (State.ADMISSION, "it is admitted"): State.BODY,
    (State.ADMISSION, "it is answered"): State.DISCARD,
    (State.ADMISSION, "it is answered for the last time"): State.CLOSED,
    (State.BODY, "a head comes"): State.ANSWER,  # four bytes of it are the body
    (State.BODY, "four bytes come"): State.ANSWER,
    (State.BODY, "bytes come that are no request"): State.ANSWER,
    (State.BODY, "the client leaves"): State.FAILED,
    (State.BODY, "it is answered"): State.DISCARD,
    (State.BODY, "it is answered for the last time"): State.CLOSED,
    (State.ANSWER, "it is answered"): State.HEAD,
    (State.ANSWER, "it is answered for the last time"): State.CLOSED,
    (State.DISCARD, "a head comes"): State.FAILED,  # what is left of it is no head
    (State.DISCARD, "four bytes come"): State.HEAD,
    (State.DISCARD, "bytes come that are no request"): State.FAILED,  # a byte of them is left
    (State.DISCARD, "the client leaves"): State.CLOSED,
    (State.DISCARD, "it is answered"): State.CLOSED,
    (State.DISCARD, "it is answered for the last time"): State.CLOSED,
    (State.FAILED, "it is answered"): State.CLOSED,
    (State.FAILED, "it is answered for the last time"): State.CLOSED,
}
# Moves that the tables do not have: the caller's defect, which the check of conftest names.
DEFECTS = {(state, "it is admitted") for state in State if state not in (State.ADMISSION, State.BODY)}


@pytest.mark.parametrize(("state", "event"), [(state, event) for state, event in product(State, EVENTS)])
def test_every_event_in_every_state(state: State, event: str, defects: list[str]) -> None:
    connection = IN_STATE[state]()
    assert connection.state is state
    if (state, event) in DEFECTS:
        with pytest.raises(AssertionError, match=f"{state.name} to BODY"):
            EVENTS[event](connection)
        assert defects.pop() == f"{state.name} to BODY"
        return
    try:
        EVENTS[event](connection)
    except HttpError:
        assert connection.state is State.FAILED
    assert connection.state is STATE_AFTER.get((state, event), state)


def done(connection: Connection, answer: Response) -> Connection:
    connection.send_response(answer)
    return connection


def sent(connection: Connection, data: bytes) -> Connection:
    receive(connection, data)
    return connection


def left(connection: Connection) -> Connection:
    connection.receive_eof()
    with contextlib.suppress(HttpError):
        connection.next_event()
    return connection


def repeated() -> Connection:
    connection = complete()
    connection.send_response(OK)
    again = connection.repeated_head(ECHO)
    assert again is not None
    connection.take_repeated(again, ECHO)
    return connection


# Each step of the table, done: where it cannot be done with the connections above, with one of its own.
STEPS: dict[tuple[State, Step], Callable[[], Connection]] = {
    (State.HEAD, Step.REPEATED): repeated,
    (State.ADMISSION, Step.ANSWERED): lambda: done(read(ECHO), OK),
    (State.BODY, Step.ANSWERED): lambda: done(admitted(ECHO), OK),
    (State.DISCARD, Step.COMPLETE): lambda: sent(discarding(), b"abcd"),
    (State.HEAD, Step.READ): lambda: sent(reading(), ECHO),
    (State.HEAD, Step.UNREADABLE): failed,
    (State.HEAD, Step.LEFT): lambda: left(reading()),
    (State.HEAD, Step.ANSWERED_LAST): lambda: done(reading(), OK),
    (State.ADMISSION, Step.ADMITTED): lambda: admitted(length(SMALL)),
    (State.ADMISSION, Step.ANSWERED_EARLY): discarding,
    (State.ADMISSION, Step.ANSWERED_LAST): lambda: done(read(length(LARGE)), OK),
    (State.BODY, Step.COMPLETE): lambda: sent(admitted(length(SMALL)), b"abcd"),
    (State.BODY, Step.UNREADABLE): lambda: left(admitted(length(SMALL))),
    (State.BODY, Step.ANSWERED_EARLY): lambda: done(admitted(length(SMALL)), OK),
    (State.BODY, Step.ANSWERED_LAST): lambda: done(admitted(length(LARGE)), OK),
    (State.ANSWER, Step.ANSWERED): lambda: done(complete(), OK),
    (State.ANSWER, Step.ANSWERED_LAST): closed,
    (State.DISCARD, Step.LEFT): lambda: left(discarding()),
    (State.DISCARD, Step.ANSWERED_LAST): lambda: done(discarding(), LAST),
    (State.FAILED, Step.ANSWERED_LAST): lambda: done(failed(), OK),
    (State.CLOSED, Step.ANSWERED_LAST): lambda: done(closed(), OK),
}


@pytest.mark.parametrize("move", STATE_MOVES)
def test_every_step_of_the_table_is_one_that_happens(move: tuple[State, Step]) -> None:
    assert STEPS[move]().state is STATE_MOVES[move]


# ---- Phase -----------------------------------------------------------------------------------------------------------


def staged(*data: bytes) -> Stage:
    stage = Stage()
    for part in data:
        stage.receive(part)
    return stage


def blocked() -> Stage:
    stage = staged(ECHO)
    stage.protocol.pause_writing()
    stage.receive(b"GET")
    return stage


def flushing() -> Stage:
    stage = staged(HOLD)
    stage.protocol.eof_received()
    stage.release()
    return stage


def lost() -> Stage:
    stage = staged(ECHO)
    stage.protocol.connection_lost(None)
    return stage


IN_PHASE: dict[Phase, Callable[[], Stage]] = {
    Phase.FRESH: staged,
    Phase.IDLE: lambda: staged(ECHO),
    Phase.HEAD: lambda: staged(b"GET"),
    Phase.BODY: lambda: staged(length(SMALL)),
    Phase.ANSWER: lambda: staged(HOLD),
    Phase.BLOCKED: blocked,
    Phase.FLUSH: flushing,
    Phase.LINGER: lambda: staged(b"no request\r\n\r\n"),
    Phase.LOST: lost,
}


def drain(stage: Stage) -> None:
    stage.services.is_draining = True
    stage.protocol.drain()


def answer(stage: Stage) -> None:
    if stage.app.held:
        stage.release()


HAPPENINGS: dict[str, Callable[[Stage], object]] = {
    "a part of a head comes": lambda stage: stage.receive(b"G"),
    "a request comes": lambda stage: stage.receive(ECHO),
    "a request comes that is answered later": lambda stage: stage.receive(HOLD),
    "the client shuts its side": lambda stage: stage.protocol.eof_received(),
    "the application answers": answer,
    "the client reads no more": lambda stage: stage.protocol.pause_writing(),
    "the client has read": lambda stage: stage.protocol.resume_writing(),
    "the daemon drains": drain,
    "every deadline passes": lambda stage: stage.loop.advance(400),
    "the connection is lost": lambda stage: stage.protocol.connection_lost(None),
}


# Without an entry, it goes on waiting for the same.
PHASE_AFTER: dict[tuple[Phase, str], Phase] = {
    (Phase.FRESH, "a part of a head comes"): Phase.HEAD,
    (Phase.FRESH, "a request comes"): Phase.IDLE,
    (Phase.FRESH, "a request comes that is answered later"): Phase.ANSWER,
    (Phase.FRESH, "the client shuts its side"): Phase.FLUSH,
    (Phase.FRESH, "the daemon drains"): Phase.FLUSH,
    (Phase.IDLE, "a part of a head comes"): Phase.HEAD,
    (Phase.IDLE, "a request comes that is answered later"): Phase.ANSWER,
    (Phase.IDLE, "the client shuts its side"): Phase.FLUSH,
    (Phase.IDLE, "the daemon drains"): Phase.FLUSH,
    (Phase.HEAD, "a request comes"): Phase.LINGER,  # behind the part of one, it is none
    (Phase.HEAD, "a request comes that is answered later"): Phase.LINGER,
    (Phase.HEAD, "the client shuts its side"): Phase.FLUSH,
    (Phase.HEAD, "every deadline passes"): Phase.LINGER,
    (Phase.BODY, "a request comes"): Phase.LINGER,  # what the body leaves of it is none
    (Phase.BODY, "a request comes that is answered later"): Phase.LINGER,
    (Phase.BODY, "the client shuts its side"): Phase.FLUSH,
    (Phase.BODY, "every deadline passes"): Phase.LINGER,
    (Phase.ANSWER, "the application answers"): Phase.IDLE,
    (Phase.BLOCKED, "the client has read"): Phase.HEAD,
    **{(phase, "the connection is lost"): Phase.LOST for phase in Phase},
}
# The application is waited for as long as it takes.
WAITS_FOR_EVER = {Phase.ANSWER, Phase.LOST}


@pytest.mark.parametrize(("phase", "event"), [(phase, event) for phase, event in product(Phase, HAPPENINGS)])
def test_every_event_in_every_phase(phase: Phase, event: str) -> None:
    stage = IN_PHASE[phase]()
    assert stage.protocol._phase is phase
    HAPPENINGS[event](stage)
    after = PHASE_AFTER.get((phase, event), phase)
    assert stage.protocol._phase is after
    if event == "every deadline passes":
        assert stage.transport.is_aborted is (phase not in WAITS_FOR_EVER)
