"""JSON Web Tokens in Authorization (RFC 7519): who calls, not what is sent.

`algorithms` are the operator's choice, never the token's; what a token says of keys (kid, jku, x5u, jwk) is not looked
at (RFC 8725, 3.1 and 3.5). Public keys need the extra whd[crypto]. Pure: the time is passed in.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Final

from ..errors import BadPayload, InvalidSignature, NotFound
from ..model.caller_check import CallerCheck, HeadProof, Query, RequestHead
from ..wire.payload import Parsed
from ..wire.strict_json import decode_pairs, decode_strict
from .credentials import authorization_of

HMAC_ALGORITHMS: Final = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
PUBLIC_KEY_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
# Whether a signature over a text is right, for one public key and the algorithm's name (senders/public_keys.py).
VerifyPublic = Callable[[str, bytes, bytes], bool]
MOST_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class JwtCheck(CallerCheck):
    """A token with one of the algorithms, unexpired, for this audience and of this issuer where they are set.

    `keys`: of HMAC. `verify_public`: each for one public key; never both. `audience`, `issuer`: what is accepted, empty
    for any.
    """

    algorithms: tuple[str, ...]
    now: Callable[[], float] = field(repr=False)
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    verify_public: tuple[VerifyPublic, ...] = field(default=(), repr=False)
    audience: tuple[str, ...] = ()
    issuer: tuple[str, ...] = ()
    leeway_s: int = 0
    require_exp: bool = True

    def check_head(self, head: RequestHead, query: Query) -> HeadProof:
        scheme, token, rest = authorization_of(head.headers)
        # Some senders write the bare token (monday.com).
        if scheme != b"bearer":
            token = scheme if not token else b""
            token = _bare_token(head) if token else token
        self._check(token)
        return HeadProof(rest, True)

    def proved_by(self, head: RequestHead, proof: HeadProof, query: Query, parsed: Parsed) -> bytes:
        token = _bare_token(head).split(b" ")[-1]
        text, _, last = token.rpartition(b".")
        header, signature = _object(token.partition(b".")[0], "header"), _decode(last) or b""
        digests = [hmac.digest(key, text, HMAC_ALGORITHMS[header["alg"]]) for key in self.keys]
        pairs = zip(self.keys, digests, strict=True)
        return next((key for key, digest in pairs if compare_digest(digest, signature)), b"")

    def check_status(self, head: RequestHead, query: Query) -> None:
        raise NotFound

    def _check(self, token: bytes) -> None:
        parts = token.split(b".")
        if len(parts) != 3 or len(token) > MOST_BYTES:
            raise InvalidSignature("Authorization has no JSON Web Token")
        header, claims = (_object(part, name) for part, name in zip(parts, ("header", "payload"), strict=False))
        algorithm = self._algorithm_of(header)
        signature = _decode(parts[2])
        text = token[: -len(parts[2]) - 1]
        if signature is None or not self._is_signed(algorithm, text, signature):
            raise InvalidSignature("no secret or public key matches the token")
        self._check_claims(claims)

    def _algorithm_of(self, header: dict[str, Any]) -> str:
        algorithm = header.get("alg")
        if type(algorithm) is not str or algorithm not in self.algorithms:
            raise InvalidSignature(f"the token's algorithm is none of {', '.join(self.algorithms)}")
        kind = header.get("typ", "JWT")
        # RFC 7519, 5.1; RFC 9068, 2.1 for access tokens.
        if type(kind) is not str or kind.lower().removeprefix("application/") not in ("jwt", "at+jwt"):
            raise InvalidSignature("the token's typ is not JWT")
        if "crit" in header:
            # RFC 7515, 4.1.11: what must be understood and is not.
            raise InvalidSignature("the token has critical header parameters, of which none is known here")
        return algorithm

    def _is_signed(self, algorithm: str, text: bytes, signature: bytes) -> bool:
        if algorithm in HMAC_ALGORITHMS:
            found = False
            for key in self.keys:
                found |= compare_digest(hmac.digest(key, text, HMAC_ALGORITHMS[algorithm]), signature)
            return found
        return any(verify(algorithm, text, signature) for verify in self.verify_public)

    def _check_claims(self, claims: dict[str, Any]) -> None:
        now_s = self.now()
        expiry_s = _seconds(claims, "exp")
        if expiry_s is None and self.require_exp:
            raise InvalidSignature("the token has no exp")
        if expiry_s is not None and now_s >= expiry_s + self.leeway_s:
            raise InvalidSignature(f"the token expired {now_s - expiry_s:.0f} s ago, leeway_s is {self.leeway_s}")
        for name in ("nbf", "iat"):
            from_s = _seconds(claims, name)
            if from_s is not None and now_s < from_s - self.leeway_s:
                raise InvalidSignature(
                    f"the token is of {from_s - now_s:.0f} s ahead ({name}), leeway_s is {self.leeway_s}"
                )
        audience = claims.get("aud")
        if self.audience and not set(self.audience) & set(_texts(audience)):
            raise InvalidSignature("the token is for another audience")
        if self.issuer and claims.get("iss") not in self.issuer:
            raise InvalidSignature("the token is of another issuer")


def _bare_token(head: RequestHead) -> bytes:
    return next(value for name, value in head.headers if name == b"authorization")


def _object(part: bytes, name: str) -> dict[str, Any]:
    data = _decode(part)
    try:
        text = (data or b"").decode("utf-8")
        value = decode_strict(text)
    except (BadPayload, UnicodeDecodeError):
        value = None
    if type(value) is not dict:
        raise InvalidSignature(f"the token's {name} is not a JSON object")
    names = [pair[0] for pair in decode_pairs(text)]
    if len(names) != len(set(names)):
        # RFC 7515, 4: two parsers could see two values.
        raise InvalidSignature(f"the token's {name} has a name twice")
    return value


def _decode(part: bytes) -> bytes | None:
    """Base64url without padding (RFC 7515, 2), as an encoder writes it."""
    try:
        data = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.urlsafe_b64encode(data).rstrip(b"=") == part else None


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > 1e15:
        raise InvalidSignature(f"the token's {name} is no number of seconds")
    return float(value)


def _texts(value: object) -> list[str]:
    items = value if type(value) is list else [value]
    return [item for item in items if type(item) is str]
