"""The command `whd`, as a person types it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.running import ROOT, Project, RunningDaemon, running, wait_for
from whd.cli import build_parser, main
from whd.commands import load
from whd.errors import MORE_PROCESSES
from whd.model.options import Options

from .typed import document, whd

COMMANDS = (
    ["serve"], ["run", "c", "f", "--user", "u"], ["check"], ["webhooks"], ["status"], ["doctor"], ["units"],
    ["executions", "list"], *(["executions", name, "id"] for name in ("show", "logs", "replay", "cancel")),
    ["settings", "list"], ["settings", "show", "n"], ["settings", "set", "n", "1"], ["settings", "unset", "n"],
)  # fmt: skip
FLOW = """
def handler(system, this, inputs):
    this.log('given', n=inputs['n'])
    this.set_output('double', inputs['n'] * 2)
    return this.success('doubled')
"""


@pytest.fixture
def doubling(project: Project) -> Project:
    project.endpoint("double", FLOW, key="k")
    return project


@pytest.fixture(params=["with a daemon", "without a daemon"])
def either(request: pytest.FixtureRequest, doubling: Project) -> Any:
    """Commands do the same whether a daemon runs or not."""
    if request.param == "with a daemon":
        with running(doubling):
            yield doubling
    else:
        yield doubling


def test_run_prints_the_record_and_records_it(either: Project) -> None:
    record = document(whd(either, "run", "acme", "double", "--user", "kevin", "--input", '{"n": 21}', "--json"))
    assert record["status"] == "ENDED_SUCCESS"
    assert record["output_value"] == {"double": 42}
    rows = document(whd(either, "executions", "list", "--json"))
    assert [row["id"] for row in rows] == [record["id"]]
    shown = document(whd(either, "executions", "show", record["id"]))
    assert shown["output_value"] == {"double": 42}
    assert shown["script"] == FLOW
    logs = document(whd(either, "executions", "logs", record["id"], "--json"))
    assert len(logs) == 1
    assert "given" in json.dumps(logs)
    plain = whd(either, "executions", "logs", record["id"])
    assert "given" in plain.stdout


def test_what_is_no_text_is_shown_as_an_escape(either: Project) -> None:
    result = whd(either, "run", "acme", "double", "--user", "kevin", "--input", '{"n": "\\ud800"}', "--json")
    assert json.loads(result.stdout)["output_value"] == {"double": "\ud800\ud800"} or result.returncode == 1


def test_run_reads_a_file_or_standard_input(doubling: Project, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"n": 1}')
    doubled = ("run", "acme", "double", "--user", "kevin", "--json", "--input")
    by_file = document(whd(doubling, *doubled, f"@{tmp_path}/input.json"))
    by_stdin = document(whd(doubling, *doubled, "-", stdin='{"n": 2}'))
    assert (by_file["output_value"], by_stdin["output_value"]) == ({"double": 2}, {"double": 4})


def test_a_flow_that_fails_gives_1_and_its_record(either: Project) -> None:
    result = whd(either, "run", "acme", "double", "--user", "kevin", "--input", "{}", "--json")
    assert result.returncode == 1
    assert "KeyError" in json.loads(result.stdout)["message"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("run", "nobody", "double", "--user", "kevin"), "acme"),
        (("run", "acme", "dooble", "--user", "kevin"), "double"),
        (("run", "acme", "double", "--user", "kevn"), "kevin"),
        (("executions", "show", "0198"), "0198"),
        (("status",), "no daemon"),
    ],
)
def test_what_cannot_be_done_is_1_with_a_reason(doubling: Project, arguments: tuple[str, ...], text: str) -> None:
    result = whd(doubling, *arguments)
    assert result.returncode == 1
    assert text in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("fly",), ("run",), ("executions",), ("executions", "list", "--limit", "x"),
        ("executions", "list", "--limit", "0"), ("run", "acme", "double", "--user", "kevin", "--input", "{"),
        ("run", "acme", "double", "--user", "kevin", "--input", "[NaN]"),
        ("run", "acme", "double", "--user", "kevin", "--input", "[" * 100_000),
        ("run", "acme", "double", "--user", "kevin", "--input", "@nowhere"),
    ],
)  # fmt: skip
def test_wrong_usage_is_2(doubling: Project, arguments: tuple[str, ...]) -> None:
    assert whd(doubling, *arguments).returncode == 2


def test_webhooks_lists_endpoints_without_keys(doubling: Project) -> None:
    rows = document(whd(doubling, "webhooks", "--json"))
    assert rows == [
        {
            "client": "acme",
            "webhook": "double",
            "url": "http://127.0.0.1:8080/api/webhook/acme/double",
            "flow_name": "double",
            "user_name": "kevin",
            "key_required": True,
            "enabled": True,
            "state": "on",
            "why_not": None,
        }
    ]
    table = whd(doubling, "webhooks").stdout
    assert "http://127.0.0.1:8080/api/webhook/acme/double" in table
    with running(doubling) as daemon:
        rows = document(whd(doubling, "webhooks", "--json"))
        assert rows[0]["url"].startswith(f"http://{daemon.addresses[0]}/")


def test_too_few_processes_are_told_without_a_traceback(
    doubling: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    folders = [f"--{name}={getattr(doubling, name)}" for name in ("config", "flows", "state")]
    assert main(["executions", "list", *folders]) == 1
    assert "ulimit -u" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes a user who has no processes yet")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is missing")
def test_wherever_the_limit_of_processes_strikes_the_way_out_is_told(doubling: Project) -> None:
    """From the first thread to the first worker: with a limit of two processes, of three and so on."""
    uid = 100_000 + os.getpid()
    # The files of the project and of the interpreter are root's.
    capabilities = "+dac_override,+dac_read_search"
    as_user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    as_user += [f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]
    folders = [f"--{name}={getattr(doubling, name)}" for name in ("config", "flows", "state")]
    for most in range(2, 10):
        command = ["prlimit", f"--nproc={most}", sys.executable, "-m", "whd", "serve", "--listen=127.0.0.1:0", *folders]
        with subprocess.Popen([*as_user, *command], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if MORE_PROCESSES in line:
                    process.terminate()
        assert MORE_PROCESSES in "".join(lines), (most, lines)
        assert "Traceback" not in "".join(lines), (most, lines)


def test_check_of_a_good_project_is_silent(doubling: Project) -> None:
    doubling.config.joinpath("acme/settings/client.webhook.double.yaml").chmod(0o600)
    result = whd(doubling, "check")
    assert (result.returncode, result.stdout) == (0, "")


def test_check_names_every_fault_and_warns(doubling: Project) -> None:
    doubling.webhook("acme", "bad", flow_nam="x")
    doubling.webhook("acme", "lost", flow_name="doubel")
    doubling.flow("acme", "broken", "def handler(system, this):\n    eval('1')\n")
    doubling.flow("acme", "imports", "import requests\n\ndef handler(system, this):\n    pass\n")
    doubling.users("acme", {"kevin": {"flows": ["*"]}, "eve": {}})
    doubling.endpoint("barred", FLOW, user_name="eve")
    result = whd(doubling, "check")
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert "4 faults, 2 warnings" in result.stderr

    def line(*texts: str) -> str:
        found = [line for line in lines if all(text in line for text in texts)]
        assert found, (texts, lines)
        return found[0]

    line("client.webhook.bad.yaml:1", "flow_nam", "flow_name")
    line("client.webhook.bad.yaml:1", "there is no flow 'bad'")
    line("client.webhook.lost.yaml:1", "doubel", "double")
    line("broken.py:2", "eval")
    assert "warning" in line("imports.py:1", "requests")
    assert "warning" in line("client.webhook.barred.yaml", "eve")
    faults = json.loads(whd(doubling, "check", "--json").stdout)
    assert {fault["is_warning"] for fault in faults} == {True, False}


def test_the_examples_check_clean() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "whd", "check", "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert [fault for fault in json.loads(result.stdout) if not fault["is_warning"]] == []
    assert result.returncode == 0


def test_executions_list_filters(either: Project) -> None:
    for number in ("1", '"x"', "null"):
        whd(either, "run", "acme", "double", "--user", "kevin", "--input", f'{{"n": {number}}}')
    rows = document(whd(either, "executions", "list", "--json", "--status", "ENDED_ERROR"))
    assert [row["status"] for row in rows] == ["ENDED_ERROR"]
    assert len(document(whd(either, "executions", "list", "--json", "--limit", "2"))) == 2
    assert document(whd(either, "executions", "list", "--json", "--client", "other")) == []
    assert "ENDED_SUCCESS" in whd(either, "executions", "list").stdout


def test_replay_and_cancel(doubling: Project) -> None:
    sleepy = doubling.endpoint("sleepy", "def handler(system, this):\n    this.sleep(60)\n")
    with running(doubling) as daemon:
        record = daemon.post("/api/webhook/acme/double?key=k", {"n": 5}).json
        assert record["status"] == "ENDED_ERROR"  # the flow wants inputs['n']; the payload is under json
        doubling.flow("acme", "double", FLOW.replace("inputs['n']", "inputs['json']['n']"))

        def replay() -> Any:
            replayed = document(whd(doubling, "executions", "replay", record["id"], "--json"))
            assert replayed["replay_of"] == record["id"]
            return daemon.wait_ended("acme", replayed["id"], "k")["output_value"] == {"double": 10}

        wait_for(replay, "a replay with the new flow")
        execution_id = daemon.post(sleepy + "?async", {}).json["id"]
        assert "ENDED_CANCELLED" in whd(doubling, "executions", "cancel", execution_id).stdout
        again = whd(doubling, "executions", "cancel", execution_id)
        assert again.returncode == 1
        assert "not running" in again.stderr


def test_status_for_people_and_machines(doubling: Project) -> None:
    with running(doubling) as daemon:
        assert f"pid {daemon.process.pid}" in whd(doubling, "status").stdout
        status = document(whd(doubling, "status", "--json"))
        assert status["pid"] == daemon.process.pid
        assert status["faults"] == []


def test_doctor_shows_every_layer(doubling: Project) -> None:
    layers = {layer["name"]: layer for layer in json.loads(whd(doubling, "doctor", "--json").stdout)}
    assert layers["no_new_privs"]["engaged"]
    assert layers["rlimits"]["engaged"]
    for layer in layers.values():
        assert layer["engaged"] or layer["reason"]
    assert "no_new_privs" in whd(doubling, "doctor").stdout


def test_units_prints_units(doubling: Project) -> None:
    text = whd(doubling, "units").stdout
    assert "[Service]" in text
    assert "Type=notify" in text
    assert set(document(whd(doubling, "units", "--json"))) >= {"whd.service", "whd.socket"}


def test_units_names_the_command_that_runs_and_says_if_the_service_cannot_see_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, directive in (
        ("/home/kevin/whd/.venv/bin/whd", "ProtectHome=yes"), ("/tmp/x/whd", "PrivateTmp=yes"), ("/opt/whd/bin/whd", "")
    ):  # fmt: skip
        monkeypatch.setattr(sys, "argv", [command, "units"])
        assert main(["units"]) == 0
        printed = capsys.readouterr()
        assert f"ExecStart={command} serve" in printed.out
        assert f"{directive} hides it" in printed.err if directive else not printed.err


def test_serve_help_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = capsys.readouterr().out
    for option in fields(Options):
        assert f" {option.name}: " in text


def test_every_command_takes_the_folders() -> None:
    parser = build_parser()
    for command in COMMANDS:
        given = parser.parse_args([*command, "--config", "a", "--flows", "b", "--state", "c"])
        assert (str(given.config), str(given.flows), str(given.state)) == ("a", "b", "c")
        assert callable(load(given.run)), command


def test_who_asks_a_running_daemon_does_not_load_its_modules(doubling: Project) -> None:
    """They take a third of a second, which a script that asks often would pay each time."""
    program = "import sys; from whd import cli; cli.main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    with running(doubling) as daemon:
        daemon.post("/api/webhook/acme/double?key=k", {"n": 1})
        for command in (["executions", "list"], ["status"], ["settings", "list", "--client", "acme"]):
            result = subprocess.run(
                [sys.executable, "-c", program, *command, f"--state={doubling.state}"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            assert result.stdout, command
            loaded = set(result.stderr.split())
            assert "whd.admin.client" in loaded
            assert not loaded & {"asyncio", "uvloop", "yaml", "sqlite3", "whd.engine.engine", "whd.settings.index"}, (
                command
            )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed (Debian: curl)")
def test_the_documentations_own_curl_calls(tmp_path: Path) -> None:
    """CONTRACT 4, verbatim but for the port, on the checkout's own examples."""
    project = Project(tmp_path)
    project.config, project.flows = ROOT / "config", ROOT / "flows"
    with running(project) as daemon:
        sync = _curl(daemon, "http://127.0.0.1:8080/api/webhook/test-client/my-webhook")
        assert sync["status"] == "ENDED_SUCCESS"
        assert sync["script"] == (ROOT / "flows/test-client/my-flow.py").read_text()
        assert sync["input_value"]["method"] == "POST"
        assert sync["output_value"] == {"method": "POST", "received": {}}
        accepted = _curl(daemon, "http://127.0.0.1:8080/api/webhook/test-client/my-webhook?async")
        assert set(accepted) == {"id", "execution_id", "status"}
        record = daemon.wait_ended("test-client", accepted["id"], "my-secret-api-key")
        assert record["status"] == "ENDED_SUCCESS"
        signup = daemon.post("/api/webhook/myclient/signup", {"key": "my-secret-api-key", "name": "Ada"}).json
        assert signup["output_value"] == {"greeting": "Hello Ada"}
        assert signup["user_name"] == "kevin"


