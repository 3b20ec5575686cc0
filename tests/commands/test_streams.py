"""Standard streams: the same whatever the locale says, safe for a terminal, and ended early without a complaint."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import whd.commands
from tests.running import ROOT, Project, running

from .typed import document
from .typed import whd as typed

NASTY = "Grüße \x1b]0;title\x07\x1b[31m\u202egnp.exe\u2066\u200b\x9b2J\x7f\u2028"
RAW = [char for char in NASTY if char in "\x1b\x07\u202e\u2066\u200b\x9b\x7f\u2028"]

LOCALES = [
    {"LANG": "C"},
    {"LC_ALL": "POSIX"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "utf-16", "PYTHONUTF8": "0"},
    {"LC_ALL": "no_WHERE.UTF-8"},
]


def started(project: Project, *arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """A command by an interpreter of its own, with no other locale than `environ`'s."""
    folders = [f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state")]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    command = [sys.executable, "-m", "whd", *arguments, *folders]
    return subprocess.run(
        command, cwd=ROOT, env={**clean, **environ}, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )


@pytest.fixture(scope="module")
def worldly(shared_project: Project) -> Project:
    """Names and values that no charset but Unicode holds, and a file whose name is none of its bytes."""
    source = f"def handler(system, this):\n    this.log({NASTY!r})\n    return this.success('日本')\n"
    shared_project.flow("acme", "grüße 日本", source)
    shared_project.setting("acme", "client.webhook.greet", {"flow_name": "grüße 日本", "user_name": "kevin"})
    shared_project.setting("acme", "app.日本", {"text": NASTY})
    (shared_project.flows / "acme" / os.fsdecode(b"caf\xe9.py")).write_text("def handler(system, this):\n    pass\n")
    return shared_project


PRINTING = (["webhooks"], ["settings", "list"], ["check"], ["settings", "show", "app.日本", "--json"])


@pytest.fixture(scope="module")
def in_utf8(worldly: Project) -> list[tuple[int, bytes, bytes]]:
    """What these commands print where all is as it should be."""
    results = [started(worldly, *arguments, environ={"LANG": "C.UTF-8"}) for arguments in PRINTING]
    assert all("日本".encode() in result.stdout for result in (results[0], results[1], results[3]))
    return [(result.returncode, result.stdout, result.stderr) for result in results]


@pytest.mark.parametrize("environ", LOCALES, ids=str)
def test_the_locale_changes_nothing(
    worldly: Project, in_utf8: list[tuple[int, bytes, bytes]], environ: dict[str, str]
) -> None:
    """Names of files are read as UTF-8, all output is UTF-8, and nothing is too odd to be printed."""
    for arguments, expected in zip(PRINTING, in_utf8, strict=True):
        result = started(worldly, *arguments, environ=environ)
        assert (result.returncode, result.stdout, result.stderr) == expected
    ran = started(worldly, "run", "acme", "grüße 日本", "--user", "kevin", environ=environ)
    assert ran.returncode == 0, ran.stderr
    assert "日本" in ran.stdout.decode("utf-8")
    assert "Grüße" in ran.stdout.decode("utf-8")


def test_the_daemon_and_its_fronts_read_names_as_utf8_too(worldly: Project) -> None:
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    worldly.options(processes=2)
    with running(worldly, environ=environ) as daemon:
        answer = daemon.post("/api/webhook/acme/greet", {})
        assert (answer.status, answer.json["flow_name"]) == (200, "grüße 日本")
        assert "caf\\udce9.py" in daemon.log


@pytest.fixture
def nasty(project: Project) -> Project:
    """Everything that others choose, chosen by somebody who means harm."""
    source = f"def handler(system, this):\n    this.log({NASTY!r}, field={NASTY!r})\n    print({NASTY!r})\n"
    project.endpoint("calm", source + f"    this.set_output(key={NASTY!r})\n    return this.success({NASTY!r})\n")
    project.endpoint("fails", source + f"    raise ValueError({NASTY!r})\n")
    project.endpoint("answers", source + f"    return this.webhook_html_response({NASTY!r})\n")
    project.setting("acme", "app.nasty", {"text": NASTY, NASTY: 1})
    project.write("config/acme/settings/client.webhook.bad.yaml", json.dumps({NASTY: 1, "flow_name": NASTY}))
    (project.flows / "acme" / "\x1b[31m\u202e.py").write_text("", encoding="utf-8")
    (project.config / "\x1b[31m\u202e").mkdir()
    return project


def test_nothing_that_others_chose_steers_a_terminal(nasty: Project) -> None:
    """Neither for people nor as JSON, on standard output, standard error or in the daemon's log."""
    with running(nasty) as daemon:
        ids = [daemon.post(f"/api/webhook/acme/{name}", {"text": NASTY}).headers for name in ("calm", "fails")]
        assert len(ids) == 2
        rows = document(typed(nasty, "executions", "list", "--json"))
        printed = {"the log": daemon.log}
        commands = [
            ["executions", "list"], ["check", "-v"], ["settings", "list"], ["settings", "show", "app.nasty"],
            ["webhooks"], ["status"], ["run", "acme", "calm", "--user", "kevin"],
            ["run", "acme", "fails", "--user", "kevin"], ["run", "acme", "answers", "--user", "kevin"],
            ["run", "acme", "calm", "--user", NASTY], ["run", NASTY, "calm", "--user", "kevin"],
            ["executions", "show", NASTY], ["executions", "list", "--webhook", NASTY], ["executions", NASTY],
            *(["executions", name, row["id"]] for name in ("show", "logs") for row in rows),
        ]  # fmt: skip
        for command in commands:
            for more in ([], ["--json"]):
                result = typed(nasty, *command, *more)
                printed[" ".join(map(ascii, [*command, *more]))] = result.stdout + result.stderr
                if more and result.returncode == 0 and result.stdout:
                    json.loads(result.stdout)
        printed["the log after that"] = daemon.log
    for where, text in printed.items():
        assert not [char for char in RAW if char in text], where


def test_show_keeps_what_it_escapes(nasty: Project) -> None:
    with running(nasty) as daemon:
        record = daemon.post("/api/webhook/acme/calm", {"text": NASTY}).json
        shown = typed(nasty, "executions", "show", record["id"]).stdout
        assert "\\u202e" in shown
        assert "Grüße" in shown
        assert json.loads(shown)["input_value"]["json"] == {"text": NASTY}


def test_nothing_is_printed_but_through_one_module() -> None:
    """`print` and writes to the streams stand in printing.py alone."""
    for path in [*Path(whd.commands.__file__).parent.rglob("*.py"), ROOT / "whd" / "cli.py"]:
        if path.name != "printing.py":
            names = {node.id for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Name)}
            assert "print" not in names, path


