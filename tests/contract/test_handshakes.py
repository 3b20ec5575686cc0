"""SENDERS 7 against a running daemon: what senders get that ask whether their deliveries are wanted."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from tests.running import Answer, Project, RunningDaemon, wait_for

SECRET = "a-Secret-of-24-characters"
FLOW = """
def handler(system, this):
    raise ValueError('a handshake runs no flow')
"""
KEY = "the-key-of-the-webhook"
BASE = "/api/webhook/acme/h-"
SIGNED = {
    "slack": ("X-Slack-Signature", "X-Slack-Request-Timestamp"),
    "zoom": ("x-zm-signature", "x-zm-request-timestamp"),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "slack": {"verify": {"scheme": "slack", "secret": SECRET}},
    "zoom": {"verify": {"scheme": "zoom", "secret": SECRET}},
    "zoom-rotated": {"verify": {"scheme": "zoom", "secret": ["a-new-secret-of-zooms", SECRET]}},
    "zoom-rotated-key": {"verify": {"scheme": "zoom", "secret": ["a-new-secret-of-zooms", SECRET]}, "key": KEY},
    "meta": {"verify": {"scheme": "meta", "secret": SECRET, "verify_token": "my-verify-token"}},
    "dropbox": {"verify": {"scheme": "dropbox", "secret": SECRET}},
    "dropbox-key": {"verify": {"scheme": "dropbox", "secret": SECRET}, "key": KEY},
    "msgraph": {"verify": {"scheme": "msgraph", "secret": SECRET}},
    "woocommerce": {"verify": {"scheme": "woocommerce", "secret": SECRET}},
    "trello": {"verify": {"scheme": "trello", "secret": SECRET, "url": "https://a.example/b"}},
    "none": {"verify": {"scheme": "dropbox", "secret": SECRET}, "handshake": "none"},
    "okta": {"verify": {"scheme": "token", "header": "X-Token", "secret": SECRET}, "handshake": "okta"},
    "eventgrid": {"key": KEY, "handshake": "eventgrid"},
    "monday": {"key": KEY, "handshake": "monday"},
    "off": {"handshake": "dropbox", "enabled": False},
    "many": {"handshake": "dropbox"},
}


@pytest.fixture(scope="module", autouse=True)
def served(shared_project: Project, daemon: RunningDaemon) -> None:
    for name, fields in SETTINGS.items():
        shared_project.endpoint(f"h-{name}", FLOW, **fields)
    for name in SETTINGS:
        if name != "off":
            wait_for(lambda name=name: daemon.request("PUT", BASE + name).status == 405, name)  # type: ignore[misc]


def text(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "whd-execution-id" not in answer.headers
    return answer.body.decode()


def signed(daemon: RunningDaemon, name: str, document: Any, *, secret: str = SECRET) -> Answer:
    body, now = json.dumps(document), str(int(time.time()))
    digest = hmac.new(secret.encode(), f"v0:{now}:{body}".encode(), hashlib.sha256).hexdigest()
    signature, timestamp = SIGNED[name.partition("-")[0]]
    headers = {"X-Webhook-Key": KEY, "Content-Type": "application/json", signature: f"v0={digest}", timestamp: now}
    return daemon.post(BASE + name, body, headers=headers)


def test_slack_gets_its_challenge_once_its_signature_holds(daemon: RunningDaemon) -> None:
    document = {"type": "url_verification", "challenge": "3eZbrw1aB10FEMAGAZd4FyFQ"}
    assert text(signed(daemon, "slack", document)) == "3eZbrw1aB10FEMAGAZd4FyFQ"
    assert signed(daemon, "slack", document, secret="another-secret-of-them").status == 401
    assert daemon.post(BASE + "slack", document).status == 401


def test_zoom_gets_the_digest_of_its_token(daemon: RunningDaemon) -> None:
    document = {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}}
    digest = hmac.new(SECRET.encode(), b"qgg8vlvZRS6UYooatFL8Aw", hashlib.sha256).hexdigest()
    answer = signed(daemon, "zoom", document)
    assert (answer.status, answer.json) == (200, {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": digest})
    unsigned = daemon.post(BASE + "zoom", document)
    assert unsigned.status == 401
    assert digest.encode() not in unsigned.body


@pytest.mark.parametrize("name", ["zoom-rotated", "zoom-rotated-key"])
@pytest.mark.parametrize("secret", [SECRET, "a-new-secret-of-zooms"])
def test_zoom_is_answered_by_the_secret_that_it_signed_with(daemon: RunningDaemon, name: str, secret: str) -> None:
    document = {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}}
    digest = hmac.new(secret.encode(), b"qgg8vlvZRS6UYooatFL8Aw", hashlib.sha256).hexdigest()
    assert signed(daemon, name, document, secret=secret).json["encryptedToken"] == digest


@pytest.mark.parametrize("token", ["v0:1:{}", "", "a" * 129, "a b", "a\n"])
def test_zoom_never_gets_a_digest_of_what_could_be_a_delivery(daemon: RunningDaemon, token: str) -> None:
    answer = signed(daemon, "zoom", {"event": "endpoint.url_validation", "payload": {"plainToken": token}})
    assert answer.status == 400
    assert b"encryptedToken" not in answer.body


def test_meta_wants_its_verify_token(daemon: RunningDaemon) -> None:
    query = "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
    assert text(daemon.get(BASE + "meta" + query + "my-verify-token")) == "1158201444"
    for wrong in ("", "my-verify-toke", "my-verify-token&hub.verify_token=my-verify-token"):
        assert daemon.get(BASE + "meta" + query + wrong).status == 403


def test_dropbox_and_msgraph_get_their_text(daemon: RunningDaemon) -> None:
    assert text(daemon.get(BASE + "dropbox?challenge=a%20b")) == "a b"
    assert text(daemon.post(BASE + "msgraph?validationToken=Validation%3A%20a%2Bb")) == "Validation: a+b"


@pytest.mark.parametrize("echoed", ["%0d%0aX: y", "%C3%A9", "", "a" * 1025, "a&challenge=b"])
def test_text_that_is_no_short_plain_line_is_not_sent_back(daemon: RunningDaemon, echoed: str) -> None:
    answer = daemon.get(BASE + "dropbox?challenge=" + echoed.replace(" ", "%20"))
    assert answer.status == 400
    assert b"X: y" not in answer.body


def test_a_webhook_with_a_key_wants_it_first(daemon: RunningDaemon) -> None:
    assert daemon.get(BASE + "dropbox-key?challenge=abc").status == 401
    assert daemon.get(BASE + "dropbox-key?challenge=abc&key=wrong").status == 401
    assert text(daemon.get(BASE + f"dropbox-key?challenge=abc&key={KEY}")) == "abc"


def test_a_webhook_that_is_off_or_has_none_answers_none(daemon: RunningDaemon) -> None:
    assert daemon.get(BASE + "off?challenge=abc").status == 404
    assert daemon.get(BASE + "none?challenge=abc").status == 401


def test_eventgrid_monday_and_okta(daemon: RunningDaemon) -> None:
    event = [{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "5-1-2"}}]
    headers = {"aeg-event-type": "SubscriptionValidation"}
    answer = daemon.post(f"{BASE}eventgrid?key={KEY}", event, headers=headers)
    assert (answer.status, answer.json) == (200, {"validationResponse": "5-1-2"})
    assert daemon.post(f"{BASE}eventgrid", event, headers=headers).status == 401
    answer = daemon.post(f"{BASE}monday?key={KEY}", {"challenge": "abc"})
    assert (answer.status, answer.json) == (200, {"challenge": "abc"})
    answer = daemon.get(f"{BASE}okta", headers={"X-Okta-Verification-Challenge": "abc"})
    assert (answer.status, answer.json) == (200, {"verification": "abc"})


def test_woocommerce_saves_its_webhook_and_nothing_else_comes_unsigned(daemon: RunningDaemon) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert daemon.post(BASE + "woocommerce", "webhook_id=12", headers=form).status == 200
    for body in ("webhook_id=12&a=b", "webhook_id=x", "a=webhook_id", "{"):
        assert daemon.post(BASE + "woocommerce", body, headers=form).status == 401


def test_head_is_all_that_trello_asks(daemon: RunningDaemon) -> None:
    assert daemon.request("HEAD", BASE + "trello").status == 200
    assert daemon.post(BASE + "trello", {}).status == 401


def test_no_more_than_ten_a_minute(daemon: RunningDaemon) -> None:
    connection = daemon.connect()
    statuses = [daemon.request("GET", BASE + "many?challenge=abc", connection=connection).status for _ in range(12)]
    connection.close()
    assert statuses == [200] * 10 + [429] * 2
