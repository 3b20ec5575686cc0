"""Flows that start, wait for and look at executions (FLOW_API.md), through a running daemon."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from textwrap import dedent, indent
from typing import Any

import pytest

from tests.running import Answer, Project, RunningDaemon, running, simple_project, wait_for

WORKER_FLOW = """
def handler(system, this, inputs):
    this.log('input', inputs)
    this.set_output('n', inputs.get('n'))
    this.sleep(inputs.get('s', 0))
    if inputs.get('crash'):
        return [][0]
    if inputs.get('fail'):
        return this.error(inputs['fail'])
    return this.success('done')
"""


def flow(body: str) -> str:
    return "import flow_api\ndef handler(system, this):\n" + indent(dedent(body).strip("\n"), "    ") + "\n"


class Caller:
    """Makes a webhook of each flow body and calls it."""

    def __init__(self, project: Project, daemon: RunningDaemon) -> None:
        self.project, self.daemon = project, daemon
        self._count = 0

    def endpoint(self, source: str, **fields: Any) -> str:
        self._count += 1
        path = self.project.endpoint(f"hook-{self._count}", source, **fields)
        wait_for(lambda: self.daemon.request("HEAD", path).status not in (404, 503), path)
        return path

    def post(self, source: str, payload: Any = None, **fields: Any) -> Answer:
        return self.daemon.post(self.endpoint(source, **fields), payload)

    def __call__(self, body: str, **fields: Any) -> Any:
        """The record of one call of a handler with this body."""
        return self.post(flow(body), {}, **fields).json


@pytest.fixture(scope="module")
def call(shared_project: Project, daemon: RunningDaemon) -> Caller:
    shared_project.flow("acme", "worker", WORKER_FLOW)
    caller = Caller(shared_project, daemon)
    # The webhook is written after the flow: once it is there, so is the flow.
    assert caller("this.set_output('is_there', system.flow('worker').exists())")["output_value"] == {"is_there": True}
    return caller


# ---- one child -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "child = this.flow('worker', n=7)",
        "child = this.flow('worker', n=7).run()",
        "child = this.flow('worker', {'n': 7}, run=False)\nchild.run()",
        "child = this.flow('worker', inputs={'n': 7}, run=False)\nchild.run_async()\nchild.wait()",
        "child = this.flow('worker', n=7, run=False)\nchild.wait()",
        "child = this.flow('worker', n=7, wait=False)\nthis.wait_for(child)",
        "child = this.flow('worker', n=7).run_async()\nthis.wait_for(child)",
        "child = this.flow('worker', n=7).run_async().wait()\nchild.run()",
        "child = this.flow(flow_name='worker', input_value={'n': 7}).run()",
        "child = this.flow('worker', n=7, wait=False)\nother = system.execution(child.get('id'))\nother.wait()",
    ],
)
def test_every_style_runs_the_child_once(call: Caller, body: str) -> None:
    started = call.daemon.ask("status")["executions"]["started"]
    record = call(f"{body}\nthis.set_output(child.get('output_value', 'status', 'message', 'input_value'))")
    assert record["status"] == "ENDED_SUCCESS", record["message"]
    assert record["output_value"] == [{"n": 7}, "ENDED_SUCCESS", "done", {"n": 7}]
    assert call.daemon.ask("status")["executions"]["started"] == started + 2


def test_a_child_is_an_execution_with_a_record(call: Caller) -> None:
    record = call("""
        child = this.flow('worker', n=1, name='my child')
        this.set_output('id', child.get('id'))
        this.set_output('fields', child.get('name', 'type', 'flow_name', 'user_name', 'client_name', 'webhook_name'))
        this.set_output('times', child.get('created_at', 'started_at', 'ended_at'))
    """)
    output = record["output_value"]
    assert output["fields"] == ["my child", "FLOW", "worker", "kevin", "acme", None]
    assert output["times"] == sorted(output["times"])
    # It came through its parent's webhook, and is asked for by that one's key.
    child = call.daemon.get(f"/api/execution/acme/{output['id']}")
    assert child.status == 200
    assert child.json["name"] == "my child"
    assert child.json["output_value"] == {"n": 1}


def test_fields_before_while_and_after(call: Caller) -> None:
    record = call("""
        child = this.flow('worker', n=1, s=0.2, run=False)
        this.set_output('before', child.get('status', 'id', 'output_value'))
        child.run_async()
        this.set_output('while', child.load('status') in ('PENDING', 'RUNNING'))
        child.wait()
        this.set_output('after', child.get('status', 'output_value'))
    """)
    assert record["output_value"] == {
        "before": ["PENDING", None, None],
        "while": True,
        "after": ["ENDED_SUCCESS", {"n": 1}],
    }


def test_a_child_may_have_any_json_as_input(call: Caller) -> None:
    call.project.flow(
        "acme", "echo", "def handler(system, this):\n    this.set_output('got', this.get('input_value'))\n"
    )
    record = call("""
        inputs = [[], 'text', 0, None, {'a': {'b': [1, 2.5, None, 'ü']}}, {'date': __date}]
        this.set_output([this.flow('echo', value).get('output_value')['got'] for value in inputs])
    """.replace("{'date': __date}", "{'set': {1}}"))  # fmt: skip
    assert record["output_value"] == [[], "text", 0, {}, {"a": {"b": [1, 2.5, None, "ü"]}}, {"set": [1]}]


# ---- many ------------------------------------------------------------------------------------------------------------


def test_a_fan_out_runs_at_once(call: Caller) -> None:
    record = call("""
        children = [this.flow('worker', n=n, s=0.5, wait=False) for n in range(10)]
        this.wait_for(*children)
        this.set_output([child.get('output_value')['n'] for child in children])
    """)
    assert record["output_value"] == list(range(10))
    assert seconds(record) < 4, "ten children that sleep half a second each ran one after the other"


def test_a_fan_out_in_the_first_style_runs_at_once(call: Caller) -> None:
    record = call("""
        tasks = []
        for n in range(10):
            task = this.flow('worker', n=n, s=0.5, fail='on purpose' if n == 3 else None).run_async()
            tasks.append(task)
        this.wait_for(*tasks, return_when=system.return_when.ALL_ENDED)
        this.set_output([task.get('status') for task in tasks].count('ENDED_ERROR'))
    """)
    assert record["status"] == "ENDED_SUCCESS", record["message"]
    assert record["output_value"] == 1
    assert seconds(record) < 4


def seconds(record: Any) -> float:
    times = [datetime.fromisoformat(record[name]) for name in ("started_at", "ended_at")]
    return (times[1] - times[0]).total_seconds()


def test_first_ended(call: Caller) -> None:
    record = call("""
        slow = this.flow('worker', n='slow', s=30, wait=False)
        fast = this.flow('worker', n='fast', wait=False)
        first, = this.wait_for(slow, fast, return_when=system.return_when.FIRST_ENDED)
        this.set_output('first', first.get('output_value')['n'])
        slow.cancel()
        slow.wait(return_when=system.return_when.ALL_ENDED)
        this.set_output('slow', slow.get('status'))
    """)
    assert record["output_value"] == {"first": "fast", "slow": "ENDED_CANCELLED"}


# ---- failing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("fail='no luck'", "ended with ENDED_ERROR: no luck"),
        ("crash=True", "IndexError: list index out of range"),
    ],
)
def test_a_failed_child_fails_its_parent_and_says_why(call: Caller, inputs: str, words: str) -> None:
    record = call(f"this.flow('worker', name='the child', {inputs})")
    assert record["status"] == "ENDED_ERROR"
    assert "flow_api.DependencyFailedError: the child execution 'the child' (" in record["message"]
    assert words in record["message"]


def test_a_failure_can_be_handled(call: Caller) -> None:
    record = call("""
        try:
            this.flow('worker', fail='no luck')
        except flow_api.DependencyFailedError as error:
            this.set_output('message', error.execution.get('message'))
        child = this.flow('worker', fail='again', wait=system.return_when.ALL_ENDED)
        this.set_output('status', child.get('status', 'message'))
    """)
    assert record["status"] == "ENDED_SUCCESS"
    assert record["output_value"] == {"message": "no luck", "status": ["ENDED_ERROR", "again"]}


def test_what_is_not_there_and_what_is_not_allowed(call: Caller) -> None:
    call.project.users(
        "acme",
        {"kevin": {"flows": ["*"], "settings": {"read": ["app.*"]}}, "eve": {"flows": ["hook-*"]}},
    )
    body = """
        result = []
        for name in ('worker', 'nothing'):
            try:
                this.flow(name)
            except flow_api.CloudomationException as error:
                result.append(repr(error))
        this.set_output(result)
    """
    wait_for(lambda: call(body, user_name="eve")["status"] == "ENDED_SUCCESS", "eve")
    assert call(body, user_name="eve")["output_value"] == [
        "PermissionDenied('user eve may not run the flow worker')",
        "PermissionDenied('user eve may not run the flow nothing')",
    ]
    assert call(body)["output_value"] == ["ResourceNotFoundError(\"there is no flow 'nothing'\")"]


# ---- limits ----------------------------------------------------------------------------------------------------------

NEST = """
def handler(system, this, inputs):
    depth = inputs['depth'] if 'depth' in inputs else inputs['json']['depth']
    if depth:
        child = this.flow('nest', depth=depth - 1)
        this.set_output('depth', child.get('output_value')['depth'] + 1)
    else:
        this.set_output('depth', 0)
