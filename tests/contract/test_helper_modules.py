"""Helper modules: files in flows/<client>/lib/ that flows of the client import, through a running daemon."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.running import Project, RunningDaemon, running, simple_project, wait_for

HANDLER = "def handler(system, this):\n"


class Acme:
    """A client with a webhook for each flow."""

    def __init__(self, daemon: RunningDaemon) -> None:
        self.daemon = daemon
        self.project = daemon.project
        self.lib = self.project.folder / "flows" / "acme" / "lib"

    def module(self, name: str, source: str) -> Path:
        return self.project.write(f"flows/acme/lib/{name}.py", source)

    def flow(self, name: str, source: str, **fields: Any) -> str:
        path = self.project.endpoint(name, source, **fields)
        # A fault counts as there, too.
        wait_for(lambda: self.daemon.request("HEAD", path).status != 404, path)
        return path

    def output(self, path: str) -> Any:
        answer = self.daemon.post(path, {})
        assert answer.status == 200, answer.json
        return answer.json["output_value"]

    def faults(self) -> list[str]:
        return [str(fault) for fault in self.daemon.ask("status")["faults"]]

    def until(self, path: str, expected: Any) -> None:
        """Until the flow's `x` is that, or its status for a number."""

        def is_there() -> bool:
            answer = self.daemon.post(path, {})
            if isinstance(expected, int):
                return answer.status == expected
            return answer.status == 200 and answer.json["output_value"].get("x") == expected

        wait_for(is_there, f"{path} to give {expected!r}", timeout_s=5.0)


@pytest.fixture(scope="module")
def acme(daemon: RunningDaemon) -> Acme:
    return Acme(daemon)


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("from lib import {m}", "{m}.f(2)"),
        ("from lib import {m} as other", "other.f(2)"),
        ("from lib import (\n    {m},\n    {m}_b as b,\n)", "{m}.f(b.two)"),
        ("import lib.{m}", "lib.{m}.f(2)"),
        ("import lib.{m} as m, lib.{m}_b", "m.f(lib.{m}_b.two)"),
        ("from lib.{m} import f as g", "g(2)"),
        ("try:\n    from lib import {m}\nexcept ImportError:\n    {m} = None", "{m}.f(2)"),
        ("pass", "late()"),
    ],
)
def test_every_way_to_import_one(acme: Acme, imports: str, call: str) -> None:
    number = zlib.crc32(imports.encode()) % 10_000
    module = f"m{number}"
    acme.module(module, "def f(x):\n    return x * 21\n")
    acme.module(f"{module}_b", "two = 2\n")
    late = f"def late():\n    from lib import {module}\n    return {module}.f(2)\n"
    source = f"{imports.format(m=module)}\n{late}{HANDLER}    this.set_output(x={call.format(m=module)})\n"
    assert acme.output(acme.flow(f"way-{number}", source)) == {"x": 42}


def test_its_top_level_runs_once_an_execution_and_nothing_is_left_for_the_next(acme: Acme) -> None:
    acme.module(
        "counted",
        "print('top level')\nseen = []\ntotal = 0\ndef add():\n    global total\n    total += 1\n    seen.append(1)\n",
    )
    acme.module("over", "from lib import counted\ncounted.add()\n")
    source = (
        "from lib import counted, over\n" + HANDLER + "    from lib import over\n    import lib.counted\n"
        "    counted.add()\n    this.set_output(x=[len(counted.seen), lib.counted.total])\n"
    )
    path = acme.flow("counts", source)
    for _ in range(3):
        record = acme.daemon.post(path, {}).json
        assert record["output_value"] == {"x": [2, 2]}
        lines = acme.daemon.ask("executions.logs", id=record["id"])
        assert [line["text"] for line in lines] == ["top level"]


def test_a_child_has_its_own(acme: Acme) -> None:
    acme.module("own", "seen = []\n")
    acme.flow(
        "child", "from lib import own\n" + HANDLER + "    own.seen.append(1)\n    this.set_output(x=len(own.seen))\n"
    )
    parent = (
        "from lib import own\n" + HANDLER + "    own.seen.append(1)\n"
        "    one = this.flow('child').get('output_value')['x']\n    this.set_output(x=[one, len(own.seen)])\n"
    )
    assert acme.output(acme.flow("parent", parent)) == {"x": [1, 1]}