def _curl(daemon: RunningDaemon, url: str) -> Any:
    url = url.replace("127.0.0.1:8080", daemon.addresses[0])
    command = ["curl", "-sS", "-d", '{"key": "my-secret-api-key"}', url]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "NO_PROXY": "*"})
    return json.loads(result.stdout)


# ---- what check says of permissions ----------------------------------------------------------------------------------

ASKING_FLOW = """
def handler(system, this):
    system.setting('app.colour').get('value')
    system.setting('secret').get('value')
    system.setting('app.colour').save(value='red')
    system.file('reports/today').save(content='')
    system.file('other').get('content')
    this.flow('helper')
    this.flow('barred')
    this.flow('helpr')
    this.task('REST', url='https://api.example.com/v1/x')
    this.connect(url='https://elsewhere.example.com/')
    this.task('SMTP', to='ada')
"""


@pytest.fixture
def asking(project: Project) -> Project:
    project.users(
        "acme",
        {
            "kevin": {
                "flows": ["ask*", "help*"],
                "settings": {"read": ["app.*"]},
                "files": {"write": ["reports/*"]},
                "connections": {"REST": ["https://api.example.com/*"]},
                "act_as": ["robot"],
            },
            "robot": {},
        },
    )
    project.endpoint("asking", ASKING_FLOW)
    project.flow("acme", "helper", "def handler(system, this):\n    system.setting('deep').get()\n")
    project.flow("acme", "barred", "def handler(system, this):\n    system.setting('never reached').get()\n")
    return project


