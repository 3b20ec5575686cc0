"""What the outside does, in any order: client, application, clock and daemon by the dice, a seed for each walk.

test_lifecycle.py tries each event in each phase; here they come one upon the other, up to a hundred in a row, so that a
way through the tables of lifecycle.py that nobody thought of is gone as well. The check of conftest is under each step,
and a step that it refuses is an exception or, where the application was at work, an error in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from random import Random

import pytest

from whd.errors import BadPayload
from whd.http.lifecycle import Phase, State
from whd.http.messages import Admission, Body, Head, Respond, Response

from .corpus import length
from .driver import at_random
from .fakes import App
from .requests import any_stream
from .test_protocol import ECHO, HOLD, OPTIONS, Stage

WALKS = 3000
ECHOES = (ECHO, ECHO, length(b"3", b"abc"))
HOLDS = (HOLD, ECHOES[2].replace(b"/p", b"/hold"))
REFUSED = (ECHO.replace(b"/x", b"/nowhere"), ECHOES[2].replace(b"/p", b"/nowhere"))


class WatchingApp(App):
    """Sees some bodies as they come, refuses some of them, and finds in `handle` that it saw all of the others."""

    def __init__(self, dice: Random) -> None:
        super().__init__(OPTIONS)
        self.handled = 0
        self._dice = dice
        self._seen = b""

    def admit(self, head: Head) -> Admission:
        admission = super().admit(head)
        if self._dice.random() < 0.5:
            self._seen = b""
            admission.observe = self._see  # type: ignore[misc]  # frozen for the type checker only
        return admission

    def _see(self, part: bytes) -> None:
        self._seen += part
        if self._dice.random() < 0.1:
            raise BadPayload("seen enough")

    def handle(self, admission: Admission, body: Body, respond: Respond) -> Callable[[], None] | None:
        self.handled += 1
        if admission.observe is not None:
            assert self._seen == (b"".join(body) if isinstance(body, list) else body)
        return super().handle(admission, body, respond)


class Walk:
    """One connection, from its first byte until it is lost."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(seed)
        self.app = WatchingApp(self._dice)
        self.stage = Stage(app=self.app, buffered_bytes=self._dice.choice((1 << 30, 1 << 30, 5)))
        self._pieces = self._stream()
        self._has_shut = False
        self._is_blocked = False
        self._answered = 0

    def _stream(self) -> Iterator[bytes]:
        dice = self._dice
        while True:
            stream = dice.choice((*ECHOES, *HOLDS, *REFUSED, b"\r\n"))
            if dice.random() < 0.05:
                stream = any_stream(dice)
            # Whole, so that a repeated head takes its short way; else in pieces.
            yield from [stream] if dice.random() < 0.5 else at_random(stream, dice)

    def go(self) -> Iterator[tuple[Phase, State]]:
        """Where it stands after each step."""
        stage = self.stage
        for _ in range(self._dice.randint(1, 100)):
            self._step()
            yield stage.protocol._phase, stage.protocol._connection.state
            if stage.transport.is_closing():
                break
        stage.protocol.connection_lost(None)
        yield stage.protocol._phase, stage.protocol._connection.state

    def _step(self) -> None:
        stage = self.stage
        protocol = stage.protocol
        match self._dice.randrange(20):
            case 0 if not self._has_shut:
                self._has_shut = True
                protocol.eof_received()
            case 1:
                stage.loop.advance(self._dice.choice((0.1, 3, 11, 40, 100)))
            case 2 | 3:
                self._is_blocked = not self._is_blocked
                (protocol.pause_writing if self._is_blocked else protocol.resume_writing)()
            case 4 if self._dice.random() < 0.2:
                stage.services.is_draining = True
                protocol.drain()
            case 5 | 6 | 7 if self._answered < len(self.app.held):
                self._answered += 1
                answer = Response(200, (), b"released", close=self._dice.random() < 0.1)
                self.app.held[self._answered - 1].respond(answer)
            case _ if not self._has_shut and not stage.transport.is_paused:
                stage.receive(next(self._pieces))

    def assert_over(self) -> None:
        """Nothing is left of it, and the application knows of each request whether it was answered."""
        stage = self.stage
        assert stage.budget.used_bytes == 0
        assert stage.services.connections == set()
        assert stage.loop.timers == []
        for number, held in enumerate(self.app.held):
            assert held.was_cancelled.is_set() is (number >= self._answered)
            if number >= self._answered:
                held.respond(Response(200, (), b"too late"))
        assert b"too late" not in stage.transport.written
        assert stage.protocol._phase is Phase.LOST


def test_whatever_happens_each_step_is_one_of_the_tables(caplog: pytest.LogCaptureFixture) -> None:
    phases: set[Phase] = set()
    states: set[State] = set()
    handled = 0
    with caplog.at_level(logging.WARNING, "whd.http"):
        for seed in range(WALKS):
            walk = Walk(seed)
            for phase, state in walk.go():
                phases.add(phase)
                states.add(state)
            walk.assert_over()
            assert caplog.records == [], f"seed {seed}"
            handled += walk.app.handled
    assert phases == set(Phase)
    # The others are left again before anybody else has a turn.
    assert states == {State.HEAD, State.BODY, State.ANSWER, State.DISCARD, State.CLOSED}
    assert handled > WALKS
