"""A check of a header, through the daemon: the webhook, the status of what it ran, what flow and operator see."""

from __future__ import annotations

import json

from tests.running import Project, running


def test_a_header_opens_the_webhook_and_its_executions_and_is_seen_by_nobody(project: Project) -> None:
    project.flow("acme", "order", "def handler(system, this):\n    this.set_output(this.get('input_value'))\n")
    project.webhook("acme", "order", header="X-Word: open sesame")
    with running(project) as daemon:
        path = "/api/webhook/acme/order"
        assert daemon.post(path, {"key": "its own"}).status == 401
        assert daemon.post(path, {}, headers={"X-Word": "open barley"}).status == 401
        answer = daemon.post(path, {"key": "its own"}, headers={"X-Word": "open sesame"})
        assert answer.status == 200
        assert answer.json["output_value"]["json"] == {"key": "its own"}
        assert "open sesame" not in json.dumps(answer.json)
        status = f"/api/execution/acme/{answer.json['id']}"
        assert daemon.get(status).status == 401
        assert daemon.get(status, headers={"X-Word": "open sesame"}).status == 200
        shown = json.dumps(daemon.ask("settings.show", client="acme", name="client.webhook.order"))
        assert "open sesame" not in shown
        assert "X-Word" not in shown
