"""Every stream of the corpus means the same however it is cut, and what is accepted is read as h11 reads it."""

from __future__ import annotations

from collections import Counter
from random import Random

import h11
import pytest

from .corpus import CASES, Case
from .driver import Driver, at_random, one_by_one, outcome_of

# h11 is stricter here than RFC 9112, 2.2 and RFC 9110, 5.6.3.
H11_REFUSES = {
    "one empty line first",
    "eight empty lines first",
    "empty line between requests",
    "bad white space before an extension",
}

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) >= 150
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


@each_case
def test_whole(case: Case) -> None:
    assert outcome_of([case.stream], eof=case.eof) == case.outcome


@each_case
def test_one_byte_at_a_time(case: Case) -> None:
    assert outcome_of(one_by_one(case.stream), eof=case.eof) == case.outcome


@each_case
def test_cut_at_random(case: Case) -> None:
    for seed in range(5):
        pieces = at_random(case.stream, Random(f"{case.name} {seed}"))
        assert outcome_of(pieces, eof=case.eof) == case.outcome, pieces


@each_case
def test_cut_in_two_anywhere(case: Case) -> None:
    stream = case.stream
    step = max(1, len(stream) // 200)
    for at in range(1, len(stream), step):
        assert outcome_of([stream[:at], stream[at:]], eof=case.eof) == case.outcome, at


@each_case
def test_an_error_ends_the_connection_and_says_so(case: Case) -> None:
    driver = Driver()
    driver.feed([case.stream], eof=case.eof)
    if driver.error is not None:
        assert b"\r\nconnection: close\r\n" in driver.answers[-1]
        assert not driver.connection.is_read_out


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in H11_REFUSES], ids=lambda case: case.name)
def test_what_is_accepted_is_what_h11_reads(case: Case) -> None:
    """h11 is the reference: each request that is served has the method, fields and body that h11 finds in it."""
    driver = Driver()
    outcome = driver.feed([case.stream], eof=case.eof)
    served = [entry for entry in outcome if " " in entry]
    reference = h11.Connection(h11.SERVER, max_incomplete_event_size=10_000)
    reference.receive_data(case.stream)
    for entry, head in zip(served, driver.heads, strict=False):
        request = reference.next_event()
        assert type(request) is h11.Request
        assert request.method.decode() == head.method
        assert request.target.decode().endswith(head.target.removeprefix("/"))
        if request.target.startswith(b"/"):
            assert tuple(request.headers) == head.headers
        body = b""
        while type(event := reference.next_event()) is h11.Data:
            body += event.data
        assert type(event) is h11.EndOfMessage
        assert entry == f"{head.method} {head.target} {body.decode('latin-1')}"
        reference.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        reference.send(h11.EndOfMessage())
        if reference.our_state is not h11.DONE:
            return
        if reference.their_state is h11._state.MIGHT_SWITCH_PROTOCOL:
            return
        reference.start_next_cycle()