"""


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon with a single place."""
    project = simple_project(tmp_path_factory.mktemp("narrow"))
    project.options(workers=1, max_workers=64)
    project.endpoint("nest", NEST)
    project.endpoint("shallow", NEST, flow_name="nest", max_depth=5)
    with running(project) as daemon:
        yield daemon


def test_parents_that_wait_do_not_keep_their_children_from_running(narrow: RunningDaemon) -> None:
    record = narrow.post("/api/webhook/acme/nest", {"depth": 20}).json
    assert record["status"] == "ENDED_SUCCESS", record["message"]
    assert record["output_value"] == {"depth": 20}


def test_the_depth_has_a_limit(narrow: RunningDaemon) -> None:
    assert narrow.post("/api/webhook/acme/shallow", {"depth": 5}).json["status"] == "ENDED_SUCCESS"
    record = narrow.post("/api/webhook/acme/shallow", {"depth": 6}).json
    assert record["status"] == "ENDED_ERROR"
    assert "max_depth: child executions nest deeper than 5" in record["message"]


def test_the_number_of_children_has_a_limit(call: Caller) -> None:
    record = call("for n in range(4):\n    this.flow('worker')", max_children=3)
    assert record["status"] == "ENDED_ERROR"
    assert record["message"] == "max_children: more than 3 child executions below one call"


