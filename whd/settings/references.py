"""Whether what a webhook names exists: its user, its flow; and whether the user may run the flow.

Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

from ..auth.permissions import Action, may
from ..model.snapshot import Fault, Flow, User
from ..wire.suggest import closest
from .parse import Faults
from .webhooks import WebhookSource

# Each suggestion looks at up to a hundred names; a folder of flows that vanished must not cost seconds.
MAX_SUGGESTIONS: Final = 50


class Suggestions:
    """Finds what was meant, the same answer once, and not without bound."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, bool], str] = {}

    def find(self, name: str, known: Mapping[str, Flow] | Mapping[str, User], *, among_users: bool = False) -> str:
        """The closest known name, "" if none is near or enough were looked for."""
        asked = (name, among_users)
        if asked not in self._found and len(self._found) < MAX_SUGGESTIONS:
            self._found[asked] = closest(name, known)
        return self._found.get(asked, "")


def reference_faults(
    source: WebhookSource,
    users: Mapping[str, User],
    flows: Mapping[str, Flow],
    suggestions: Suggestions,
    *,
    users_path: str | None = None,
    knows_users: bool = True,
    unusable_flows: Container[str] = frozenset(),
    faulty_users: Container[str] = frozenset(),
) -> Faults:
    """A fault for each thing that is named and missing, a warning for a user who may not run the flow.

    `users_path`: the users.yaml, None without one; `knows_users`: a missing user is worth a fault of its own;
    `unusable_flows`: those whose file has no good version; `faulty_users`: those that have faults of their own.
    """
    faults: Faults = ()
    user = users.get(source.user_name)
    if user is None and knows_users and source.user_name not in faulty_users:
        what = f"there is no user {source.user_name!a} in client {source.client_name}"
        expected = f"a user of {users_path}" if users_path else "a users.yaml with that user"
        meant = suggestions.find(source.user_name, users, among_users=True)
        faults += (Fault(source.path, source.user_line, "user_name", what, expected, meant),)
    if source.flow_name in unusable_flows:
        what = f"the flow {source.flow_name!a} has no version that can be used"
        faults += (Fault(source.path, source.flow_line, "flow_name", what),)
    elif source.flow_name not in flows:
        what = f"there is no flow {source.flow_name!a} in client {source.client_name}"
        meant = suggestions.find(source.flow_name, flows)
        faults += (Fault(source.path, source.flow_line, "flow_name", what, "a flow's file name less .py", meant),)
    elif user is not None and not may(user, Action.RUN_FLOW, source.flow_name):
        what = f"{source.user_name} may not run the flow {source.flow_name!a}, so each call is answered with 403"
        expected = f"a glob for it in {source.user_name}'s flows"
        faults += (Fault(source.path, source.user_line, "user_name", what, expected, is_warning=True),)
    return faults
