"""Who may do what: the one place where (user, action, record) is decided.

Deny by default: a user may do what one of its globs names, and nothing else. In a glob `*` stands for any characters,
`/` included, and `?` for exactly one; every other character, `[` too, stands for itself; case matters. Settings named
`client.webhook.…` hold keys: a glob reaches them only if it itself starts with `client.webhook.`.
Nothing here does I/O.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter

from ..errors import Forbidden
from ..model.snapshot import User

WEBHOOK_SETTING_PREFIX = "client.webhook."

# Names are chosen by flows, and the cache must not become their store.
_LONGEST_CACHED_NAME = 256


class Action(enum.StrEnum):
    """What a user may be allowed to do, in the words of the refusal."""

    RUN_FLOW = "run_flow"
    READ_SETTING = "read_setting"
    WRITE_SETTING = "write_setting"
    READ_FILE = "read_file"
    WRITE_FILE = "write_file"
    ACT_AS = "act_as"
    CONNECT = "connect"


class PermissionDenied(Forbidden):
    """`user_name` may not do `action` to the record named `record`; answered with 403 `forbidden`."""

    def __init__(self, user_name: str, action: Action, record: str) -> None:
        super().__init__(f"user {user_name} may not {_WORDS[action]} {record}")
        self.user_name = user_name
        self.action = action
        self.record = record


_WORDS = {
    Action.RUN_FLOW: "run the flow",
    Action.READ_SETTING: "read the setting",
    Action.WRITE_SETTING: "write the setting",
    Action.READ_FILE: "read the file",
    Action.WRITE_FILE: "write the file",
    Action.ACT_AS: "act as",
    Action.CONNECT: "connect to",
}

_GLOBS: dict[Action, Callable[[User], tuple[str, ...]]] = {
    Action.RUN_FLOW: attrgetter("flows"),
    Action.READ_SETTING: attrgetter("settings_read"),
    Action.WRITE_SETTING: attrgetter("settings_write"),
    Action.READ_FILE: attrgetter("files_read"),
    Action.WRITE_FILE: attrgetter("files_write"),
    Action.ACT_AS: attrgetter("act_as"),
    # A URL is more than a name: connections.check_url decides. By name alone nobody may connect anywhere.
    Action.CONNECT: lambda user: (),
}

_SETTING_ACTIONS = frozenset({Action.READ_SETTING, Action.WRITE_SETTING})


def authorize(user: User, action: Action, record: str) -> None:
    """Returns if the user may; raises PermissionDenied naming user, action and record if not."""
    if not may(user, action, record):
        raise PermissionDenied(user.name, action, record)


def may(user: User, action: Action, name: str) -> bool:
    """Whether the user may do `action` to the record called `name`. Everyone may act as itself."""
    globs = _GLOBS[action](user)
    if action == Action.ACT_AS and name == user.name:
        return True
    if not globs:
        return False
    if name.startswith(WEBHOOK_SETTING_PREFIX) and action in _SETTING_ACTIONS:
        globs = _reaching_webhooks(globs)
    if len(name) > _LONGEST_CACHED_NAME:
        return _any_matches(globs, name)
    return _any_matches_cached(globs, name)


@lru_cache(maxsize=1024)
def _reaching_webhooks(globs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(glob for glob in globs if glob.startswith(WEBHOOK_SETTING_PREFIX))


def _any_matches(globs: tuple[str, ...], name: str) -> bool:
    return any(matches(glob, name) for glob in globs)


_any_matches_cached = lru_cache(maxsize=8192)(_any_matches)


def matches(glob: str, name: str) -> bool:
    """Whether the glob covers the name. The time is bounded by the product of their lengths, whatever they hold."""
    return _compiled(glob)(name)


@lru_cache(maxsize=4096)
def _compiled(glob: str) -> Callable[[str], bool]:
    if "*" not in glob and "?" not in glob:
        return glob.__eq__
    parts = glob.split("*")
    if len(parts) == 1:
        whole = _part(glob)
        return lambda name: whole.fullmatch(name) is not None
    head, *inner, tail = parts
    return _between(_part(head), tuple(_part(part) for part in inner if part), _part(tail), len(head), len(tail))


def _part(text: str) -> re.Pattern[str]:
    # Without `*` nothing can backtrack: each character of the part matches exactly one.
    return re.compile("".join("." if character == "?" else re.escape(character) for character in text), re.DOTALL)


def _between(
    head: re.Pattern[str], inner: tuple[re.Pattern[str], ...], tail: re.Pattern[str], head_length: int, tail_length: int
) -> Callable[[str], bool]:
    """A matcher for head*inner*…*tail: both ends are fixed; each part between is found as far left as it can be."""

    def match(name: str) -> bool:
        end = len(name) - tail_length
        if end < head_length or not head.match(name) or not tail.match(name, end):
            return False
        position = head_length
        for part in inner:
            found = part.search(name, position, end)
            if found is None:
                return False
            position = found.end()
        return True

    return match
