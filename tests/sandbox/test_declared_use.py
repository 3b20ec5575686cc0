"""What `whd check` can see in a source of what a flow uses."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from whd.sandbox.declared_use import find_declared_uses
from whd.wire.frames import MAX_DECLARED_USES


def declared_uses(body: str) -> list[tuple[str, str]]:
    return [(use.action, use.name) for use in find_declared_uses(ast.parse(dedent(body)))]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("system.setting('x').get('value')", [("read_setting", "x")]),
        ("system.setting('x').load('value')", [("read_setting", "x")]),
        ("system.setting(name='x').exists()", [("read_setting", "x")]),
        ("system.setting('x').save(value=1)", [("write_setting", "x")]),
        ("system.setting('x').list_append(1)", [("write_setting", "x")]),
        ("system.setting('x').acquire(timeout=3)", [("write_setting", "x")]),
        ("system.setting('x', value=1)", [("write_setting", "x")]),
        ("system.setting('x', value=1).get()", [("read_setting", "x"), ("write_setting", "x")]),
        ("use(system.setting('x'))", [("setting", "x")]),
        ("s = system.setting('x')\ns.save(value=s.get())", [("read_setting", "x"), ("write_setting", "x")]),
        ("system.setting(select='x').update(value=1)", [("write_setting", "x")]),
        ("system.setting('x', init={'value': 1})", [("write_setting", "x")]),
        ("system.setting('x', {'value': 1})", [("write_setting", "x")]),
        ("system.setting('x', value=1, save=False)", [("setting", "x")]),
        ("system.file('a/b', text='')", [("write_file", "a/b")]),
        ("system.setting('0f8fad5b', by='id').get()", []),
        ("system.file('a/b').get('content')", [("read_file", "a/b")]),
        ("system.file('a/b', content='')", [("write_file", "a/b")]),
        ("system.file('a/b').delete()", [("write_file", "a/b")]),
        ("system.flow('f').exists()", [("see_flow", "f")]),
        ("this.flow('f', a=1)", [("run_flow", "f")]),
        ("this.flow(flow_name='f').run_async()", [("run_flow", "f")]),
        ("this.task('REST', url='http://a/')", [("connect", "http://a/")]),
        ("this.task('REST', {'url': 'http://a/'})", [("connect", "http://a/")]),
        ("inputs = {'url': 'http://a/'}\nthis.task('REST', inputs=inputs)", [("connect", "http://a/")]),
        ("this.connect(url='http://a/')", [("connect", "http://a/")]),
        ("this.connect(connector_type='REST', url='http://a/')", [("connect", "http://a/")]),
        ("this.task('SMTP', to='x')", [("task", "SMTP")]),
        ("NAME = 'x'\nsystem.setting(NAME).get()", [("read_setting", "x")]),
        ("def handler(s, t):\n    s.setting('x').get()\n    t.flow('f')", [("read_setting", "x"), ("run_flow", "f")]),
        ("def helper(system):\n    return system.setting('x').get()", [("read_setting", "x")]),
        # What is not plain is left alone.
        ("system.setting(name).get()", []),
        ("name = 'x'\nname = 'y'\nsystem.setting(name).get()", []),
        ("for name in 'xy':\n    system.setting(name)", []),
        ("system.setting(f'x.{n}').get()", []),
        ("other.setting('x').get()", []),
        ("system.setting()", []),
        ("system.setting('').get()", []),
        ("system.setting(*names, **more).get()", []),
        ("this.task(**inputs)", []),
        ("this.task('REST', url=base + '/x')", []),
        ("{'a': 1}.get('value')", []),
    ],
)
def test_what_is_seen(body: str, found: list[tuple[str, str]]) -> None:
    assert declared_uses(body) == found


def test_places_are_told_in_order_and_without_end_they_are_not() -> None:
    body = "\n".join(f"system.setting('s{number}').get()" for number in range(MAX_DECLARED_USES + 5))
    found = find_declared_uses(ast.parse(body))
    assert [use.line for use in found] == list(range(1, MAX_DECLARED_USES + 1))
