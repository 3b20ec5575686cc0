"""CONTRACT 3, Key."""

from __future__ import annotations

import pytest

from whd.auth.callers import check_given, is_valid, keys_of_headers
from whd.errors import InvalidKey

VALID = (b"one", b"two")
Headers = tuple[tuple[bytes, bytes], ...]


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
