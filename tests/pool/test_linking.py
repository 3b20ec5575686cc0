"""A flow and its helper modules are put together of what each says by itself; what is missing is named where it is."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from whd.model.library import Library, Module, make_library, split_script
from whd.model.snapshot import Client, Flow
from whd.pool.compiler import Code, Compiler
from whd.pool.linking import MAX_IMPORT_DEPTH, Gathering, Unit, Units, import_faults
from whd.wire.frames import LibImport, frame, split

CLIENT = "acme"


def module(name: str, *imports: str) -> Module:
    source = "\n".join(f"from lib import {each}" for each in imports)
    return Module(CLIENT, name, f"{source}\n# {name}", f"hash of {name} {source}", f"/x/flows/acme/lib/{name}.py")


def library(*modules: Module, unusable: tuple[str, ...] = ()) -> Library:
    return make_library({each.name: each for each in modules}, unusable)


def flow(*imports: str, among: Library) -> Flow:
    source = "\n".join(f"from lib import {each}" for each in imports)
    return Flow(CLIENT, "signup", source, "h", "/x/flows/acme/signup.py").with_library(among)


def imports_of(source: str) -> tuple[LibImport, ...]:
    """As the compiler has it, for the sources above."""
    lines = enumerate(source.splitlines(), 1)
    found = ((number, line.removeprefix("from lib import ")) for number, line in lines if line.startswith("from lib"))
    return tuple(LibImport(number, name.rstrip("?"), name.endswith("?")) for number, name in found)


def linked(source: Flow | Module, among: Library, refusals: dict[str, str] | None = None) -> tuple[set[str], list[str]]:
    """Which modules it reaches, and what is wrong with its imports."""

    def compile_source(one: Any, done: Callable[[Unit], None]) -> None:
        done(Unit("code", (refusals or {}).get(one.name, ""), imports=imports_of(one.source)))

    found: list[tuple[Unit, Units]] = []
    Gathering(among, compile_source, lambda unit, units: found.append((unit, units))).begin(source)
    ((unit, units),) = found
    return set(units), import_faults(source, unit, among, units)


def test_it_reaches_what_it_imports_and_what_that_imports() -> None:
    among = library(module("a", "b", "c"), module("b", "c"), module("c"), module("other"))
    assert linked(flow("a", among=among), among) == ({"a", "b", "c"}, [])


def test_what_is_missing_is_named_with_what_was_meant_and_what_is_there() -> None:
    among = library(module("mail"), module("text"))
    _, faults = linked(flow("text", "mial", among=among), among)
    assert faults == [
        "flows/acme/signup.py:2: there is no module lib.mial (flows/acme/lib/mial.py) - did you mean lib.mail?; "
        "there are: lib.mail, lib.text"
    ]
    empty = library()
    _, faults = linked(flow("mail", among=empty), empty)
    assert faults == [
        "flows/acme/signup.py:1: there is no module lib.mail (flows/acme/lib/mail.py); the client has no modules"
    ]


def test_what_is_missing_under_a_try_that_catches_it_is_no_fault() -> None:
    among = library(module("a", "gone?"))
    assert linked(flow("gone?", "a", among=among), among) == ({"a"}, [])


def test_a_module_that_does_not_compile_is_a_fault_of_who_imports_it() -> None:
    among = library(module("a", "b"), module("b"), unusable=("unread",))
    refusals = {"b": "flows/acme/lib/b.py:3: SyntaxError: x\nflows/acme/lib/b.py:9: more"}
    broken = "the module lib.b cannot be used: flows/acme/lib/b.py:3: SyntaxError: x"
    _, faults = linked(flow("a", "b", "unread", among=among), among, refusals)
    assert faults == [
        f"flows/acme/signup.py:1: the module lib.a cannot be used: flows/acme/lib/a.py:1: {broken}",
        f"flows/acme/signup.py:2: {broken}",
        "flows/acme/signup.py:3: the module lib.unread cannot be used: flows/acme/lib/unread.py cannot be read",
    ]
    assert linked(among.modules["a"], among, refusals)[1] == [f"flows/acme/lib/a.py:1: {broken}"]


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ([module("a", "a")], "flows/acme/lib/a.py:1: a circle: lib.a imports itself;"),
        (
            [module("a", "b"), module("b", "a")],
            "flows/acme/lib/b.py:1: a circle: lib.a imports lib.b, which imports lib.a;",
        ),
        (
            [module("a", "b"), module("b", "c"), module("c", "b")],
            "flows/acme/lib/c.py:1: a circle: lib.b imports lib.c, which imports lib.b;",
        ),
    ],
)
def test_a_circle_names_all_that_are_in_it(modules: list[Module], words: str) -> None:
    among = library(*modules)
    (fault,) = linked(flow("a", among=among), among)[1]
    assert fault.startswith("flows/acme/signup.py:1: the module lib.a cannot be used: ")
    assert words in fault
    for one in modules:
        (own,) = linked(one, among)[1]
        assert own.startswith(f"flows/acme/lib/{one.name}.py:1: ")
        assert "a circle: lib." in own


def test_a_long_chain_is_refused_and_breaks_nothing() -> None:
    names = [f"m{number}" for number in range(5_000)]
    among = library(*(module(*pair) for pair in itertools.pairwise(names)), module(names[-1]))
    reached, faults = linked(flow("m0", among=among), among)
    assert len(reached) == 5_000
    assert "modules import each other more than 100 deep" in faults[0]
    allowed = library(*(module(*pair) for pair in itertools.pairwise(names[:MAX_IMPORT_DEPTH])), module("m99"))
    assert linked(flow("m0", among=allowed), allowed)[1] == []


# ---- with the compiler's cache ---------------------------------------------------------------------------------------


class Compiling:
    """A Compiler whose processes answer at once, or when `answer_all` is called."""

    def __init__(self) -> None:
        self.compiled: list[str] = []
        self.refuses_workers = False
        self.compiler = Compiler(asyncio.get_running_loop(), self)  # type: ignore[arg-type]

    def request(self, _binding: Any, ready: Callable[[Any, str], None], *, is_child: bool) -> None:
        if self.refuses_workers:
            ready(None, "no room")
            return
        ready(self, "")

    def expect(self, _limit_bytes: int) -> None:
        """Its answers are small."""

    def discard(self, _worker: Any) -> None:
        """It is used again."""

    def send(self, sent: bytes) -> None:
        head, _ = split(sent[4:])
        self.compiled.append(f"{head['path']}{' as a module' if head['is_module'] else ''}")
        imports = [one._asdict() for one in imports_of(head["source"])]
        answer = {"op": "compiled", "hash": head["hash"], "code": f"code of {head['flow']}", "imports": imports}
        worker: Any = self
        asyncio.get_running_loop().call_soon(self.compiler.on_frame, worker, frame(answer)[4:])

    async def compile(self, one: Flow) -> Code:
        future: asyncio.Future[Code] = asyncio.get_running_loop().create_future()
        self.compiler.compile(one, future.set_result)
        return await future


def test_each_source_is_compiled_once_per_change_whoever_imports_it() -> None:
    async def test() -> None:
        compiling = Compiling()
        before = library(module("a", "b"), module("b"), module("unused"))
        code = await compiling.compile(flow("a", among=before))
        assert compiling.compiled == ["flows/acme/signup.py", *(f"flows/acme/lib/{x}.py as a module" for x in "ab")]
        head, _ = split(code.frame[4:])
        assert [(one["name"], one["code"]) for one in head["modules"]] == [("a", "code of a"), ("b", "code of b")]
        assert compiling.compiler.known(flow("a", among=before)) is code
        compiling.compiled.clear()
        # Another flow, another module: nothing that was compiled is compiled again, and the code is the same object.
        await compiling.compile(Flow(CLIENT, "other", "from lib import b", "h2", "x").with_library(before))
        after = library(module("a", "b"), module("b"), module("unused", "b"))
        assert await compiling.compile(flow("a", among=after)) is code
        assert compiling.compiled == ["flows/acme/other.py"]
        changed = library(module("a", "b"), module("b", "unused"), module("unused"))
        newer = await compiling.compile(flow("a", among=changed))
        assert newer is not code
        assert newer.flow.script_hash != code.flow.script_hash
        assert compiling.compiled[1:] == [f"flows/acme/lib/{x}.py as a module" for x in ("b", "unused")]

    asyncio.run(test())


def test_the_flow_that_runs_says_which_modules_run_with_it() -> None:
    async def test() -> None:
        compiling = Compiling()
        among = library(module("a"), module("b"))
        code = await compiling.compile(flow("a", among=among))
        source, modules = split_script(code.flow.script)
        assert source == "from lib import a"
        assert modules == {"a": {"hash": among.modules["a"].script_hash, "script": among.modules["a"].source}}
        # Queued while the settings changed, it is compiled to the same.
        compiling.compiler.keep([])
        assert compiling.compiler.known(code.flow) is None
        again = await compiling.compile(code.flow)
        assert (again.key, again.frame, again.flow) == (code.key, code.frame, code.flow)

    asyncio.run(test())


def test_what_the_snapshot_has_is_kept() -> None:
    async def test() -> None:
        compiling = Compiling()
        among = library(module("a"))
        one = flow("a", among=among)
        code = await compiling.compile(one)
        compiling.compiler.keep([Client(CLIENT, {}, {"signup": one}, {}, {}, among)])
        compiling.compiled.clear()
        assert compiling.compiler.known(one) is code
        assert compiling.compiler.known(code.flow) is code
        await compiling.compile(flow("a", among=library(module("a"), module("new"))))
        assert compiling.compiled == []

    asyncio.run(test())


def test_a_module_that_could_not_be_compiled_for_now_is_tried_again() -> None:
    async def test() -> None:
        compiling = Compiling()
        among = library(module("a"))
        compiling.refuses_workers = True
        assert "cannot be compiled now" in (await compiling.compile(flow("a", among=among))).refusal
        assert compiling.compiler.known(flow("a", among=among)) is None
        compiling.refuses_workers = False
        compiling.compiler.compile_source(flow("a", among=among), lambda _unit: None)
        await asyncio.sleep(0)
        compiling.refuses_workers = True
        refusal = (await compiling.compile(flow("a", among=among))).refusal
        assert refusal == "flows/acme/signup.py:1: the module lib.a cannot be used: cannot be compiled now: no room"
        compiling.refuses_workers = False
        assert (await compiling.compile(flow("a", among=among))).refusal == ""

    asyncio.run(test())
