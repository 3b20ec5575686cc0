"""Attempts to leave the language layer. Each flow names in `escaped` what it got; whatever it got is an escape.

`stopped` says how the attempt must end: a part of the compiler's refusal, of the error that the flow met (it puts its
text into `error`, or lets it go), or "" where the attempt runs through and simply gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent, indent
from typing import Any

import pytest

from ..far_side import WEBHOOK_INPUT, Ended

TOP_LEVEL = "#top-level\n"


def attempt(body: str) -> str:
    """A flow whose handler runs the body, which sets `got`, and tells what came of it."""
    return (
        "def handler(system, this):\n    got = None\n    error = None\n    try:\n"
        + indent(dedent(body).strip("\n"), " " * 8)
        + "\n    except Exception as caught:\n        error = repr(caught)\n"
        "    this.set_output(escaped=None if got is None else repr(got), error=error)\n"
    )


ESCAPES: list[tuple[str, str, str]] = [
    # ---- attribute chains -------------------------------------------------------------------------------------------
    ("the classic chain", "got = ().__class__.__base__.__subclasses__()", "the attribute `__class__`"),
    ("a chain through getattr", "got = getattr((), '__class__')", "starts with an underscore"),
    ("getattr with a default", "got = getattr((), '__class__', None)", "starts with an underscore"),
    ("hasattr", "got = hasattr((), '__class__') or None", ""),
    ("setattr", "setattr(int, '__add__', 1); got = 1", "starts with an underscore"),
    ("delattr", "delattr(int, '__add__'); got = 1", "starts with an underscore"),
    ("getattr by map", "got = list(map(getattr, [()], ['__class__']))", "starts with an underscore"),
    ("getattr by partial", "import functools\ngot = functools.partial(getattr, ())('__class__')", "starts with an"),
    ("getattr by reduce", "import functools\ngot = functools.reduce(getattr, ['__class__'], ())", "starts with an"),
    ("subclasses of object", "got = getattr(object, '__subclasses__')()", "starts with an underscore"),
    ("self of a builtin", "got = getattr(print, '__self__')", "starts with an underscore"),
    ("globals of a library function", "import json\ngot = getattr(json.dumps, '__globals__')", "starts with an"),
    ("globals of an API method", "got = getattr(this.get, '__func__')", "starts with an underscore"),
    ("private state of the API", "got = getattr(this, '_run')", "starts with an underscore"),
    ("mro of a builtin", "got = int.mro()", "the method 'mro' of classes"),
    ("mro of an alias", "got = list[int].mro()", "the method 'mro' of classes"),
    ("mro through super", "class A(int):\n    def f(self): return super().mro\ngot = A().f()", "has no attribute"),
    ("fullwidth spelling at run time", "got = getattr((), '\uff3f\uff3fclass\uff3f\uff3f')", "has no attribute"),
    (
        "a name that changes its mind",
        """
        class Name(str):
            def __getitem__(self, key): return 'x'
            def __eq__(self, other): return True
            def __hash__(self): return hash('x')
        got = getattr((), Name('__class__'))
        """,
        "must be a plain text",
    ),
    # ---- format strings (CVE-2023-41039) -----------------------------------------------------------------------------
    ("format", "got = '{0.__class__}'.format(this)", "starts with an underscore"),
    ("format of nested fields", "got = '{0:{0.__class__}}'.format(this)", "starts with an underscore"),
    ("format after an item", "got = '{0[0].__class__}'.format([this])", "starts with an underscore"),
    ("format_map", "got = '{t.__class__}'.format_map({'t': this})", "starts with an underscore"),
    ("unbound format", "got = str.format('{0.__class__}', this)", "starts with an underscore"),
    ("format through getattr", "got = getattr('{0.__class__}', 'format')(this)", "starts with an underscore"),
    ("format through map", "got = list(map('{0.__class__}'.format, [this]))", "starts with an underscore"),
    ("format of a subclass", "class S(str): pass\ngot = S('{0.__class__}').format(this)", "starts with an underscore"),
    ("unbound format of a subclass", "class S(str): pass\ngot = S.format('{0.__class__}', this)", "starts with an"),
    (
        "format through super",
        "class S(str):\n    def f(self, x): return super().format(x)\ngot = S('{0.__class__}').f(this)",
        "starts with an underscore",
    ),
    (
        "a template that lies about itself",
        """
        class S(str):
            def __str__(self): return 'harmless'
            def __contains__(self, x): return False
            def __iter__(self): return iter('')
        got = S('{0.__class__}').format(this)
        """,
        "starts with an underscore",
    ),
    ("format of a generator's frame", "got = '{0.gi_frame}'.format(x for x in [])", "belongs to the interpreter"),
    ("an f-string", "got = f'{this.__class__}'", "the attribute `__class__`"),
    ("string.Formatter (CVE-2026-76825)", "from string import Formatter\ngot = Formatter", "no 'Formatter'"),
    ("string.Formatter by getattr", "import string\ngot = getattr(string, 'Formatter')", "no 'Formatter'"),
    ("UserString", "from collections import UserString\ngot = UserString", "no 'UserString'"),
    (
        "a StrEnum's format",
        "import enum\nclass E(enum.StrEnum):\n    A = '{0.__class__}'\ngot = E.A.format(this)",
        "starts",
    ),
    # ---- frames (CVE-2023-37271) ------------------------------------------------------------------------------------
    ("a generator's frame", "g = (x for x in [1])\ngot = g.gi_frame", "belongs to the interpreter"),
    ("a generator's frame by getattr", "got = getattr((x for x in [1]), 'gi_frame')", "belongs to the interpreter"),
    ("a generator's code", "got = getattr((x for x in [1]), 'gi_code')", "belongs to the interpreter"),
    ("an asynchronous generator's frame (8.5)", "got = getattr((), 'ag_frame')", "belongs to the interpreter"),
    ("a coroutine's frame", "got = getattr((), 'cr_frame')", "belongs to the interpreter"),
    ("a frame's back", "got = getattr((), 'f_back')", "belongs to the interpreter"),
    (
        "a traceback of an error",
        "try:\n    1/0\nexcept ZeroDivisionError as e:\n    got = e.__traceback__",
        "`__traceback__`",
    ),
    (
        "a traceback handed to __exit__",
        """
        class Grab:
            def __enter__(self): return self
            def __exit__(self, kind, error, tb):
                self.frame = getattr(tb, 'tb_frame')
                return True
        with Grab() as grab:
            1 / 0
        got = grab.frame
        """,
        "belongs to the interpreter",
    ),
    ("the next traceback", "got = getattr((), 'tb_next')", "belongs to the interpreter"),
    # ---- classes of classes -----------------------------------------------------------------------------------------
    ("type of type", "got = type(type('a'))", "type() of a class"),
    ("type with three arguments", "got = type('X', (), {'__del__': 1})", "positional argument"),
    ("type as a base", "class M(type): pass\ngot = M", "its bases are classes"),
    ("a metaclass", "class C(metaclass=print): pass\ngot = C", "cannot choose its metaclass"),
    ("the metaclass of an enum", "import enum\ngot = type(enum.Enum)", "type() of a class"),
    (
        "an enum's special methods",
        "import enum\ngot = enum.Enum('E', {'__getattr__': print})",
        "starts with an underscore",
    ),
    ("an enum of pairs", "import enum\ngot = enum.Enum('E', [('__del__', print)])", "starts with an underscore"),
    ("a function's type", "got = type(lambda: 0)", "type() of a function"),
    ("an instance as a base", "class C(this): pass\ngot = C", "its bases are classes"),
    ("a module as a base", "import json\nclass C(json): pass\ngot = C", "its bases are classes"),
    (
        "the API's classes as bases",
        "import flow_api\nclass C(flow_api.Execution): pass\ngot = C",
        "cannot be subclassed",
    ),
    ("an execution of one's own", "import flow_api\ngot = flow_api.Execution()", "a flow cannot make one"),
    ("an execution by its type", "got = type(this)()", "a flow cannot make one"),
    ("a copied execution", "import copy\ngot = None if copy.copy(this) is this else 1", ""),
    ("a deeply copied print", "import copy\ngot = copy.deepcopy(print)", "cannot be copied"),
    ("a copied module", "import copy, json\ngot = None if copy.deepcopy(json) is json else 1", ""),
    ("class getitem", "got = getattr(list, '__class_getitem__')", "starts with an underscore"),
    # ---- shadowing the guards (CVE-2026-55830) -----------------------------------------------------------------------
    ("a positional-only guard", "f = lambda _getattr_, /: ().x\ngot = f(print)", "`_getattr_` starts with"),
    ("a guard by import", "import json as _getattr_\ngot = 1", "`_getattr_` starts with"),
    ("a guard by global", "global _write_\ngot = 1", "`_write_` starts with"),
    ("a guard by keyword", "def f(**_getattr_): pass\ngot = 1", "`_getattr_` starts with"),
    ("super with another meaning", "super = lambda: this\ngot = super().__init__()", "`super` cannot be given"),
    ("except* (CVE-2025-22153)", "try:\n    pass\nexcept* ValueError:\n    got = 1", "`except*` is not available"),
    # ---- imports ----------------------------------------------------------------------------------------------------
    ("sys", "import sys\ngot = sys", "flows have no module 'sys'"),
    ("builtins", "import builtins\ngot = builtins", "flows have no module 'builtins'"),
    ("os.system", "import os\ngot = os.system", "flows have no 'system' in the module 'os'"),
    ("the os in os.path", "import os.path\ngot = os.path.os", "flows have no 'os'"),
    ("subprocess", "import subprocess\ngot = subprocess", "flows have no module 'subprocess'"),
    ("importlib", "import importlib\ngot = importlib", "flows have no module 'importlib'"),
    ("a loaded submodule that a facade lacks", "from xml.sax import handler\ngot = handler", "no 'handler'"),
    ("a loaded module by its parent", "from urllib import error\ngot = error", "no 'error'"),
    ("codecs in json", "from json import codecs\ngot = codecs", "no 'codecs'"),
    ("decoder in json", "import json\ngot = json.decoder", "no 'decoder'"),
    ("enum in re", "import re\ngot = re.enum", "no 'enum'"),
    ("os in uuid", "import uuid\ngot = uuid.os", "no 'os'"),
    ("the platform's sandbox itself", "import whd.sandbox.worker as w\ngot = w", "flows have no module 'whd"),
    ("the flows' own module", "import typing\ngot = getattr(typing, 'sys')", "no 'sys'"),
    ("a private C module", "import _io\ngot = _io", "the module `_io` is private"),
    ("attrgetter", "from operator import attrgetter\ngot = attrgetter('__class__')(this)", "no 'attrgetter'"),
    ("methodcaller", "import operator\ngot = operator.methodcaller('__reduce__')(this)", "no 'methodcaller'"),
    ("type hints that are evaluated", "from typing import get_type_hints\ngot = get_type_hints", "no 'get_type_hints'"),
    ("make_dataclass with a namespace", "from dataclasses import make_dataclass\ngot = 1", "no 'make_dataclass'"),
    ("singledispatch", "from functools import singledispatch\ngot = 1", "no 'singledispatch'"),
    ("getnode runs programs", "import uuid\ngot = uuid.getnode()", "no 'getnode'"),
    ("yaml's unsafe loader", "import yaml\ngot = yaml.load", "no 'load'"),
    ("yaml's python tags", "import yaml\ngot = yaml.safe_load('!!python/name:os.system')", "ConstructorError"),
    # ---- what errors carry (CVE-2024-47532) -------------------------------------------------------------------------
    (
        "the object of an AttributeError",
        "try:\n    [].nope\nexcept AttributeError as e:\n    got = e.obj",
        "'obj' of errors",
    ),
    (
        "the same by getattr",
        "try:\n    [].nope\nexcept AttributeError as e:\n    got = getattr(e, 'obj')",
        "'obj' of errors",
    ),
    (
        "the module behind a facade",
        "import json\ntry:\n    json.nope\nexcept AttributeError as e:\n    got = '{0.obj}'.format(e)",
        "'obj' of errors",
    ),
    (
        "an error's context",
        "try:\n    1/0\nexcept Exception as e:\n    got = getattr(e, '__context__')",
        "starts with an",
    ),
    # ---- text that becomes code --------------------------------------------------------------------------------------
    (
        "namedtuple's field names",
        "from collections import namedtuple\ngot = namedtuple('P', ['x=print'])",
        "valid ident",
    ),
    ("namedtuple's type name", "from collections import namedtuple\ngot = namedtuple('P: pass', 'x')", "valid ident"),
    (
        "a lying field name",
        """
        from collections import namedtuple
        class Name(str):
            def isidentifier(self): return True
            def __str__(self): return self
        got = namedtuple('P', [Name('x, y=print()')])
        """,
        "valid ident",
    ),
    ("private fields", "from typing import NamedTuple\ngot = NamedTuple('P', [('__reduce__', int)])", "underscore"),
    ("exec under another name", "e = exec\ngot = e", "`exec` is not available"),
    ("compile", "got = compile('1', '', 'eval')", "`compile` is not available"),
    # ---- what the library would write for us -------------------------------------------------------------------------
    (
        "update_wrapper as setattr",
        "import functools, json\ndef f(): pass\ngot = functools.update_wrapper(json.dumps, f)",
        "functions that the flow itself defines",
    ),
    (
        "update_wrapper as getattr",
        "import functools, json\ndef f(): pass\n"
        "functools.update_wrapper(f, json.dumps, ('__globals__',))\ngot = getattr(f, '__globals__')",
        "starts with an underscore",
    ),
    (
        "a dataclass of a shared class",
        "import dataclasses, json\ngot = dataclasses.dataclass(json.JSONEncoder)",
        "itself defines",
    ),
    (
        "an order for a shared class",
        "import functools, uuid\ngot = functools.total_ordering(uuid.UUID)",
        "itself defines",
    ),
    ("ABC.register", "import collections.abc\ngot = collections.abc.Sized.register(int)", "the method 'register'"),
    (
        "ABC.register of a subclass",
        "import collections.abc\nclass C(collections.abc.Sized): pass\ngot = C.register(int)",
        "the method 'register'",
    ),
    (
        "the zones' cache",
        "import zoneinfo\ngot = type(zoneinfo.ZoneInfo('UTC')).clear_cache()",
        "type() of a ZoneInfo",
    ),
    ("a zone from a file", "import zoneinfo\ngot = type(zoneinfo.ZoneInfo('UTC')).from_file", "type() of a ZoneInfo"),
    (
        "a base's __init__ for somebody else, in a class method",
        """
        import json
        class C(json.JSONEncoder):
            @classmethod
            def poison(cls):
                super().__init__(json.JSONEncoder, default=print)
        C.poison()
        got = 'poisoned'
        """,
        "on their instances",
    ),
    (
        "a base's __init__ for somebody else, with two arguments",
        """
        import json
        class C(json.JSONEncoder): pass
        super(C, C).__init__(json.JSONEncoder, default=print)
        got = 'poisoned'
        """,
        "on their instances",
    ),
    ("a shared object's __init__", "super(type(this), this).__init__()\ngot = 1", "on their instances"),
    (
        "a library's method that writes to its self",
        "import calendar, json\ncalendar.Calendar.setfirstweekday(json.JSONEncoder, 1)\ngot = 'written'",
        "is for instances of Calendar",
    ),
    (
        "a library's method that writes to a class of ours",
        "import calendar\ncalendar.Calendar.setfirstweekday(type(this), 1)\ngot = 'written'",
        "is for instances of Calendar",
    ),
    # ---- serialisation ----------------------------------------------------------------------------------------------
    (
        "reduce through copy",
        "import copy\nclass C:\n    pass\nc = C()\nsetattr(c, '__reduce_ex__', print)\ngot = copy.copy(c)",
        "starts with an underscore",
    ),
    ("json with a private argument", "import json\ngot = json.dumps(1, _one_shot=1)", "`_one_shot` starts with"),
    # ---- pattern matching and asynchronous code ----------------------------------------------------------------------
    ("a class pattern", "match this:\n    case object(__class__=c): got = c", "`match` is not available"),
    ("an asynchronous comprehension", "async def f(): return [x async for x in y]\ngot = f", "`async def` is not"),
]


@pytest.mark.parametrize(("body", "stopped"), [case[1:] for case in ESCAPES], ids=[case[0] for case in ESCAPES])
def test_an_attempt_gains_nothing(
    run_flow: Callable[..., Ended],
    compile_flow: Callable[[str], dict[str, Any]],
    body: str,
    stopped: str,
) -> None:
    source = attempt(body)
    compiled = compile_flow(source)
    if compiled["op"] == "refused":
        assert stopped
        assert stopped in compiled["text"]
        return
    ended = run_flow(source, WEBHOOK_INPUT)
    assert ended.status == "ENDED_SUCCESS", ended.message
    assert ended.output["escaped"] is None
    assert stopped in (ended.output["error"] or "")
    assert bool(stopped) == bool(ended.output["error"])


def test_there_are_at_least_a_hundred() -> None:
    assert len(ESCAPES) >= 100


WRITES = [
    ("a facade", "import json\njson.dumps = print"),
    ("a facade, augmented", "import math\nmath.pi += 1"),
    ("a facade by setattr", "import json\nsetattr(json, 'dumps', print)"),
    ("a facade by del", "import json\ndel json.dumps"),
    ("a facade by delattr", "import json\ndelattr(json, 'dumps')"),
    ("a facade as a loop's target", "import json\nfor json.dumps in [1]: pass"),
    ("a facade as a with's target", "import io, json\nwith io.StringIO() as json.dumps: pass"),
    ("a facade by unpacking", "import json\n(a, json.dumps) = 1, 2"),
    ("a facade by starred unpacking", "import json\n[a, *json.dumps] = 1, 2"),
    ("a facade in a comprehension", "import json\n[1 for json.dumps in [1]]"),
    ("a facade with an annotation", "import json\njson.dumps: int = 1"),
    ("a library's class", "import json\njson.JSONEncoder.default = print"),
    ("a library's class by setattr", "import json\nsetattr(json.JSONEncoder, 'default', print)"),
    ("a library's function", "import json\njson.dumps.cache = 1"),
    ("a class of C", "import datetime\ndatetime.date.today = print"),
    ("a builtin class", "int.extra = 1"),
    ("a builtin function", "len.extra = 1"),
    ("a builtin exception", "ValueError.extra = 1"),
    ("an enum of the library", "import re\nre.RegexFlag.EXTRA = 1"),
    ("an enum facade", "import enum\nenum.Enum.extra = 1"),
    ("the API's objects", "this.log = print"),
    ("the API's classes", "import flow_api\nflow_api.Execution.success = print"),
    ("the API's classes by type", "type(this).success = print"),
    ("the API's errors", "import flow_api\nflow_api.PermissionDenied.text = 1"),
    ("the headers' class", "type(this.get('input_value')['headers']).get = print"),
    ("the print of the flow", "print.extra = 1"),
    ("a wrapped function of ours", "import functools\nfunctools.wraps.extra = 1"),
    ("a shared class's table", "import textwrap\ntextwrap.TextWrapper.unicode_whitespace_trans[97] = 98"),
    ("a shared class's list", "import calendar\ncalendar.HTMLCalendar.cssclasses[0] = 'x'"),
    ("a shared class's list by method", "import calendar\ncalendar.HTMLCalendar.cssclasses.append('x')"),
    ("hashlib's algorithms", "import hashlib\nhashlib.algorithms_available.add('x')"),
]


@pytest.mark.parametrize("body", [case[1] for case in WRITES], ids=[case[0] for case in WRITES])
def test_nothing_that_is_shared_can_be_changed(run_flow: Callable[..., Ended], body: str) -> None:
    ended = run_flow(attempt(f"{body}\ngot = 'changed'"), WEBHOOK_INPUT)
    assert ended.output["escaped"] is None
    error = ended.output["error"]
    assert error.startswith(("TypeError", "AttributeError")), error


def test_what_a_flow_made_it_may_change(run_flow: Callable[..., Ended]) -> None:
    body = """
    import decimal, enum, collections
    class Own:
        count = 0
    def function(): pass
    Own.count += 1
    own = Own()
    own.x = own.y = 1
    setattr(own, 'z', 2)
    del own.y
    function.calls = 3
    error = ValueError('x')
    error.code = 4
    decimal.getcontext().prec = 5
    class Mine(dict): pass
    mine = Mine(a=1)
    mine['b'] = 2
    mine.attribute = 1
    got = [Own.count, own.x, own.z, hasattr(own, 'y'), function.calls, error.code, mine]
    error = None
    """
    ended = run_flow(attempt(body))
    assert ended.output == {"escaped": "[1, 1, 2, False, 3, 4, {'a': 1, 'b': 2}]", "error": None}


def test_the_harness_would_see_an_escape(run_flow: Callable[..., Ended]) -> None:
    assert run_flow(attempt("got = 'out'")).output == {"escaped": "'out'", "error": None}