# ---- cancelling, saving, sleeping ------------------------------------------------------------------------------------


def test_what_is_saved_is_seen_while_the_flow_runs(call: Caller) -> None:
    path = call.endpoint(flow("""
        this.set_output('step', 1)
        this.save(message='half way', name='order 7')
        this.sleep(0.1)
        this.save(output_value={'step': 2})
        this.sleep(30)
    """))  # fmt: skip
    url = f"/api/execution/acme/{call.daemon.post(path + '?async').json['id']}"

    def seen() -> Any:
        record = call.daemon.get(url).json
        return record if record["output_value"] == {"step": 2} else None

    record = wait_for(seen, "the saved output")
    assert (record["status"], record["message"], record["name"]) == ("RUNNING", "half way", "order 7")
    assert call.daemon.request("DELETE", url).status == 200


def test_a_cancelled_parent_takes_along_the_children_that_it_waits_for(call: Caller) -> None:
    path = call.endpoint(flow("""
        left = this.flow('worker', s=1, wait=False)
        awaited = this.flow('worker', s=60, wait=False)
        this.save(output_value=[left.get('id'), awaited.get('id')])
        this.wait_for(awaited)
    """))  # fmt: skip
    url = f"/api/execution/acme/{call.daemon.post(path + '?async').json['id']}"
    left, awaited = wait_for(lambda: call.daemon.get(url).json["output_value"] or None, "the children")
    wait_for(lambda: call.daemon.get(f"/api/execution/acme/{awaited}").json["status"] == "RUNNING", "the child")
    call.daemon.request("DELETE", url)
    assert call.daemon.wait_ended("acme", awaited)["status"] == "ENDED_CANCELLED"
    assert call.daemon.wait_ended("acme", left)["status"] == "ENDED_SUCCESS"


