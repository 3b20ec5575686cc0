"""`whd check` knows what would fail only at run time, from the real classes and facades; in doubt it is silent."""

from __future__ import annotations

from textwrap import dedent, indent
from typing import Any

import pytest

from tests.contract.test_published_style import SCRIPTS, Script
from whd.sandbox.api.executions import Child
from whd.sandbox.api.records import Client, File, Flow, Setting, User
from whd.sandbox.api.sealed import Sealed
from whd.sandbox.api.system import System
from whd.sandbox.api.this import This
from whd.sandbox.compiler import compile_flow
from whd.sandbox.foreseen import MAX_SOURCE_CHARS, offered_module
from whd.sandbox.modules import importable_names
from whd.sandbox.modules.facade import public_names

PATH = "flows/acme/x.py"


def warned(source: str, *, is_module: bool = False) -> list[tuple[int, str]]:
    return list(compile_flow(dedent(source).strip("\n"), PATH, is_module=is_module).warnings)


def of(body: str, top: str = "") -> list[str]:
    """The warnings of a handler with this body."""
    source = f"{dedent(top)}\ndef handler(system, this):\n{indent(dedent(body).strip(chr(10)), '    ')}\n"
    return [text for _, text in warned(source)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("this.lgo('x')", "this has no `lgo`: this line will fail - did you mean this.log?"),
        ("system.fiels('.')", "system has no `fiels`: this line will fail - did you mean system.files?"),
        ("system.zebra()", "system has no `zebra`: this line will fail; it has: execution, "),
        ("this.archive()", "this.archive is not available in whd; ended executions go by themselves"),
        ("system.connection('x')", "system.connection is not available in whd; give this.task('REST', …)"),
        ("this.x = 1", "`this.x` cannot be set"),
        ("this.x += 1", "`this.x` cannot be set"),
        ("del system.setting", "`system.setting` cannot be set"),
        ("system.setting('x').gett()", "setting has no `gett`: this line will fail - did you mean setting.get?"),
        ("this.flow('x').wai()", "child has no `wai`: this line will fail - did you mean child.wait?"),
        ("this.flow('x').run().gte('name')", "child has no `gte`: this line will fail - did you mean child.get?"),
        ("system.return_when.ALL_ENDD", "did you mean system.return_when.ALL_ENDED?"),
        ("this.sleep()", "this call will fail: this.sleep: missing a required argument: 'seconds'"),
        ("this.sleep(secs=1)", "this.sleep: there is no argument 'secs' - did you mean seconds?"),
        ("this.sleep(1, 2)", "this call will fail: this.sleep: too many positional arguments"),
        ("this.webhook_response('x', header={})", "there is no argument 'header' - did you mean headers?"),
        ("system.files(dirr='x')", "system.files: there is no argument 'dirr' - did you mean dir?"),
        (
            "this.flow('x').wait(return_wen=1)",
            "child.wait: there is no argument 'return_wen' - did you mean return_when?",
        ),
        ("this.flow()", "this call will fail: this.flow needs the flow's name"),
        ("this.task()", "this call will fail: this.task needs the type of the task"),
        ("system.setting()", "this call will fail: system.setting needs a name"),
        ("system.setting(name, vlaue=1)", "there is no field 'vlaue'"),
        ("system.file(name, contents='x')", "there is no field 'contents'"),
        ("this.save(outputs={})", "the field 'outputs' cannot be set"),
        ("this.set('status', name)", "the field 'status' cannot be set"),
        ("this.get('inputs')", "this execution has no field 'inputs'; it has: id, name, "),
        ("this.get('name', 'inputs')", "this execution has no field 'inputs'"),
        ("this.end('failed')", "this.end: 'success' or 'error', not 'failed'"),
        ("this.sleep(-1)", "sleep: seconds must be 0 or more"),
        ("system.file('/a')", "cannot be a file's name"),
    ],
)
def test_a_wrong_use_of_system_or_this_is_foreseen(body: str, words: str) -> None:
    body = body if "name" not in body.replace("'name'", "") else f"name = this.get('name')\n{body}"
    found = of(body)
    assert [words in text for text in found if not text.startswith("the name")] == [True], found


