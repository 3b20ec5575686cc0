"""docs/flows.md does what it says: its files are served, its calls are made, its examples are run.

Its blocks: `python` and `yaml` that begin with a path are files; `sh` is a call, and `json` or `html` after it what
comes back (of a JSON object those members that are shown); other `python` is the body of a handler, in which `# →` says
what an expression gives, and `text` after it what its message ends with.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from tests.running import Answer, Project, RunningDaemon, running, wait_for
from whd.sandbox.api import executions, records, system, this
from whd.sandbox.flow_api import FLOW_API
from whd.sandbox.modules import importable_names
from whd.sandbox.modules.facade import public_names
from whd.sandbox.run import READABLE

from .outside import serve_outside

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "flows.md").read_text(encoding="utf-8")
STAND_IN = "https://api.example.com"


@dataclass(frozen=True)
class Block:
    """A fenced block and the line on which it begins."""

    line: int
    kind: str
    text: str

    @property
    def path(self) -> str:
        """Of a file: where it lies."""
        match = re.match(r"# ((?:flows|config)/\S+)\n", self.text)
        return match[1] if match else ""


def blocks() -> list[Block]:
    found = []
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        found.append(Block(PAGE.count("\n", 0, match.start()) + 1, match[1], match[2]))
    return found


BLOCKS = blocks()
FILES = {block.path: block.text for block in BLOCKS if block.path}
CALLS = [(block, after) for block, after in pairwise(BLOCKS) if block.kind == "sh"]
EXAMPLES = [
    (block, after.text.strip() if after is not None and after.kind == "text" else "")
    for block, after in zip(BLOCKS, [*BLOCKS[1:], None], strict=True)
    if block.kind == "python" and not block.path
]


def at_line(value: Any) -> str:
    return f"line {value.line}" if isinstance(value, Block) else ""


def as_flow(body: str) -> str:
    """A handler with this body; `expression  # → value` becomes a check."""

    def check(match: re.Match[str]) -> str:
        expression, value = match.groups()
        ast.parse(expression, mode="eval")
        return f"got = {expression}\nassert got == {value}, got"

    checked = re.sub(r"^(\S.*?)  # → (.+)$", check, body, flags=re.MULTILINE)
    return "def handler(system, this):\n" + indent(checked, "    ")


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    with serve_outside() as url:
        yield url


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, outside: str) -> Iterator[RunningDaemon]:
    """A daemon with the page's files, and webhooks for what it calls and for its examples."""
    project = Project(tmp_path_factory.mktemp("site"))
    for path, text in FILES.items():
        project.write(path, text.replace(STAND_IN, outside))
    for call, _ in CALLS:
        name = read_call(call.text)[1].partition("?")[0].rpartition("/")[2]
        if f"config/acme/settings/client.webhook.{name}.yaml" not in FILES:
            project.webhook("acme", name)
    for block, _ in EXAMPLES:
        project.endpoint(f"example-{block.line}", as_flow(block.text))
    with running(project) as daemon:
        yield daemon


def read_call(command: str) -> tuple[str, str, str | None]:
    """Method, path and body of a call with curl."""
    words = shlex.split(command)
    assert words[0] == "curl"
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if "-d" in words else "GET"
    body = words[words.index("-d") + 1] if "-d" in words else None
    return method, words[-1].removeprefix("http://127.0.0.1:8080"), body


def call(daemon: RunningDaemon, command: str) -> Answer:
    method, path, body = read_call(command)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    return daemon.request(method, path, body, headers)


def assert_shown(shown: Any, given: Any) -> None:
    """What is shown is in what was given."""
    if isinstance(shown, dict):
        for name, value in shown.items():
            assert name in given, given
            assert_shown(value, given[name])
    else:
        assert given == shown


@pytest.mark.parametrize(("block", "shown"), CALLS, ids=at_line)
def test_the_tutorial(site: RunningDaemon, block: Block, shown: Block) -> None:
    answer = call(site, block.text)
    if shown.kind == "html":
        assert answer.body.decode() == shown.text.strip()
    else:
        assert shown.kind == "json"
        assert_shown(json.loads(shown.text), answer.json)


@pytest.mark.parametrize(("block", "message"), EXAMPLES, ids=at_line)
def test_the_examples(site: RunningDaemon, block: Block, message: str) -> None:
    record = site.post(f"/api/webhook/acme/example-{block.line}").json
    if message:
        assert record["status"] == "ENDED_ERROR"
        assert record["message"].endswith(message)
    else:
        assert record["status"] == "ENDED_SUCCESS", record["message"]


def test_the_page_has_what_it_promises() -> None:
    assert len(CALLS) >= 10
    assert len(EXAMPLES) >= 8
    assert sum(block.text.count("# →") for block, _ in EXAMPLES) >= 25


def test_the_async_call_can_be_followed(site: RunningDaemon) -> None:
    answer = site.post("/api/webhook/acme/slow?async&steps=4")
    path = answer.headers["location"]
    wait_for(lambda: site.get(path).json["message"].startswith("step"), "what was saved")
    assert site.get(f"{path}?wait=10").json["message"] == "the report is ready"


# ---- lists that must agree with the source ---------------------------------------------------------------------------


def test_the_modules_are_those_that_flows_have() -> None:
    listed = re.findall(r"`([\w.]+)`", PAGE.split("<!-- modules -->")[1].split("<!-- /modules -->")[0])
    # flow_api joins the list when the flows' builtins are loaded, which another test may have done.
    assert {*listed, "flow_api"} == {*importable_names(), "flow_api"}


def test_the_fields_are_those_of_an_execution() -> None:
    match = re.search(r"several names give a tuple\. Fields: (.*?) \|", PAGE)
    assert match is not None
    assert re.findall(r"`(\w+)`", match[1]) == list(READABLE)


def test_every_name_of_the_api_is_on_the_page() -> None:
    kinds = (executions.Child, records.Setting, records.File, records.Flow, system.System, system.ReturnWhen, this.This)
    names = {name for kind in kinds for name in dir(kind) if not name.startswith("_")} | set(public_names(FLOW_API))
    missing = {name for name in names if not re.search(rf"\b{name}\b", PAGE)}
    assert not missing


def test_the_readme_leads_here() -> None:
    assert "](docs/flows.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_within_the_page_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    }
    for target in re.findall(r"\]\(#([\w-]+)\)", PAGE):
        assert target in anchors, target
