"""Vectors that the senders themselves publish, each with its source."""

from __future__ import annotations

import pytest

from whd.senders.check import SignatureCheck
from whd.senders.presets import PRESETS
from whd.senders.verifier import Verifier

from .deliveries import Delivery, refusal

Headers = tuple[tuple[bytes, bytes], ...]
FORM = (b"content-type", b"application/x-www-form-urlencoded")
VECTORS = [
    # docs.github.com, "Validating webhook deliveries", Testing the webhook payload validation.
    (
        "github",
        "It's a Secret to Everybody",
        "",
        0,
        ((b"x-hub-signature-256", b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),),
        b"Hello, World!",
    ),
    # docs.slack.dev, "Verifying requests from Slack", step by step.
    (
        "slack",
        "8f742231b10e8888abcd99yyyzzz85a5",
        "",
        1531420618,
        (
            FORM,
            (b"x-slack-request-timestamp", b"1531420618"),
            (b"x-slack-signature", b"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
        ),
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
    ),
    # The specification's libraries, tests of Python and others: standard-webhooks/standard-webhooks.
    (
        "standard-webhooks",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "",
        1614265330,
        (
            (b"webhook-id", b"msg_p5jXN8AQM9LWM0D4loKWxJek"),
            (b"webhook-timestamp", b"1614265330"),
            (b"webhook-signature", b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ),
        b'{"test": 2432232314}',
    ),
    # twilio.com, "Validating requests", the helper libraries' example.
    (
        "twilio",
        "12345",
        "https://mycompany.com/myapp.php?foo=1&bar=2",
        0,
        (FORM, (b"x-twilio-signature", b"RSOYDt4T1cUTdK1PDd93/VVr8B8=")),
        b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212",
    ),
]


@pytest.mark.parametrize(
    ("name", "secret", "url", "now_s", "headers", "body"), VECTORS, ids=lambda value: str(value)[:20]
)
def test_vectors(name: str, secret: str, url: str, now_s: float, headers: Headers, body: bytes) -> None:
    scheme, key = PRESETS[name].keys_of(secret.encode())[0]
    check = SignatureCheck((Verifier(scheme, [key], url=url),), lambda: now_s)
    delivery = Delivery("POST", "/api/webhook/acme/in", headers, body)
    assert refusal(check, delivery) == ""
    changed = Delivery("POST", "/api/webhook/acme/in", headers, body.replace(b"2", b"3").replace(b"W", b"w"))
    assert refusal(check, changed) == "no secret matches"
