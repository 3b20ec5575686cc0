"""CONTRACT 3, Key; SENDERS 2: where a key is looked for, and what decides. What is hidden: test_hiding.py."""

from __future__ import annotations

import pytest

from whd.auth.callers import OPEN, KeyCheck, is_valid
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


@pytest.mark.parametrize("given", [b"one", b"two"])
def test_any_one_of_several_is_valid(given: bytes) -> None:
    assert is_valid(given, VALID)


@pytest.mark.parametrize("given", [b"", b"on", b"onee", b"One", b"\xff", b"onetwo"])
def test_nothing_else_is(given: bytes) -> None:
    assert not is_valid(given, VALID)


def head(*headers: tuple[bytes, bytes], size: int | None = 10) -> Head:
    return Head("POST", "/", headers, size)


def bearer(token: bytes) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + token


class TestKeyCheck:
    def test_a_head_with_a_key_is_all_that_is_needed_and_is_passed_on_without_it(self) -> None:
        for given in (RIGHT, bearer(b"one"), (b"authorization", b"bearer  two ")):
            assert CHECK.check_head(head(OTHER, given), NO_QUERY) == HeadProof((OTHER,), True)
            assert CHECK.check_head(head(OTHER, given, size=0), NO_QUERY).is_complete
        assert CHECK.check_head(head(OTHER), Query({}, (b"two",))) == HeadProof((OTHER,), True)

    def test_each_that_is_right_leaves_however_many_there_are(self) -> None:
        everywhere = head(RIGHT, OTHER, bearer(b"two"))
        assert CHECK.check_head(everywhere, Query({}, (b"one",))) == HeadProof((OTHER,), True)

    def test_one_without_a_key_leaves_it_to_the_payload_if_there_is_one(self) -> None:
        for size in (1, None):
            assert CHECK.check_head(head(OTHER, size=size), NO_QUERY) == HeadProof((OTHER,), False)
        with pytest.raises(InvalidKey):
            CHECK.check_head(head(OTHER, size=0), NO_QUERY)

    @pytest.mark.parametrize(
        ("given", "query"),
        [
            (WRONG, NO_QUERY),
            ((b"x-webhook-key", b""), NO_QUERY),
            (OTHER, Query({}, (b"s3cr3t",))),
            (OTHER, Query({}, (b"",))),
            (RIGHT, Query({}, (b"s3cr3t",))),
            (WRONG, Query({}, (b"one",))),
            (bearer(b"one"), Query({}, (b"s3cr3t",))),
        ],
    )
    def test_header_and_query_decide_each_for_itself(self, given: tuple[bytes, bytes], query: Query) -> None:
        for check in (CHECK.check_head, CHECK.check_status):
            with pytest.raises(InvalidKey) as caught:
                check(head(given), query)
            assert "s3cr3t" not in str(caught.value)
            assert caught.value.headers[0][0] == b"www-authenticate"

    @pytest.mark.parametrize(
        ("headers", "query"),
        [
            ((RIGHT, RIGHT), NO_QUERY),
            ((RIGHT, (b"x-webhook-key", b"two")), NO_QUERY),
            ((), Query({}, (b"one", b"one"))),
            ((bearer(b"one"), bearer(b"one")), NO_QUERY),
            ((bearer(b"theirs"), bearer(b"one")), NO_QUERY),
        ],
    )
    def test_one_that_is_given_twice_is_refused(self, headers: Headers, query: Query) -> None:
        for check in (CHECK.check_head, CHECK.check_status):
            with pytest.raises(InvalidKey):
                check(head(*headers), query)

    def test_a_bearer_that_is_not_right_is_the_senders_own_and_stays(self) -> None:
        theirs = bearer(b"theirs")
        assert CHECK.check_head(head(theirs), NO_QUERY) == HeadProof((theirs,), False)
        assert CHECK.check_head(head(RIGHT, theirs, OTHER), NO_QUERY) == HeadProof((theirs, OTHER), True)
        assert CHECK.check_head(head(theirs), Query({}, (b"one",))) == HeadProof((theirs,), True)
        both = (theirs, bearer(b"a proxy's"))
        assert CHECK.check_head(head(*both, RIGHT), NO_QUERY) == HeadProof(both, True)
        with pytest.raises(InvalidKey):
            CHECK.check_head(head(theirs, size=0), NO_QUERY)

    @pytest.mark.parametrize("value", [b"Basic one", b"Bearer", b"one", b"Digest one"])
    def test_another_scheme_is_no_key(self, value: bytes) -> None:
        theirs = (b"authorization", value)
        assert CHECK.check_head(head(theirs), NO_QUERY) == HeadProof((theirs,), False)

    def test_the_payload_decides_where_the_head_did_not(self) -> None:
        proof = HeadProof((), False)
        assert CHECK.check_payload(proof, Parsed(b"", ("one",)))
        assert CHECK.check_payload(proof, Parsed(b"", ("two",)))
        for keys in ((), ("s3cr3t",), ("one", "s3cr3t"), ("one", "one"), (None,), ("\udcff",), ("",)):
            with pytest.raises(InvalidKey):
                CHECK.check_payload(proof, Parsed(b"", keys))

    def test_where_the_head_did_a_member_of_that_name_is_the_senders_own_unless_it_is_a_key(self) -> None:
        proof = HeadProof((), True)
        for keys in (("theirs",), (None,), ("\udcff",), ("",), ("a", "b")):
            assert not CHECK.check_payload(proof, Parsed(b"", keys))
        for keys in (("one",), ("two",), ("a", "two"), ("one", "one")):
            assert CHECK.check_payload(proof, Parsed(b"", keys))

    def test_a_status_wants_one_in_the_head(self) -> None:
        CHECK.check_status(head(RIGHT, size=0), NO_QUERY)
        CHECK.check_status(head(bearer(b"theirs"), size=0), Query({}, (b"one",)))
        CHECK.check_status(head(bearer(b"two"), size=0), NO_QUERY)
        for given in (OTHER, bearer(b"theirs")):
            with pytest.raises(InvalidKey):
                CHECK.check_status(head(given), NO_QUERY)

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
