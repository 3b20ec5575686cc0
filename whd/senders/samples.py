"""A delivery of each sender, in its real form: what `whd send` sends and what the tests replay.

Bodies are cut down to what flows look at first. `{now}`, `{now_ms}` and `{iso}` stand for the moment of sending,
`{uuid}` for an id that is new in each delivery. A new sender has a row here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

JSON_TYPE: Final = "application/json"
FORM_TYPE: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Sample:
    """One event. `headers`: what the sender adds beside its signature."""

    event: str
    body: Any
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = JSON_TYPE
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A sample at one moment: what stands on the wire but for the signature."""

    method: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def render(sample: Sample, at_s: float, unique: str) -> Rendered:
    """The sample as it is sent at that moment. `unique`: the delivery's own id, such as a UUID's text."""
    moment = datetime.fromtimestamp(int(at_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = {"{now}": str(int(at_s)), "{now_ms}": str(int(at_s * 1000)), "{iso}": moment, "{uuid}": unique}

    def filled(value: Any) -> Any:
        if type(value) is dict:
            return {name: filled(item) for name, item in value.items()}
        if type(value) is list:
            return [filled(item) for item in value]
        if type(value) is not str:
            return value
        if value in ("{now}", "{now_ms}"):
            return int(words[value])
        for word, text in words.items():
            value = value.replace(word, text)
        return value

    body = filled(sample.body)
    if sample.content_type == FORM_TYPE:
        fields = {name: item if type(item) is str else json.dumps(item) for name, item in body.items()}
        data = urlencode(fields).encode("ascii")
    else:
        data = json.dumps(body, separators=(",", ":")).encode("ascii")
    headers = (("Content-Type", sample.content_type), *((name, filled(text)) for name, text in sample.headers))
    return Rendered(sample.method, headers, data)


def sample_of(preset: str, event: str = "") -> Sample | None:
    """The preset's sample of this event, the first without a name; None if there is none."""
    for sample in SAMPLES.get(preset, ()):
        if event in ("", sample.event):
            return sample
    return None


_PUSH = {
    "ref": "refs/heads/main",
    "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
    "after": "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c",
    "repository": {"id": 186853002, "name": "shop", "full_name": "acme/shop"},
    "pusher": {"name": "kevin", "email": "kevin@example.com"},
    "commits": [{"id": "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c", "message": "Prices in cents", "added": ["a.py"]}],
}
_ISSUE = {"action": "opened", "issue": {"number": 7, "title": "It rains in"}, "repository": {"full_name": "acme/shop"}}

SAMPLES: Final[dict[str, tuple[Sample, ...]]] = {
    "github": (
        Sample(
            "push",
            _PUSH,
            (("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "{uuid}"), ("User-Agent", "GitHub-Hookshot/044aadd")),
        ),
        Sample(
            "push-form", {"payload": _PUSH}, (("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "{uuid}")), FORM_TYPE
        ),
        Sample(
            "ping",
            {"zen": "Keep it logically awesome.", "hook_id": 30},
            (("X-GitHub-Event", "ping"), ("X-GitHub-Delivery", "{uuid}")),
        ),
        Sample("issues", _ISSUE, (("X-GitHub-Event", "issues"), ("X-GitHub-Delivery", "{uuid}"))),
    ),
    "gitlab": (
        Sample(
            "Push Hook",
            {
                "object_kind": "push",
                "ref": "refs/heads/main",
                "project": {"id": 15, "path_with_namespace": "acme/shop"},
            },
            (("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Event-UUID", "{uuid}"), ("Idempotency-Key", "{uuid}")),
        ),
    ),
    "bitbucket": (
        Sample(
            "repo:push",
            {
                "push": {"changes": [{"new": {"type": "branch", "name": "main"}}]},
                "repository": {"full_name": "acme/shop"},
            },
            (("X-Event-Key", "repo:push"), ("X-Request-UUID", "{uuid}"), ("X-Attempt-Number", "1")),
        ),
    ),
    "gitea": (
        Sample("push", _PUSH, (("X-Gitea-Event", "push"), ("X-Gitea-Delivery", "{uuid}"))),
        Sample("push-form", {"payload": _PUSH}, (("X-Gitea-Event", "push"), ("X-Gitea-Delivery", "{uuid}")), FORM_TYPE),
    ),
    "forgejo": (Sample("push", _PUSH, (("X-Forgejo-Event", "push"), ("X-Forgejo-Delivery", "{uuid}"))),),
    "gogs": (
        Sample("push", _PUSH, (("X-Gogs-Event", "push"), ("X-Gogs-Delivery", "{uuid}"))),
        Sample("push-form", {"payload": _PUSH}, (("X-Gogs-Event", "push"), ("X-Gogs-Delivery", "{uuid}")), FORM_TYPE),
    ),
    "stripe": (
        Sample(
            "payment_intent.succeeded",
            {
                "id": "evt_{uuid}",
                "object": "event",
                "type": "payment_intent.succeeded",
                "created": "{now}",
                "livemode": False,
                "pending_webhooks": 1,
                "data": {"object": {"id": "pi_1", "amount": 2000, "currency": "eur"}},
            },
            (("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),),
            "application/json; charset=utf-8",
        ),
    ),
    "slack": (
        Sample(
            "message",
            {
                "token": "t",
                "team_id": "T1",
                "type": "event_callback",
                "event_id": "Ev{uuid}",
                "event_time": "{now}",
                "event": {"type": "message", "text": "hello", "user": "U1", "channel": "C1"},
            },
        ),
        Sample(
            "command",
            {
                "team_id": "T1",
                "command": "/deploy",
                "text": "shop main",
                "user_name": "kevin",
                "response_url": "https://hooks.slack.com/commands/1",
            },
            content_type=FORM_TYPE,
        ),
        Sample(
            "block_actions",
            {"payload": {"type": "block_actions", "actions": [{"action_id": "ok"}]}},
            content_type=FORM_TYPE,
        ),
    ),
    "shopify": (
        Sample(
            "orders/create",
            {"id": 820982911946154508, "email": "ada@example.com", "total_price": "389.00", "currency": "EUR"},
            (
                ("X-Shopify-Topic", "orders/create"),
                ("X-Shopify-Shop-Domain", "acme.myshopify.com"),
                ("X-Shopify-Webhook-Id", "{uuid}"),
                ("X-Shopify-Event-Id", "{uuid}"),
            ),
        ),
    ),
    "woocommerce": (
        Sample(
            "order.created",
            {"id": 727, "status": "processing", "total": "29.35"},
            (("X-WC-Webhook-Topic", "order.created"), ("X-WC-Webhook-Delivery-ID", "{uuid}")),
        ),
    ),
    "twilio": (
        Sample(
            "sms",
            {"MessageSid": "SM{uuid}", "From": "+14158675309", "To": "+18005551212", "Body": "Hello, it's me & you"},
            (("I-Twilio-Idempotency-Token", "{uuid}"), ("User-Agent", "TwilioProxy/1.1")),
            FORM_TYPE,
        ),
    ),
    "standard-webhooks": (
        Sample("contact.created", {"type": "contact.created", "timestamp": "{iso}", "data": {"id": "1f81eb52"}}),
    ),
    "meta": (
        Sample(
            "page",
            {
                "object": "page",
                "entry": [
                    {
                        "id": "0",
                        "time": "{now}",
                        "changes": [{"field": "feed", "value": {"message": "Gr\u00fc\u00dfe"}}],
                    }
                ],
            },
            (("User-Agent", "facebookexternalua"),),
        ),
    ),
    "zoom": (
        Sample(
            "meeting.started",
            {
                "event": "meeting.started",
                "event_ts": "{now_ms}",
                "payload": {"account_id": "A", "object": {"id": "1234567890"}},
            },
            (("x-zm-trackingid", "{uuid}"),),
        ),
    ),
    "dropbox": (Sample("", {"list_folder": {"accounts": ["dbid:AAH4f99"]}, "delta": {"users": [12345678]}}),),
    "mailgun": (
        Sample("delivered", {"event-data": {"event": "delivered", "id": "{uuid}", "recipient": "ada@example.com"}}),
    ),
    "sentry": (
        Sample(
            "issue",
            {"action": "created", "data": {"issue": {"id": "1", "title": "ValueError"}}},
            (("Sentry-Hook-Resource", "issue"), ("Sentry-Hook-Timestamp", "{now}"), ("Request-ID", "{uuid}")),
        ),
    ),
    "linear": (
        Sample(
            "Issue",
            {
                "action": "create",
                "type": "Issue",
                "data": {"id": "{uuid}", "title": "It rains in"},
                "webhookTimestamp": "{now_ms}",
            },
            (("Linear-Event", "Issue"), ("Linear-Delivery", "{uuid}")),
            "application/json; charset=utf-8",
        ),
    ),
    "jira": (
        Sample(
            "jira:issue_created",
            {"timestamp": "{now_ms}", "webhookEvent": "jira:issue_created", "issue": {"id": "10002", "key": "SHOP-7"}},
            (("X-Atlassian-Webhook-Identifier", "{uuid}"),),
        ),
    ),
    "typeform": (
        Sample(
            "form_response",
            {"event_id": "{uuid}", "event_type": "form_response", "form_response": {"form_id": "f1", "answers": []}},
        ),
    ),
    "paddle": (
        Sample(
            "transaction.completed",
            {"event_id": "evt_{uuid}", "event_type": "transaction.completed", "data": {"id": "txn_1"}},
        ),
    ),
    "square": (
        Sample(
            "payment.updated",
            {"merchant_id": "M", "type": "payment.updated", "event_id": "{uuid}", "data": {"id": "p1"}},
        ),
    ),
    "pagerduty": (
        Sample(
            "incident.triggered",
            {"event": {"id": "{uuid}", "event_type": "incident.triggered", "data": {"id": "P1", "title": "Disk full"}}},
            (("X-Webhook-Id", "{uuid}"),),
        ),
    ),
    "circleci": (
        Sample(
            "workflow-completed",
            {"id": "{uuid}", "type": "workflow-completed", "happened_at": "{iso}", "workflow": {"status": "success"}},
            (("circleci-event-type", "workflow-completed"),),
        ),
    ),
    "vercel": (
        Sample(
            "deployment.succeeded",
            {"id": "{uuid}", "type": "deployment.succeeded", "createdAt": "{now_ms}", "payload": {}},
        ),
    ),
    "calendly": (
        Sample(
            "invitee.created",
            {"event": "invitee.created", "created_at": "{iso}", "payload": {"email": "ada@example.com"}},
        ),
    ),
    "zendesk": (
        Sample(
            "zen:event-type:ticket.created",
            {"id": "{uuid}", "type": "zen:event-type:ticket.created", "time": "{iso}", "detail": {"id": "35436"}},
            (("X-Zendesk-Webhook-Invocation-Id", "{uuid}"),),
        ),
    ),
    "intercom": (
        Sample(
            "conversation.user.created",
            {"type": "notification_event", "id": "notif_{uuid}", "topic": "conversation.user.created"},
        ),
    ),
    "hubspot": (
        Sample("contact.creation", [{"eventId": "{uuid}", "subscriptionType": "contact.creation", "objectId": 123}]),
    ),
    "trello": (
        Sample(
            "createCard", {"action": {"id": "{uuid}", "type": "createCard", "data": {"card": {"name": "Caf\u00e9"}}}}
        ),
    ),
    "docusign": (
        Sample(
            "envelope-completed",
            {"event": "envelope-completed", "generatedDateTime": "{iso}", "data": {"envelopeId": "{uuid}"}},
        ),
    ),
    "asana": (
        Sample("changed", {"events": [{"action": "changed", "resource": {"gid": "1", "resource_type": "task"}}]}),
    ),
    "telegram": (Sample("message", {"update_id": "{now_ms}", "message": {"text": "/start", "chat": {"id": 1}}}),),
    "grafana": (
        Sample(
            "firing",
            {"receiver": "whd", "status": "firing", "alerts": [{"status": "firing", "labels": {"alertname": "Disk"}}]},
        ),
    ),
    "mandrill": (
        Sample(
            "send", {"mandrill_events": [{"event": "send", "ts": "{now}", "_id": "{uuid}"}]}, content_type=FORM_TYPE
        ),
    ),
}
