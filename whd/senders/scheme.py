"""How one sender proves where a delivery comes from, as data: the fields of `verify: {scheme: hmac, …}`.

A preset (presets.py) is such values and no code. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..model.caller_check import RequestHead
from .encodings import DECODERS, decode_base64

# What `algorithm` may be. PLAIN: what is sent is the secret itself, and nothing is signed.
PLAIN: Final = "plain"
HASHES: Final = ("sha256", "sha1", "sha512", "sha384")
ENCODINGS: Final = tuple(DECODERS)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a row's own function sees: the head, the body's bytes, the webhook's `url`, the signed timestamp's text."""

    head: RequestHead
    body: bytes
    content_type: str
    url: str
    timestamp: bytes


# A row's own function: every text that the sender may have signed. Raises SignatureRefused.
SignedTexts = Callable[[SignedRequest], list[bytes]]


class SignatureRefused(Exception):
    """A proof is missing, malformed, stale or wrong. `str()` says which check failed, never what would be right."""


@dataclass(frozen=True, slots=True)
class SecretForm:
    """How a secret is written. `prefix`: what it begins with; `is_base64`: what follows is decoded to the key's bytes.

    Without `is_base64` the text's UTF-8 bytes are the key, prefix included. `lengths`: bytes of a decoded key.
    `not_prefix`: what begins so is another form's.
    """

    prefix: str = ""
    is_base64: bool = False
    lengths: tuple[int, int] = (1, 65_536)
    not_prefix: str = ""

    def key_of(self, secret: bytes) -> bytes | None:
        """The key's bytes, None for a secret that is not of this form."""
        if self.not_prefix and secret.startswith(self.not_prefix.encode()):
            return None
        if not self.is_base64:
            return secret if secret.startswith(self.prefix.encode()) else None
        key = decode_base64(secret.removeprefix(self.prefix.encode()))
        return key if key is not None and self.lengths[0] <= len(key) <= self.lengths[1] else None


TEXT: Final = SecretForm()


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to sign.

    `signature`: the locators of the signature, of which the first that is there decides; with `every` all that are
    there. `separator`: between several signatures in one of them, "" for one alone. `prefix`: what each begins with;
    others in a list are skipped. `signed`: the template of what is signed. `timestamp`: its locator, `item:t=` for the
    item of the signature's own list that begins so; "" without one. `unit`: of TIME_UNITS. `tolerance_s`: 0 allows any
    age. `id`: the locator of `{id}`. `siblings`: further headers that are derived from the secret; flows do not see
    them. `texts`: a function instead of `signed`, for what no template says; `needs_url` if it uses the url.
    """

    signature: tuple[str, ...]
    signed: str = "{body}"
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    separator: str = ""
    timestamp: str = ""
    unit: str = "s"
    tolerance_s: int = 300
    id: str = ""
    secret: SecretForm = TEXT
    every: bool = False
    siblings: tuple[str, ...] = ()
    texts: SignedTexts | None = None
    needs_url: bool = False


@dataclass(frozen=True, slots=True)
class Success:
    """What a sender takes for success: a status and a body."""

    status: int = 200
    content_type: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Preset:
    """A sender: a row of the table.

    `schemes`: what it may sign with; the first whose headers are there decides. `dedup`: the locators of the id of a
    delivery, the first that is there counts; `is_id_signed`: whether the signature covers it. `handshake`: of
    handshakes.py. `success`: what it wants in return, `timeout_s` within how long. `unwrap`: the form's member that is
    the payload. `parses_first`: members of the body are read before the signature is known to hold, so bodies are
    limited to 1 MiB. `event`: the locator of the event's name. `source`: the page or file that says so; `is_confirmed`:
    whether all of the row was seen there.
    """

    name: str
    title: str
    schemes: tuple[Scheme, ...]
    source: str
    is_confirmed: bool = True
    dedup: tuple[str, ...] = ()
    is_id_signed: bool = False
    event: str = ""
    handshake: str = ""
    success: Success = Success()
    timeout_s: float | None = None
    retries: str = ""
    unwrap: str = ""
    parses_first: bool = False
    notes: str = ""

    @property
    def needs_url(self) -> bool:
        """Whether the sender signs the URL that was registered with it."""
        return any(scheme.needs_url or "{url}" in scheme.signed for scheme in self.schemes)

    def keys_of(self, secret: bytes) -> list[tuple[Scheme, bytes]]:
        """The schemes that take a secret of this form, each with the key; empty for a secret that none takes."""
        found: list[tuple[Scheme, Any]] = [(scheme, scheme.secret.key_of(secret)) for scheme in self.schemes]
        return [(scheme, key) for scheme, key in found if key is not None]