def test_the_record_says_which_ran_and_shows_their_text_only_with_the_script(acme: Acme) -> None:
    text = "value = 1\n"
    acme.module("shown", text)
    acme.module("through", "from lib.shown import value\n")
    digest = hashlib.sha256(text.encode()).hexdigest()
    source = "from lib import through\n" + HANDLER + "    this.set_output(x=through.value)\n"
    path = acme.flow("shows", source)
    record = acme.daemon.post(path, {}).json
    assert (record["script"], sorted(record["modules"])) == (source, ["shown", "through"])
    assert record["modules"]["shown"] == {"hash": digest, "script": text}
    hidden = acme.flow("hides", source, show_script=False)
    record = acme.daemon.post(hidden, {}).json
    assert "script" not in record
    assert record["modules"]["shown"] == {"hash": digest}
    assert "value" not in json.dumps(record["modules"])
    # And so it stays in the store.
    wait_for(lambda: _stored_hash(acme.project, record["id"]), "the record in the store")
    assert acme.daemon.ask("executions.show", id=record["id"])["modules"] == record["modules"]
    assert "modules" not in acme.daemon.post(acme.flow("without", HANDLER + "    pass\n"), {}).json


def _stored_hash(project: Project, execution_id: str) -> str:
    with closing(sqlite3.connect(f"file:{_store(project)}?mode=ro", uri=True)) as connection:
        row = connection.execute(
            "SELECT s.hash FROM execution e JOIN origin o ON o.id = e.origin JOIN script s ON s.id = o.script "
            "WHERE e.id = ?",
            (bytes.fromhex(execution_id.replace("-", "")),),
        ).fetchone()
    return row[0] if row else ""


def _store(project: Project) -> Path:
    for path in sorted((project.folder / "state").iterdir()):
        if path.is_file() and path.read_bytes()[:15] == b"SQLite format 3":
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'execution'").fetchone():
                    return path
    raise AssertionError("no store")


def test_a_change_of_a_module_changes_the_hash_of_the_flow_that_ran(acme: Acme) -> None:
    acme.module("hashed", "x = 'one'\n")
    path = acme.flow("hashes", "from lib import hashed\n" + HANDLER + "    this.set_output(x=hashed.x)\n")
    hashes = []
    for word in ("one", "two", "one"):
        acme.module("hashed", f"x = '{word}'\n")
        acme.until(path, word)
        identity = acme.daemon.post(path, {}).json["id"]
        hashes.append(wait_for(lambda identity=identity: _stored_hash(acme.project, identity), "the record"))  # type: ignore[misc]
    assert hashes[0] == hashes[2] != hashes[1]


def test_an_error_shows_the_lines_of_the_module(acme: Acme) -> None:
    acme.module("failing", "# a comment\ndef f():\n    raise ValueError('no')\n")
    path = acme.flow("fails", "from lib import failing\n" + HANDLER + "    failing.f()\n")
    message = acme.daemon.post(path, {}).json["message"]
    assert message.splitlines() == [
        "Traceback (most recent call last):",
        '  File "flows/acme/fails.py", line 3, in handler',
        "    failing.f()",
        '  File "flows/acme/lib/failing.py", line 3, in f',
        "    raise ValueError('no')",
        "ValueError: no",
    ]


def test_a_module_that_fails_at_its_import_fails_the_flow_there(acme: Acme) -> None:
    acme.module("unlucky", "x = 1 / 0\n")
    path = acme.flow("meets", "from lib import unlucky\n" + HANDLER + "    pass\n")
    message = acme.daemon.post(path, {}).json["message"]
    assert 'File "flows/acme/meets.py", line 1, in <module>' in message
    assert 'File "flows/acme/lib/unlucky.py", line 1, in <module>\n    x = 1 / 0' in message


