"""An hour with fresh eyes against the language layer and against warm processes, and what came of it.

Each test says what would prove an escape. The first part holds what the layer withstood, the second what it did not
when it was found. `in_one_process` runs flow after flow as the daemon would: in the same warm process, unless that one
asked to be replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent, indent
from typing import Any

import pytest

from tests.sandbox.isolation.walled import Zygote

from ..far_side import Ended, TestWorker
from .bodies import InOneProcess, handler

SMALL_BYTES = 67_108_864


# ---- withstood: every place where Python binds a name ----------------------------------------------------------------

BINDINGS = {
    "an assignment": "_getattr_ = print",
    "an unpacking": "a, *_getattr_ = [1, 2]",
    "an annotated assignment": "_getattr_: int = 1",
    "an augmented assignment": "_getattr_ += 1",
    "a walrus": "(_getattr_ := print)",
    "a walrus in a comprehension": "[(_getattr_ := x) for x in [1]]",
    "a loop": "for _getattr_ in [1]: pass",
    "a comprehension": "[1 for _getattr_ in [1]]",
    "a with": "with this as _getattr_: pass",
    "an except": "try: pass\nexcept ValueError as _end_: pass",
    "an import": "import json as _write_",
    "an import of a name": "from json import dumps as _super_",
    "a function": "def _getattr_(x, y): pass",
    "a class": "class _getattr_: pass",
    "an argument": "def f(_getattr_): pass",
    "a positional-only argument": "def f(_getattr_, /): pass",
    "a keyword-only argument": "def f(*, _getattr_): pass",
    "star arguments": "def f(*_getattr_): pass",
    "keyword arguments": "def f(**_getattr_): pass",
    "a lambda's argument": "f = lambda _getattr_: 1",
    "a lambda's default": "f = lambda x=(_getattr_ := 1): 1",
    "global": "global _end_",
    "a del": "del _getattr_",
    "a class attribute": "class C:\n    _x = 1",
    "a special method by assignment": "class C:\n    __init__ = print",
    "a special method by a loop": "class C:\n    for __init__ in [print]: pass",
    "a special method by an import": "class C:\n    from json import dumps as __eq__",
    "a special method of a lambda's name": "class C:\n    def __call__(self): pass",
    "a special method within a method": "class C:\n    def m(self):\n        def __init__(self): pass",
    "a dashed underscore": "_\ufe4dgetattr = print",
    "a dashed attribute": "x = this._\ufe4dclass\ufe4d\ufe4d",
    "a frame with a dashed underscore": "x = (i for i in []).gi\ufe4dframe",
    "a frame with a fullwidth letter": "x = (i for i in []).\uff47i_frame",
    "a fullwidth exec": "e = \uff45xec",
}


@pytest.mark.parametrize("body", BINDINGS.values(), ids=BINDINGS)
def test_a_guard_cannot_be_bound_anywhere(compile_flow: Callable[[str], dict[str, Any]], body: str) -> None:
    """Proof: it compiles."""
    refused = compile_flow(handler(body))
    assert refused["op"] == "refused"
    assert "SyntaxError" not in refused["text"], refused["text"]


# ---- withstood: the end of a flow ------------------------------------------------------------------------------------

AFTER_THE_END = {
    "with a finally": """
        def end():
            try:
                this.success('first')
            finally:
                return 1
        end()
        this.log('late')
    """,
    "with a context manager": """
        class Swallow:
            def __enter__(self): return self
            def __exit__(self, *error): return True
        with Swallow():
            this.success('first')
        this.log('late')
    """,
    "with a suppress of everything": """
        import contextlib
        with contextlib.suppress(BaseException):
            this.success('first')
        this.log('late')
    """,
    "with a context manager's generator": """
        import contextlib
        @contextlib.contextmanager
        def swallow():
            try:
                yield
            except BaseException:
                pass
        with swallow():
            this.success('first')
        this.log('late')
    """,
    "within a group of errors": """
        import contextlib
        class Keep:
            def __enter__(self): return self
            def __exit__(self, kind, error, traceback):
                self.error = error
                return True
        keep = Keep()
        with keep:
            this.success('first')
        try:
            with contextlib.suppress(BaseException):
                raise BaseExceptionGroup('x', [keep.error])
        finally:
            this.log('late')
    """,
    "in a context manager that is left suspended": """
        import contextlib
        @contextlib.contextmanager
        def late():
            try:
                yield
            finally:
                this.log('late')
        def suspended():
            with late():
                yield
        kept = [suspended()]
        next(kept[0])
        kept.append(kept)
        this.success('first')
    """,
    "with the end's own class": """
        class Keep:
            def __enter__(self): return self
            def __exit__(self, kind, error, traceback):
                self.error = error
                return True
        keep = Keep()
        with keep:
            this.success('first')
        try:
            raise type(keep.error)()
        finally:
            this.error('second')
    """,
    "while a line is logged": """
        class Shown:
            def __repr__(self):
                this.success('first')
        this.log(Shown())
    """,
    "in a dict that is written out": """
        class Late(dict):
            def items(self):
                try:
                    this.log('late')
                finally:
                    return [('x', 1)]
        this.set(message='first')
        this.set_output('late', Late(a=1))
    """,
    "in a generator that is left in a cycle": """
        def late():
            try:
                yield 1
            finally:
                this.log('late')
        kept = [late()]
        next(kept[0])
        kept.append(kept)
        this.success('first')
    """,
}


@pytest.mark.parametrize("body", AFTER_THE_END.values(), ids=AFTER_THE_END)
def test_nothing_acts_after_the_end(run_flow: Callable[..., Ended], body: str) -> None:
    """Proof: a log line after the end, or an end other than the first."""
    ended = run_flow(handler(body))
    assert (ended.status, ended.message, ended.log) == ("ENDED_SUCCESS", "first", [])


# ---- withstood: language ---------------------------------------------------------------------------------------------

NO_GAIN = {
    "an instance as a base": """
        class Meta:
            def __init__(self, *given): self.given = given
        base = Meta()
        try:
            class Made(base):
                def __init__(self): pass
            got = isinstance(Made, Meta)
        except TypeError:
            got = False
    """,
    "private arguments by a dict": """
        import json
        got = json.dumps([1], **{'indent': 0, 'sort_keys': True}) is None
    """,
    "the namespace of a functional enum": """
        import enum
        class Name(str):
            def startswith(self, prefix): return False
        try:
            got = enum.Enum('E', [(Name('__call__'), print)])
        except ValueError:
            got = False
    """,
    "an AttributeError of one's own": """
        class Own(AttributeError): pass
        try:
            raise Own('x')
        except Own as error:
            got = getattr(error, 'obj', None)
    """,
    "a text annotation": """
        import typing
        got = False
        typing.List["this.set_output('escaped', True)"]
        typing.Optional["print()"]
        class Row(typing.NamedTuple):
            a: "this.set_output('escaped', True)"
    """,
    "format by an alias": """
        try:
            got = type(list[int])(str, ()).format('{0.__class__}', this)
        except TypeError:
            got = False
    """,
    "mro by an alias": """
        try:
            got = type(list[int])(int, ()).mro()
        except TypeError:
            got = False
    """,
    "nested format specs": """
        try:
            got = '{0:{1.__class__}}'.format(1, this)
        except AttributeError:
            got = False
    """,
    "a bound method of a foreign function": """
        try:
            got = type(this.get)(type(this).get, object())('id')
        except TypeError:
            got = False
    """,
}


@pytest.mark.parametrize("body", NO_GAIN.values(), ids=NO_GAIN)
def test_an_attempt_gains_nothing(run_flow: Callable[..., Ended], body: str) -> None:
    """Proof: `got` is something."""
    ended = run_flow(handler(dedent(body).strip("\n") + "\nthis.set_output('escaped', repr(got) if got else None)"))
    assert ended.status == "ENDED_SUCCESS", ended.message
    assert ended.output == {"escaped": None}


# ---- withstood: state in a warm process ------------------------------------------------------------------------------

LIE = """
class Lie(str):
    def __getitem__(self, key): return 'x'
    def __len__(self): return 1
    def __contains__(self, item): return True
    def lstrip(self, *given): return 'evil://other'
    def partition(self, mark): return ('evil', ':', '//other')
