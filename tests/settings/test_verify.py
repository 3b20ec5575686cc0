"""`verify` of a webhook's setting: what is read, what is a fault, and what nobody is shown."""

from __future__ import annotations

import pytest

from whd.errors import HttpError, InvalidSignature, NotFound
from whd.http.messages import Head
from whd.model.caller_check import CallerCheck, Query
from whd.model.options import Options
from whd.model.snapshot import Fault, Webhook
from whd.settings.verify import SCHEMES
from whd.settings.webhooks import MASK, masked

from .webhook_files import parse_webhook

SECRET = "a-Secret-of-24-characters"
WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
URL = "https://hooks.example.com/api/webhook/acme/x"


def read(verify: str, more: str = "") -> tuple[Webhook | None, tuple[Fault, ...]]:
    text = f"flow_name: a\nuser_name: b\n{more}verify: {verify}\n"
    return parse_webhook(text, "w.yaml", "acme", "x", Options())


def minimal(scheme: str) -> str:
    more = {
        "hmac": "header: X-Sig",
        "token": "header: X-Token",
        "basic": "user: kevin",
        "jwt": "algorithms: [HS256]",
    }.get(scheme, "")
    if "url" in SCHEMES[scheme].required:
        more = f'url: "{URL}"'
    secret = WHSEC if scheme == "standard-webhooks" else SECRET
    fields = [f"scheme: {scheme}", f"{SCHEMES[scheme].secret}: {secret}", *([more] if more else [])]
    return "{" + ", ".join(fields) + "}"


def judge(check: CallerCheck, head: Head, body: bytes) -> None:
    """Raises InvalidSignature where the head or the body proves nothing."""
    proof = check.check_head(head, Query({}))
    body_check = check.body_check(head, proof)
    if body_check is not None:
        body_check.update(body)
        body_check.finish(body)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_every_scheme_has_a_form_of_three_lines_or_fewer(scheme: str) -> None:
    webhook, faults = read(minimal(scheme))
    assert webhook is not None, faults
    assert [fault for fault in faults if not fault.is_warning] == []
    head = Head("POST", "/api/webhook/acme/x", ((b"content-type", b"application/json"),), 2)
    check = webhook.caller_check
    assert not check.key_required
    with pytest.raises(InvalidSignature):
        judge(check, head, b"{}")
    with pytest.raises(NotFound):
        check.check_status(head, Query({}))


@pytest.mark.parametrize(
    ("verify", "what"),
    [
        ("", "verify: has no scheme"),
        ("github", "verify: is text"),
        ("[]", "verify: is a list of 0"),
        ("{scheme: githup, secret: S}", "verify.scheme: is no scheme; expected one of"),
        ("{scheme: githup, secret: S}", "did you mean github?"),
        ("{scheme: github}", "verify.secret: is missing"),
        ("{scheme: github, secret: }", "verify.secret: is empty"),
        ("{scheme: github, secret: []}", "verify.secret: is a list of 0"),
        ("{scheme: github, secret: 123456}", "verify.secret: is a whole number; expected text; quote it"),
        ("{scheme: github, secret: S, tolerance: 5}", "verify.tolerance: unknown field"),
        ("{scheme: github, secret: S, tolerance_s: -5}", "verify.tolerance_s: is no number of seconds"),
        ("{scheme: standard-webhooks, secret: S}", "is not written as Standard Webhooks, Svix writes it"),
        ("{scheme: twilio, secret: S}", "verify.url: is missing"),
        ("{scheme: twilio, secret: S, url: hooks.example.com}", "verify.url: is no URL"),
        ("{scheme: hmac, secret: S}", "verify.header: is missing"),
        ("{scheme: hmac, secret: S, header: a b}", "verify.header: names nothing"),
        ("{scheme: hmac, secret: S, header: X, algorithm: md5}", "verify.algorithm: is the text 'md5'"),
        ("{scheme: hmac, secret: S, header: X, signed: '{bdy}'}", "verify.signed: there is no word {bdy}"),
        ("{scheme: hmac, secret: S, header: X, signed: '{timestamp}{body}'}", "verify.timestamp: is missing"),
        ("{scheme: hmac, secret: S, header: X, timestamp: 'header:T'}", "is not signed, so anybody could renew it"),
        ("{scheme: hmac, secret: 'a b!', header: X, secret_encoding: base64}", "verify.secret: is no base64"),
        ("{scheme: basic, password: S}", "verify.user: is missing"),
        ("{scheme: jwt, secret: S}", "verify.algorithms: is missing"),
        ("{scheme: jwt, secret: S, algorithms: [none]}", "verify.algorithms: is the text 'none'"),
        ("{scheme: jwt, secret: S, algorithms: []}", "verify.algorithms: is an empty list"),
        ("{scheme: jwt, secret: S, algorithms: [HS256, RS256]}", "mixes HS with public-key algorithms"),
        ("{scheme: jwt, algorithms: [RS256], public_key: P}", "need a public key, and this whd verifies none yet"),
        ("{scheme: jwt, algorithms: [HS256], public_key: P}", "a key of the wrong kind"),
        ("{scheme: jwt, algorithms: [HS256], secret: '-----BEGIN PUBLIC KEY-----'}", "is a public key"),
        ("[{scheme: github, secret: S}, {scheme: gogs}]", "verify.secret: is missing"),
    ],
)  # fmt: skip
def test_faults(verify: str, what: str) -> None:
    webhook, faults = read(verify.replace("secret: S", f"secret: {SECRET}"))
    assert webhook is None
    assert what in "\n".join(map(str, faults))
    assert SECRET not in str(faults)