@pytest.mark.parametrize(
    "body",
    [
        "this.log(a=1)",
        "this.flow('x', anything=1, name='y').run_async()",
        "this.flow(flow_name='x', run=False)",
        "this.task('REST', url='x', whatever=1)",
        "this.connect(url='x')",
        "this.connect(connector_type='REST', url='x')",
        "this.set(message='x')",
        "this.set_output(name='x', value='y')",
        "this.set_output('a', 1)",
        "system.setting('x', value=1).get('value')",
        "system.setting(name='x')",
        "system.file(path='x').get('content')",
        "options = {}\nthis.sleep(**options)",
        "options = [1]\nthis.sleep(*options)",
        "options = [1]\nthis.sleep(options[0])",
        "field = this.log()\nthis.get(field)",
        "if hasattr(this, 'later'):\n    this.later()",
        "try:\n    this.later()\nexcept AttributeError:\n    pass",
        "try:\n    this.get('inputs')\nexcept Exception:\n    pass",
        "try:\n    this.get('inputs')\nexcept:\n    pass",
        "this = {}\nthis.update(a=1)",
        "for this in []:\n    this.anything()",
        "[this.upper() for this in ['a']]",
        "(lambda this: this.upper())",
        "run = this.log()\nthis.flow('x', run=run, wait=run)",
        "status = this.log()\nthis.webhook_response('x', status=status, headers=status)",
        "def f(this):\n    this.log()",
        "def f(this: str):\n    this.upper()",
        "def f(*this):\n    this.count(1)",
        "def f(system: dict):\n    system.items()",
        "def f(child: flow_api.Execution):\n    child.wait()",
        "def f(self):\n    self.anything()",
        "child = this.flow('x')\nchild.anything()",
        "system.get_own_user().get('name')",
        "this.wait_for(this.flow('x'), return_when=system.return_when.ALL_ENDED)",
        "this.success(f'{1}')",
        "return this.end('success', 'x')",
        "def f():\n    nonlocal_of_f = this.log\n    return nonlocal_of_f",
    ],
)
def test_what_works_or_may_work_is_no_warning(body: str) -> None:
    assert of(body) == []


def test_it_knows_the_two_by_whatever_name() -> None:
    source = """
    import flow_api
    def one(system, this):
        this.lgo()
    def two(s: flow_api.System):
        s.fiels()
    def three(t):
        t.anything()
    class Helper:
        def four(self, this: 'flow_api.Execution'):
            this.lgo()
    def handler(a, b):
        b.lgo()
        def inner():
            a.fiels()
        def shadowed(b):
            b.anything()
        [b.lgo() for x in 'y']
    """
    assert [line for line, text in warned(source) if "has no" in text] == [3, 5, 10, 12, 14, 17]


@pytest.mark.parametrize("kind", [System, This, Child, Setting, File, Flow, User, Client])
def test_every_attribute_of_the_real_classes_is_known(kind: type[Sealed]) -> None:
    """And those of the original platform that whd lacks say so in the API's own words."""
    made: dict[Any, str] = {
        System: "system", This: "this", Child: "this.flow('x')", Setting: "system.setting('x')",
        File: "system.file('x')", Flow: "system.flow('x')", User: "system.get_own_user()",
        Client: "system.get_own_client()",
    }  # fmt: skip
    names = [name for name in dir(kind) if not name.startswith("_")]
    assert of("\n".join(f"{made[kind]}.{name}" for name in names)) == []
    for name, instead in kind._missing.items():
        (text,) = of(f"{made[kind]}.{name}")
        assert text.endswith(f".{name} is not available in whd; {instead}")


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("retrun", "the name `retrun` is not defined here: this will fail"),
        ("cuont = 1\nreturn coutn", "did you mean cuont?"),
        ("json.loads('1')", "the name `json` is not defined here: this will fail; write `import json`"),
        ("lenn('x')", "did you mean len?"),
        ("raise ValeuError('x')", "did you mean ValueError?"),
        ("return [y for x in 'a']", "the name `y`"),
        ("class A:\n    x = missing", "the name `missing`"),
        ("def f(x=missing): pass", "the name `missing`"),
    ],
)
def test_a_name_that_is_defined_nowhere_is_foreseen(body: str, words: str) -> None:
    (text,) = of(body)
    assert words in text


def test_a_name_of_another_function_is_not_defined_here() -> None:
    source = """
    def helper():
        return data + len(this.get('name'))
    def handler(system, this):
        data = 1
        return helper()
    """
    assert warned(source) == [
        (2, "the name `data` is not defined here: this will fail"),
        (
            2,
            "the name `this` is not defined here: this will fail; hand it on as an argument, "
            "it is one of the handler's",
        ),
    ]