@pytest.mark.parametrize(
    "body",
    [
        "from lib import kept\n    kept.x = 1",
        "import lib.kept\n    lib.kept.x = 1",
        "import lib.kept\n    lib.kept = 1",
        "from lib import kept\n    kept.x += 1",
        "from lib import kept\n    del kept.x",
        "from lib import kept\n    setattr(kept, 'x', 1)",
    ],
)
def test_a_flow_cannot_change_a_module(acme: Acme, body: str) -> None:
    acme.module("kept", "x = 0\n")
    path = acme.flow("changes", f"{HANDLER}    {body}\n")
    acme.project.write("flows/acme/changes.py", f"{HANDLER}    {body}\n")

    def ran() -> Any:
        record = acme.daemon.post(path, {}).json
        return record if body in record.get("script", "") else None

    message = wait_for(ran, body)["message"]
    assert re.search(r"TypeError: a flow cannot change attributes of the module lib(\.kept)?; ", message), message


def test_changes_are_live(acme: Acme) -> None:
    path = acme.flow("lives", "from lib import fresh\n" + HANDLER + "    this.set_output(x=fresh.x)\n")
    acme.until(path, 503)
    answer = acme.daemon.post(path, {})
    assert (answer.json["code"], b"fresh" in answer.body) == ("misconfigured", False)
    acme.module("fresh", "x = 'new'\n")
    acme.until(path, "new")
    acme.module("fresh", "x = 'changed'\n")
    acme.until(path, "changed")
    (acme.lib / "fresh.py").rename(acme.lib / "stale.py")
    acme.until(path, 503)
    (acme.lib / "stale.py").rename(acme.lib / "fresh.py")
    acme.until(path, "changed")
    (acme.lib / "fresh.py").unlink()
    acme.until(path, 503)
    wait_for(lambda: any("lives.py:1: there is no module lib.fresh" in fault for fault in acme.faults()), "the fault")
    acme.module("fresh", "x = 'again'\n")
    acme.until(path, "again")
    wait_for(lambda: not any("lives.py" in fault for fault in acme.faults()), "no fault")


def test_a_broken_change_keeps_the_last_good_version(acme: Acme) -> None:
    """As of every other file (CONTRACT 2)."""
    acme.module("mended", "x = 'good'\n")
    path = acme.flow("keeps", "from lib import mended\n" + HANDLER + "    this.set_output(x=mended.x)\n")
    acme.until(path, "good")
    acme.module("mended", "x = (\n")
    wait_for(lambda: any("lib/mended.py:1: " in fault for fault in acme.faults()), "the fault")
    acme.until(path, "good")
    acme.module("mended", "x = 'better'\n")
    acme.until(path, "better")
    wait_for(lambda: not any("mended" in fault for fault in acme.faults()), "no fault")


BROKEN = {
    "its syntax": {"bad": "def f(:\n"},
    "what it may not do": {"bad": "x = 1\nexec('x')\n"},
    "what it imports": {"bad": "x = 1\nfrom lib import gone\n"},
    "what it imports is broken": {"bad": "x = 1\nfrom lib import worse\n", "worse": "def f(:\n"},
    "a circle": {"bad": "x = 1\nfrom lib import worse\n", "worse": "from lib import bad\n"},
    "itself": {"bad": "x = 1\nimport lib.bad\n"},
}


@pytest.fixture(params=BROKEN)
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Acme]:
    project = simple_project(tmp_path)
    for name, source in BROKEN[request.param].items():
        project.write(f"flows/acme/lib/{name}.py", source)
    project.endpoint("uses", "# a flow\nfrom lib import bad\n" + HANDLER + "    this.set_output(x=bad.x)\n")
    project.endpoint("calls", HANDLER + "    this.flow('uses')\n")
    project.endpoint("fine", HANDLER + "    this.set_output(x=1)\n")
    with running(project) as daemon:
        yield Acme(daemon)


def test_a_broken_module_breaks_the_flows_that_import_it_and_no_other(broken: Acme) -> None:
    answer = broken.daemon.post("/api/webhook/acme/uses", {})
    assert (answer.status, answer.json["code"]) == (503, "misconfigured")
    assert broken.output("/api/webhook/acme/fine") == {"x": 1}
    record = broken.daemon.post("/api/webhook/acme/calls", {}).json
    assert record["status"] == "ENDED_ERROR"
    assert "flows/acme/uses.py:2: the module lib.bad cannot be used: flows/acme/lib/bad.py:" in record["message"]
    run = broken.daemon.ask("run", client="acme", flow="uses", user="kevin", input=None)
    assert run["status"] == "ENDED_ERROR"
    assert "flows/acme/uses.py:2: the module lib.bad cannot be used: flows/acme/lib/bad.py:" in run["message"]

    def both() -> bool:
        faults = broken.faults()
        return all(any(part in fault for fault in faults) for part in ("acme/uses.py:2: ", "acme/lib/bad.py:"))

    wait_for(both, "faults at both files")
    broken.module("bad", "x = 'mended'\n")
    broken.until("/api/webhook/acme/uses", "mended")
    wait_for(lambda: not any("bad" in fault and "worse.py" not in fault for fault in broken.faults()), "no fault")


