"""`whd check` on what flows and their helper modules say: each fault and warning with its file and line."""

from __future__ import annotations

import json

import pytest

from tests.running import Project

from .typed import whd

USES = """from lib import mail, text
from lib import mial


def handler(system, this):
    mail.send(this)
"""
MAIL = """def send(this, system=None):
    this.task('REST', url='https://elsewhere.example.com/')
    this.lgo('sent')
"""


@pytest.fixture
def importing(project: Project) -> Project:
    project.users("acme", {"kevin": {"flows": ["*"]}})
    project.endpoint("uses", USES)
    project.endpoint("other", "from lib import mail\n\n\ndef handler(system, this):\n    mail.send(this)\n")
    project.write("flows/acme/lib/mail.py", MAIL)
    project.write("flows/acme/lib/text.py", "import lib.other\n")
    project.write("flows/acme/lib/other.py", "from lib import text\n")
    project.write("flows/acme/lib/unused.py", "def f(:\n")
    return project


def said(stdout: str) -> list[str]:
    return [line.partition("/flows/acme/")[2] for line in stdout.splitlines() if "/flows/acme/" in line]


def test_faults_of_modules_are_named_at_both_files(importing: Project) -> None:
    result = whd(importing, "check")
    assert result.returncode == 1
    lines = said(result.stdout)
    for words in (
        "lib/unused.py:1: SyntaxError: invalid syntax: def f(:",
        "lib/text.py:1: the module lib.other cannot be used: flows/acme/lib/other.py:1: a circle: lib.text imports ",
        "lib/other.py:1: the module lib.text cannot be used: flows/acme/lib/text.py:1: a circle: lib.other imports ",
        "uses.py:1: the module lib.text cannot be used: flows/acme/lib/text.py:1: the module lib.other cannot be used",
        "uses.py:2: there is no module lib.mial (flows/acme/lib/mial.py) - did you mean lib.mail?; there are: ",
        "lib/mail.py:3: warning: this has no `lgo`: this line will fail - did you mean this.log?",
        "lib/mail.py:2: warning: user kevin may not connect to https://elsewhere.example.com/; "
        "users.yaml does not allow it (called by webhook other)",
    ):
        assert any(line.startswith(words) for line in lines), (words, lines)


def test_it_says_whose_flows_an_edit_of_a_module_edits(importing: Project) -> None:
    result = whd(importing, "check", "--verbose")
    (named,) = [line for line in result.stdout.splitlines() if "who edits these edits the flow" in line]
    assert named.startswith("    its flow imports ")
    assert "flows/acme/lib/mail.py: who edits these edits the flow" in named
    in_short = whd(importing, "check").stderr
    assert "flows/acme/lib/mail.py edits the flows of other" in in_short
    document = json.loads(whd(importing, "check", "-v", "--json").stdout)
    modules = {one["webhook"]: one.get("modules") for one in document["webhooks"]}
    assert modules["uses"] is None, "it does not run"
    assert [path.rpartition("/flows/")[2] for path in modules["other"]] == ["acme/lib/mail.py"]


def test_what_would_fail_only_at_run_time_is_a_warning(project: Project) -> None:
    source = (
        "import os\n\n\ndef handler(s, t):\n    t.lgo(os.environ)\n    t.sleep(secs=1)\n    s.setting(nmae)\n"
        "    t.get('inputs')\n"
    )
    project.endpoint("early", source)
    result = whd(project, "check")
    assert result.returncode == 0, result.stdout
    lines = [line.partition(" warning: ") for line in said(result.stdout)]
    assert [where for where, _, _ in lines] == [f"early.py:{line}:" for line in (5, 5, 6, 7, 8)]
    texts = " ".join(text for _, _, text in lines)
    for words in ("no `lgo`", "no `environ`", "no argument 'secs' - did you mean seconds?", "`nmae`", "'inputs'"):
        assert words in texts