@pytest.mark.parametrize(
    "body",
    [
        "return later()",
        "global made\nmade = 1",
        "return made_elsewhere",
        "try:\n    undefined\nexcept NameError:\n    pass",
        "x: Undefined = 1",
        "print(len('x'), flow_api)",
        "with open_later as f:\n    return f",
        "[x for x in 'a' if x]",
        "import json as j\nj.dumps(1)",
        "try:\n    pass\nexcept ValueError as error:\n    print(error)",
        "(n := 1)\nreturn n",
    ],
)
def test_names_that_are_defined_somehow_are_no_warning(body: str) -> None:
    top = """
    def later(): return 1
    def makes():
        global made_elsewhere
        made_elsewhere = 1
    open_later = None
    """
    assert of(body, top) == []


def test_lazy_annotations_are_not_looked_at() -> None:
    lazy = "from __future__ import annotations\ndef handler(system: Sys, this: Exec) -> Nothing:\n    x: Y = 1\n"
    assert warned(lazy) == []
    assert len(warned(lazy.partition("\n")[2])) == 3


# ---- modules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "import os\nos.environ['x']",
            "flows have no `environ` in the module `os`: this line will fail; keep it in a setting",
        ),
        ("import os\nos.path.exists('x')", "flows have no `exists` in the module `os.path`"),
        ("import os.path as p\np.exists('x')", "flows have no `exists` in the module `os.path`"),
        ("import time as t\nt.slep(1)", "did you mean sleep?"),
        ("import datetime\ndatetime.now()", "did you mean datetime.datetime.now?"),
        ("import urllib.parse\nurllib.parse.urlencod({})", "did you mean urlencode?"),
        ("from os import environ", "flows have no `environ` in the module `os`: this import will fail"),
        ("from json import tool as t, dumps", "flows have no `tool` in the module `json`: this import will fail"),
        ("from os import path\npath.exists('x')", "flows have no `exists` in the module `os.path`"),
        ("import yaml\nyaml.load('x')", "use yaml.safe_load"),
        ("flow_api.Sytem", "did you mean System?"),
        ("import json\njson.x = 1", "modules cannot be changed: setting `json.x` will fail"),
        ("def f():\n    import math\n    return math.squareroot(1)", "flows have no `squareroot` in the module `math`"),
    ],
)
def test_what_an_offered_module_does_not_have_is_foreseen(source: str, words: str) -> None:
    found = of("pass", source)
    assert [words in text for text in found] == [True], found


@pytest.mark.parametrize(
    "source",
    [
        "import os, json, time\nos.path.join('a', 'b')\njson.dumps(1)\ntime.sleep(0)\ntime.time()",
        "import os\nimport os.path\nos.path.join('a', 'b')",
        "import json\njson = {}\njson.update(a=1)",
        "import json\ndef f(json):\n    json.anything()",
        "try:\n    from os import environ\nexcept ImportError:\n    environ = {}",
        "import os\nif hasattr(os, 'environ'):\n    os.environ",
        "import os\ntry:\n    os.environ\nexcept AttributeError:\n    pass",
        "from lib import mail\nmail.anything()",
        "import lib.os\nlib.os.environ",
        "from lib.os import environ",
        "from __future__ import annotations, division",
        "from datetime import datetime\ndatetime.now()",
        "import datetime as json\njson.datetime.now()",
    ],
)
def test_what_is_there_or_may_be_is_no_warning(source: str) -> None:
    assert of("pass", source) == []


@pytest.mark.parametrize("name", [*importable_names(), "flow_api"])
def test_every_name_of_the_real_facades_is_known(name: str) -> None:
    facade = offered_module(name)
    assert facade is not None
    reads = "\n".join(f"m.{each}" for each in public_names(facade))
    assert of("pass", f"import {name} as m\n{reads}\nfrom {name} import {', '.join(public_names(facade))}") == []


# ---- all of it -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_published_flows_have_no_false_warnings(script: Script) -> None:
    """Those that name what whd lacks are warned of, and rightly."""
    found = [text for _, text in warned(script.source) if "no module" not in text]
    assert [text for text in found if "is not available in whd" not in text] == []


def test_a_module_is_looked_at_too() -> None:
    source = "def f(this):\n    this.lgo(undefined)\n"
    assert [line for line, _ in warned(source, is_module=True)] == [2, 2]


def test_a_source_that_nobody_wrote_by_hand_is_left_alone() -> None:
    source = "undefined\ndef handler(system, this): pass\n"
    assert len(warned(source)) == 1
    assert warned(source + "#" * MAX_SOURCE_CHARS) == []
