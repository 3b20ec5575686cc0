"""What the language lets a flow do with its client's helper modules, and that nothing of them outlives an execution."""

from __future__ import annotations

import json
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from whd.sandbox.compiler import Refused, compile_flow
from whd.sandbox.helper_modules import ModuleLoader
from whd.wire.frames import LibImport, frame

from .far_side import Ended, TestWorker

PATH = "flows/acme/x.py"
HANDLER = "\ndef handler(system, this): pass\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from lib import a", [("a", False)]),
        ("from lib import a as b, c", [("a", False), ("c", False)]),
        ("import lib.a", [("a", False)]),
        ("import lib.a as b, json, lib.c", [("a", False), ("c", False)]),
        ("from lib.a import f, g", [("a", False)]),
        ("def f():\n    from lib import a", [("a", False)]),
        ("try:\n    from lib import a\nexcept ImportError:\n    a = None", [("a", True)]),
        ("try:\n    from lib import a\nexcept (ValueError, ModuleNotFoundError):\n    a = None", [("a", True)]),
        ("try:\n    if x:\n        import lib.a\nexcept:\n    pass", [("a", True)]),
        ("try:\n    from lib import a\nexcept ValueError:\n    pass", [("a", False)]),
        ("try:\n    pass\nexcept ImportError:\n    from lib import a", [("a", False)]),
        ("try:\n    def f():\n        from lib import a\nexcept ImportError:\n    pass", [("a", False)]),
        ("try:\n    from lib import a\nexcept ImportError:\n    pass\nfrom lib import a", [("a", False)]),
        ("library = 'from lib import a'\nfrom os import path", []),
        ("import libb, glib", []),
    ],
)
def test_what_a_source_imports_is_known_before_it_runs(source: str, expected: list[tuple[str, bool]]) -> None:
    found = compile_flow(source + HANDLER, PATH).imports
    assert [(one.module, one.is_optional) for one in found] == expected
    assert found == tuple(sorted(found))
    assert all(isinstance(one, LibImport) and one.line > 0 for one in found)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("from lib import *", "name what you need"),
        ("from lib.a import *", "name what you need"),
        ("import lib", "write `from lib import name` or `import lib.name`"),
        ("import lib.a.b", "put the file into lib itself, and import `lib.a`"),
        ("from lib.a.b import c", "put the file into lib itself, and import `lib.a`"),
        ("from . import a", "flows have no packages to import from"),
        ("from lib import _a", "starts with an underscore"),
        ("from lib import _a as a", "starts with an underscore"),
        ("import lib._a", "the module `lib._a` is private"),
        ("from lib.a import __globals__ as g", "starts with an underscore"),
    ],
)
def test_other_forms_are_refused_with_the_way_to_do_it(source: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        compile_flow(source + HANDLER, PATH)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{PATH}:1: ")


def test_a_module_has_the_policy_of_a_flow_and_no_handler() -> None:
    compile_flow("x = 1", "flows/acme/lib/x.py", is_module=True)
    for source in ("exec('x')", "_x = 1", "().__class__", "async def f(): pass"):
        with pytest.raises(Refused, match=r"^flows/acme/lib/x\.py:1: "):
            compile_flow(source, "flows/acme/lib/x.py", is_module=True)


RunWith = Callable[..., Ended]


@pytest.fixture
def run_with(workers: Callable[..., TestWorker]) -> RunWith:
    """Runs a flow with modules in a worker that stays; each as a text, by name."""
    worker = workers()
    count = 0

    def run(source: str, **modules: str) -> Ended:
        nonlocal count
        count += 1
        members = []
        for name, text in modules.items():
            path = f"flows/acme/lib/{name}.py"
            head = {"op": "compile", "hash": "h", "flow": name, "path": path, "source": dedent(text)}
            compiler = workers()
            compiler.send({**head, "is_module": True})
            compiled = compiler.receive()[0]
            assert compiled["op"] == "compiled", compiled["text"]
            members.append({"name": name, "path": path, "source": dedent(text), "code": compiled["code"]})
        compiled = workers().compile(dedent(source))[0]
        assert compiled["op"] == "compiled", compiled["text"]
        digest = f"hash {count}"
        head = {"op": "code", "hash": digest, "flow": "signup", "path": "flows/acme/signup.py"}
        worker.socket.sendall(frame({**head, "source": dedent(source), "code": compiled["code"], "modules": members}))
        return worker.finish(worker.start(digest))

    return run


def output(ended: Ended) -> Any:
    assert ended.status == "ENDED_SUCCESS", ended.message
    return ended.output


def test_a_module_shows_its_names_as_they_are_now(run_with: RunWith) -> None:
    flow = """
    from lib import a
    import lib.a as other
    def handler(system, this):
        before = a.total
        a.add()
        this.set_output(x=[before, a.total, other is a, hasattr(a, 'add'), hasattr(a, 'print'), hasattr(a, 'gone')])
        this.set_output(y=[getattr(a, 'total'), a.json.dumps(1), repr(a), a.Error is not None])
    """
    module = """
    import json
    total = 0
    class Error(Exception):
        pass
    def add():
        global total
        total += 1
    """
    ended = run_with(flow, a=module)
    assert output(ended) == {"x": [0, 1, True, True, False, False], "y": [1, "1", "<module lib.a>", True]}
    assert "fresh" not in ended.head, "a module costs no process"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("a.gone", "AttributeError: there is no 'gone' in lib.a; it has: f, x"),
        ("getattr(a, '_namespace')", "starts with an underscore"),
        ("getattr(a, '__dict__')", "starts with an underscore"),
        ("type(a)()", "TypeError: type() of a HelperModule is not available to flows"),
        ("a.x = 2", "TypeError: a flow cannot change attributes of the module lib.a"),
        ("type(a).x = 2", "TypeError: type() of a HelperModule is not available to flows"),
        ("setattr(a, 'x', 2)", "TypeError: a flow cannot change attributes of the module lib.a"),
        ("import lib.a\n    lib.b", "AttributeError: there is no 'b' in lib; it has: a"),
        ("from lib.a import gone", "ImportError: there is no 'gone' in lib.a; it has: f, x"),
        ("class B(type(a)):\n        pass", "type() of a HelperModule is not available to flows"),
    ],
)
def test_what_a_flow_cannot_do_with_one(run_with: RunWith, body: str, words: str) -> None:
    ended = run_with(f"from lib import a\ndef handler(system, this):\n    {body}\n", a="x = 1\ndef f(): pass\n")
    assert ended.status == "ENDED_ERROR"
    assert words in ended.message


