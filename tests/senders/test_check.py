"""Proof of origin, for every row of the table: accepted as it is sent, refused when anything of it is changed."""

from __future__ import annotations

import hmac
import json

import pytest

from whd.senders.presets import PRESETS
from whd.senders.scheme import PLAIN, Preset, Scheme
from whd.senders.verifier import Verifier

from .deliveries import (
    BASE64_SECRET,
    NOW_S,
    TEXT_SECRET,
    URL,
    Delivery,
    check_of,
    delivery_of,
    judge,
    refusal,
    secret_for,
)

OTHER_TEXT = "another-Secret-of-24-char"
OTHER_BASE64 = "whsec_YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk="
BODY = json.dumps({"id": 7, "text": "Jos\u00e9", "webhookTimestamp": int(NOW_S * 1000)}).encode()
FORM_BODY = b"payload=%7B%22a%22%3A1%7D&b=2&b=1&%C3%A9=%2B"
IN_HEADERS = [
    pytest.param(preset, scheme, id=f"{preset.name}-{number}")
    for preset in PRESETS.values()
    for number, scheme in enumerate(preset.schemes)
    if scheme.signature[0].startswith("header:") and not scheme.timestamp.startswith("json:")
]


def forms_of(preset: Preset) -> list[tuple[bytes, str]]:
    if preset.name in ("twilio", "mandrill"):
        return [(FORM_BODY, "application/x-www-form-urlencoded")]
    return [(BODY, "application/json"), (FORM_BODY, "application/x-www-form-urlencoded"), (b"", "application/json")]


def signature_header(scheme: Scheme) -> str:
    return scheme.signature[0].removeprefix("header:")


@pytest.mark.parametrize(("preset", "scheme"), IN_HEADERS)
def test_a_delivery_as_it_is_sent_is_accepted(preset: Preset, scheme: Scheme) -> None:
    for body, content_type in forms_of(preset):
        if preset.name == "gogs" and "form" in content_type:
            continue
        delivery = delivery_of(preset, scheme, body, content_type)
        for secrets in (
            (secret_for(scheme),),
            ("an-older-Secret-of-ours" if not scheme.secret.is_base64 else OTHER_BASE64, secret_for(scheme)),
        ):
            proof = judge(check_of(preset, *secrets), delivery)
            names = {name for name, _value in proof.headers}
            assert signature_header(scheme).lower().encode() not in names
            assert {b"content-type", b"user-agent"} <= names


@pytest.mark.parametrize(("preset", "scheme"), IN_HEADERS)
def test_a_delivery_that_was_changed_is_refused(preset: Preset, scheme: Scheme) -> None:
    body, content_type = forms_of(preset)[0]
    delivery = delivery_of(preset, scheme, body, content_type)
    check = check_of(preset, secret_for(scheme))
    header = signature_header(scheme)
    value = dict(delivery.headers)[header.lower().encode()].decode()
    other = OTHER_BASE64 if scheme.secret.is_base64 else OTHER_TEXT
    assert refusal(check_of(preset, other), delivery) == "no secret matches"
    assert "missing" in refusal(check, delivery.with_header(header, None))
    assert refusal(check, delivery.with_header(header, value[:-3] + ("A" if value[-3] != "A" else "B") + value[-2:]))
    doubled = delivery.headers + ((header.lower().encode(), value.encode()),)
    assert "more than once" in refusal(check, type(delivery)("POST", delivery.target, doubled, body))
    if scheme.algorithm != PLAIN:
        changed = type(delivery)(
            "POST", delivery.target, delivery.headers, body[:-2] + bytes((body[-2] ^ 1,)) + body[-1:]
        )
        assert refusal(check, changed)


@pytest.mark.parametrize(
    ("preset", "scheme"),
    [item for item in IN_HEADERS if item.values[1].timestamp and item.values[1].algorithm != PLAIN],  # type: ignore[union-attr]
)
def test_a_stale_timestamp_is_named(preset: Preset, scheme: Scheme) -> None:
    body, content_type = forms_of(preset)[0]
    delivery = delivery_of(preset, scheme, body, content_type)
    late = check_of(preset, secret_for(scheme), now_s=NOW_S + 412)
    assert refusal(late, delivery) == f"the timestamp is 412 s old, tolerance_s is {scheme.tolerance_s}"
    early = check_of(preset, secret_for(scheme), now_s=NOW_S - 412)
    assert "412 s ahead of this machine's clock" in refusal(early, delivery)