@pytest.mark.parametrize(
    ("verify", "what"),
    [
        ("{scheme: github, secret: short}", "verify.secret: has 5 characters"),
        (f"{{scheme: github, secret: ' {SECRET}'}}", "begins or ends with white space"),
        (f"{{scheme: gitea, secret: {SECRET}}}", "is not confirmed"),
    ],
)
def test_warnings(verify: str, what: str) -> None:
    webhook, faults = read(verify, "ack: true\ndedup: true\n")
    assert webhook is not None
    assert [fault.is_warning for fault in faults] == [True]
    assert what in str(faults[0])


def test_operators_see_all_but_the_secrets() -> None:
    value = {
        "verify": [
            {"scheme": "basic", "user": "kevin", "password": SECRET},
            {"scheme": "hmac", "header": "X-Sig", "secret": [SECRET, SECRET], "secrt": SECRET},
            SECRET,
        ]
    }
    assert masked("client.webhook.x", value)["verify"] == [
        {"scheme": "basic", "user": "kevin", "password": MASK},
        {"scheme": "hmac", "header": "X-Sig", "secret": [MASK, MASK], "secrt": MASK},
        MASK,
    ]


def test_a_key_and_a_signature_must_both_hold() -> None:
    webhook, _ = read(f"{{scheme: telegram, secret: {SECRET}}}", "key: a-key-of-16-bytes\n")
    assert webhook is not None
    check = webhook.caller_check
    token, key = (b"x-telegram-bot-api-secret-token", SECRET.encode()), (b"x-webhook-key", b"a-key-of-16-bytes")
    assert check.check_head(Head("POST", "/", (token, key), 2), Query({})).headers == ()
    for headers in ((token, (b"x-webhook-key", b"x")), (key,), (key, (token[0], b"x"))):
        with pytest.raises(HttpError, match=r"missing|wrong|no secret"):
            check.check_head(Head("POST", "/", headers, 2), Query({}))
    assert check.key_required
    assert check.takes_key
    check.check_status(Head("GET", "/", (key,), 0), Query({}))


def test_any_of_a_list_will_do() -> None:
    webhook, _ = read(f"[{{scheme: bearer, secret: {SECRET}}}, {{scheme: telegram, secret: {SECRET}}}]")
    assert webhook is not None
    check = webhook.caller_check
    bearer = (b"authorization", b"Bearer " + SECRET.encode())
    token = (b"x-telegram-bot-api-secret-token", SECRET.encode())
    for headers in ((bearer,), (token,), (bearer, token)):
        head = Head("POST", "/", headers, 2)
        proof = check.check_head(head, Query({}))
        assert check.body_check(head, proof) is None
    with pytest.raises(InvalidSignature, match="Authorization is missing; X-Telegram-Bot-Api-Secret-Token is missing"):
        check.check_head(Head("POST", "/", (), 2), Query({}))


@pytest.mark.parametrize(
    ("verify", "more", "advice"),
    [
        (f"{{scheme: github, secret: {SECRET}}}", "", "dedup: true"),
        (f"{{scheme: dropbox, secret: {SECRET}}}", "", "dedup: {by: body}"),
        (f"{{scheme: hmac, secret: {SECRET}, header: X-Sig}}", "", "dedup: {by: body}"),
        (f"{{scheme: slack, secret: {SECRET}, tolerance_s: 0}}", "", "dedup: true"),
        (f"{{scheme: slack, secret: {SECRET}}}", "", ""),
        (f"{{scheme: github, secret: {SECRET}}}", "dedup: true\n", ""),
        (f"{{scheme: telegram, secret: {SECRET}}}", "", ""),
        (f"{{scheme: bearer, secret: {SECRET}}}", "", ""),
    ],
)
def test_a_delivery_that_can_be_sent_again_for_ever_is_worth_a_warning(verify: str, more: str, advice: str) -> None:
    _webhook, faults = read(verify, f"ack: true\n{more}")
    assert [fault.expected.partition(", or")[0] for fault in faults if fault.field == "dedup"] == [advice] * bool(
        advice
    )