def test_check_warns_where_a_flow_plainly_asks_for_more(asking: Project) -> None:
    result = whd(asking, "check")
    assert result.returncode == 0, result.stdout
    lines = [line.partition("/flows/acme/")[2] for line in result.stdout.splitlines() if "/flows/" in line]
    said = {line.partition(" (called by")[0].partition(";")[0] for line in lines}
    assert said == {
        "asking.py:4: warning: user kevin may not read the setting secret",
        "asking.py:5: warning: user kevin may not write the setting app.colour",
        "asking.py:7: warning: user kevin may not read the file other",
        "asking.py:9: warning: user kevin may not run the flow barred",
        "asking.py:10: warning: there is no flow 'helpr' - did you mean helper?",
        "asking.py:12: warning: user kevin may not connect to https://elsewhere.example.com/",
        "asking.py:13: warning: there are no tasks of type 'SMTP', only REST",
        "helper.py:2: warning: user kevin may not read the setting deep",
    }
    assert all(line.endswith("(called by webhook asking)") for line in lines)


def test_check_explains_what_each_webhooks_user_may_do(asking: Project) -> None:
    asking.webhook("acme", "idle", flow_name="helper", user_name="robot", key="never-shown")
    plain = whd(asking, "check")
    assert "never-shown" not in plain.stdout + plain.stderr
    assert (
        "acme: user kevin of asking may run flows ask*, help*; read settings app.*; write files reports/*; "
        "call REST https://api.example.com/*; act as robot"
    ) in plain.stderr
    assert "acme: user robot of idle may do nothing" in plain.stderr
    full = whd(asking, "check", "--verbose").stdout
    assert "acme/idle (with a key) runs the flow helper as user robot, who may\n    do nothing\n" in full
    assert "\n    read settings: app.*\n    write files: reports/*\n" in full
    document = json.loads(whd(asking, "check", "-v", "--json").stdout)
    assert {fault["path"].rpartition("/")[2] for fault in document["faults"]} >= {"asking.py", "helper.py"}
    assert document["webhooks"][1] == {
        "client": "acme", "webhook": "idle", "flow_name": "helper", "user_name": "robot", "key_required": True,
        "may": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    "source",
    [
        "x = " + "(" * 100_000,
        "x = a" + ".b" * 100_000,
        "x = " + "-" * 500_000 + "1",
        "system" + ".setting('x')" * 50_000,
    ],
    ids=["brackets", "attributes", "signs", "calls"],
)
def test_check_survives_a_source_that_is_meant_to_break_it(doubling: Project, source: str) -> None:
    doubling.flow("acme", "hostile", f"def handler(system, this):\n    {source}\n")
    result = whd(doubling, "check")
    assert result.returncode == 1
    assert "hostile.py" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_refusals_are_counted_and_logged(doubling: Project) -> None:
    greedy = "def handler(system, this):\n" + "".join(
        f"    try:\n        system.setting('secret-{number}').get()\n    except Exception:\n        pass\n"
        for number in range(15)
    )
    path = doubling.endpoint("greedy", greedy)
    with running(doubling) as daemon:
        record = daemon.post(path).json
        assert record["status"] == "ENDED_SUCCESS"
        assert daemon.ask("status")["refused_calls"] == 15
        assert "refused: 15 requests of flows, by permission" in whd(doubling, "status").stdout
        said = [line for line in daemon.log.splitlines() if "may not read the setting secret-" in line]
        # Of one execution only the first are logged: a flow must not fill the log.
        assert len(said) == 10
        assert record["id"] in said[0]
        assert "acme" in said[0]


