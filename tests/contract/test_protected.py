"""What of a child is not written down (SENDERS.md, 9), through running daemons: `***` in whatever can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import Project, RunningDaemon, running, simple_project, wait_for
from whd.errors import WhdError

from .outside import serve_outside
from .test_flows import flow

PASSWORD = "correct-horse-ü"
TOKEN = "fresh-token-4711"
# Uses the password, shows it by accident wherever a flow can, and puts out a token.
KID = """
def handler(system, this, inputs):
    this.log('inputs', inputs, password=inputs['password'])
    this.save(output_value={'half': inputs['password']})
    print('called with', inputs['password'])
    this.set_output('knows', inputs['password'] == 'correct-horse-ü')
    this.set_output('login', {'user': inputs['user'], 'url': f"https://{inputs['password']}@a"})
    this.set_output('token', 'fresh-' + 'token-4711')
    this.set(name='kid of ' + inputs['user'])
    if inputs.get('fail'):
        raise ValueError(f"{inputs['password']} is wrong")
    return this.success('logged in with ' + inputs['password'])
"""
SLEEPER = "def handler(system, this):\n    this.save(message=this.get('input_value')['password'])\n    this.sleep(60)\n"
PARENT = f"this.flow('kid', user='ada', password={PASSWORD!r}, protect_inputs=['password'], protect_outputs=['token'])"


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    with serve_outside() as url:
        yield url


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, outside: str) -> Project:
    project = simple_project(tmp_path_factory.mktemp("protected"))
    project.flow("acme", "kid", KID)
    project.flow("acme", "sleeper", SLEEPER)
    project.users("acme", {"kevin": {"flows": ["*"], "connections": {"REST": [f"{outside}/*"]}}})
    return project


@pytest.fixture(scope="module")
def daemon(project: Project) -> Iterator[RunningDaemon]:
    with running(project) as daemon:
        yield daemon


def endpoint(project: Project, daemon: RunningDaemon, name: str, body: str) -> str:
    path = project.endpoint(name, flow(body))
    wait_for(lambda: daemon.request("HEAD", path).status not in (404, 503), path)
    return path


def all_that_is_kept(daemon: RunningDaemon, folder: Path) -> str:
    """Whatever stands under state/, and in the daemon's log."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return b"\n".join(path.read_bytes() for path in files).decode("utf-8", "replace") + daemon.log


def records_below(daemon: RunningDaemon, record: Any) -> list[Any]:
    rows = daemon.ask("executions.list", limit=200)
    found = [daemon.ask("executions.show", id=row["id"]) for row in rows]
    return [one for one in found if one.get("parent_id") == record["id"]]


def test_a_protected_input_is_real_for_the_child_and_masked_wherever_it_is_kept(
    project: Project, daemon: RunningDaemon
) -> None:
    path = endpoint(project, daemon, "protecting", f"""
        child = {PARENT}
        output = child.get('output_value')
        assert output['token'] == {TOKEN!r}, output
        assert output['login']['url'] == 'https://{PASSWORD}@a', output
        this.set_output(knows=output['knows'], input=child.get('input_value'), message=child.get('message'))
    """)  # fmt: skip
    record = daemon.post(path, {}).json
    assert record["status"] == "ENDED_SUCCESS", record["message"]
    assert record["output_value"] == {
        "knows": True,
        "input": {"user": "ada", "password": "***"},
        "message": "logged in with ***",
    }
    (child,) = records_below(daemon, record)
    assert child["input_value"] == {"user": "ada", "password": "***"}
    assert child["output_value"] == {
        "half": "***",
        "knows": True,
        "login": {"user": "ada", "url": "https://***@a"},
        "token": "***",
    }
    assert (child["message"], child["name"]) == ("logged in with ***", "kid of ada")
    log = json.dumps(daemon.ask("executions.logs", id=child["id"]), ensure_ascii=False)
    assert '"password": "***"' in log
    assert "called with ***" in log
    assert PASSWORD not in log
    assert daemon.get(f"/api/execution/acme/{child['id']}").json["input_value"]["password"] == "***"


def test_a_failed_child_does_not_tell_its_parent_either(project: Project, daemon: RunningDaemon) -> None:
    path = endpoint(project, daemon, "failing", PARENT.replace("user=", "fail=True, user="))
    record = daemon.post(path, {}).json
    assert record["status"] == "ENDED_ERROR"
    assert "ValueError: *** is wrong" in record["message"]
    # The parent's own line has the text in its source, which is not the child's to hide.
    assert f"{PASSWORD} is wrong" not in record["message"]


