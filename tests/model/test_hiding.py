"""SENDERS 2: what a flow sees of a head whose caller has proved a key: nothing that is a key or holds one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, quote_plus, unquote_to_bytes

import pytest

from whd.auth.callers import OPEN, KeyCheck
from whd.handlers.query import parse
from whd.http.connection import Connection
from whd.http.messages import Head
from whd.model.caller_check import Query
from whd.model.hiding import without_keys_in_headers

KEY = b"k3y/with+sixteen=bytes%or~more"
OLD = b"the-old-one-until-friday"
SHORT = b"s3cr3t"
SPACED = b"a key of several words"
PATH = b"/api/webhook/acme/order"

Fields = tuple[tuple[bytes, bytes], ...]


def head_of(target: bytes, *fields: tuple[bytes, bytes]) -> Head:
    """As the server reads it."""
    connection = Connection(max_target_bytes=8_192, max_header_bytes=65_536)
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    connection.receive_data(b"POST %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (target, lines))
    head = connection.next_event()
    assert type(head) is Head
    return head


def seen(check: KeyCheck, target: bytes, *fields: tuple[bytes, bytes]) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers but for host, and query, as the flow sees them; the head is read as it came, and without its bytes."""
    outcomes = []
    head = head_of(target, *fields)
    for one in (head, Head(head.method, head.target, head.headers, head.content_length)):
        query = parse(one.target.partition("?")[2])
        headers, query_fields = check.visible(one, check.check_head(one, query), query)
        texts = {name.decode(): value.decode() for name, value in headers if name != b"host"}
        outcomes.append((texts, query_fields))
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


def twice(text: bytes) -> bytes:
    return quote(quote(text, safe=""), safe="").encode()


SPELLINGS = {
    "as it is": KEY,
    "percent-encoded": quote(KEY, safe="").encode(),
    "in lower case": quote(KEY, safe="").lower().encode(),
    "every byte of it": b"".join(b"%%%02X" % byte for byte in KEY),
    "as a path": quote(KEY).encode(),
    "twice": twice(KEY),
    "half of it twice": twice(KEY[:12]) + quote(KEY[12:], safe="").encode(),
    "three times": quote(twice(KEY), safe="").encode(),
    "digits too": b"".join(b"%%25%%%02x%%%02X" % tuple(b"%02x" % byte) for byte in KEY),
}

URL_HEADERS = (
    b"referer", b"x-original-url", b"x-original-uri", b"x-rewrite-url", b"x-forwarded-uri", b"cookie", b"forwarded",
    b"proxy-authorization", b"x-anything",
)  # fmt: skip


class TestLongKeys:
    @pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=list(SPELLINGS))
    @pytest.mark.parametrize("name", URL_HEADERS)
    def test_stars_stand_for_them_wherever_a_header_holds_one(self, name: bytes, spelling: bytes) -> None:
        value = b"before=1; %b?key=%b&x=%%41" % (PATH, spelling)
        shown = seen(KeyCheck((OLD, KEY)), PATH, (b"X-Webhook-Key", KEY), (name, value))[0][name.decode()]
        assert "***" in shown
        for part in (KEY.decode(), quote(KEY, safe=""), "sixteen", "bytes"):
            assert part.lower() not in shown.lower()

    def test_one_that_is_found_hides_no_other_of_an_unusual_spelling(self) -> None:
        value = b"/a?key=%b&again=%b" % (KEY, SPELLINGS["digits too"])
        shown = seen(KeyCheck((KEY,)), PATH, (b"X-Webhook-Key", KEY), (b"referer", value))[0]["referer"]
        assert KEY not in unquote_to_bytes(unquote_to_bytes(shown))

    @pytest.mark.parametrize("spelling", [text for what, text in SPELLINGS.items() if what != "digits too"])
    def test_what_stands_around_them_stays(self, spelling: bytes) -> None:
        value = b"a=%%2F1; u=%b?key=%b&x=%%41; %b" % (PATH, spelling, spelling)
        shown = seen(KeyCheck((KEY,)), PATH, (b"X-Webhook-Key", KEY), (b"cookie", value))[0]
        assert shown == {"cookie": f"a=%2F1; u={PATH.decode()}?key=***&x=%41; ***"}

    def test_every_key_of_the_webhook_counts_whichever_opened(self) -> None:
        longer = OLD + b"-longer"
        check = KeyCheck((OLD, KEY, longer))
        for opened in (OLD, KEY, longer):
            value = b" ".join((quote(KEY, safe="").encode(), OLD, longer))
            shown = seen(check, PATH, (b"X-Webhook-Key", opened), (b"referer", value))[0]
            assert shown == {"referer": "*** *** ***"}

    def test_wherever_it_opened_from(self) -> None:
        check = KeyCheck((KEY,))
        encoded = quote(KEY, safe="").encode()
        referer = (b"Referer", b"https://a" + PATH + b"?key=" + encoded)
        for target, fields in (
            (PATH + b"?key=" + encoded, ()),
            (PATH, ((b"Authorization", b"Bearer " + KEY),)),
            (PATH, ((b"X-Webhook-Key", KEY),)),
            (PATH, ((b"Content-Length", b"5"),)),  # in the payload
        ):
            headers, query = seen(check, target, *fields, referer)
            headers.pop("content-length", None)
            assert (headers, query) == ({"referer": "https://a" + PATH.decode() + "?key=***"}, {})

    @pytest.mark.parametrize(
        "key", [b"words and a + and 100%", b"a %41 in the middle of it", "ein schlüssel".encode() * 2]
    )
    @pytest.mark.parametrize("times", [1, 2, 3])
    def test_whatever_characters_they_have(self, key: bytes, times: int) -> None:
        for quote_once in (quote, quote_plus):
            text = quote_once(key)
            for _ in range(times - 1):
                text = quote(text, safe="")
            headers, query = seen(
                KeyCheck((key,)),
                PATH + b"?key=" + quote_once(key).encode(),
                (b"referer", b"/x?key=%b&a" % text.encode()),
            )
            assert (headers, query) == ({"referer": "/x?key=***&a"}, {})

    def test_a_space_may_be_a_plus(self) -> None:
        check = KeyCheck((SPACED,))
        for target, fields in ((PATH, ((b"X-Webhook-Key", SPACED),)), (PATH + b"?key=a+key%20of+several+words", ())):
            for spelling in (SPACED, quote_plus(SPACED).encode(), quote(SPACED).encode(), b"a+key%20of+several+words"):
                value = b"/x?key=%b&a+b" % spelling
                assert seen(check, target, *fields, (b"x-original-uri", value))[0] == {
                    "x-original-uri": "/x?key=***&a+b"
                }

    def test_a_query_holds_none_either(self) -> None:
        inner = quote(b"https://a/?key=" + quote(KEY, safe="").encode(), safe="").encode()
        target = PATH + b"?back=%b&list=1&list=%b&%b=2" % (inner, b"x" + quote(KEY).encode(), quote(OLD).encode())
        query = seen(KeyCheck((KEY, OLD)), target, (b"X-Webhook-Key", KEY))[1]
        assert query == {"back": "https://a/?key=***", "list": ["1", "x***"]}