"""

NO_TRACE = {
    "a pattern that lies": (
        LIE + "import re\nre.compile(Lie(r'a+'))",
        "import re\nthis.set_output('got', re.compile(r'a+').findall('caab'))",
        ["aa"],
    ),
    "an address that lies": (
        LIE + "import urllib.parse\nurllib.parse.urlsplit(Lie('http://good/x'))",
        "import urllib.parse\nthis.set_output('got', urllib.parse.urlsplit('http://good/x').netloc)",
        "good",
    ),
    "a layout that lies": (
        LIE + "import struct\nstruct.calcsize(Lie('<Q'))",
        "import struct\nthis.set_output('got', struct.calcsize('<Q'))",
        8,
    ),
    "a glob that lies": (
        LIE + "import fnmatch\nfnmatch.fnmatch('a', Lie('b*'))",
        "import fnmatch\nthis.set_output('got', fnmatch.fnmatch('a', 'b*'))",
        False,
    ),
    "a class of numbers": (
        "import decimal\ndecimal.getcontext().prec = 2\ndecimal.getcontext().traps.clear()",
        "import decimal\nthis.set_output('got', str(decimal.Decimal(1) / 3))",
        "0." + "3" * 28,
    ),
}


@pytest.mark.parametrize(("first", "second", "honest"), NO_TRACE.values(), ids=NO_TRACE)
def test_a_flow_leaves_no_trace(in_one_process: InOneProcess, first: str, second: str, honest: Any) -> None:
    """Proof: the second flow gets something else than it would in a new process."""
    assert in_one_process(first, second)[1].output == {"got": honest}


def test_the_process_that_parses_for_all_clients_keeps_nothing(workers: Callable[..., TestWorker]) -> None:
    """Proof: a body, or a part of it, in the answer to another; or an answer that depends on what came before."""
    worker = workers(1_073_741_824)
    head = {
        "op": "parse",
        "content_type": "application/json",
        "has_key": True,
        "gunzip_limit": 0,
        "start": "{",
        "pointers": [],
        "unwrap": "",
    }
    bodies = [b'{"key": "secret-of-a", "a": 1}', b'{"b": 2}', b"[", b'{"c": "\\ud800"}', b'{"key": 7}', b'{"b": 2}']
    answers = []
    for number, body in enumerate(bodies):
        worker.send({**head, "job": number}, body)
        answers.append(worker.receive())
    assert answers[1][0]["keys"] == []
    assert (answers[1][0]["keys"], answers[1][1]) == (answers[5][0]["keys"], answers[5][1])
    assert not any(b"secret-of-a" in (value or b"") for _head, value in answers)
    assert "secret-of-a" not in repr([head for head, _value in answers[1:]])


# ---- found: unrestricted Python --------------------------------------------------------------------------------------

REAL_TYPE = {
    "the origin of an alias": "import typing\ngot = typing.get_origin(typing.Type[int])('X', (), {})",
    "a base class": "import typing\nclass Meta(typing.Type): pass\ngot = Meta('X', (), {})",
    "a base class with a parameter": "import typing\nclass Meta(typing.Type[int]): pass\ngot = Meta('X', (), {})",
    "an attribute of an alias": "import enum, typing\ngot = typing.Type.mro(enum.Enum)",
    "the enum behind the facade": (
        "import enum, typing\ngot = typing.Type.mro(enum.Enum)[-2]('E', [('__call__', lambda *a: 5), ('A', 1)]).A()"
    ),
}


@pytest.mark.parametrize("body", REAL_TYPE.values(), ids=REAL_TYPE)
def test_type_itself_is_out_of_reach(run_flow: Callable[..., Ended], body: str) -> None:
    """Proof: a class made by the real `type`, with special methods of the flow's choice; or the classes behind ours."""
    attempt = indent(body, "    ")
    ended = run_flow(
        handler(f"got = None\ntry:\n{attempt}\nexcept Exception:\n    pass\nthis.set_output('got', repr(got))")
    )
    assert ended.output in ({"got": "None"}, {})