def test_a_name_that_holds_a_protected_text_is_masked_from_the_start(project: Project, daemon: RunningDaemon) -> None:
    path = endpoint(project, daemon, "naming", """
        import flow_api
        inputs = this.get('input_value')['json']
        kid = {**inputs, 'name': 'login ' + inputs['password'], 'protect_inputs': ['password']}
        sleeping = this.flow('sleeper', wait=False, **kid)
        this.set_output('running', system.execution(sleeping.get('id')).get('name'))
        sleeping.cancel()
        try:
            this.flow('kid', fail=True, **kid)
        except flow_api.DependencyFailedError as error:
            this.error(error)
    """)  # fmt: skip
    record = daemon.post(path, {"user": "ada", "password": PASSWORD}).json
    assert record["output_value"] == {"running": "login ***"}, record["message"]
    assert record["message"].startswith("the child execution 'login ***' (")
    assert PASSWORD not in record["message"]


def test_headers_that_prove_who_asks_are_masked_in_every_child(
    project: Project, daemon: RunningDaemon, outside: str
) -> None:
    project.flow("acme", "seer", flow("this.set_output(this.get('input_value')['headers']['AUTHORIZATION'])"))
    path = endpoint(project, daemon, "calling", f"""
        inputs = this.get('input_value')
        task = this.task('REST', url='{outside}/joke', headers={{'Authorization': 'Bearer abc', 'Accept': '*/*'}})
        headers = this.flow('seer', headers=inputs['headers'])
        whole = this.flow('seer', inputs)
        this.set_output(seen=[headers.get('output_value'), whole.get('output_value')], task=task.get('input_value'))
    """)  # fmt: skip
    record = daemon.post(path, {}, headers={"Authorization": "Basic eA=="}).json
    assert record["status"] == "ENDED_SUCCESS", record["message"]
    assert record["output_value"]["seen"] == ["Basic eA==", "Basic eA=="]
    assert record["output_value"]["task"]["headers"] == {"Authorization": "***", "Accept": "*/*"}
    children = records_below(daemon, record)
    assert len(children) == 3
    for child in children:
        headers = {name.lower(): value for name, value in child["input_value"]["headers"].items()}
        assert headers["authorization"] == "***"


def test_a_protected_task(project: Project, daemon: RunningDaemon, outside: str) -> None:
    path = endpoint(project, daemon, "task", f"""
        import json
        task = this.task('REST', url='{outside}/echo', method='post', json={{'secret': 'abcdefgh'}},
                         init={{'protect_inputs': ['json'], 'protect_outputs': ['headers']}})
        output = task.get('output_value')
        this.set_output(body=json.loads(output['json']['body']), type=output['headers']['Content-Type'])
    """)  # fmt: skip
    record = daemon.post(path, {}).json
    assert record["status"] == "ENDED_SUCCESS", record["message"]
    assert record["output_value"] == {"body": {"secret": "abcdefgh"}, "type": "application/json"}
    (task,) = records_below(daemon, record)
    assert task["input_value"]["json"] == "***"
    assert task["output_value"]["headers"] == "***"
    assert json.loads(task["output_value"]["json"]["body"]) == {"secret": "***"}


@pytest.mark.parametrize(
    ("url", "status"),
    [("{outside}/echo/tokentoken?a=1", "ENDED_SUCCESS"), ("http://127.0.0.1:1/x/../tokentoken", "ENDED_ERROR")],
    ids=["called", "refused"],
)
def test_a_protected_url_stands_nowhere(
    project: Project, daemon: RunningDaemon, outside: str, url: str, status: str
) -> None:
    """Messages write a URL in its normal form and without its query; a part of its path may be the secret."""
    name = f"url-{status.lower().replace('_', '-')}"
    path = endpoint(project, daemon, name, """
        import flow_api
        url = this.get('input_value')['json']['url']
        try:
            this.task('REST', url=url, expected_status_code=[200, 404], protect_inputs=['url'])
        except flow_api.PermissionDenied as error:
            this.error(error)
    """)  # fmt: skip
    record = daemon.post(path, {"url": url.format(outside=outside)}).json
    assert record["status"] == status, record["message"]
    assert "tokentoken" not in record["message"]
    for child in records_below(daemon, record):
        assert "tokentoken" not in json.dumps(child)
    assert "tokentoken" not in daemon.log


