"""`whd check`: everything that a start or a call would stumble over, found beforehand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from ..budget import BufferBudget
from ..engine.state import Paths
from ..errors import StateError, WhdError
from ..futures import value_of
from ..model.library import Library, Module
from ..model.snapshot import Fault, Flow, SavedSetting
from ..pool.compiler import CheckedModule, Code, refusal_faults
from ..pool.linking import Unit
from ..pool.pool import Pool
from ..pool.quota import WholeQuota
from ..saved import read_settings
from ..settings.index import Index
from . import explain


@dataclass(frozen=True, slots=True)
class Checked:
    """All faults and warnings, sorted by file and line, and what each webhook's user may do."""

    faults: list[Fault]
    webhooks: list[explain.Explanation]


async def check_everything(paths: Paths) -> Checked:
    """Reads all files, and every flow as the sandbox's compiler sees it."""
    saved: list[SavedSetting] = []
    unread: list[Fault] = []
    try:
        saved = read_settings(paths.state)
    except StateError as error:
        # The files may be fine all the same: they can be checked where state/ is another user's, or damaged.
        what = f"what flows saved was not checked: {error.log_detail}"
        unread = [Fault(str(paths.state), 0, "", what, is_warning=True)]
    snapshot = Index(str(paths.config), str(paths.flows), saved=saved).load()
    faults = unread + list(snapshot.faults)
    budget = BufferBudget(lambda: snapshot.options.max_buffered_bytes)
    flows = [flow for client in snapshot.clients.values() for flow in client.flows.values()]
    modules = [(client, module) for client in snapshot.clients.values() for module in client.library.modules.values()]
    codes: dict[int, Code] = {}
    units: dict[Module, Unit] = {}
    if flows or modules:
        pool = Pool(asyncio.get_running_loop(), lambda: snapshot.options, budget, WholeQuota())
        try:
            await pool.start()
            for code, flow in zip(await asyncio.gather(*(_compile(pool, flow) for flow in flows)), flows, strict=True):
                faults += code_faults(flow, code)
                codes[id(flow)] = code
            checks = await asyncio.gather(*(_check(pool, module, client.library) for client, module in modules))
            for checked, (_, module) in zip(checks, modules, strict=True):
                faults += module_faults(module, checked)
                units[module] = checked.unit
        except WhdError as error:
            faults.append(Fault(str(paths.config), 0, "", str(error)))
        finally:
            await pool.close()

    def modules_of(flow: Flow) -> tuple[Module, ...]:
        return codes[id(flow)].modules if id(flow) in codes else ()

    def uses_of(flow: Flow) -> Iterable[explain.Use]:
        if id(flow) in codes:
            yield from ((flow.path, use) for use in codes[id(flow)].declared_uses)
            for module in modules_of(flow):
                yield from ((module.path, use) for use in units[module].declared_uses)

    for client in snapshot.clients.values():
        faults += explain.undeclared_rights(client, uses_of)
    faults.sort(key=lambda fault: (fault.path, fault.line))
    return Checked(faults, explain.explanations(snapshot.clients, modules_of))


async def _compile(pool: Pool, flow: Flow) -> Code:
    return await value_of(partial(pool.compiler.compile, flow))


async def _check(pool: Pool, module: Module, library: Library) -> CheckedModule:
    return await value_of(partial(pool.compiler.check_module, module, library))


def module_faults(module: Module, checked: CheckedModule) -> list[Fault]:
    """What the compiler refused or warned of in a module, and what it imports in vain."""
    unit = checked.unit
    refusal = "\n".join([*([unit.refusal] if unit.refusal else []), *checked.import_faults])
    faults = refusal_faults(module, refusal) if refusal else []
    return faults + [Fault(module.path, line, "", text, is_warning=True) for line, text in unit.warnings]


def code_faults(flow: Flow, code: Code) -> list[Fault]:
    """What the compiler refused or warned of, as faults of the flow's file."""
    faults = refusal_faults(flow, code.refusal) if code.refusal else []
    return faults + [Fault(flow.path, line, "", text, is_warning=True) for line, text in code.warnings]
