"""Which children a source means to start later, and that they are: at `.run()`, inside the flow's own `try`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from textwrap import dedent, indent

import pytest

from whd.sandbox.deferred_starts import find_deferred_starts

from .far_side import Ended
from .test_flow_api import flow
from .test_flow_api_children import GET, START, SUCCESS, WAIT, names, run


def deferred(body: str) -> list[str]:
    """What the deferred children of a handler with this body are called: the first argument, else the line."""
    tree = ast.parse("def handler(system, this):\n" + indent(dedent(body).strip("\n"), "    "))
    found = find_deferred_starts(tree)
    return [
        call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else str(call.lineno)  # type: ignore[misc]
        for call in found
    ]


DEFERRED = [
    ("a name", "c = this.flow('a')\nc.run()"),
    ("a task", "t = this.task('a', url='https://a')\ntry:\n    t.run()\nexcept Exception:\n    pass"),
    ("a connection", "t = this.connect('a')\nt.run_async()"),
    ("in one expression", "this.flow('a').run_async()"),
    ("in one expression, kept", "c = this.flow('a').run_async()\nc.wait()"),
    ("whatever the execution is called", "c = execution.flow('a')\nc.run()"),
    ("an annotated name", "c: object = this.flow('a')\nc.run()"),
    ("two names of one", "c = d = this.flow('a')\nd.run()"),
    ("another name of it", "c = this.flow('a')\nd = c\nd.run()"),
    ("a name within an expression", "use(c := this.flow('a'))\nc.run()"),
    ("names in a tuple", "c, d = this.flow('a'), this.flow('b')\nc.run()\nd.run_async()"),
    ("an attribute", "self.child = this.flow('a')\nself.child.run()"),
    ("an item", "children['x'] = this.flow('a')\nchildren['x'].run()"),
    ("the items of a dict", "c = {}\nc['x'] = this.flow('a')\nfor n, d in c.items():\n    d.run_async()"),
    ("a list", "c = [this.flow('a'), this.flow('b')]\nfor d in c:\n    d.run_async()\nthis.wait_for(*c)"),
    ("a list of a list", "c = [[this.flow('a')]]\nfor d in c:\n    for e in d:\n        e.run()"),
    ("a list that grows", "c = []\nfor n in ns:\n    c.append(this.flow('a'))\nfor d in c:\n    d.run_async()"),
    ("a list that is added to", "c = []\nc += [this.flow('a')]\nc[0].run()"),
    ("a list of one more", "c = []\nc = c + [this.flow('a')]\nc.pop().run()"),
    ("an attribute that grows", "self.c = []\nself.c.append(this.flow('a'))\nfor d in self.c:\n    d.run()"),
    ("a comprehension", "c = [this.flow('a') for n in ns]\n[d.run_async() for d in c]"),
    ("a comprehension of it", "c = [this.flow('a') for n in ns]\nthis.wait_for([d.run_async() for d in c])"),
    ("a dict comprehension", "c = {n: this.flow('a') for n in ns}\nfor d in c.values():\n    d.run()"),
    ("a generator", "c = list(this.flow('a') for n in ns)\nfor d in c:\n    d.run()"),
    ("over enumerate", "c = [this.flow('a')]\nfor n, d in enumerate(c):\n    d.run()"),
    ("by its place", "c = [this.flow('a')]\nfor n in range(len(c)):\n    c[n].run_async()"),
    ("by map", "c = [this.flow('a')]\nlist(map(lambda d: d.run_async(), c))"),
    ("taken out one by one", "c = [this.flow('a')]\nwhile c:\n    c.pop(0).run()"),
    ("unpacked", "c = [this.flow('a') for n in ns]\nd, *e = c\ne[0].run()"),
    ("a method that is kept", "c = this.flow('a')\nstart = c.run_async\nstart()"),
    ("one branch starts it", "c = this.flow('a')\nif x:\n    c.run()\nelse:\n    c.run_async()"),
    ("one branch makes it", "if x:\n    c = this.flow('a')\nelse:\n    c = this.task('b')\nc.run()"),
    ("either", "c = this.flow('a') if x else this.flow('b')\nc.run()"),
    ("or else", "c = found or this.flow('a')\nc.run()"),
    (
        "a loop",
        """
        for n in range(3):
            c = this.flow('a')
            try:
                c.run()
                break
            except Exception:
                pass
        """,
    ),
    ("the next turn of a loop", "c = None\nfor n in ns:\n    if c:\n        c.run()\n    c = this.flow('a')"),
    ("made in try", "try:\n    c = this.flow('a')\nexcept Exception:\n    raise\nc.run()"),
    ("started in finally", "c = this.flow('a')\ntry:\n    x()\nfinally:\n    c.run()"),
    ("started in except", "try:\n    c = this.flow('a')\n    x()\nexcept Exception:\n    c.run()"),
    ("within with", "with x as y:\n    c = this.flow('a')\nc.run()"),
    ("a function within starts it", "c = this.flow('a')\ndef go():\n    c.run()\ngo()"),
    ("a lambda starts it", "c = this.flow('a')\ngo = lambda: c.run()\ngo()"),
    ("in a function within", "def go():\n    c = this.flow('a')\n    c.run()\ngo()"),
    ("in a method", "class A:\n    def go(self):\n        c = this.flow('a')\n        c.run()"),
    (
        "in a function of a method",
        """
        class A:
            def go(self):
                def f():
                    self.c = this.flow('a')
                    self.c.run()
        """,
    ),
]  # fmt: skip

AT_ONCE = [
    ("nothing starts it", "c = this.flow('a')\nprint(c.get('output_value'))"),
    ("it is waited for", "c = this.flow('a')\nc.wait()"),
    ("it is waited for with others", "c = this.flow('a')\nthis.wait_for(c)"),
    ("told when to run", "c = this.flow('a', run=True)\nc.run()"),
    ("told to wait", "c = this.flow('a', wait=True)\nc.run_async()"),
    ("told not to wait", "c = this.flow('a', wait=False)\nc.run()"),
    ("its name was given to another", "c = this.flow('a')\nc = this.flow('b', run=False)\nc.run()"),
    ("its name was given to another in a loop", "for n in ns:\n    c = this.flow('a')\nfor c in others:\n    c.run()"),
    ("the same name elsewhere", "def f():\n    c = this.flow('a')\n    return c\ndef g(c):\n    c.run()"),
    (
        "the same attribute elsewhere",
        """
        class A:
            def f(self):
                self.c = this.flow('a')
            def g(self):
                self.c.run()
        """,
    ),
    ("started before it is made", "c = other()\nc.run()\nc = this.flow('a')"),
    ("handed to a function", "c = this.flow('a')\nstart(c)"),
    ("its output is started", "c = use(this.flow('a').get('output_value'))\nc.run()"),
    ("another item of the comprehension", "c = [this.flow('a') for n in ns]\n[d.run() for d in others]"),
]  # fmt: skip


@pytest.mark.parametrize("body", [case[1] for case in DEFERRED], ids=[case[0] for case in DEFERRED])
def test_a_child_that_is_started_by_a_later_statement_is_deferred(body: str) -> None:
    assert deferred(body) == (["a", "b"] if "'b'" in body else ["a"])


@pytest.mark.parametrize("body", [case[1] for case in AT_ONCE], ids=[case[0] for case in AT_ONCE])
def test_every_other_child_runs_where_it_is_made(body: str) -> None:
    assert deferred(body) == []


def test_of_two_with_one_name_only_the_one_that_is_started_is_deferred() -> None:
    body = "c = this.flow('first')\nuse(c.get('output_value'))\nc = this.flow('second')\nc.run()"
    assert deferred(body) == ["second"]


def test_reading_a_source_takes_no_longer_for_loops_within_loops() -> None:
    body = "".join(f"{'    ' * depth}for n{depth} in [c]:\n" for depth in range(18))
    assert deferred("c = this.flow('a')\n" + body + "    " * 18 + "c = n17\n" + "    " * 18 + "c.run()") == ["a"]


def test_reading_a_source_takes_no_longer_for_functions_within_finally() -> None:
    body = "".join(
        f"{'    ' * 2 * depth}try:\n{'    ' * 2 * depth} pass\n{'    ' * 2 * depth}finally:\n"
        f"{'    ' * 2 * depth}    def f{depth}():\n"
        for depth in range(24)
    )
    assert deferred("c = this.flow('a')\n" + body + "    " * 48 + "c.run()") == ["a"]


def test_its_failure_is_raised_where_the_flow_expects_it(run_flow: Callable[..., Ended]) -> None:
    body = """
    task = this.task('REST', url='https://a', end='ENDED_ERROR', message='broken')
    this.log('made')
    try:
        task.run()
    except flow_api.DependencyFailedError:
        this.set_output('caught', task.get('message'))
    """
    ended = run(run_flow, body)
    assert (ended.status, ended.output) == (SUCCESS, {"caught": "broken"})


def test_they_run_side_by_side(run_flow: Callable[..., Ended]) -> None:
    body = """
    executions = [this.flow('a'), this.flow('b')]
    for execution in executions:
        execution.run_async()
    this.wait_for(*executions)
    this.set_output([execution.get('output_value')['got'] for execution in executions])
    """
    ended = run(run_flow, body)
    assert ended.status == SUCCESS, ended.message
    assert names(ended) == [START, START, WAIT, GET, GET]


def test_own_classes_with_such_methods_are_left_alone(run_flow: Callable[..., Ended]) -> None:
    body = """
    class Database:
        def connect(self, name):
            return Connection()
    class Connection:
        def run(self, query): return [query]
    connection = Database().connect('main')
    this.set_output(connection.run('select 1'))
    """
    assert run(run_flow, body).output == ["select 1"]


def test_what_a_refused_source_is_refused_for_stays_the_same(compile_flow: Callable[..., dict[str, object]]) -> None:
    refused = compile_flow(flow("c = this.flow('a')\nc.run()\nc.__class__"))
    assert refused["op"] == "refused"
    assert "signup.py:5" in str(refused["text"])