def test_a_text_that_lies_about_itself_reads_nothing_hidden() -> None:
    """Whatever would hand a flow's own subclass of str to Python's getattr."""

    class Lying(str):
        def startswith(self, *_args: Any) -> bool:
            return False

    module = ModuleLoader({"a": compile("x = 1", "a", "exec")}, {"__builtins__": {}}).find("lib.a", ("x",))
    assert module.x == 1
    for name in ("__builtins__", "_private"):
        with pytest.raises(AttributeError):
            module.__getattr__(Lying(name))


def test_copies_are_the_module_itself(run_with: RunWith) -> None:
    flow = """
    import copy
    from lib import a
    def handler(system, this):
        this.set_output(x=[copy.copy(a) is a, copy.deepcopy([a])[0] is a])
    """
    assert output(run_with(flow, a="")) == {"x": [True, True]}


def test_one_that_fails_is_tried_again_at_the_next_import(run_with: RunWith) -> None:
    flow = """
    from lib import state
    def attempt():
        try:
            from lib import a
            return a.x
        except ZeroDivisionError:
            state.tries.append(1)
            return None
    def handler(system, this):
        this.set_output(x=[attempt(), attempt(), len(state.tries)])
    """
    modules = {"state": "tries = []", "a": "from lib import state\nx = 7 if state.tries else 1 / 0\n"}
    assert output(run_with(flow, **modules)) == {"x": [None, 7, 1]}


def test_the_end_of_the_flow_passes_a_module(run_with: RunWith) -> None:
    flow = "from lib import a\ndef handler(system, this):\n    a.finish(this)\n    this.set_output(x=1)\n"
    module = "def finish(this):\n    try:\n        this.success('done')\n    except BaseException:\n        pass\n"
    ended = run_with(flow, a=module)
    assert (ended.status, ended.message, ended.output) == ("ENDED_SUCCESS", "done", {})


def test_nothing_of_a_module_is_left_for_the_next_execution(run_with: RunWith) -> None:
    flow = "from lib import a\ndef handler(system, this):\n    a.seen.append(1)\n    this.set_output(x=len(a.seen))\n"
    module = "seen = []\ndef f(x=[]):\n    return x\n"
    for _ in range(3):
        assert output(run_with(flow, a=module)) == {"x": 1}


def test_what_stays_alive_of_a_module_costs_the_process(run_with: RunWith) -> None:
    """As of a flow: a suspended generator of the module may run later."""
    flow = "from lib import a\ndef handler(system, this):\n    this.set_output(x=next(a.kept))\n"
    held = "import functools\ndef g():\n    yield 1\nkept = g()\n"
    assert output(run_with(flow, a=held)) == {"x": 1}
    lying = "class T(str):\n    def __hash__(self):\n        return 1\n"
    assert run_with("from lib import a\ndef handler(system, this): pass\n", a=lying).head.get("fresh") is True


def test_log_and_output_show_a_module_as_no_value(run_with: RunWith) -> None:
    flow = "from lib import a\ndef handler(system, this):\n    this.log(a)\n    print(a)\n    this.set_output(x=a)\n"
    ended = run_with(flow, a="x = 'text of the module'")
    assert ended.status == "ENDED_ERROR"
    assert "output_value['x'] is" in ended.message
    assert "0x" not in json.dumps([ended.log, ended.message])
    assert "text of the module" not in json.dumps(ended.log)
