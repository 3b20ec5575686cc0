"""The language of flows, a construct at a time: what compiles, and what is refused with which words."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from whd.sandbox.compiler import Refused, compile_flow
from whd.sandbox.names import CLASS_METHODS, INTERNAL_NAMES

HANDLER = "\ndef handler(system, this):\n    pass\n"
PATH = "flows/acme/signup.py"


def refusal(source: str) -> str:
    with pytest.raises(Refused) as caught:
        compile_flow(dedent(source).strip("\n") + HANDLER, PATH)
    return str(caught.value)


ALLOWED = [
    "x[k] += 1",
    "x.total += 1",
    "x[1:2] = []",
    "del x[0], x.y",
    "x: int = 3",
    "x.y: int = 3",
    "(x): int",
    "def f():\n    n = 0\n    def g():\n        nonlocal n\n        n += 1",
    "print('x', 1, sep='')",
    "p = print",
    "_ = 1",
    "for _, y in x: pass",
    "class C(Base, flag=True): pass",
    "class C:\n    def __init__(self): super().__init__()",
    "class C(B):\n    def __init__(self, *a, **k): super(C, self).__init__(*a, **k)",
    "class C:\n    def __getitem__(self, k): return super().__getitem__(k)",
    "a, (b, *c) = x",
    "with x as (a, b): pass",
    "with x: pass",
    "f(*args, **kwargs)",
    "lambda a, /, b, *, c=1, **d: a",
    "def f(a, /, b=1, *c, d, **e) -> int: pass",
    "{**a, 'b': 1}",
    "(y := 3)",
    "try:\n    pass\nexcept:\n    raise\nelse:\n    pass\nfinally:\n    pass",
    "raise ValueError('x') from None",
    "import os.path as p",
    "from collections import abc",
    "import requests",
    "f'{x!r:>{width}}'",
    "a @ b",
    "x if y else z",
    "numbers = (n for n in x)",
    "@decorator\ndef f(): yield 1",
    "def f():\n    x = yield from g()",
    "rest = ...",
    "input = 3; input + 1",
    "vars = {}; vars['x'] = 1",
    "def open(x): pass\nopen(1)",
    "printed = 1",
    "assert x, 'text'",
    "global counter",
]


@pytest.mark.parametrize("source", ALLOWED)
def test_ordinary_python_compiles(source: str) -> None:
    compile_flow(source + HANDLER, PATH)


def test_annotations_from_the_future_compile() -> None:
    compile_flow("from __future__ import annotations\n" + HANDLER, PATH)


@pytest.mark.parametrize("method", sorted(CLASS_METHODS))
def test_classes_may_define_these_methods(method: str) -> None:
    compile_flow(f"class C:\n    def {method}(self, *args): pass\n" + HANDLER, PATH)


@pytest.mark.parametrize("method", sorted(CLASS_METHODS))
def test_special_methods_stand_straight_in_a_class(method: str) -> None:
    assert f"`{method}` is not available" in refusal(f"def {method}(self): pass")
    assert f"`{method}` is not available" in refusal(f"class C:\n    def f(self):\n        def {method}(): pass")


REFUSED = [
    ("_x = 1", "the name `_x` starts with an underscore; instead: call it `x`"),
    ("__builtins__", "`__builtins__` is not available"),
    ("__name__", "a flow is started by its handler"),
    ("__import__('os')", "use an import statement"),
    ("x.__class__", "use isinstance(x, …) or type(x)"),
    ("x._private", "the attribute `_private` starts with an underscore"),
    ("x.__class__ = 1", "the attribute `__class__` starts with an underscore"),
    ("del x.__dict__", "the attribute `__dict__`"),
    ("x.__dict__['a'] += 1", "the attribute `__dict__`"),
    ("x.getbuffer()", "`getbuffer` is not available; instead: getvalue() gives the bytes"),
    ("x.format += 1", "instead: write x.format = x.format + y"),
    ("x._count += 1", "the attribute `_count`"),
    ("x._count: int = 1", "the attribute `_count`"),
    ("f'{x.__class__}'", "the attribute `__class__`"),
    ("[x.__class__ for x in y]", "the attribute `__class__`"),
    ("@x.__class__\ndef f(): pass", "the attribute `__class__`"),
    ("def f(a=x.__class__): pass", "the attribute `__class__`"),
    ("def f(a: x.__class__): pass", "the attribute `__class__`"),
    ("x: y.__class__ = 1", "the attribute `__class__`"),
    ("class C(x.__class__): pass", "the attribute `__class__`"),
    ("Base.__init__(self)", "call the class, or super().__init__(…)"),
    ("x().__init__()", "the attribute `__init__`"),
    ("super().__init__", "the attribute `__init__`"),
    ("super().__class__()", "the attribute `__class__`"),
    ("super().__getattribute__('x')", "the attribute `__getattribute__`"),
    ("super = 1", "`super` cannot be given another meaning"),
    ("def super(): pass", "`super` cannot be given another meaning"),
    ("def f(super): pass", "`super` cannot be given another meaning"),
    ("import json as super", "`super` cannot be given another meaning"),
    ("for super in x: pass", "`super` cannot be given another meaning"),
    ("class super: pass", "`super` cannot be given another meaning"),
    ("exec('1')", "`exec` is not available; instead: put the code into a function"),
    ("eval('1')", "`eval` is not available; instead: use json.loads"),
    ("e = exec", "`exec` is not available"),
    ("open('x')", "`open` is not available; instead: keep data in a setting"),
    ("compile('1', '', 'eval')", "`compile` is not available"),
    ("globals()", "`globals` is not available"),
    ("locals()", "`locals` is not available"),
    ("vars(x)", "`vars` is not available"),
    ("dir(x)", "`dir` is not available"),
    ("breakpoint()", "`breakpoint` is not available"),
    ("input('?')", "this.get('input_value')"),
    ("match x:\n    case 1: pass", "`match` is not available; instead: use if / elif"),
    ("async def f(): pass", "`async def` is not available"),
    ("async def f():\n    await x", "`async def` is not available"),
    ("async def f():\n    async with x: pass", "`async def` is not available"),
    ("async def f():\n    [y async for y in x]", "`async def` is not available"),
    ("try:\n    pass\nexcept* ValueError:\n    pass", "`except*` is not available; instead: use except"),
    ("class C(metaclass=M): pass", "a class cannot choose its metaclass"),
    ("class C(**kw): pass", "a class cannot choose its metaclass"),
    ("class C:\n    def __del__(self): pass", "`__del__` is not available; instead: of the special names"),
    ("class C:\n    def __getattr__(self, n): pass", "`__getattr__` is not available"),
    ("class C:\n    def __init_subclass__(cls): pass", "`__init_subclass__` is not available"),
    ("class C:\n    def __class_getitem__(cls, k): pass", "`__class_getitem__` is not available"),
    ("class C:\n    def __call__(self): pass", "`__call__` is not available"),
    ("class C:\n    __slots__ = ()", "`__slots__` is not available"),
    ("class C:\n    __init__ = f", "`__init__` is not available"),
    ("class C:\n    def __set_name__(self, o, n): pass", "`__set_name__` is not available"),
    ("from os import *", "`import *` is not available; instead: name what you need: from os import"),
    ("from . import x", "flows have no packages to import from"),
    ("from .x import y", "flows have no packages to import from"),
    ("import _thread", "the module `_thread` is private"),
    ("import os._exit as e", "the module `os._exit` is private"),
    ("from os import _exit", "the name `_exit` starts with an underscore"),
    ("from os import _exit as e", "the attribute `_exit` starts with an underscore"),
    ("import json as _getattr_", "the name `_getattr_` starts with an underscore"),
    ("from json import loads as _write_", "the name `_write_` starts with an underscore"),
    ("global _end_", "the name `_end_` starts with an underscore"),
    ("def f():\n    def g():\n        nonlocal __class__", "`__class__` is not available"),
    ("def _getattr_(o, n): pass", "the name `_getattr_` starts with an underscore"),
    ("class _write_: pass", "the name `_write_` starts with an underscore"),
    ("def f(_getattr_, /): pass", "the name `_getattr_` starts with an underscore"),
    ("def f(_getattr_): pass", "the name `_getattr_` starts with an underscore"),
    ("def f(*_getattr_): pass", "the name `_getattr_` starts with an underscore"),
    ("def f(*, _getattr_): pass", "the name `_getattr_` starts with an underscore"),
    ("def f(**_getattr_): pass", "the name `_getattr_` starts with an underscore"),
    ("lambda _write_, /: 1", "the name `_write_` starts with an underscore"),
    ("lambda *_write_: 1", "the name `_write_` starts with an underscore"),
    ("[1 for _end_ in x]", "the name `_end_` starts with an underscore"),
    ("with x as _end_: pass", "the name `_end_` starts with an underscore"),
    ("with x as (a, _end_): pass", "the name `_end_` starts with an underscore"),
    ("try:\n    pass\nexcept E as _end_:\n    pass", "the name `_end_` starts with an underscore"),
    ("(_end_ := 1)", "the name `_end_` starts with an underscore"),
    ("_end_ += 1", "the name `_end_` starts with an underscore"),
    ("a, *_end_ = x", "the name `_end_` starts with an underscore"),
    ("del _end_", "the name `_end_` starts with an underscore"),
    ("_end_: int = 1", "the name `_end_` starts with an underscore"),
    ("f(_private=1)", "the name `_private` starts with an underscore"),
    ("x.__\U0001d41class__", "the attribute `__class__`"),
    ("\uff45xec('1')", "`exec` is not available"),
    ("\uff45\uff56\uff41\uff4c('1')", "`eval` is not available"),
    ("x.gi_frame", "the attribute `gi_frame` belongs to the interpreter"),
    ("x.gi_frame = 1", "the attribute `gi_frame` belongs to the interpreter"),
    ("while", "SyntaxError"),
    ("def f(:\n    pass", "SyntaxError"),
    ("x = 1\n  y = 2", "IndentationError: unexpected indent"),
    ("return 1", "SyntaxError: 'return' outside function"),
    ("break", "SyntaxError: 'break' outside loop"),
    ("nonlocal x", "SyntaxError"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "words"), REFUSED)
def test_what_is_refused_says_what_to_do_instead(source: str, words: str) -> None:
    text = refusal(source)
    assert words in text
    assert text.startswith(f"{PATH}:")
    assert "; instead: " in text or "Error: " in text


@pytest.mark.parametrize("name", sorted(INTERNAL_NAMES - {"getbuffer"}))
def test_no_attribute_of_the_interpreters_objects_compiles(name: str) -> None:
    assert f"`{name}` belongs to the interpreter" in refusal(f"x.{name}")


@pytest.mark.parametrize("source", ["type X = int", "def f[T](x: T): pass", "class C[T]: pass"])
def test_type_parameters_are_refused(source: str) -> None:
    # Before 3.12 they are no syntax at all.
    assert "instead: leave" in (text := refusal(source)) or "SyntaxError" in text


def test_every_fault_is_named_with_its_line() -> None:
    text = refusal("x = 1\ny.__class__\n\nexec('1')\n")
    assert text.splitlines() == [
        f"{PATH}:2: the attribute `__class__` starts with an underscore; instead: use isinstance(x, …) or type(x)",
        f"{PATH}:4: `exec` is not available; instead: put the code into a function and call it",
    ]


def test_many_faults_are_cut() -> None:
    text = refusal("\n".join(f"x._a{n}" for n in range(30)))
    assert text.splitlines()[-1] == "and 20 more"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1", "the flow has no function `handler`"),
        ("def handlers(system, this): pass", "the flow has no function `handler`"),
        ("class C:\n    def handler(self, x): pass", "the flow has no function `handler`"),
        ("def handler(c): pass", "handler must take (system, this) or (system, this, inputs)"),
        ("def handler(a, b, c, d): pass", "handler must take (system, this)"),
        ("def handler(a, b, *, c): pass", "handler must take (system, this)"),
        ("def handler(system, this):\n    yield 1", "handler contains `yield`"),
    ],
)
def test_a_flow_has_a_handler_that_can_be_called(source: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        compile_flow(source, PATH)
    assert words in str(caught.value)
    assert "def handler(system, this):" in str(caught.value) or "collect in a list" in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "def handler(system, this, inputs=None): pass",
        "def handler(*args): pass",
        "def handler(system, this, *rest, option=1, **more): pass",
        "handler = lambda system, this: None",
        "from functools import partial as handler",
        "if True:\n    def handler(system, this): pass",
        "@wrap\ndef handler(c): pass",
    ],
)
def test_a_handler_may_come_about_in_many_ways(source: str) -> None:
    compile_flow(source, PATH)


def test_a_missing_module_compiles_with_a_warning() -> None:
    compiled = compile_flow("import numpy\nfrom os import path\nimport urllib.request\n" + HANDLER, PATH)
    assert compiled.warnings == (
        (1, "flows have no module `numpy`: this import will fail"),
        (3, "flows have no module `urllib.request`: this import will fail; use this.task('REST', url=…)"),
    )


@pytest.mark.parametrize(
    "source",
    [
        "x = " + "(" * 5000 + ")" * 5000,
        "x = " + "-" * 100_000 + "1",
        "x" + ".a" * 50_000,
        "x = [" * 90 + "]" * 90 + "\n" + "if x:\n" * 1,
        "lambda: " * 20_000 + "1",
        "\n".join("    " * n + "if x:" for n in range(150)),
    ],
    ids=["brackets", "minus", "attributes", "unclosed", "lambdas", "indents"],
)
def test_a_source_that_breaks_the_parser_is_refused_in_its_process(
    compile_flow: Callable[[str], dict[str, Any]], source: str
) -> None:
    answer = compile_flow(source + HANDLER)
    assert answer["op"] == "refused"
    assert answer["text"].startswith(PATH)


@pytest.mark.parametrize("character", ["\ud800", "\x00"])
def test_a_source_that_is_no_text_is_refused(character: str) -> None:
    with pytest.raises(Refused, match=r"UTF-8|null bytes"):
        compile_flow(f"x = '{character}'" + HANDLER, PATH)