def test_names_of_fields_are_never_run_as_code(run_flow: Callable[..., Ended]) -> None:
    """Proof: a module in `got`. dataclasses writes source text from the names in a class's annotations (@dataclass),
    and typing.TypedDict makes a class of the flow's with any text as a name.
    """
    ended = run_flow(
        handler(r"""
        import dataclasses, typing
        got = []
        tail = "\nraise Exception(__import__('sys'))\n\'\'\'\ndef g():\n if 1:\n  0#"
        for start in ('a,)\n return 1', 'a', 'a\n return 1', 'a)\n  return 1', 'a\n  return 1\n return 1'):
            try:
                made = typing.TypedDict('T', {start + tail: int})
                dataclasses.dataclass(made, init=False, repr=False, eq=True)
            except Exception as error:
                if error.args and not isinstance(error.args[0], str):
                    got.append(repr(error.args[0]))
        this.set_output('got', got)
        """)
    )
    assert ended.output == {"got": []}


def test_a_dataclass_has_no_field_that_a_flow_could_not_name(run_flow: Callable[..., Ended]) -> None:
    """Proof: a dataclass with a private or impossible field, the way to the find above on every Python."""
    ended = run_flow(
        handler("""
        import dataclasses, typing
        names = []
        for name in ('__class__', 'a b', 'x=print()', 'a\\nb'):
            try:
                made = dataclasses.dataclass(typing.TypedDict('T', {name: int}), init=False, repr=False, eq=False)
                names += [field.name for field in dataclasses.fields(made)]
            except Exception:
                pass
        this.set_output('got', names)
        """)
    )
    assert ended.output == {"got": []}


