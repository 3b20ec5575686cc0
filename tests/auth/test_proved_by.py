"""Which secret or key proved a caller: ids of deliveries belong to it (CallerCheck.proved_by)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from whd.auth.callers import OPEN, KeyCheck
from whd.auth.combined import AllOf, AnyOf
from whd.handlers.query import parse as parse_query
from whd.http.messages import Head
from whd.model.caller_check import CallerCheck
from whd.senders.check import SignatureCheck
from whd.senders.credentials import BasicCheck, BearerCheck
from whd.senders.jwt import JwtCheck
from whd.senders.msgraph import ClientStateCheck
from whd.senders.presets import PRESETS
from whd.senders.verifier import Verifier
from whd.wire import payload

ONE, TWO = b"the-first-secret", b"the-second-secret"
BODY = b'{"value": 1}'
Headers = tuple[tuple[bytes, bytes], ...]


def proved(check: CallerCheck, *headers: tuple[bytes, bytes], target: str = "/x", body: bytes = BODY) -> bytes:
    """What a request that the check lets pass was proved by."""
    head = Head("POST", target, headers, len(body))
    query = parse_query(target.partition("?")[2], has_key=check.takes_key)
    proof = check.check_head(head, query)
    body_check = check.body_check(head, proof)
    if body_check is not None:
        body_check.update(body)
        body_check.finish(body)
    parsed = payload.parse(body, "application/json", check.takes_key, check.pointers)
    if parsed.keys or not proof.is_complete:
        check.check_payload(proof, parsed)
    return check.proved_by(head, proof, query, parsed)


def github(*secrets: bytes) -> SignatureCheck:
    return SignatureCheck((Verifier(PRESETS["github"].schemes[0], secrets),), lambda: 0.0)


def signature(secret: bytes, body: bytes = BODY) -> tuple[bytes, bytes]:
    return b"x-hub-signature-256", b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode()


def token(secret: bytes) -> tuple[bytes, bytes]:
    head, claims = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256"}, {"exp": 9})
    )
    text = head + b"." + claims
    digest = base64.urlsafe_b64encode(hmac.digest(secret, text, "sha256")).rstrip(b"=")
    return b"authorization", b"Bearer " + text + b"." + digest


def basic(password: bytes) -> tuple[bytes, bytes]:
    return b"authorization", b"Basic " + base64.b64encode(b"ada:" + password)


@pytest.mark.parametrize("secret", [ONE, TWO])
class TestEachSecretIsItsOwn:
    def test_a_key_wherever_it_stands(self, secret: bytes) -> None:
        check = KeyCheck((ONE, TWO))
        assert proved(check, (b"x-webhook-key", secret)) == secret
        assert proved(check, target=f"/x?key={secret.decode()}") == secret
        assert proved(check, (b"authorization", b"Bearer " + secret)) == secret
        assert proved(check, body=json.dumps({"key": secret.decode()}).encode()) == secret

    def test_a_signature(self, secret: bytes) -> None:
        assert proved(github(ONE, TWO), signature(secret)) == secret

    def test_what_signs_members_or_is_sent_as_it_is(self, secret: bytes) -> None:
        telegram = SignatureCheck((Verifier(PRESETS["telegram"].schemes[0], (ONE, TWO)),), lambda: 0.0)
        assert proved(telegram, (b"x-telegram-bot-api-secret-token", secret)) == secret
        gogs = SignatureCheck((Verifier(PRESETS["gogs"].schemes[0], (ONE, TWO)),), lambda: 0.0)
        assert proved(gogs, (b"x-gogs-signature", signature(secret)[1].removeprefix(b"sha256="))) == secret

    def test_in_authorization(self, secret: bytes) -> None:
        assert proved(BearerCheck((ONE, TWO)), (b"authorization", b"Bearer " + secret)) == secret
        other = TWO if secret == ONE else ONE
        check = BasicCheck(b"ada", (ONE, TWO))
        assert proved(check, basic(secret)) != proved(check, basic(other)) != b""
        assert proved(JwtCheck(("HS256",), lambda: 1.0, (ONE, TWO)), token(secret)) == secret

    def test_of_each_item(self, secret: bytes) -> None:
        body = json.dumps({"value": [{"clientState": secret.decode()}]}).encode()
        assert proved(ClientStateCheck((ONE, TWO)), body=body) == secret

    def test_of_several_checks_each(self, secret: bytes) -> None:
        both = AllOf((KeyCheck((ONE, TWO)), github(ONE, TWO)))
        found = {proved(both, (b"x-webhook-key", secret), signature(other)) for other in (ONE, TWO)}
        assert len(found) == 2

    def test_of_alternatives_the_one_that_held(self, secret: bytes) -> None:
        check = AnyOf((github(ONE), github(TWO)))
        assert proved(check, signature(secret)) == secret


def test_nobody_has_proved_anything_where_nothing_is_asked() -> None:
    assert proved(OPEN) == b""
