"""The one allowed pair of parsers: what the fast path reads, h11 reads the same way, event for event."""

from __future__ import annotations

from time import thread_time

import pytest

from whd.http.connection import MAX_REPEATED_BYTES, Connection, Signal
from whd.http.messages import Head, Response
from whd.http.plain import read_plain_head

from .corpus import CASES, LIMITS, Case, head, length, post
from .differential import Feed, compare, is_plain, make_feed
from .driver import one_by_one

SEEDS = 3000
WHOLE = b"POST /a?b=c HTTP/1.1\r\nHost: a.b:80\r\nX-Y: 1 2\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab"


def assert_same(feed: Feed) -> None:
    fast, slow = compare(feed)
    assert fast == slow, feed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_corpus_is_read_the_same_way(case: Case) -> None:
    for seed in range(4):
        assert_same(Feed((case.stream,), case.eof, seed))
        assert_same(Feed((case.stream + case.stream,), case.eof, seed))
    assert_same(Feed(tuple(one_by_one(case.stream)), case.eof, 0))


@pytest.mark.parametrize("part", range(4))
def test_made_up_requests_are_read_the_same_way(part: int) -> None:
    """`python -m tests.http.fuzz` goes on from here."""
    for seed in range(part * SEEDS // 4, (part + 1) * SEEDS // 4):
        assert_same(make_feed(seed))


def test_a_good_part_of_them_takes_the_fast_path() -> None:
    """Or else h11 would be compared with itself."""
    plain = sum(is_plain(b"".join(make_feed(seed).pieces)) for seed in range(400))
    assert 130 < plain < 300


def test_one_wrong_byte_anywhere_is_read_the_same_way() -> None:
    for at in range(len(WHOLE)):
        for byte in b"\0\t\n\r !,/0:;AZ[a|~\x7f\x80\xff":
            stream = WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]
            assert_same(Feed((stream,), False, at))
            assert_same(Feed((WHOLE[:at] + bytes([byte]) + WHOLE[at:],), False, at))
        assert_same(Feed((WHOLE[:at] + WHOLE[at + 1 :],), False, at))


class TestWhatIsPlain:
    """The common request is; whatever could be read in two ways, or is rare, is not."""

    @pytest.mark.parametrize(
        "stream",
        [
            WHOLE,
            head(),
            head(b"X:", b"Y:\tz", b"Authorization: Bearer x"),
            head(line=b"DELETE /x HTTP/1.1"),
            head(line=b"HEAD /x?y HTTP/1.1"),
            head(line=b"GET /" + b"a" * 199 + b" HTTP/1.1"),
            head(b"X: " + b"a" * 986),
            length(b"9" * 18),
            post(b"Connection: Keep-Alive", b"Content-Length: 003"),
        ],
    )
    def test_plain(self, stream: bytes) -> None:
        assert is_plain(stream)

    @pytest.mark.parametrize(
        "stream",
        [
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            head(line=b"GET / HTTP/1.0"),
            head(line=b"PUT / HTTP/1.1"),
            head(line=b"GET http://a/ HTTP/1.1"),
            head(line=b"GET /#a HTTP/1.1"),
            head(line=b"GET /" + b"a" * 200 + b" HTTP/1.1"),
            head(b"X: " + b"a" * 987),
            head(host=b""),
            head(host=b"Host:\r\n"),
            head(b"Host: a"),
            head(b"X: 1", b"x: 2"),
            head(b"X: a "),
            head(b"X: "),
            head(b"X : a"),
            head(b"X: a\r\n b"),
            head(b"X: a\nY: b"),
            head(b"X: a\rb\nY: c"),
            head(b"X: caf\xe9"),
            head(b"X: \0"),
            head(b"X"),
            head(b"Connection: close"),
            head(b"Connection: keep-alive, x"),
            head(b"Upgrade: h2c"),
            post(b"Transfer-Encoding: chunked"),
            post(b"Expect: 100-continue", b"Content-Length: 3"),
            length(b"9" * 19),
            length(b"1, 1"),
            length(b"+1"),
            length(b""),
            length(b"\xb2"),
        ],
    )
    def test_not_plain(self, stream: bytes) -> None:
        assert not is_plain(stream)

    @pytest.mark.parametrize(
        "lines",
        [
            b"a" * 60_000,
            b"a: " + b" " * 60_000 + b"\0",
            b"a:" + b"\t b" * 20_000 + b" ",
            b"a\r\n" * 20_000,
            b"a:\r\n" * 15_000,
            b"a: b \r\n" * 8_000,
            b":\r\n" * 20_000,
        ],
    )
    def test_the_time_that_it_takes_grows_with_the_head_only(self, lines: bytes) -> None:
        """64 KiB in far less than a second, whatever they are; what backtracks would take minutes."""
        data = bytearray(b"GET /" + b"?" * 8000 + b" HTTP/1.1\r\n" + lines + b"\r\n\r\n")
        before = thread_time()  # of this thread alone: what else the machine does is not counted
        read_plain_head(data, len(data), 8192, 65_536)
        assert thread_time() - before < 0.5


