"""`whd check`: everything that a start or a call would stumble over, found beforehand."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..admin import webhooks
from ..budget import BufferBudget
from ..engine.state import Paths
from ..errors import StateError, WhdError
from ..futures import value_of
from ..model.snapshot import Fault, Flow, SavedSetting, Snapshot
from ..pool.compiler import Code, refusal_faults
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
    snapshot = Index(str(paths.config), str(paths.flows), saved=saved).load(salvage=True)
    faults = unread + list(snapshot.faults)
    faulty = {fault.path for fault in snapshot.faults if not fault.is_warning}
    flows = [flow for client in snapshot.clients.values() for flow in client.flows.values()]
    codes: dict[Flow, Code] = {}
    try:
        codes = await compile_flows(snapshot, flows)
    except WhdError as error:
        faults.append(Fault(str(paths.config), 0, "", str(error)))
    for flow, code in codes.items():
        faults += code_faults(flow, code)
    for client in snapshot.clients.values():
        faults += explain.undeclared_rights(client, lambda flow: codes[flow].declared_uses if flow in codes else ())
    faults.sort(key=lambda fault: (fault.path, fault.line))
    return Checked(faults, explain.explanations(snapshot.clients, faulty))


async def compile_flows(snapshot: Snapshot, flows: Collection[Flow]) -> dict[Flow, Code]:
    """What the sandbox's compiler makes of each. Raises WhdError where it does not come up."""
    if not flows:
        return {}
    budget = BufferBudget(lambda: snapshot.options.max_buffered_bytes)
    pool = Pool(asyncio.get_running_loop(), lambda: snapshot.options, budget, WholeQuota())
    try:
        await pool.start()
        codes = await asyncio.gather(*(value_of(partial(pool.compiler.compile, flow)) for flow in flows))
        return dict(zip(flows, codes, strict=True))
    finally:
        await pool.close()


async def webhooks_of_files(paths: Paths) -> tuple[list[dict[str, Any]], list[str]]:
    """The webhooks as the files have them, where no daemon runs; and where one would listen. Raises WhdError."""
    snapshot = Index(str(paths.config), str(paths.flows), saved=read_settings(paths.state)).load()
    codes = await compile_flows(snapshot, webhooks.flows_of(snapshot))
    return webhooks.rows(snapshot, codes), list(snapshot.options.listen)


def code_faults(flow: Flow, code: Code) -> list[Fault]:
    """What the compiler refused or warned of, as faults of the flow's file."""
    faults = refusal_faults(flow, code.refusal) if code.refusal else []
    return faults + [Fault(flow.path, line, "", text, is_warning=True) for line, text in code.warnings]
