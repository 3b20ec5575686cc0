"""What each webhook's user may do, in words, and where its flow plainly needs more. For `whd check`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..auth.connections import check_url
from ..auth.permissions import Action, PermissionDenied, may
from ..auth.urls import BadUrl
from ..model.library import Module
from ..model.snapshot import Client, Fault, Flow, User, Webhook
from ..wire.frames import DeclaredUse
from ..wire.suggest import closest

MAX_NAMED_WEBHOOKS = 5
MAX_NAMED_MODULES = 10

# A line of a file, the flow's own or a module's, and what it uses.
Use = tuple[str, DeclaredUse]
UsesOf = Callable[[Flow], Iterable[Use]]
ModulesOf = Callable[[Flow], Iterable[Module]]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One webhook: `may` has a member for each kind of right that its user has, in users.yaml's words and order.

    `modules`: the files of the helper modules that its flow imports; who edits one edits the flow.
    """

    client: str
    webhook: str
    flow_name: str
    user_name: str
    key_required: bool
    may: Mapping[str, tuple[str, ...]]
    modules: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The JSON members that `--json` prints."""
        return {
            "client": self.client,
            "webhook": self.webhook,
            "flow_name": self.flow_name,
            "user_name": self.user_name,
            "key_required": self.key_required,
            "may": {right: list(globs) for right, globs in self.may.items()},
            **({"modules": list(self.modules)} if self.modules else {}),
        }


def explanations(clients: Mapping[str, Client], modules_of: ModulesOf, faulty: Container[str]) -> list[Explanation]:
    """An Explanation of every webhook that has a good version and a user. `faulty`: paths of files that have faults."""
    found = []
    for _, client in sorted(clients.items()):
        for _, webhook in sorted(client.webhooks.items()):
            user = client.users.get(webhook.user_name) if isinstance(webhook, Webhook) else None
            if isinstance(webhook, Webhook) and user is not None and webhook.path not in faulty:
                rights = rights_of(user)
                flow = client.flows.get(webhook.flow_name)
                modules = () if flow is None else tuple(module.path for module in modules_of(flow))
                found.append(
                    Explanation(
                        client.name,
                        webhook.name,
                        webhook.flow_name,
                        webhook.user_name,
                        webhook.caller_check.key_required,
                        rights,
                        modules,
                    )
                )
    return found


def rights_of(user: User) -> dict[str, tuple[str, ...]]:
    """What a user may do, by kind; kinds of which it may do nothing are left out."""
    rights = {
        "run flows": user.flows,
        "read settings": user.settings_read,
        "write settings": user.settings_write,
        "read files": user.files_read,
        "write files": user.files_write,
        **{f"call {connector}": urls for connector, urls in (user.connections or {}).items()},
        "act as": user.act_as,
    }
    return {right: globs for right, globs in rights.items() if globs}


def in_short(all_of_them: list[Explanation]) -> list[str]:
    """A line for each user that webhooks run as."""
    by_user: dict[tuple[str, str], list[Explanation]] = {}
    for one in all_of_them:
        by_user.setdefault((one.client, one.user_name), []).append(one)
    lines = []
    for (client, user_name), group in by_user.items():
        named = ", ".join(one.webhook for one in group[:MAX_NAMED_WEBHOOKS])
        more = f" and {len(group) - MAX_NAMED_WEBHOOKS} more" if len(group) > MAX_NAMED_WEBHOOKS else ""
        rights = "; ".join(f"{right} {', '.join(globs)}" for right, globs in group[0].may.items())
        lines.append(f"{client}: user {user_name} of {named}{more} may {rights or 'do nothing'}")
    for client in dict.fromkeys(one.client for one in all_of_them):
        importing = [one for one in all_of_them if one.client == client and one.modules]
        if importing:
            files = sorted({path for one in importing for path in one.modules})
            shown = ", ".join(files[:MAX_NAMED_MODULES]) + (", …" if len(files) > MAX_NAMED_MODULES else "")
            named = ", ".join(one.webhook for one in importing[:MAX_NAMED_WEBHOOKS])
            more = f" and {len(importing) - MAX_NAMED_WEBHOOKS} more" if len(importing) > MAX_NAMED_WEBHOOKS else ""
            lines.append(f"{client}: who edits {shown} edits the flows of {named}{more}")
    return lines


def in_full(one: Explanation) -> list[str]:
    """A webhook's own paragraph."""
    key = "with a key" if one.key_required else "without a key"
    head = f"{one.client}/{one.webhook} ({key}) runs the flow {one.flow_name} as user {one.user_name}, who may"
    rights = [f"    {right}: {', '.join(globs)}" for right, globs in one.may.items()]
    files = [f"    its flow imports {', '.join(one.modules)}: who edits these edits the flow"] if one.modules else []
    return [head, *(rights or ["    do nothing"]), *files]


