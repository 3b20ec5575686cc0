"""CONTRACT 3, Key."""

from __future__ import annotations

import pytest

from whd.auth.callers import OPEN, KeyCheck, check_given, is_valid, keys_of_headers
from whd.errors import InvalidKey
from whd.http.messages import Head
from whd.model.caller_check import CallerCheck, HeadProof, Query, RequestHead
from whd.wire.payload import NO_PAYLOAD, Parsed

VALID = (b"one", b"two")
Headers = tuple[tuple[bytes, bytes], ...]
CHECK = KeyCheck(VALID)
NO_QUERY = Query({})
RIGHT = (b"x-webhook-key", b"one")
WRONG = (b"x-webhook-key", b"s3cr3t")
OTHER = (b"a", b"1")


@pytest.mark.parametrize(
    ("headers", "keys", "rest"),
    [
        (((b"a", b"1"),), [], ((b"a", b"1"),)),
        (((b"x-webhook-key", b"k"), (b"a", b"1")), [b"k"], ((b"a", b"1"),)),
        (((b"authorization", b"Bearer k"),), [b"k"], ()),
        (((b"authorization", b"bearer  k "),), [b"k"], ()),
        (((b"authorization", b"Basic dTpw"),), [], ((b"authorization", b"Basic dTpw"),)),
        (((b"authorization", b"Bearer"),), [], ((b"authorization", b"Bearer"),)),
        (((b"x-webhook-key", b"k"), (b"x-webhook-key", b"l")), [b"k", b"l"], ()),
    ],
)
def test_keys_leave_the_headers(headers: Headers, keys: list[bytes], rest: Headers) -> None:
    assert keys_of_headers(headers) == (keys, rest)


@pytest.mark.parametrize("given", [b"one", b"two"])
def test_any_one_of_several_is_valid(given: bytes) -> None:
    assert is_valid(given, VALID)


@pytest.mark.parametrize("given", [b"", b"on", b"onee", b"One", b"\xff", b"onetwo"])
def test_nothing_else_is(given: bytes) -> None:
    assert not is_valid(given, VALID)


@pytest.mark.parametrize("given", [[b"wrong"], [b"one", b"wrong"], [None], [b"one", None]])
def test_every_one_that_was_given_must_be_right(given: list[bytes | None]) -> None:
    with pytest.raises(InvalidKey) as caught:
        check_given(given, VALID)
    assert "wrong'" not in str(caught.value)
    assert caught.value.headers[0][0] == b"www-authenticate"


def test_right_ones_and_none_at_all_pass() -> None:
    check_given([b"one", b"two"], VALID)
    check_given([], VALID)


def head(*headers: tuple[bytes, bytes], size: int | None = 10) -> Head:
    return Head("POST", "/", headers, size)


class TestKeyCheck:
    def test_a_head_with_a_key_is_all_that_is_needed_and_is_passed_on_without_it(self) -> None:
        assert CHECK.check_head(head(OTHER, RIGHT), NO_QUERY) == HeadProof((OTHER,), True)
        assert CHECK.check_head(head(OTHER), Query({}, (b"two",))) == HeadProof((OTHER,), True)
        assert CHECK.check_head(head(OTHER, RIGHT, size=0), NO_QUERY).is_complete

    def test_one_without_a_key_leaves_it_to_the_payload_if_there_is_one(self) -> None:
        for size in (1, None):
            assert CHECK.check_head(head(OTHER, size=size), NO_QUERY) == HeadProof((OTHER,), False)
        with pytest.raises(InvalidKey):
            CHECK.check_head(head(OTHER, size=0), NO_QUERY)

    @pytest.mark.parametrize(
        ("given", "query"), [(WRONG, NO_QUERY), (RIGHT, Query({}, (b"s3cr3t",))), (WRONG, Query({}, (b"one",)))]
    )
    def test_each_one_in_the_head_must_be_right(self, given: tuple[bytes, bytes], query: Query) -> None:
        for check in (CHECK.check_head, CHECK.check_status):
            with pytest.raises(InvalidKey) as caught:
                check(head(given), query)
            assert "s3cr3t" not in str(caught.value)

    def test_each_one_in_the_payload_must_be_right_whatever_the_head_has(self) -> None:
        for proof in (HeadProof((), True), HeadProof((), False)):
            CHECK.check_payload(proof, Parsed(b"", ("one", "two")))
            for keys in (("s3cr3t",), ("one", "s3cr3t"), (None,), ("\udcff",), ("",)):
                with pytest.raises(InvalidKey):
                    CHECK.check_payload(proof, Parsed(b"", keys))

    def test_one_is_needed_somewhere(self) -> None:
        CHECK.check_payload(HeadProof((), True), NO_PAYLOAD)
        with pytest.raises(InvalidKey):
            CHECK.check_payload(HeadProof((), False), NO_PAYLOAD)

    def test_a_status_wants_one_in_the_head(self) -> None:
        CHECK.check_status(head(RIGHT, size=0), NO_QUERY)
        CHECK.check_status(head(size=0), Query({}, (b"one",)))
        with pytest.raises(InvalidKey):
            CHECK.check_status(head(OTHER), NO_QUERY)

    def test_without_any_valid_key_nobody_comes_in(self) -> None:
        for check in (KeyCheck(()).check_head, KeyCheck(()).check_status):
            with pytest.raises(InvalidKey):
                check(head((b"x-webhook-key", b"")), NO_QUERY)

    def test_it_says_that_a_key_is_needed_and_never_which(self) -> None:
        assert CHECK.key_required
        assert CHECK.takes_key
        assert "one" not in repr(CHECK)


def test_an_open_webhook_asks_for_nothing_and_takes_nothing_out() -> None:
    assert OPEN.check_head(head(RIGHT, size=0), NO_QUERY) == HeadProof((RIGHT,), True)
    OPEN.check_status(head(), NO_QUERY)
    assert not OPEN.key_required
    assert not OPEN.takes_key
    assert OPEN.body_check(head(), HeadProof((), True)) is None


def test_a_check_that_forgets_the_status_or_the_head_cannot_be_made() -> None:
    class Forgetful(CallerCheck):
        def check_head(self, head: RequestHead, query: Query) -> HeadProof:
            return HeadProof(head.headers, False)

    with pytest.raises(TypeError, match="check_status"):
        Forgetful()  # type: ignore[abstract]


def test_what_the_head_leaves_to_prove_is_refused_unless_a_check_looks_at_the_payload() -> None:
    class Halfway(CallerCheck):
        def check_head(self, head: RequestHead, query: Query) -> HeadProof:
            return HeadProof(head.headers, False)

        def check_status(self, head: RequestHead, query: Query) -> None: ...

    assert not Halfway().is_repeatable
    with pytest.raises(InvalidKey):
        Halfway().check_payload(HeadProof((), False), NO_PAYLOAD)