def test_a_malformed_listen_is_wrong_usage(project: Project) -> None:
    for address in ("127.0.0.1", ":8080", "127.0.0.1:99999", "unix:relative", "::1:80", ""):
        result = whd(project, "serve", "--listen", address)
        assert result.returncode == 2, address
        assert f"argument --listen: {address!r} has no " in result.stderr or "brackets" in result.stderr
    assert not project.state.exists()


def test_without_a_daemon_status_says_how_to_get_one(project: Project) -> None:
    result = whd(project, "status")
    assert result.returncode == 1
    assert str(project.state / "control.sock") in result.stderr
    assert "`whd serve` starts one, --state names its folder" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
@pytest.mark.parametrize("command", [("executions", "list"), ("settings", "list")])
def test_a_closed_state_folder_is_named_with_the_way_out(project: Project, command: tuple[str, ...]) -> None:
    closed = project.folder / "closed"
    project.state = closed / "state"
    project.state.mkdir(parents=True)
    closed.chmod(0)
    try:
        result = whd(project, *command)
    finally:
        closed.chmod(0o700)
    assert result.returncode == 1
    assert f"{project.state}: cannot be used as the state folder: Permission denied; --state names" in result.stderr


def test_an_unknown_sandbox_layer_is_a_fault_of_its_line(project: Project) -> None:
    project.write("config/whd.yaml", "workers: 1\nsandbox_require:\n- rlimits\n- secomp\n")
    for command in ("check", "serve"):
        result = whd(project, command)
        assert result.returncode == 1
        assert "whd.yaml:4: sandbox_require: is the text 'secomp'; expected " in result.stdout + result.stderr
        assert "did you mean seccomp?" in result.stdout + result.stderr


def test_an_interpreter_that_cannot_be_started_is_told_without_a_traceback(project: Project) -> None:
    # As after an upgrade of Python that took the old one away from under a virtual environment.
    project.endpoint("echo")
    program = "import sys; from whd import cli; sys.executable = '/gone/python'; sys.exit(cli.main(sys.argv[1:]))"
    folders = [f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state")]
    for command in (["serve", "--listen", "127.0.0.1:0"], ["run", "acme", "echo", "--user", "kevin"], ["check"]):
        result = subprocess.run(
            [sys.executable, "-c", program, *command, *folders],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 1, command
        assert "Traceback" not in result.stderr
        assert "/gone/python cannot be started: No such file or directory" in result.stdout + result.stderr