class TestARepeatedHead:
    """The last plain head of a connection is read once, however often it comes."""

    def read(self, connection: Connection, stream: bytes) -> tuple[Head, bytes]:
        connection.receive_data(stream)
        event = connection.next_event()
        assert type(event) is Head
        connection.admit_body(1000)
        body = connection.whole_body()
        assert body is not None
        connection.send_response(Response(200, ()))
        return event, body

    def test_is_the_same_head_with_a_body_of_its_own(self) -> None:
        connection = Connection(**LIMITS)
        first, _ = self.read(connection, length(b"1", b"a"))
        again, body = self.read(connection, length(b"1", b"b"))
        assert again is first
        assert body == b"b"

    def test_is_told_from_one_that_differs_in_a_byte(self) -> None:
        connection = Connection(**LIMITS)
        self.read(connection, length(b"1", b"a"))
        assert self.read(connection, length(b"2", b"ab"))[1] == b"ab"

    def test_is_not_kept_if_it_is_large(self) -> None:
        connection = Connection(max_target_bytes=100, max_header_bytes=100_000)
        stream = head(b"X: " + b"x" * MAX_REPEATED_BYTES)
        assert self.read(connection, stream)[0] is not self.read(connection, stream)[0]

    def test_is_no_business_of_another_connection(self) -> None:
        one, other = (self.read(Connection(**LIMITS), head(b"X-Webhook-Key: secret"))[0] for _ in range(2))
        assert one == other
        assert one is not other


class TestAWholeBody:
    """A body that is here with its head is handed over in one go."""

    def admitted(self, stream: bytes) -> Connection:
        connection = Connection(**LIMITS)
        connection.receive_data(stream)
        assert type(connection.next_event()) is Head
        connection.admit_body(1000)
        return connection

    def test_then_an_answer_is_owed(self) -> None:
        connection = self.admitted(length(b"3", b"abc") + b"GET")
        assert connection.whole_body() == b"abc"
        assert connection.next_event() is Signal.PAUSED
        assert connection.buffered_bytes == 3

    def test_no_body_is_an_empty_one(self) -> None:
        assert self.admitted(head()).whole_body() == b""

    def test_one_that_is_not_all_here_comes_in_parts(self) -> None:
        connection = self.admitted(length(b"3", b"ab"))
        assert connection.whole_body() is None
        assert [connection.next_event(), connection.next_event()] == [b"ab", Signal.NEED_DATA]

    def test_a_chunked_one_comes_in_parts(self) -> None:
        connection = self.admitted(post(b"Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\n\r\n"))
        assert connection.whole_body() is None
        assert [connection.next_event(), connection.next_event()] == [b"a", Signal.END]

    def test_one_that_100_continue_is_owed_for_comes_in_parts(self) -> None:
        connection = self.admitted(post(b"Expect: 100-continue", b"Content-Length: 0"))
        assert connection.whole_body() is None
        assert connection.wants_continue