def test_a_parent_out_of_time_takes_along_the_children_that_it_waits_for(call: Caller) -> None:
    body = """
        child = this.flow('worker', s=60, wait=False)
        this.save(output_value=child.get('id'))
        child.wait()
    """
    path = call.endpoint(flow(body), timeout_s=1.5)
    url = f"/api/execution/acme/{call.daemon.post(path + '?async').json['id']}"
    child = wait_for(lambda: call.daemon.get(url).json["output_value"] or None, "the child")
    assert "timeout_s" in call.daemon.wait_ended("acme", url.rpartition("/")[2])["message"]
    assert call.daemon.wait_ended("acme", child)["status"] == "ENDED_CANCELLED"


@pytest.mark.parametrize("seconds", ["0.2", "'0.2'", "0"])
def test_sleep_takes_numbers_and_numeric_text(call: Caller, seconds: str) -> None:
    record = call(f"this.sleep({seconds})\nthis.success('slept')")
    assert (record["status"], record["message"]) == ("ENDED_SUCCESS", "slept")


def test_another_execution_can_be_looked_at_and_waited_for(call: Caller) -> None:
    path = call.endpoint(flow("this.sleep(0.3)\nthis.set_output('a', 1)"))
    other = call.daemon.post(path + "?async").json["id"]
    record = call(f"""
        other = system.execution('{other}')
        other.wait()
        this.set_output(other.get('status', 'output_value', 'flow_name'))
    """)
    assert record["output_value"][:2] == ["ENDED_SUCCESS", {"a": 1}]
    missing = call("system.execution('01a20000-0000-7000-8000-000000000000').get('status')")
    assert "flow_api.ResourceNotFoundError: there is no execution" in missing["message"]


def test_what_a_flow_tidies_up_in_finally_is_done(call: Caller) -> None:
    record = call("""
        machine = this.flow('worker', n=1)
        try:
            return this.error('the installation failed')
        finally:
            this.log('tidying up')
            machines = [this.flow('worker', n=n, wait=False) for n in range(2)]
            this.wait_for(*machines)
            this.sleep(0.01)
            this.set_output('deleted', [machine.get('output_value')['n'] for machine in machines])
            this.success('all gone')
    """)
    assert (record["status"], record["message"]) == ("ENDED_ERROR", "the installation failed")
    assert record["output_value"] == {"deleted": [0, 1]}


def test_children_that_a_later_statement_starts_run_side_by_side(call: Caller) -> None:
    record = call("""
        slow, failing = this.flow('worker', s=0.3, n=1), this.flow('worker', fail='broken')
        children = [this.flow('worker', s=0.3, n=n) for n in range(3)]
        try:
            failing.run()
        except flow_api.DependencyFailedError as error:
            this.set_output('caught', error.execution.get('message'))
        slow.run_async()
        for child in children:
            child.run_async()
        this.wait_for(slow, *children)
        this.set_output(n=[child.get('output_value')['n'] for child in children])
        this.set_output('overlap', max(c.get('created_at') for c in children) < slow.get('ended_at'))
    """)
    assert record["status"] == "ENDED_SUCCESS", record["message"]
    assert record["output_value"] == {"caught": "broken", "n": [0, 1, 2], "overlap": True}
