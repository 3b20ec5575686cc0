"""`only` against a running daemon: what does not match is taken, runs nothing and is counted (SENDERS 4)."""

from __future__ import annotations

import hashlib
import hmac
import json

from tests.contract.test_webhooks import live, problem
from tests.running import KEY, Project, RunningDaemon

JSON = "application/json"
SECRET = "a-secret-of-some-length"
ONLY = {"header:X-Event": ["push"], "json:/ref": ["refs/heads/main", "refs/tags/*"]}


def filtered(daemon: RunningDaemon) -> int:
    return int(daemon.ask("status")["calls"]["filtered"])


def test_what_does_not_match_gets_an_empty_success_and_makes_no_execution(
    shared_project: Project, daemon: RunningDaemon
) -> None:
    path = live(daemon, shared_project.endpoint("only", only=ONLY))
    before, started = filtered(daemon), daemon.ask("status")["executions"]["started"]
    for event, ref in (("ping", "refs/heads/main"), ("push", "refs/heads/dev")):
        answer = daemon.post(path, json.dumps({"ref": ref}), headers={"Content-Type": JSON, "X-Event": event})
        assert (answer.status, answer.body) == (204, b"")
    assert filtered(daemon) == before + 2
    assert daemon.ask("status")["executions"]["started"] == started
    assert "acme/only: filtered: json:/ref" in daemon.log
    answer = daemon.post(path, b'{"ref": "refs/tags/v1"}', headers={"Content-Type": JSON, "X-Event": "push"})
    assert (answer.status, answer.json["output_value"]["received"]) == (200, {"ref": "refs/tags/v1"})


def test_a_large_body_is_filtered_by_what_its_own_process_picked(
    shared_project: Project, daemon: RunningDaemon
) -> None:
    path = live(daemon, shared_project.endpoint("only-large", key=KEY, only={"json:/kind": "big"}))
    for kind, status in (("big", 200), ("small", 204)):
        body = json.dumps({"key": KEY, "kind": kind, "filler": ["x" * 100] * 10_000})
        assert daemon.post(path, body, headers={"Content-Type": JSON}).status == status


def test_the_success_is_the_senders_and_nobody_unverified_gets_it(
    shared_project: Project, daemon: RunningDaemon
) -> None:
    path = shared_project.endpoint(
        "only-signed", verify={"scheme": "github", "secret": SECRET}, only={"header:X-GitHub-Event": "push"}
    )
    live(daemon, path)
    body = b'{"zen": "Keep it logically awesome."}'
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    head = {"Content-Type": JSON, "X-GitHub-Event": "ping", "X-Hub-Signature-256": signature}
    answer = daemon.post(path, body, headers=head)
    assert (answer.status, answer.body) == (202, b"")
    problem(daemon.post(path, body + b" ", headers=head), 401, "invalid_signature")