# ---- found: state that survives --------------------------------------------------------------------------------------

COPY = """
import copy, functools, json
class Cached(functools.cached_property): pass
cached = Cached(lambda self: lambda protocol: (lambda: json.loads, (), (None, {'left': 'by A', '__kwdefaults__': {}})))
class Holder:
    value = cached
cached.attrname = '__reduce_ex__'
holder = Holder()
holder.value
copy.copy(holder)
"""
ATTRIBUTES = """
import calendar, json, re, uuid
for shared in (json.dumps, re.I, uuid.SafeUUID.safe, calendar.month_name, type(this).get, type(system).setting):
    try:
        calendar.Calendar.setfirstweekday(shared, 5)
    except (AttributeError, TypeError):
        pass
"""
SETTER = """
import calendar, json
try:
    calendar.Calendar.firstweekday.fset(json.dumps, 3)
except (AttributeError, TypeError):
    pass
"""
READ = """
import calendar, json, re, uuid
found = []
for shared in (json.dumps, re.I, uuid.SafeUUID.safe, calendar.month_name, type(this).get, type(system).setting):
    try:
        found.append([repr(shared), calendar.Calendar.getfirstweekday(shared)])
    except (AttributeError, TypeError):
        pass
this.set_output('got', found + [repr(json.loads) for x in [1] if hasattr(json.loads, 'left')])
"""
TEMPLATE = """
import re
class Lie(str):
    def __getitem__(self, key): return 'WRONG'[key]
    def __len__(self): return 5
re.sub(r'(\\w+)@', Lie(r'<\\1>'), 'bob@')
"""
NETMASK = """
import ipaddress
class Lie(str):
    def isascii(self): return False
    def split(self, mark): return ['0', '0', '0', '0']
ipaddress.ip_network(('10.1.2.0', Lie('28')), False)
"""
PREFIX = """
import ipaddress
class Lie(int):
    def __lt__(self, other): return False
    def __repr__(self): return 'code of A'
ipaddress.ip_network(('10.1.2.0', Lie(29)), False)
"""
FLAGS = """
import re
class Lie(int):
    def __repr__(self): return 'code of A'
re.RegexFlag(Lie(2 + 8 + 16))
"""
# The hash of a dataclass is that of the tuple of its fields (CPython's tuplehash, xxHash), which can be solved for.
HASH = """
import dataclasses
P1, P2, P5, M = 11400714785074694791, 14029467366897019727, 2870177450012600261, 1 << 64
def solve(want):
    for first in range(1, 1000):
        rest = (want - (2 ^ (P5 ^ 3527539))) * pow(P1, -1, M) % M
        rest = ((rest >> 31) | (rest << 33)) % M
        start = (P5 + first * P2) % M
        start = ((start << 31) | (start >> 33)) % M * P1 % M
        second = (rest - start) * pow(P2, -1, M) % M
        second = second - M if second >= 1 << 63 else second
        if hash(second) == second:
            return first, second
@dataclasses.dataclass(unsafe_hash=True, eq=False)
class Lie(str):
    x: int = 0
    y: int = 0
    def __init__(self, text): pass
    def __eq__(self, other): return True
def lie(text, about):
    made = Lie(text)
    made.x, made.y = solve(hash(about) % M)
    return made
"""

TRACES = {
    "attributes by copy": (COPY, READ, []),
    "attributes by a method of a library's class": (ATTRIBUTES, READ, []),
    "attributes by a property's setter": (SETTER, READ, []),
    "a template of re.sub": (
        TEMPLATE,
        "import re\nthis.set_output('got', re.sub(r'(\\w+)@', r'<\\1>', 'bob@'))",
        "<bob>",
    ),
    "the netmask of a network": (
        NETMASK,
        "import ipaddress\nthis.set_output('got', str(ipaddress.ip_network('10.1.2.0/28')))",
        "10.1.2.0/28",
    ),
    "the prefix of a network": (
        PREFIX,
        "import ipaddress\nthis.set_output('got', repr(ipaddress.ip_network(('10.1.2.0', 29)).prefixlen))",
        "29",
    ),
    "flags of re": (FLAGS, "import re\nthis.set_output('got', repr((re.I | re.M | re.S).value))", "26"),
    "a layout by a hash of a dataclass": (
        HASH + "import struct\nstruct.calcsize(lie('>Q', '<I'))",
        "import struct\nthis.set_output('got', struct.calcsize('<I'))",
        4,
    ),
    "a date's format by a hash of a dataclass": (
        HASH + "import datetime\ndatetime.datetime.strptime('01/02/2026', lie('%d/%m/%Y', '%m/%d/%Y'))",
        "import datetime\n"
        "this.set_output('got', datetime.datetime.strptime('01/02/2026', '%m/%d/%Y').date().isoformat())",
        "2026-01-02",
    ),
}