def test_a_timestamp_is_believed_only_as_it_was_signed() -> None:
    preset = PRESETS["slack"]
    delivery = delivery_of(preset, preset.schemes[0], BODY, "application/json")
    later = check_of(preset, TEXT_SECRET, now_s=NOW_S + 412)
    renewed = delivery.with_header("X-Slack-Request-Timestamp", str(int(NOW_S + 412)))
    assert refusal(later, renewed) == "no secret matches"


def test_gitlab_takes_its_two_secrets_in_their_own_form_alone() -> None:
    """A signing secret that leaked as a token would open the webhook to whoever saw one delivery."""
    gitlab = PRESETS["gitlab"]
    as_token = delivery_of(gitlab, gitlab.schemes[1], BODY, "application/json", TEXT_SECRET).with_header(
        "X-Gitlab-Token", BASE64_SECRET
    )
    assert refusal(check_of(gitlab, BASE64_SECRET), as_token)
    assert refusal(check_of(gitlab, TEXT_SECRET), as_token) == "no secret matches"
    assert [scheme.algorithm for scheme, _ in gitlab.keys_of(TEXT_SECRET.encode())] == [PLAIN]
    assert [scheme.algorithm for scheme, _ in gitlab.keys_of(BASE64_SECRET.encode())] == ["sha256"]


def test_mailgun_signs_members_of_the_body() -> None:
    mailgun = PRESETS["mailgun"]
    token = "c" * 50
    signature = hmac.new(TEXT_SECRET.encode(), f"{int(NOW_S)}{token}".encode(), "sha256").hexdigest()
    body = json.dumps({"signature": {"timestamp": str(int(NOW_S)), "token": token, "signature": signature}}).encode()
    delivery = Delivery("POST", "/x", ((b"content-type", b"application/json"),), body)
    form = f"timestamp={int(NOW_S)}&token={token}&signature={signature}&a=1".encode()
    posted = Delivery("POST", "/x", ((b"content-type", b"application/x-www-form-urlencoded"),), form)
    part = 'Content-Disposition: form-data; name="{}"\r\n\r\n{}\r\n--B'
    members = {"timestamp": int(NOW_S), "token": token, "signature": signature, "a": 1}
    inbound = "--B" + "".join("\r\n" + part.format(name, value) for name, value in members.items()) + "--\r\n"
    parts_type = ((b"content-type", b"multipart/form-data; boundary=B"),)
    uploaded = Delivery("POST", "/x", parts_type, inbound.encode())
    check = check_of(mailgun, TEXT_SECRET)
    assert refusal(check, delivery) == refusal(check, posted) == refusal(check, uploaded) == ""
    other_token = Delivery("POST", "/x", parts_type, inbound.replace("ccc", "ccd", 1).encode())
    assert refusal(check, other_token) == "no secret matches"
    assert (
        refusal(check, Delivery("POST", "/x", delivery.headers, body.replace(b"ccc", b"ccd", 1))) == "no secret matches"
    )
    assert "missing" in refusal(check, Delivery("POST", "/x", delivery.headers, b"{}"))
    assert "neither JSON" in refusal(check, Delivery("POST", "/x", delivery.headers, b"{"))
    assert "28801 s old" in refusal(check_of(mailgun, TEXT_SECRET, now_s=NOW_S + 28_801), delivery)


def test_the_url_is_part_of_what_twilio_and_trello_sign() -> None:
    for name, body, content_type in (
        ("twilio", FORM_BODY, "application/x-www-form-urlencoded"),
        ("trello", BODY, "application/json"),
    ):
        preset = PRESETS[name]
        delivery = delivery_of(preset, preset.schemes[0], body, content_type)
        key = TEXT_SECRET.encode()
        other = Verifier(preset.schemes[0], [key], url=URL.replace("/in", "/out"))
        check = type(check_of(preset, TEXT_SECRET))((other,), lambda: NOW_S)
        assert refusal(check, delivery) == "no secret matches"