def test_large_inputs_are_protected_as_small_ones(project: Project, daemon: RunningDaemon) -> None:
    """Those that the daemon's loop does not read itself."""
    path = endpoint(project, daemon, "large", """
        inputs = this.get('input_value')
        whole = this.flow('large-kid', inputs, secret={'parts': ['p' * 60_000] * 5}, protect_inputs=['secret'])
        this.set_output(whole.get('output_value'))
    """)  # fmt: skip
    seen = "this.set_output([len(inputs['data_json']), inputs['secret']['parts'][4][:3]])"
    project.flow("acme", "large-kid", flow(f"inputs = this.get('input_value')\n{seen}"))
    wait_for(lambda: "there is no flow" not in daemon.post(path, {}).json["message"], "the flow")
    record = daemon.post(path, ["x" * 1000] * 600, headers={"Authorization": "Basic eA=="}).json
    assert record["output_value"] == [600, "ppp"], record["message"]
    (child,) = records_below(daemon, record)
    assert child["input_value"]["secret"] == child["input_value"]["headers"]["authorization"] == "***"
    assert child["input_value"]["json"] == ["x" * 1000] * 600


def test_an_execution_with_masked_inputs_is_not_run_again(project: Project, daemon: RunningDaemon) -> None:
    path = endpoint(
        project, daemon, "for-replay", "this.flow('kid', user='a', password='pppppp', protect_inputs='password')"
    )
    record = daemon.post(path, {}).json
    (child,) = records_below(daemon, record)
    with pytest.raises(WhdError, match="its protected inputs are not kept"):
        daemon.ask("executions.replay", id=child["id"])


def test_nothing_protected_is_under_state_or_in_the_log(tmp_path: Path) -> None:
    """The password comes from a setting, so that neither a payload nor a source has it."""
    project = simple_project(tmp_path)
    project.options(drain_s=0.1)
    project.users("acme", {"kevin": {"flows": ["*"], "settings": {"read": ["app.*"]}}})
    project.setting("acme", "app.password", PASSWORD)
    project.flow("acme", "kid", KID.replace("'correct-horse-ü'", "system.setting('app.password').get('value')"))
    project.flow("acme", "sleeper", SLEEPER)
    body = """
        password = system.setting('app.password').get('value')
        this.flow('kid', user='ada', password=password, protect_inputs=['password'], protect_outputs=['token'])
        this.flow('kid', user='ada', password=password, fail=1, protect_inputs=['password'],
                  protect_outputs='token', wait=system.return_when.ALL_ENDED)
        sleeper = this.flow('sleeper', init={'protect_inputs': ['password']}, password=password, wait=False)
        this.save(output_value=sleeper.get('id'))
        sleeper.wait()
    """
    path = project.endpoint("parent", flow(body))
    with running(project) as daemon:
        url = f"/api/execution/acme/{daemon.post(path + '?async', {}).json['id']}"
        child_id = wait_for(lambda: daemon.get(url).json["output_value"] or None, "the child")
        child = wait_for(lambda: _if_running(daemon, child_id), "the child to run")
        assert child["input_value"] == {"password": "***"}
        wait_for(lambda: daemon.ask("executions.show", id=child_id)["message"] == "***", "its message")
        wait_for(lambda: _has_all(all_that_is_kept(daemon, project.state)), "the records on disk")
        kept = all_that_is_kept(daemon, project.state)
        assert not [text for text in (PASSWORD, TOKEN, json.dumps(PASSWORD)[1:-1]) if text in kept]
        daemon.kill()
    with running(project) as daemon:
        record = daemon.ask("executions.show", id=child_id)
        assert record["status"] == "ENDED_CANCELLED"
        assert record["message"] == "interrupted; its protected inputs are not kept"


def _has_all(kept: str) -> bool:
    # The last is the sleeper's message with its input behind it.
    return all(text in kept for text in ("logged in with ***", "*** is wrong", '***{"password":"***"}'))


def _if_running(daemon: RunningDaemon, execution_id: str) -> Any:
    record = daemon.ask("executions.show", id=execution_id)
    return record if record["status"] == "RUNNING" else None