def test_a_new_folder_is_live_and_one_that_goes_is_gone(project: Project) -> None:
    path = project.endpoint("waits", "from lib import first\n" + HANDLER + "    this.set_output(x=first.x)\n")
    project.flow("acme", "lib", HANDLER + "    this.set_output(x='a flow named lib')\n")
    project.webhook("acme", "named", flow_name="lib", user_name="kevin")
    with running(project) as daemon:
        acme = Acme(daemon)
        acme.until(path, 503)
        acme.module("first", "x = 'there'\n")
        acme.until(path, "there")
        assert acme.output("/api/webhook/acme/named") == {"x": "a flow named lib"}
        shutil.rmtree(acme.lib)
        acme.until(path, 503)
        assert acme.output("/api/webhook/acme/named") == {"x": "a flow named lib"}


def test_an_execution_keeps_what_it_started_with(acme: Acme) -> None:
    acme.module("steady", "x = 'old'\n")
    acme.flow("sleeper", HANDLER + "    this.sleep(60)\n")
    source = (
        HANDLER + "    if this.get('input_value')['json']:\n"
        "        this.flow('sleeper', wait=system.return_when.ALL_ENDED)\n"
        "    from lib import steady\n    this.set_output(x=steady.x)\n"
    )
    path = acme.flow("stays", source)
    waiting = acme.daemon.post(f"{path}?async", {"waits": True}).json["id"]

    def sleeping() -> list[str]:
        """The child that the flow waits for: it is parked then."""
        rows = acme.daemon.ask("executions.list", client="acme", status="RUNNING")
        return [row["id"] for row in rows if row["parent_id"] == waiting]

    (sleeper,) = wait_for(sleeping, "the child")
    acme.module("steady", "x = 'new'\n")
    acme.until(path, "new")
    acme.daemon.ask("executions.cancel", id=sleeper)
    record = acme.daemon.wait_ended("acme", waiting)
    assert record["output_value"] == {"x": "old"}
    assert record["modules"]["steady"]["script"] == "x = 'old'\n"


def test_a_replay_runs_the_modules_of_now_as_the_script_of_now(acme: Acme) -> None:
    acme.module("replayed", "x = 'old'\n")
    path = acme.flow("replays", "from lib import replayed\n" + HANDLER + "    this.set_output(x=replayed.x)\n")
    record = acme.daemon.post(path, {}).json
    assert record["output_value"] == {"x": "old"}
    acme.module("replayed", "x = 'new'\n")
    acme.until(path, "new")
    again = acme.daemon.ask("executions.replay", id=record["id"], wait=True)
    assert (again["output_value"], again["replay_of"]) == ({"x": "new"}, record["id"])
    assert again["modules"]["replayed"]["script"] == "x = 'new'\n"


def test_several_fronts_share_them(project: Project) -> None:
    project.options(processes=2)
    project.write("flows/acme/lib/shared.py", "x = 'one'\n")
    path = project.endpoint("spread", "from lib import shared\n" + HANDLER + "    this.set_output(x=shared.x)\n")
    with running(project) as daemon:
        acme = Acme(daemon)
        for _ in range(8):
            assert acme.output(path) == {"x": "one"}
        acme.module("shared", "x = 'two'\n")
        for _ in range(8):
            acme.until(path, "two")
        record = daemon.post(path, {}).json
        wait_for(lambda: daemon.ask("executions.show", id=record["id"])["status"] == "ENDED_SUCCESS", "the record")
        assert daemon.ask("executions.show", id=record["id"])["modules"]["shared"]["script"] == "x = 'two'\n"