# ---- where a flow needs more -----------------------------------------------------------------------------------------


def undeclared_rights(client: Client, uses_of: UsesOf) -> list[Fault]:
    """A warning for each line where a webhook's flow, or one that it plainly calls, uses more than the user may."""
    found: dict[Use, dict[str, list[str]]] = {}
    for _, webhook in sorted(client.webhooks.items()):
        user = client.users.get(webhook.user_name) if isinstance(webhook, Webhook) else None
        if user is None or not isinstance(webhook, Webhook):
            continue
        for flow in _reached(client, user, webhook.flow_name, uses_of):
            for path, use in uses_of(flow):
                what = _too_much(client, user, use)
                callers = found.setdefault((path, use), {}).setdefault(what, []) if what else []
                if webhook.name not in callers:
                    callers.append(webhook.name)
    faults = []
    for (path, use), whats in found.items():
        for what, webhooks in whats.items():
            more = f" and {len(webhooks) - MAX_NAMED_WEBHOOKS} more" if len(webhooks) > MAX_NAMED_WEBHOOKS else ""
            names = ", ".join(webhooks[:MAX_NAMED_WEBHOOKS])
            faults.append(Fault(path, use.line, "", f"{what} (called by webhook {names}{more})", is_warning=True))
    return faults


def _reached(client: Client, user: User, flow_name: str, uses_of: UsesOf) -> list[Flow]:
    """The flow and all that it plainly calls, as far as the user may run them."""
    reached: dict[str, Flow] = {}
    waiting = [flow_name]
    while waiting:
        name = waiting.pop()
        flow = client.flows.get(name)
        if name not in reached and flow is not None and may(user, Action.RUN_FLOW, name):
            reached[name] = flow
            waiting += [use.name for _, use in uses_of(flow) if use.action == "run_flow"]
    return list(reached.values())


_ACTIONS = {action.value: action for action in Action} | {"see_flow": Action.RUN_FLOW}
# The source does not show what is done with the record: one of the two rights is enough.
_EITHER = {
    "setting": (Action.READ_SETTING, Action.WRITE_SETTING),
    "file": (Action.READ_FILE, Action.WRITE_FILE),
}


def _too_much(client: Client, user: User, use: DeclaredUse) -> str:
    """Why a user may not use what a flow uses, or why nobody could; "" if it may and can."""
    if use.action == "task":
        return f"there are no tasks of type {use.name!r}, only REST"
    if use.action == "connect":
        return _unreachable(user, use.name)
    if use.action in _EITHER:
        either = _EITHER[use.action]
        return "" if any(may(user, action, use.name) for action in either) else _denied(user, either[0], use.name)
    action = _ACTIONS.get(use.action)
    if action is None:
        return ""
    if not may(user, action, use.name):
        return _denied(user, action, use.name)
    if use.action == "run_flow" and use.name not in client.flows:
        near = closest(use.name, client.flows)
        return f"there is no flow {use.name!r}" + (f" - did you mean {near}?" if near else "")
    return ""


def _denied(user: User, action: Action, record: str) -> str:
    return f"{PermissionDenied(user.name, action, record)}; users.yaml does not allow it"


def _unreachable(user: User, url: str) -> str:
    try:
        check_url(user, "REST", url)
    except PermissionDenied as error:
        return f"{error}; users.yaml does not allow it"
    except BadUrl as error:
        return f"the URL cannot be called: {error}"
    return ""