class TestWhatIsAKey:
    @pytest.mark.parametrize("key", [KEY, SHORT])
    def test_goes_as_a_whole_whatever_its_length(self, key: bytes) -> None:
        encoded = quote(key, safe="").encode()
        target = PATH + b"?key=%b&token=%b&a=1&b=2&b=%b&%b" % (encoded, encoded, encoded, encoded)
        headers, query = seen(
            KeyCheck((OLD, key)),
            target,
            (b"X-Api-Key", key),
            (b"x-encoded", encoded),
            (b"Authorization", b"Bearer " + key),
            (b"Proxy-Authorization", b"Token " + key),
            (b"x-mine", b"1"),
        )
        assert (headers, query) == ({"x-mine": "1"}, {"a": "1", "b": "2"})

    def test_a_short_one_within_a_value_is_the_senders_text(self) -> None:
        check = KeyCheck((b"a",))
        headers = seen(check, PATH + b"?x=abc", (b"X-Webhook-Key", b"a"), (b"referer", b"https://a/b?c=%61%62"))
        assert headers == ({"referer": "https://a/b?c=%61%62"}, {"x": "abc"})

    def test_other_credentials_stay(self) -> None:
        fields = ((b"authorization", b"Bearer theirs"), (b"cookie", b"a=b"), (b"x-api-key", SHORT + b"0"))
        headers, query = seen(KeyCheck((SHORT,)), PATH + b"?key=s3cr3t&token=x", *fields)
        assert headers == {name.decode(): value.decode() for name, value in fields}
        assert query == {"token": "x"}


class TestCost:
    @pytest.fixture
    def looked_at(self, monkeypatch: pytest.MonkeyPatch) -> list[Fields]:
        looks: list[Fields] = []

        def note(headers: Fields, keys: tuple[bytes, ...]) -> Fields:
            looks.append(headers)
            return without_keys_in_headers(headers, keys)

        monkeypatch.setattr("whd.auth.callers.without_keys_in_headers", note)
        return looks

    ORDINARY = ((b"User-Agent", b"GitHub-Hookshot/abc"), (b"Content-Type", b"application/json"), (b"Accept", b"*/*"))

    @pytest.mark.parametrize(
        ("target", "fields"),
        [
            (PATH, ((b"X-Webhook-Key", OLD),)),
            (PATH, ((b"Authorization", b"Bearer " + OLD),)),
            (PATH + b"?x=1&key=" + OLD, ()),
            (PATH + b"?key=" + OLD, ((b"X-Webhook-Key", OLD),)),
            (PATH, ((b"Content-Length", b"5"),)),
        ],
    )
    def test_an_ordinary_head_is_searched_as_a_whole_and_no_value_of_it_is_looked_at(
        self, looked_at: list[Fields], target: bytes, fields: Fields
    ) -> None:
        check = KeyCheck((OLD, b"another-key-of-many-bytes"))
        head = head_of(target, *self.ORDINARY, *fields)
        query = parse(target.decode().partition("?")[2])
        proof = check.check_head(head, query)
        headers, query_fields = check.visible(head, proof, query)
        assert headers is proof.headers
        assert query_fields is query.fields
        assert looked_at == []

    def test_one_with_a_percent_sign_or_a_second_key_is(self, looked_at: list[Fields]) -> None:
        check = KeyCheck((OLD,))
        for more in ((b"x-a", b"100%"), (b"x-a", b"?" + OLD)):
            head = head_of(PATH, (b"X-Webhook-Key", OLD), more)
            check.visible(head, check.check_head(head, Query({})), Query({}))
        assert len(looked_at) == 2

    def test_percent_signs_beyond_number_cost_no_more_than_the_head_is_long(self) -> None:
        """A value that decodes again and again is decoded a few times only."""
        value = b"%" + b"25" * 30_000 + b"41"
        check = KeyCheck((KEY,))
        assert seen(check, PATH, (b"X-Webhook-Key", KEY), (b"x-a", value))[0] == {"x-a": value.decode()}


def test_an_open_webhook_hides_nothing() -> None:
    head = head_of(PATH + b"?key=a", (b"X-Webhook-Key", KEY), (b"referer", KEY))
    query = Query({"key": "a"})
    assert OPEN.visible(head, OPEN.check_head(head, query), query) == (head.headers, {"key": "a"})
