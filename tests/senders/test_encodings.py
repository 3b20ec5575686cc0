"""Signatures and times as senders write them; one text for one value."""

from __future__ import annotations

import base64
import random

import pytest

from whd.senders.encodings import TIME_UNITS, decode_base64, decode_hex


@pytest.mark.parametrize("text", [b"00ff", b"00FF", b"00fF", b""])
def test_hex_in_either_case(text: bytes) -> None:
    assert decode_hex(text) == bytes.fromhex(text.decode())


@pytest.mark.parametrize("text", [b"0", b"0g", b" 00", b"00 ", b"0 0", b"\xff\xff", b"0x00"])
def test_what_is_no_hex(text: bytes) -> None:
    assert decode_hex(text) is None


@pytest.mark.parametrize("size", range(70))
def test_base64_with_and_without_padding(size: int) -> None:
    data = random.Random(size).randbytes(size)
    text = base64.b64encode(data)
    assert decode_base64(text) == decode_base64(text.rstrip(b"=")) == data


@pytest.mark.parametrize(
    "text", [b"YQ=", b"YQ===", b"YR==", b"YWJ=", b"YW Jj", b"YWJj\n", b"-_-_", b"YQ==YQ==", b"Y", b"=", b"YWJj="]
)
def test_what_an_encoder_would_not_have_written_is_no_base64(text: bytes) -> None:
    assert decode_base64(text) is None


def test_no_two_texts_give_the_same_bytes() -> None:
    """Every character at the end, with and without padding: as many values as texts less their padding."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    texts = [b"AA" + bytes((one, two)) for one in alphabet for two in alphabet]
    texts += [b"AA" + bytes((one,)) for one in alphabet]
    found = [data for data in map(decode_base64, texts) if data is not None]
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("unit", "text", "seconds"),
    [
        ("s", b"1614265330", 1614265330.0),
        ("ms", b"1614265330500", 1614265330.5),
        ("rfc3339", b"2021-07-25T10:00:00Z", 1627207200.0),
        ("rfc3339", b"2021-07-25T12:00:00.5+02:00", 1627207200.5),
        ("s", b"-1", None),
        ("s", b"1e9", None),
        ("s", b" 1", None),
        ("s", b"1_0", None),
        ("s", "\u0661".encode(), None),
        ("ms", b"", None),
        ("rfc3339", b"2021-07-25", None),
        ("rfc3339", b"2021-13-25T10:00:00Z", None),
    ],
)
def test_timestamps(unit: str, text: bytes, seconds: float | None) -> None:
    assert TIME_UNITS[unit](text) == seconds
