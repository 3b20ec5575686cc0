"""The sans-IO connection: its events, when 100 Continue is due, what ends it, and the bytes of its answers."""

from __future__ import annotations

import pytest

from whd.errors import BadRequest, HttpError, TooLarge
from whd.http.connection import MAX_DISCARDED_BYTES, Connection, Signal
from whd.http.lifecycle import State
from whd.http.messages import Head, Response

from .corpus import LIMITS, head, length, post
from .driver import Driver

OK = Response(200, ((b"content-type", b"text/plain"),), b"hello")


@pytest.fixture
def connection() -> Connection:
    return Connection(**LIMITS)


def read_head(connection: Connection, stream: bytes) -> Head:
    connection.receive_data(stream)
    event = connection.next_event()
    assert type(event) is Head
    return event


def read_request(connection: Connection, stream: bytes) -> Head:
    event = read_head(connection, stream)
    connection.admit_body(1000)
    while connection.next_event() is not Signal.END:
        pass
    return event


def test_a_head_holds_names_in_lower_case_in_order_and_stripped_values(connection: Connection) -> None:
    got = read_head(connection, head(b"X-B:  1\t", b"x-a: 2", b"X-b: 3", line=b"PUT /p?q=1 HTTP/1.1"))
    fields = ((b"host", b"a"), (b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3"))
    assert got == Head("PUT", "/p?q=1", fields, 0)


def test_content_length_is_none_for_a_chunked_body(connection: Connection) -> None:
    assert read_head(connection, post(b"Transfer-Encoding: chunked")).content_length is None


def test_the_host_of_an_absolute_target_replaces_the_field(connection: Connection) -> None:
    """RFC 9112, 3.2.2."""
    got = read_head(connection, head(line=b"GET http://b.example:81/x HTTP/1.1"))
    assert (got.target, got.headers) == ("/x", ((b"host", b"b.example:81"),))


def test_a_later_minor_version_is_served_as_1_1(connection: Connection) -> None:
    read_request(connection, head(line=b"GET / HTTP/1.7"))
    assert connection.send_response(OK).startswith(b"HTTP/1.1 200 OK\r\n")
    assert connection.is_idle


def test_nothing_is_read_before_the_body_is_admitted(connection: Connection) -> None:
    read_head(connection, length(b"3", b"abc"))
    assert connection.next_event() is Signal.PAUSED
    connection.admit_body(3)
    assert [connection.next_event(), connection.next_event()] == [b"abc", Signal.END]


def test_the_next_request_waits_until_this_one_is_answered(connection: Connection) -> None:
    read_request(connection, head() + head(line=b"GET /2 HTTP/1.1"))
    assert connection.next_event() is Signal.PAUSED
    connection.send_response(OK)
    event = connection.next_event()
    assert type(event) is Head
    assert event.target == "/2"


def test_a_body_over_its_limit_is_refused_before_any_of_it_came(connection: Connection) -> None:
    read_head(connection, length(b"11"))
    with pytest.raises(TooLarge) as caught:
        connection.admit_body(10)
    assert caught.value.status == 413


def test_a_body_comes_in_the_parts_that_arrived(connection: Connection) -> None:
    read_head(connection, length(b"4", b"a"))
    connection.admit_body(4)
    assert connection.next_event() == b"a"
    assert connection.next_event() is Signal.NEED_DATA
    connection.receive_data(b"bcd")
    assert [connection.next_event(), connection.next_event()] == [b"bcd", Signal.END]


class TestContinue:
    """RFC 9110, 10.1.1."""

    EXPECTING = post(b"Expect: 100-continue", b"Content-Length: 3")

    def test_is_due_once_the_body_is_admitted(self, connection: Connection) -> None:
        read_head(connection, self.EXPECTING)
        wants = [connection.wants_continue]
        connection.admit_body(3)
        wants.append(connection.wants_continue)
        assert wants == [False, True]
        assert connection.send_continue() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert not connection.wants_continue

    def test_is_not_due_when_the_body_is_here_already(self, connection: Connection) -> None:
        read_head(connection, self.EXPECTING + b"a")
        connection.admit_body(3)
        assert not connection.wants_continue

    def test_is_not_due_over_the_limit(self, connection: Connection) -> None:
        read_head(connection, self.EXPECTING)
        with pytest.raises(TooLarge):
            connection.admit_body(2)
        assert not connection.wants_continue

    def test_is_ignored_in_http_1_0(self, connection: Connection) -> None:
        read_head(connection, b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        connection.admit_body(3)
        assert not connection.wants_continue

    def test_is_due_for_a_chunked_body(self, connection: Connection) -> None:
        read_head(connection, post(b"Expect: 100-continue", b"Transfer-Encoding: chunked"))
        connection.admit_body(3)
        assert connection.wants_continue

    def test_a_refusal_in_its_place_ends_the_connection(self, connection: Connection) -> None:
        """The client may send the body or not: nobody knows where the next request starts."""
        read_head(connection, self.EXPECTING)
        assert b"connection: close\r\n" in connection.send_response(OK)
        assert connection.state is State.CLOSED


class TestEarlyRefusal:
    """An answer before the body was read."""

    def test_a_small_body_is_dropped_and_the_next_request_read(self, connection: Connection) -> None:
        read_head(connection, length(b"6", b"GET /x") + head(line=b"GET /2 HTTP/1.1"))
        assert b"connection" not in connection.send_response(OK)
        event = connection.next_event()
        assert type(event) is Head
        assert event.target == "/2"

    def test_a_small_body_may_still_be_on_its_way(self, connection: Connection) -> None:
        read_head(connection, length(b"3"))
        connection.send_response(OK)
        for byte in b"abc":
            assert connection.next_event() is Signal.NEED_DATA
            assert connection.is_reading_body
            connection.receive_data(bytes([byte]))
        assert connection.next_event() is Signal.NEED_DATA
        assert connection.is_idle

    def test_the_client_may_leave_instead_of_sending_it(self, connection: Connection) -> None:
        read_head(connection, length(b"3"))
        connection.send_response(OK)
        connection.receive_eof()
        assert connection.next_event() is Signal.CLOSED

    def test_a_large_body_ends_the_connection(self, connection: Connection) -> None:
        read_head(connection, length(b"%d" % (MAX_DISCARDED_BYTES + 1)))
        assert b"connection: close\r\n" in connection.send_response(OK)
        assert not connection.is_read_out

    def test_a_chunked_body_ends_the_connection(self, connection: Connection) -> None:
        read_head(connection, post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"))
        assert b"connection: close\r\n" in connection.send_response(OK)

    def test_a_request_without_a_body_is_over(self, connection: Connection) -> None:
        read_head(connection, head())
        assert b"connection" not in connection.send_response(OK)
        assert connection.is_idle


class TestAnswers:
    """The bytes of an answer."""

    def test_whole(self, connection: Connection) -> None:
        read_request(connection, head())
        answer = connection.send_response(OK, date=b"Mon, 23 Nov 2026 07:18:00 GMT")
        assert answer == (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: Mon, 23 Nov 2026 07:18:00 GMT\r\n"
            b"content-length: 5\r\n\r\nhello"
        )

    def test_head_gets_the_length_and_no_body(self, connection: Connection) -> None:
        """RFC 9110, 9.3.2."""
        read_request(connection, head(line=b"HEAD / HTTP/1.1"))
        assert connection.send_response(OK).endswith(b"content-length: 5\r\n\r\n")

    def test_head_gets_no_length_where_the_one_of_get_is_not_known(self, connection: Connection) -> None:
        """RFC 9110, 8.6. To anything else the length frames the body."""
        answer = Response(200, (), b"", omits_length=True)
        for line, wanted in ((b"HEAD / HTTP/1.1", b""), (b"GET / HTTP/1.1", b"content-length: 0\r\n")):
            read_request(connection, head(line=line))
            assert connection.send_response(answer) == b"HTTP/1.1 200 OK\r\n%b\r\n" % wanted
            assert connection.state is State.HEAD

    def test_head_that_is_refused_gets_no_body_either(self, connection: Connection) -> None:
        connection.receive_data(head(b"X : y", line=b"HEAD / HTTP/1.1"))
        with pytest.raises(BadRequest):
            connection.next_event()
        assert connection.send_response(OK).endswith(b"content-length: 5\r\n\r\n")

    @pytest.mark.parametrize("status", [204, 304])
    def test_some_statuses_have_neither_length_nor_body(self, connection: Connection, status: int) -> None:
        """RFC 9110, 8.6; RFC 9112, 6.3."""
        read_request(connection, head())
        answer = connection.send_response(Response(status, (), b"x"))
        assert b"content-length" not in answer
        assert answer.endswith(b"\r\n\r\n")

    def test_a_status_without_a_phrase_keeps_its_space(self, connection: Connection) -> None:
        """RFC 9112, 4."""
        read_request(connection, head())
        assert connection.send_response(Response(299, ())).startswith(b"HTTP/1.1 299 \r\n")

    def test_http_1_0_is_told_that_it_is_kept_alive(self, connection: Connection) -> None:
        """RFC 9112, 9.3."""
        read_request(connection, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"\r\nconnection: keep-alive\r\n" in connection.send_response(OK)
        assert connection.state is State.HEAD

    def test_the_client_s_close_is_confirmed(self, connection: Connection) -> None:
        """RFC 9112, 9.6."""
        read_request(connection, head(b"Connection: close"))
        assert b"\r\nconnection: close\r\n" in connection.send_response(OK)
        assert connection.next_event() is Signal.CLOSED
        assert connection.is_read_out

    @pytest.mark.parametrize("how", ["response", "argument"])
    def test_the_server_may_close(self, connection: Connection, how: str) -> None:
        read_request(connection, head())
        answer = Response(200, (), b"", close=how == "response")
        assert b"\r\nconnection: close\r\n" in connection.send_response(answer, close=how == "argument")
        assert connection.state is State.CLOSED

    def test_framing_is_never_the_application_s(self, connection: Connection) -> None:
        read_request(connection, head())
        fields = ((b"content-length", b"9"), (b"transfer-encoding", b"chunked"), (b"connection", b"x"), (b"date", b"y"))
        answer = connection.send_response(Response(200, fields, b"hello"))
        assert answer == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"

    def test_what_is_prepared_for_one_answer_fits_the_next(self, connection: Connection) -> None:
        """Answers with the same headers share their beginning, but not with another status, length or date."""
        fields = ((b"x", b"y"),)
        for status, reason, date, body in (
            (200, b"200 OK", b"Mon", b"a"),
            (200, b"200 OK", b"Tue", b"bc"),
            (404, b"404 Not Found", b"Wed", b""),
            (200, b"200 OK", b"Thu", b"d"),
        ):
            read_request(connection, head())
            answer = connection.send_response(Response(status, fields, body), date=date)
            start = b"HTTP/1.1 %b\r\nx: y\r\ndate: %b\r\n" % (reason, date)
            assert answer == start + b"content-length: %d\r\n\r\n%b" % (len(body), body)
        read_request(connection, head())
        assert b"\r\nx: z\r\n" in connection.send_response(Response(200, ((b"x", b"z"),)))

    @pytest.mark.parametrize(
        "response",
        [
            Response(200, ((b"x", b"a\r\nset-cookie: b"),)),
            Response(200, ((b"x", b"a\nb"),)),
            Response(200, ((b"x", b"a\rb"),)),
            Response(200, ((b"x\r\ny", b"a"),)),
            Response(200, ((b"x", b"a\0b"),)),
            Response(101, ()),
            Response(600, ()),
        ],
    )
    def test_what_cannot_be_written_leaves_room_for_another_answer(
        self, connection: Connection, response: Response
    ) -> None:
        read_request(connection, head())
        with pytest.raises(ValueError):
            connection.send_response(response)
        assert connection.send_response(OK).startswith(b"HTTP/1.1 200 OK\r\n")
        assert connection.is_idle


def test_an_error_s_text_repeats_nothing_that_was_sent() -> None:
    """The text goes to the client and into the log; a target or a field may hold a key."""
    for stream in (
        head(b"X-Webhook-Key : secret"),
        head(line=b"GET /?key=secret HTTP/1.1 "),
        head(line=b"GET secret HTTP/1.1"),
        head(line=b"secret / HTTP/1.1"),
        head(host=b"Host: se/secret\r\n"),
        length(b"secret"),
        post(b"Transfer-Encoding: secret"),
        post(b"Transfer-Encoding: chunked", body=b"secret\r\n"),
    ):
        driver = Driver()
        driver.feed([stream], eof=False)
        assert isinstance(driver.error, HttpError)
        assert "secret" not in driver.error.detail + driver.error.log_detail
