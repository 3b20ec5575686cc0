"""SENDERS 8 against a running daemon: what callers and senders get of an execution."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from tests.running import Project, RunningDaemon, wait_for

FLOW = """
def handler(system, this):
    wish = this.get('input_value')['json']
    if wish.get('fail'):
        raise ValueError('no such order')
    if wish.get('own'):
        this.webhook_response('own', status=201, headers={'X-A': 'flow', 'X-B': 'flow'})
    this.set_output({'hello': 'world'})
"""
SECRET = "a-Secret-of-24-characters"


@pytest.fixture(scope="module")
def paths(shared_project: Project, daemon: RunningDaemon) -> dict[str, str]:
    verify = {"scheme": "github", "secret": SECRET}
    found = {
        "output": shared_project.endpoint("a-output", FLOW, answer="output"),
        "none": shared_project.endpoint("a-none", FLOW, answer="none"),
        "fixed": shared_project.endpoint("a-fixed", FLOW, answer_status=200, answer_headers={"X-A": "operator"}),
        "ack": shared_project.endpoint("a-ack", FLOW, ack=True),
        "github": shared_project.endpoint("a-github", FLOW, ack=True, verify=verify),
    }
    for path in found.values():
        wait_for(lambda path=path: daemon.request("HEAD", path).status not in (404, 503), path)  # type: ignore[misc]
    return found


def test_output_and_none(daemon: RunningDaemon, paths: dict[str, str]) -> None:
    output = daemon.post(paths["output"], {})
    assert (output.status, output.json) == (200, {"hello": "world"})
    none = daemon.post(paths["none"], {"own": True})
    assert (none.status, none.body) == (204, b"")
    for answer in (output, none):
        record = daemon.get(f"/api/execution/acme/{answer.headers['whd-execution-id']}")
        assert record.json["status"] == "ENDED_SUCCESS"
        assert record.headers["whd-execution-id"] == record.json["id"]


@pytest.mark.parametrize("form", ["output", "none"])
def test_a_failure_is_a_problem_without_source(daemon: RunningDaemon, paths: dict[str, str], form: str) -> None:
    answer = daemon.post(paths[form], {"fail": True})
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json["code"] == "flow_failed"
    assert answer.json["detail"] == "ValueError: no such order"
    assert answer.json["id"] == answer.headers["whd-execution-id"]
    assert b"raise" not in answer.body


def test_fixed_status_and_headers(daemon: RunningDaemon, paths: dict[str, str]) -> None:
    answer = daemon.post(paths["fixed"], {"own": True})
    assert (answer.status, answer.body) == (200, b"own")
    assert (answer.headers["x-a"], answer.headers["x-b"]) == ("operator", "flow")


def test_ack(daemon: RunningDaemon, paths: dict[str, str]) -> None:
    answer = daemon.post(paths["ack"], {})
    assert answer.status == 202
    assert answer.json["id"] == answer.headers["whd-execution-id"]
    assert daemon.wait_ended("acme", answer.json["id"])["status"] == "ENDED_SUCCESS"


def test_ack_to_a_sender_is_what_it_takes_for_success(daemon: RunningDaemon, paths: dict[str, str]) -> None:
    body = json.dumps({"own": False})
    digest = hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={digest}"}
    answer = daemon.post(paths["github"], body, headers=headers)
    assert (answer.status, answer.body) == (202, b"")
    assert answer.headers["whd-execution-id"]
