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
    assert "location" not in answer.headers


def test_the_status_of_a_verified_webhook_is_nobodys_without_a_key_for_it(
    shared_project: Project, daemon: RunningDaemon
) -> None:
    verify = {"scheme": "github", "secret": SECRET}
    paths = {
        None: shared_project.endpoint("s-none", FLOW, verify=verify),
        "status-key-of-16-bytes": shared_project.endpoint(
            "s-status", FLOW, verify=verify, status_key=["status-key-of-16-bytes", "another-one-of-16"]
        ),
        "key-of-the-webhook": shared_project.endpoint("s-key", FLOW, verify=verify, key="key-of-the-webhook"),
    }
    for key, path in paths.items():
        wait_for(lambda path=path: daemon.request("PUT", path).status == 405, path)  # type: ignore[misc]
        digest = hmac.new(SECRET.encode(), b"{}", hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={digest}"}
        if key == "key-of-the-webhook":
            headers["X-Webhook-Key"] = key
        answer = daemon.post(path + "?async", "{}", headers=headers)
        assert answer.status == 202
        assert ("location" in answer.headers) == (key is not None)
        status_path = f"/api/execution/acme/{answer.json['id']}"
        for method in ("GET", "DELETE"):
            assert daemon.request(method, status_path, headers=headers).status == (
                404 if key is None else 200 if "X-Webhook-Key" in headers else 401
            )
        if key is not None:
            assert daemon.get(status_path, headers={"X-Webhook-Key": key}).status == 200
            assert daemon.get(status_path, headers={"X-Webhook-Key": SECRET}).status == 401


def test_a_status_key_stands_in_the_place_of_the_key(shared_project: Project, daemon: RunningDaemon) -> None:
    path = shared_project.endpoint("s-both", FLOW, key="key-of-the-webhook", status_key="status-key-of-16-bytes")
    wait_for(lambda: daemon.request("PUT", path).status == 405, path)
    answer = daemon.post(path + "?async", {}, headers={"X-Webhook-Key": "key-of-the-webhook"})
    location = answer.headers["location"]
    assert daemon.get(location, headers={"X-Webhook-Key": "key-of-the-webhook"}).status == 401
    assert daemon.get(location, headers={"X-Webhook-Key": "status-key-of-16-bytes"}).status == 200
