"""Calls on files: what flows keep under a path of their own, in state/, never in the file system."""

from __future__ import annotations

from functools import partial

from ..auth.permissions import Action, authorize, matches, may
from ..errors import SaveRefused, StateError, WhdError
from ..model.snapshot import User
from ..saved import SavedFile, SavedRecords
from .broker import Broker, CallHandler
from .call import CallError, FlowCall, json_bytes, not_found, times_json


class FileCalls:
    """system.file(name), system.files(), and the methods of a file."""

    def __init__(self, broker: Broker, saved: SavedRecords) -> None:
        self._broker = broker
        self._saved = saved
        self.table: dict[str, CallHandler] = {
            "file.get": self._get,
            "file.exists": self._exists,
            "file.times": self._times,
            "file.list": self._list,
            "file.save": self._save,
            "file.delete": self._delete,
        }

    def _get(self, call: FlowCall) -> None:
        """{name}: {is_text}, and its content as it is, which is UTF-8 if it is text."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.READ_FILE, name)

        def found(file: SavedFile | None, error: StateError | None) -> None:
            if error is not None:
                self._broker.refuse(call, CallError("CloudomationException", error.detail))
            elif file is None:
                self._broker.refuse(call, not_found(f"there is no file {name!r}"))
            else:
                self._broker.answer(call, json_bytes({"is_text": file.is_text}), file.content)

        self._saved.file_get(client.name, name, found)

    def _exists(self, call: FlowCall) -> None:
        """{name}: whether the file exists."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.READ_FILE, name)

        def found(exists: bool, error: WhdError | None) -> None:
            if error is not None:
                self._broker.refuse_save(call, error)
            else:
                self._broker.answer(call, json_bytes(exists))

        self._saved.file_find(client.name, name, found)

    def _times(self, call: FlowCall) -> None:
        """{name}: when the file was saved first and last."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.READ_FILE, name)

        def found(times: tuple[int, int] | None, error: StateError | None) -> None:
            if error is not None:
                self._broker.refuse(call, CallError("CloudomationException", error.detail))
            elif times is None:
                self._broker.refuse(call, not_found(f"there is no file {name!r}"))
            else:
                self._broker.answer(call, times_json(*times))

        self._saved.file_times(client.name, name, found)

    def _list(self, call: FlowCall) -> None:
        """{dir, glob, like, eq}, each optional: the names that fit all of them and that the user may read."""
        client, user = self._broker.who(call)
        folder, glob = call.text_or_none("dir"), call.text_or_none("glob")
        like, exact = call.text_or_none("like"), call.text_or_none("eq")
        prefix = f"{folder.rstrip('/')}/" if folder else ""

        def found(names: list[str] | None, error: StateError | SaveRefused | None) -> None:
            if error is not None:
                self._broker.refuse(call, CallError(getattr(error, "kind", "CloudomationException"), error.detail))
            else:
                self._broker.answer(call, json_bytes(names))

        is_wanted = partial(_is_wanted, user, prefix, glob, like, exact)
        self._saved.file_list(client.name, found, prefix=prefix, is_wanted=is_wanted)

    def _save(self, call: FlowCall) -> None:
        """{name, is_text} and the content, text in UTF-8: answered when it is on disk.

        Whether it is UTF-8 is not checked: only flows of the same client read it.
        """
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.WRITE_FILE, name)
        done = self._broker.when_done(call)
        self._saved.file_save(client.name, name, call.raw, user.name, done, is_text=call.flag("is_text"))

    def _delete(self, call: FlowCall) -> None:
        """{name}: answered when that is on disk."""
        name = call.text("name")
        client, user = self._broker.who(call)
        authorize(user, Action.WRITE_FILE, name)
        self._saved.file_delete(client.name, name, self._broker.when_done(call))


def _is_wanted(user: User, prefix: str, glob: str | None, like: str | None, exact: str | None, name: str) -> bool:
    return (
        may(user, Action.READ_FILE, name)
        and (glob is None or _fits(glob, prefix, name))
        and (like is None or _is_like(like, name))
        and (exact is None or name == exact)
    )


def _fits(glob: str, prefix: str, name: str) -> bool:
    """Whether the glob fits the whole name or what follows the folder; `**/` also stands for no folder at all."""
    names = (name, name.removeprefix(prefix)) if prefix else (name,)
    globs = (glob, glob.removeprefix("**/")) if glob.startswith("**/") else (glob,)
    return any(matches(one, each) for one in globs for each in names)


def _is_like(pattern: str, name: str) -> bool:
    """SQL's LIKE: % is any text, _ any character. Goes back to the last % only, so never worse than quadratic."""
    at = here = 0
    last_percent, resume = -1, 0
    while at < len(name):
        if here < len(pattern) and pattern[here] == "%":
            last_percent, resume = here, at
            here += 1
        elif here < len(pattern) and pattern[here] in ("_", name[at]):
            here += 1
            at += 1
        elif last_percent >= 0:
            resume += 1
            here, at = last_percent + 1, resume
        else:
            return False
    return all(char == "%" for char in pattern[here:])
