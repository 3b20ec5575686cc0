"""`dedup` against a running daemon: the first delivery with an id runs, its repeats get what came of it (SENDERS 4)."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tests.contract.test_webhooks import live, problem
from tests.running import KEY, Answer, Project, RunningDaemon, running, wait_for
from whd.store.opening import FILE_NAME

JSON = "application/json"
BY_ID = {"by": "header:X-Id"}
SLEEPER = """
def handler(system, this):
    this.sleep(float(this.get('input_value')['query'].get('s', 0)))
    this.set_output('n', this.get('input_value')['json'])
    return this.success('slept')
"""
FAILS = """
def handler(system, this):
    if this.get('input_value')['query'].get('fail'):
        this.sleep(float(this.get('input_value')['query'].get('s', 0)))
        raise ValueError('no')
    return this.success('yes')
"""
OWN = """
def handler(system, this):
    this.webhook_response('made ' + this.get('id'), status=201, headers={'X-Own': ['one', 'two']})
"""


def send(daemon: RunningDaemon, path: str, event: str, body: Any = 1, **headers: str) -> Answer:
    fields = {"Content-Type": JSON, "X-Id": event} | {name.replace("_", "-"): text for name, text in headers.items()}
    return daemon.post(path, body if isinstance(body, bytes) else json.dumps(body), headers=fields)


def replayed(answer: Answer) -> bool:
    return answer.headers.get("idempotent-replayed") == "true"


def count(daemon: RunningDaemon, name: str) -> int:
    return int(daemon.ask("status")["calls"][name])


def executions(daemon: RunningDaemon, webhook: str) -> list[Any]:
    found: list[Any] = daemon.ask("executions.list", client="acme", webhook=webhook, limit=100)
    return found


def test_a_repeat_gets_the_same_answer_and_nothing_runs_again(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("dedup", SLEEPER, dedup=BY_ID))
    before = count(daemon, "replayed")
    first = send(daemon, path, "a")
    again = send(daemon, path, "a")
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    assert [replayed(answer) for answer in (first, again)] == [False, True]
    assert send(daemon, path, "b").json["id"] != first.json["id"]
    assert send(daemon, path, "a").json["id"] == first.json["id"]
    assert count(daemon, "replayed") == before + 2
    assert len(executions(daemon, "dedup")) == 2


def of_row(row: Any) -> dict[str, str]:
    return {"id": row["id"], "status": row["status"]}


def test_without_an_id_every_delivery_runs(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("dedup-none", SLEEPER, dedup=BY_ID))
    ids = {daemon.post(path, b"{}", headers={"Content-Type": JSON}).json["id"] for _ in range(2)}
    assert len(ids) == 2


def test_the_flows_own_answer_is_kept_whole(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("dedup-own", OWN, dedup=BY_ID))
    first, again = send(daemon, path, "a"), send(daemon, path, "a")
    assert (first.status, first.body[:5]) == (201, b"made ")
    assert (again.status, again.body, again.headers["x-own"]) == (201, first.body, first.headers["x-own"])
    assert replayed(again)


def test_at_the_same_moment_one_runs_and_all_wait_for_it(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("dedup-race", SLEEPER, dedup=BY_ID))
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: send(daemon, path + "?s=0.3", "a"), range(12)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert sorted(map(replayed, answers)) == [False] + [True] * 11
    assert len(executions(daemon, "dedup-race")) == 1


def test_async_ones_get_the_first_ones_202(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("dedup-async", SLEEPER, dedup=BY_ID))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(daemon, path + "?async&s=0.3", "a"), range(8)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert sum(map(replayed, answers)) == 7
    record = daemon.wait_ended("acme", answers[0].json["id"])
    assert record["status"] == "ENDED_SUCCESS"
    assert send(daemon, path, "a").json["id"] == answers[0].json["id"]


def test_what_failed_runs_anew(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("dedup-fails", FAILS, dedup=BY_ID))
    first = send(daemon, path + "?fail=1", "a")
    again = send(daemon, path, "a")
    assert (first.status, again.status, replayed(again)) == (500, 200, False)
    assert send(daemon, path, "a").json["id"] == again.json["id"] != first.json["id"]


def test_or_is_replayed_where_the_webhook_says_so(shared_project: Project, daemon: RunningDaemon) -> None:
    rule = {**BY_ID, "after_error": "replay"}
    path = live(daemon, shared_project.endpoint("dedup-replay", FAILS, dedup=rule))
    first, again = send(daemon, path + "?fail=1", "a"), send(daemon, path, "a")
    assert (first.status, again.status, again.json["id"]) == (500, 500, first.json["id"])
    assert replayed(again)


def test_another_body_with_an_unsigned_id_runs_and_is_counted(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("dedup-reused", SLEEPER, dedup=BY_ID))
    before = count(daemon, "reused_ids")
    one, two = send(daemon, path, "a", 1), send(daemon, path, "a", 2)
    assert (two.status, two.json["output_value"]["n"], replayed(two)) == (200, 2, False)
    assert count(daemon, "reused_ids") == before + 1
    assert [send(daemon, path, "a", n).json["id"] for n in (1, 2)] == [one.json["id"], two.json["id"]]


def test_an_idempotency_key_with_another_body_is_refused(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("dedup-key", SLEEPER, dedup={"by": "header:Idempotency-Key"}))
    first = send(daemon, path, "", 1, Idempotency_Key="k")
    problem(send(daemon, path, "", 2, Idempotency_Key="k"), 422, "idempotency_key_reused")
    assert send(daemon, path, "", 1, Idempotency_Key="k").json["id"] == first.json["id"]


def signed(secret: str, event: str, body: bytes) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-GitHub-Delivery": event, "X-Hub-Signature-256": f"sha256={digest}"}


def test_an_id_belongs_to_the_secret_that_proved_the_caller(shared_project: Project, daemon: RunningDaemon) -> None:
    secrets = ["the-first-secret-of-two", "the-second-secret-of-two"]
    verify = {"scheme": "github", "secret": secrets}
    path = live(daemon, shared_project.endpoint("dedup-secret", SLEEPER, verify=verify, dedup=True))
    body = b'{"ref": "x"}'
    answers = [
        daemon.post(path, body, headers={"Content-Type": JSON, **signed(secret, "e1", body)})
        for secret in (*secrets, *secrets)
    ]
    ids = [answer.json["id"] for answer in answers]
    assert ids[0] == ids[2] != ids[1] == ids[3]


def test_an_id_in_the_signed_bytes_counts_alone(shared_project: Project, daemon: RunningDaemon) -> None:
    secret = "a-secret-of-some-length"
    verify = {"scheme": "hmac", "secret": secret, "header": "X-Sig"}
    path = live(daemon, shared_project.endpoint("dedup-signed", SLEEPER, verify=verify, dedup={"by": "json:/id"}))
    ids = []
    for body in (b'{"id": "evt_1", "pending_webhooks": 1}', b'{"id": "evt_1", "pending_webhooks": 2}'):
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        ids.append(daemon.post(path, body, headers={"Content-Type": JSON, "X-Sig": digest}).json["id"])
    assert ids[0] == ids[1]


def test_an_id_in_a_large_body_and_a_key_in_the_payload(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("dedup-large", SLEEPER, key=KEY, dedup={"by": ["json:/id", "body"]}))
    body = json.dumps({"key": KEY, "id": 7, "filler": ["x" * 100] * 10_000}).encode()
    first, again = (daemon.post(path, body, headers={"Content-Type": JSON}) for _ in range(2))
    assert (first.status, again.json["id"], replayed(again)) == (200, first.json["id"], True)
    other = daemon.post(path, body.replace(b"xxx", b"xyx", 1), headers={"Content-Type": JSON})
    assert other.json["id"] != first.json["id"]


def test_of_what_came_to_nothing_the_id_is_free(shared_project: Project, daemon: RunningDaemon) -> None:
    path = shared_project.endpoint("dedup-broken", "def handler(system, this:\n", dedup=BY_ID)
    wait_for(lambda: daemon.request("HEAD", path).status != 404, path)
    for _ in range(2):
        problem(send(daemon, path, "a"), 503, "misconfigured")
    shared_project.flow("acme", "dedup-broken", SLEEPER)
    wait_for(lambda: daemon.request("HEAD", path).status == 200, path)
    answer = send(daemon, path, "a")
    assert (answer.status, replayed(answer)) == (200, False)


def test_an_operators_replay_does_not_ask(shared_project: Project, daemon: RunningDaemon) -> None:
    path = live(daemon, shared_project.endpoint("dedup-operator", SLEEPER, dedup=BY_ID))
    first = send(daemon, path, "a").json["id"]
    again = daemon.ask("executions.replay", id=first)["id"]
    assert again != first
    assert send(daemon, path, "a").json["id"] == first


def test_a_kill_after_the_202_forgets_nothing(project: Project) -> None:
    path = project.endpoint("dedup-kill", SLEEPER, dedup=BY_ID)
    with running(project) as daemon:
        first = send(daemon, path + "?async&s=0.5", "a")
        assert first.status == 202
        ended = send(daemon, path, "b").json["id"]
        # What is listed as ended is on disk.
        statuses = partial(executions, daemon, "dedup-kill")
        wait_for(lambda: {"id": ended, "status": "ENDED_SUCCESS"} in map(of_row, statuses()), "it is on disk")
        daemon.kill()
    with running(project) as daemon:
        again = send(daemon, path, "a")
        assert (again.status, again.json["id"], replayed(again)) == (200, first.json["id"], True)
        assert again.json["status"] == "ENDED_SUCCESS"
        assert send(daemon, path, "b").json["id"] == ended
        assert len(executions(daemon, "dedup-kill")) == 2


def test_a_sync_one_that_a_kill_interrupted_runs_anew(project: Project) -> None:
    path = project.endpoint("dedup-cut", SLEEPER, dedup=BY_ID)
    with running(project) as daemon, ThreadPoolExecutor(1) as pool:
        cut = pool.submit(send, daemon, path + "?s=60", "a")
        wait_for(lambda: executions(daemon, "dedup-cut"), "it runs")
        wait_for(lambda: daemon.ask("status")["store"]["written"] > 0, "it is recorded")
        daemon.kill()
        assert cut.exception() is not None
    with running(project) as daemon:
        answer = send(daemon, path, "a")
        assert (answer.status, replayed(answer)) == (200, False)
        assert send(daemon, path, "a").json["id"] == answer.json["id"]


def test_of_a_record_that_is_gone_a_repeat_gets_id_and_status(project: Project) -> None:
    path = project.endpoint("dedup-gone", SLEEPER, dedup=BY_ID)
    with running(project) as daemon:
        first = send(daemon, path, "a").json["id"]
    with contextlib.closing(sqlite3.connect(project.state / FILE_NAME)) as connection:
        connection.execute("DELETE FROM execution")
        connection.commit()
    with running(project) as daemon:
        again = send(daemon, path, "a")
        assert (again.status, replayed(again)) == (200, True)
        assert again.json == {"id": first, "execution_id": first, "status": "ENDED_SUCCESS"}
