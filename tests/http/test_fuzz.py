"""Mutated streams: never an exception other than HttpError, never a hang, and cut anywhere the same outcome.

The seed is fixed, so that a failure can be repeated; the failing stream is in the assertion's text. Where h11 reads a
request in the stream that we serve, it is the same request.
"""

from __future__ import annotations

from random import Random

import h11
import pytest

from .corpus import CASES
from .driver import at_random, one_by_one, outcome_of
from .requests import mutate

ROUNDS = 1500
SEEDS = range(4)


def first_by_h11(stream: bytes) -> tuple[str, str] | None:
    """Method and body of the first request, None where h11 refuses it or needs more."""
    reference = h11.Connection(h11.SERVER, max_incomplete_event_size=10_000)
    reference.receive_data(stream)
    body = b""
    try:
        request = reference.next_event()
        if type(request) is not h11.Request:
            return None
        while type(event := reference.next_event()) is h11.Data:
            body += event.data
    except h11.RemoteProtocolError:
        return None
    return (request.method.decode(), body.decode("latin-1")) if type(event) is h11.EndOfMessage else None


@pytest.mark.parametrize("seed", SEEDS)
def test_mutated_streams(seed: int) -> None:
    random = Random(seed)
    for _ in range(ROUNDS):
        stream = mutate(random.choice(CASES).stream, random)
        eof = random.random() < 0.5
        whole = outcome_of([stream], eof=eof)
        assert outcome_of(at_random(stream, random), eof=eof) == whole, stream
        if " " in whole[0] and (expected := first_by_h11(stream)):
            method, _, rest = whole[0].partition(" ")
            assert (method, rest.partition(" ")[2]) == expected, stream
        if len(stream) < 400:
            assert outcome_of(one_by_one(stream), eof=eof) == whole, stream


def test_noise() -> None:
    random = Random(7)
    for _ in range(1000):
        stream = random.randbytes(random.randint(1, 200))
        assert outcome_of(at_random(stream, random)) == outcome_of([stream]), stream