@pytest.mark.parametrize(("first", "second", "honest"), TRACES.values(), ids=TRACES)
def test_nothing_of_a_flow_is_left_for_the_next(
    in_one_process: InOneProcess, compile_flow: Callable[[str], dict[str, Any]], first: str, second: str, honest: Any
) -> None:
    """Proof: the second flow gets something else than it would in a new process."""
    if compile_flow(handler(first))["op"] == "refused":
        return
    assert in_one_process(first, second)[-1].output == {"got": honest}


def test_a_finalizer_of_a_flow_does_not_run_in_the_next(in_one_process: InOneProcess) -> None:
    """Proof: `close` of a file in memory, left in a cycle, runs when the next flow makes the collector run.

    It can do nothing there but use time, so time is what shows it.
    """
    leave = """
        import io
        class Left(io.StringIO):
            def close(self):
                for _ in range(20_000_000): pass
        left = Left()
        left.itself = left
    """
    work = """
        import time
        begin = time.process_time()
        kept = [[] for _ in range(50_000)]
        this.set_output('took_s', time.process_time() - begin)
    """
    _first, second = in_one_process(leave, work)
    assert second.output["took_s"] < 0.2


MEMORY = {
    "in a cycle": "left = [bytearray(50_000_000)]\nleft.append(left)",
    "at a shared function": (
        "import json\ntry:\n    type(list[int])(lambda: json.dumps, (bytearray(50_000_000),))()\n"
        "except TypeError:\n    pass"
    ),
    "in the cache of addresses": (
        "import urllib.parse\nfor number in range(12): urllib.parse.urlsplit(f'http://a/{number}' + 'x' * 2_000_000)"
    ),
    "in the cache of patterns": (
        "import re\nfor number in range(20): re.compile('a{%d}' % number + '|b' + 'c' * 200_000)"
    ),
}


@pytest.mark.parametrize("body", MEMORY.values(), ids=MEMORY)
def test_a_flow_leaves_the_memory_that_it_found(in_one_process: InOneProcess, body: str) -> None:
    """Proof: the next flow runs out of memory far below its limit, through no fault of its own."""
    first, second = in_one_process(body, "this.set_output('got', len(bytearray(40_000_000)))", memory_bytes=SMALL_BYTES)
    assert first.status == "ENDED_SUCCESS", first.message
    assert second.status == "ENDED_SUCCESS", second.message


def test_an_error_that_cannot_be_told_ends_its_flow_and_not_the_process(run_flow: Callable[..., Ended]) -> None:
    """Proof: the worker leaves with a status of its own defects, and the author reads nothing of the error."""
    ended = run_flow(
        handler("""
        class Dumb(BaseException):
            def __str__(self): raise Dumb()
        raise Dumb()
        """)
    )
    assert ended.status == "ENDED_ERROR"
    assert "Dumb" in ended.message


# ---- found: the wall -------------------------------------------------------------------------------------------------

MADV_MERGEABLE = 12


def test_memory_cannot_be_offered_for_merging(uid_own: Zygote) -> None:
    """Proof: madvise(MADV_MERGEABLE) works. Where ksmd runs, equal pages of two workers become one, and the time that
    a write takes tells one client what another's memory holds (madvise(2); "memory deduplication" attacks).
    """
    answer = uid_own.run(
        "page = kernel.syscall('mmap', 0, 4096, 3, 0x22, -1, 0)\n"
        f"value = kernel.syscall('madvise', page, 4096, {MADV_MERGEABLE})\n"
    )
    assert "value" not in answer or answer["value"] != 0


def test_no_memory_is_shared_between_processes(uid_own: Zygote) -> None:
    """Proof: MAP_SHARED works; nothing that a worker needs, and one rule less to think about."""
    answer = uid_own.run("value = kernel.syscall('mmap', 0, 4096, 3, 0x21, -1, 0)")
    assert "value" not in answer


@pytest.fixture(scope="module")
def uid_own() -> Any:
    """A walled zygote whose workers run plain Python."""
    zygote = Zygote()
    yield zygote
    zygote.close()
