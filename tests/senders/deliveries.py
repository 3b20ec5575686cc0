"""Deliveries in each sender's form, signed by the sender's side (senders/signer.py), and a check's verdict on them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from whd.errors import HttpError
from whd.http.messages import Head
from whd.model.caller_check import HeadProof, Query
from whd.senders.check import SignatureCheck
from whd.senders.presets import PRESETS
from whd.senders.scheme import Preset, Scheme
from whd.senders.signer import Unsigned, sign
from whd.senders.verifier import Verifier
from whd.wire import payload

NOW_S = 1_700_000_000.0
URL = "https://hooks.example.com/api/webhook/acme/in?async"
TEXT_SECRET = "a-Secret-of-24-characters"
BASE64_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Delivery:
    """One request as it stands on the wire."""

    method: str
    target: str
    headers: Headers
    body: bytes

    @property
    def head(self) -> Head:
        return Head(self.method, self.target, self.headers, len(self.body))

    def with_header(self, name: str, value: str | None) -> Delivery:
        """One header changed, or left out."""
        rest = tuple(item for item in self.headers if item[0] != name.lower().encode())
        return replace(
            self, headers=rest if value is None else (*rest, (name.lower().encode(), value.encode("latin-1")))
        )


def secret_for(scheme: Scheme) -> str:
    return BASE64_SECRET if scheme.secret.is_base64 else TEXT_SECRET


def delivery_of(preset: Preset, scheme: Scheme, body: bytes, content_type: str, secret: str = "") -> Delivery:
    """What the sender sends; its signature stands in a header."""
    headers = (("Content-Type", content_type), ("User-Agent", f"{preset.title}/1"))
    key = scheme.secret.key_of((secret or secret_for(scheme)).encode())
    assert key is not None
    signed = sign(scheme, key, Unsigned("POST", URL, headers, body, NOW_S, "msg_1"))
    lowered = tuple((name.lower().encode(), value.encode()) for name, value in (*headers, *signed))
    return Delivery("POST", "/" + URL.split("/", 3)[3], lowered, body)


def check_of(preset: Preset, *secrets: str, now_s: float = NOW_S) -> SignatureCheck:
    """The preset's check with these secrets."""
    pairs = [pair for secret in secrets for pair in preset.keys_of(secret.encode())]
    schemes = [scheme for scheme in preset.schemes if any(pair[0] is scheme for pair in pairs)]
    verifiers = [Verifier(each, [key for scheme, key in pairs if scheme is each], url=URL) for each in schemes]
    return SignatureCheck(tuple(verifiers), lambda: now_s)


def judge(check: SignatureCheck, delivery: Delivery) -> HeadProof:
    """Takes a delivery through the steps in which the daemon asks a check. Raises HttpError."""
    query = Query({})
    proof = check.check_head(delivery.head, query)
    body_check = check.body_check(delivery.head, proof)
    if body_check is not None:
        for start in range(0, len(delivery.body), 7):
            body_check.update(delivery.body[start : start + 7])
        body_check.finish(delivery.body)
    if not proof.is_complete:
        check.check_payload(proof, payload.parse(delivery.body, "application/json", False))
    return proof


def refusal(check: SignatureCheck, delivery: Delivery) -> str:
    """Why it is refused, "" if it is accepted."""
    try:
        judge(check, delivery)
    except HttpError as error:
        return str(error)
    return ""


def preset(name: str) -> Preset:
    return PRESETS[name]
