"""`whd check`: everything that a start or a call would stumble over, found beforehand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..admin import webhooks
from ..engine.state import Paths
from ..errors import StateError, WhdError
from ..futures import value_of
from ..model.budget import BufferBudget
from ..model.library import Library, Module
from ..model.snapshot import Fault, Flow, SavedSetting, Snapshot
from ..ownership import Account
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
    """Reads all files, and every flow as the sandbox's compiler sees it. One fault keeps no other from being found."""
    saved: list[SavedSetting] = []
    unread: list[Fault] = []
    try:
        saved = read_settings(paths.state)
    except StateError as error:
        # The files may be fine all the same: they can be checked where state/ is another user's, or damaged.
        what = f"what flows saved was not checked: {error.log_detail}"
        unread = [Fault(str(paths.state), 0, "", what, is_warning=True)]
    index = Index(str(paths.config), str(paths.flows), saved=saved, daemon=_daemon_account(paths.state))
    snapshot = index.load(salvage=True)
    faults = unread + list(snapshot.faults)
    faulty = {fault.path for fault in snapshot.faults if not fault.is_warning}
    flows = [flow for client in snapshot.clients.values() for flow in client.flows.values()]
    modules = [(client, module) for client in snapshot.clients.values() for module in client.library.modules.values()]
    codes: dict[Flow, Code] = {}
    units: dict[Module, Unit] = {}
    try:
        async with _compiling(snapshot, bool(flows or modules)) as pool:
            codes = await _compile(pool, flows)
            checks = await asyncio.gather(*(_check(pool, module, client.library) for client, module in modules))
            for checked, (_, module) in zip(checks, modules, strict=True):
                faults += module_faults(module, checked)
                units[module] = checked.unit
    except WhdError as error:
        faults.append(Fault(str(paths.config), 0, "", str(error)))
    for flow, code in codes.items():
        faults += code_faults(flow, code)

    def modules_of(flow: Flow) -> tuple[Module, ...]:
        return codes[flow].modules if flow in codes else ()

    def uses_of(flow: Flow) -> Iterable[explain.Use]:
        if flow in codes:
            yield from ((flow.path, use) for use in codes[flow].declared_uses)
            for module in modules_of(flow):
                yield from ((module.path, use) for use in units[module].declared_uses if module in units)

    for client in snapshot.clients.values():
        faults += explain.undeclared_rights(client, uses_of)
    faults.sort(key=lambda fault: (fault.path, fault.line))
    return Checked(faults, explain.explanations(snapshot.clients, modules_of, faulty))


@asynccontextmanager
async def _compiling(snapshot: Snapshot, is_needed: bool) -> AsyncIterator[Pool]:
    """A pool whose compiler can be asked, started only if it is needed. Raises WhdError where it does not come up."""
    budget = BufferBudget(lambda: snapshot.options.max_buffered_bytes)
    pool = Pool(asyncio.get_running_loop(), lambda: snapshot.options, budget, WholeQuota())
    if not is_needed:
        yield pool
        return
    try:
        await pool.start()
        yield pool
    finally:
        await pool.close()


async def _compile(pool: Pool, flows: Collection[Flow]) -> dict[Flow, Code]:
    codes = await asyncio.gather(*(value_of(partial(pool.compiler.compile, flow)) for flow in flows))
    return dict(zip(flows, codes, strict=True))


async def webhooks_of_files(paths: Paths) -> tuple[list[dict[str, Any]], list[str]]:
    """The webhooks as the files have them, where no daemon runs; and where one would listen. Raises WhdError."""
    snapshot = Index(str(paths.config), str(paths.flows), saved=read_settings(paths.state)).load()
    flows = webhooks.flows_of(snapshot)
    async with _compiling(snapshot, bool(flows)) as pool:
        codes = await _compile(pool, flows)
    return webhooks.rows(snapshot, codes), list(snapshot.options.listen)


async def _check(pool: Pool, module: Module, library: Library) -> CheckedModule:
    return await value_of(partial(pool.compiler.check_module, module, library))


def module_faults(module: Module, checked: CheckedModule) -> list[Fault]:
    """What the compiler refused or warned of in a module, and what it imports in vain."""
    unit = checked.unit
    refusal = "\n".join([*([unit.refusal] if unit.refusal else []), *checked.import_faults])
    faults = refusal_faults(module, refusal) if refusal else []
    return faults + [Fault(module.path, line, "", text, is_warning=True) for line, text in unit.warnings]


def _daemon_account(state: Path) -> Account | None:
    """Whose the daemon is, as far as its folder says it: root's check of files is one of what that account can read."""
    try:
        return Account.owner_of(state) if os.geteuid() == 0 else None
    except OSError:
        return None


def code_faults(flow: Flow, code: Code) -> list[Fault]:
    """What the compiler refused or warned of, as faults of the flow's file."""
    faults = refusal_faults(flow, code.refusal) if code.refusal else []
    return faults + [Fault(flow.path, line, "", text, is_warning=True) for line, text in code.warnings]
