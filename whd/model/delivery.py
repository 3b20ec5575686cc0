"""What makes one delivery the repeat of another: a value that goes with the record. Nothing here does I/O."""

from __future__ import annotations

from typing import NamedTuple


class Delivery(NamedTuple):
    """A delivery with an id (SENDERS 4). Two with equal `key` and `body` are one, until `until_ms` (since 1970).

    `key`: the SHA-256 of webhook, proof and id. `body`: the body's SHA-256 where the id alone does not count, else b"".
    """

    key: bytes
    body: bytes
    until_ms: int

    def to_text(self) -> str:
        """One text, for a record: hexadecimal digits and the time, with colons between."""
        return f"{self.key.hex()}:{self.body.hex()}:{self.until_ms}"


def read_delivery(text: str) -> Delivery:
    """What `to_text` gave."""
    key, body, until_ms = text.split(":")
    return Delivery(bytes.fromhex(key), bytes.fromhex(body), int(until_ms))