# ---- who reads -------------------------------------------------------------------------------------------------------


def shell(project: Project, script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A line for a shell in which `whd` and `folders` stand for the command and its options."""
    folders = " ".join(f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state"))
    script = script.replace("whd", f"{sys.executable} -m whd", 1).replace("folders", folders)
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("whd executions list --json folders | head -c 1", 0),
        ("whd executions list folders | true", 0),
        ("whd settings list folders | true", 0),
        ("whd units folders | true", 0),
        ("whd serve --help | true", 0),
        ("whd check folders | true", 1),
        ("whd check folders 2>&1 >&- | true", 1),
        ("whd executions list folders >&-", 0),
        ("whd status folders 2>&-", 1),
    ],
)
def test_who_stops_reading_gets_no_complaint_and_the_commands_own_status(
    project: Project, script: str, status: int
) -> None:
    project.endpoint("bad", flow_nam="x")
    result = shell(project, script)
    assert (result.returncode, result.stderr.replace("1 fault, 0 warnings\n", "")) == (status, "")


def test_a_full_disk_is_named(project: Project) -> None:
    result = shell(project, "whd settings list folders >/dev/full")
    assert result.returncode == 1
    assert result.stderr == "whd: standard output: No space left on device\n"


def on_terminal(command: list[str], columns: int) -> str:
    """What a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, True)
    with os.fdopen(theirs, "wb", closefd=True) as end:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=end, stderr=end, stdin=end)
    text = b""
    try:
        while part := os.read(ours, 65536):
            text += part
    except OSError:  # EIO: the other end is closed
        pass
    process.wait()
    os.close(ours)
    return text.decode("utf-8")


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_the_list_of_executions_fits_the_terminal(project: Project, columns: int) -> None:
    project.endpoint("signup", "def handler(system, this):\n    return this.error('what went wrong ' * 9)\n")
    assert typed(project, "run", "acme", "signup", "--user", "kevin").returncode == 1
    folders = [f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state")]
    shown = on_terminal([sys.executable, "-m", "whd", "executions", "list", *folders], columns)
    plain = shown.replace("\x1b[31m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    lines = plain.splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) <= columns
    assert "ENDED_ERROR" in lines[1]


# ---- a working folder that is gone -----------------------------------------------------------------------------------


def test_a_folder_that_was_deleted_is_named_and_absolute_paths_work(project: Project, tmp_path: Path) -> None:
    folders = [f"--{name}={getattr(project, name)}" for name in ("config", "flows", "state")]

    def in_deleted_folder(*arguments: str) -> subprocess.CompletedProcess[str]:
        gone = tmp_path / "gone"
        gone.mkdir()
        code = "import os, sys; os.rmdir(os.getcwd()); from whd.cli import main; sys.exit(main())"
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-P", "-c", code, *arguments]
        return subprocess.run(command, cwd=gone, env=environ, capture_output=True, text=True, check=False)

    asking = [f"executions {each} x" for each in ("show", "logs", "replay", "cancel")]
    asking += ["executions list", "run c f --user u", "settings list", "settings show x", "settings set x 1"]
    for line in (*asking, "settings unset x", "check", "status", "webhooks", "serve"):
        arguments = line.split()
        result = in_deleted_folder(*arguments)
        assert result.returncode == 1, arguments
        assert "has been deleted" in result.stderr, arguments
        assert "--state" in result.stderr
        assert "Traceback" not in result.stderr
        assert "standard output" not in result.stderr, arguments
    for arguments in (["executions", "list"], ["check"], ["webhooks"]):
        assert in_deleted_folder(*arguments, *folders).returncode == 0, arguments
