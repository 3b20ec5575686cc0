"""What an application that asked for it sees of a body as it comes: each byte once, in order, before it is handled."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from whd.errors import BadPayload, HttpError
from whd.http.lifecycle import Phase
from whd.http.messages import Admission, Body, Head, Respond, Response
from whd.http.protocol import PART_BYTES

from .corpus import chunked, head, length
from .driver import one_by_one
from .fakes import App
from .test_protocol import ECHO, OPTIONS, Stage

LONG = b"x" * PART_BYTES + b"y" * 7


class Observing(App):
    """Its admissions see the body: `parts` by request, and `seen_first`, what had been seen when it was handled."""

    def __init__(self, error: Exception | None = None, after: int = 0) -> None:
        super().__init__(OPTIONS)
        self.seen: list[bytes] = []
        self.handled: list[tuple[bytes, bytes]] = []
        self._error = error
        self._after = after
        self._count = 0

    def admit(self, head: Head) -> Admission:
        self.seen = []
        self._count = 0
        admission = super().admit(head)
        admission.observe = self._observe  # type: ignore[misc]  # frozen for the type checker only
        return admission

    def _observe(self, part: bytes) -> None:
        self.seen.append(bytes(part))
        self._count += len(part)
        if self._error is not None and self._count > self._after:
            raise self._error

    def handle(self, admission: Admission, body: Body, respond: Respond) -> Callable[[], None] | None:
        whole = b"".join(body) if isinstance(body, list) else body
        self.handled.append((b"".join(self.seen), whole))
        respond(Response(200, (), b"%d" % len(whole)))
        return None


def served(app: App, pieces: Iterable[bytes]) -> Stage:
    stage = Stage(app=app)
    for piece in pieces:
        stage.receive(piece)
    return stage


WHOLE: list[Callable[[bytes], Iterable[bytes]]] = [lambda stream: [stream], one_by_one]
BODIES = {
    "by its length": (length(b"6", b"abcdef"), b"abcdef"),
    "in chunks": (chunked(b"3\r\nabc\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"), b"abcdef"),
    "long": (length(b"%d" % len(LONG), LONG), LONG),
    "long, in chunks": (chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(LONG), LONG)), LONG),
}


@pytest.mark.parametrize("pieces", WHOLE, ids=["whole", "byte by byte"])
@pytest.mark.parametrize("name", BODIES)
def test_every_byte_is_seen_once_in_order_before_it_is_handled(
    name: str, pieces: Callable[[bytes], Iterable[bytes]]
) -> None:
    stream, body = BODIES[name]
    app = Observing()
    stage = served(app, pieces(stream * 2))
    assert app.handled == [(body, body)] * 2
    assert stage.transport.statuses == [200, 200]
    assert stage.budget.used_bytes == 0


def test_a_body_that_goes_past_the_buffer_is_seen_too() -> None:
    app = Observing()
    request = length(b"%d" % len(LONG), b"")
    served(app, [request, *(LONG[at : at + 20_000] for at in range(0, len(LONG), 20_000))])
    assert app.handled == [(LONG, LONG)]
    assert max(map(len, app.seen)) <= 20_000


def test_without_a_body_nothing_is_seen() -> None:
    app = Observing()
    served(app, [head(), length(b"0")])
    assert app.handled == [(b"", b"")] * 2
    assert app.seen == []


def test_nothing_is_seen_of_a_refused_request() -> None:
    app = Observing()
    stage = served(app, [length(b"%d" % (OPTIONS.max_body_bytes + 1), b"abc")])
    assert (app.seen, app.handled, stage.transport.statuses) == ([], [], [413])


@pytest.mark.parametrize("pieces", WHOLE, ids=["whole", "byte by byte"])
@pytest.mark.parametrize(("error", "status"), [(BadPayload("the sum is wrong"), 400), (RuntimeError("defect"), 500)])
@pytest.mark.parametrize("name", BODIES)
def test_what_is_raised_is_answered_once_and_nothing_is_handled(
    name: str, error: Exception, status: int, pieces: Callable[[bytes], Iterable[bytes]]
) -> None:
    stream, body = BODIES[name]
    app = Observing(error, after=len(body) - 2)
    stage = served(app, pieces(stream))
    assert stage.transport.statuses == [status]
    assert app.handled == []
    assert stage.budget.used_bytes == 0


def test_after_a_refusal_at_the_last_byte_the_connection_serves_on() -> None:
    app = Observing(HttpError("no"), after=5)
    stage = served(app, [BODIES["by its length"][0]])
    assert stage.protocol._phase is Phase.IDLE
    stage.receive(ECHO)
    assert stage.transport.statuses == [500, 200]
