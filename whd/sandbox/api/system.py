"""`system`: what surrounds the execution."""

from __future__ import annotations

from typing import Any

from ..errors import MissingInputError
from ..run import Run
from . import arguments
from .executions import Child, look_up
from .records import Client, File, Flow, Kind, Setting, User, make_record, saved_at_once
from .sealed import MISSING, Sealed, seal


class ReturnWhen(Sealed):
    """When a wait is over."""

    __slots__ = ()
    ALL_SUCCEEDED = "ALL_SUCCEEDED"
    ALL_ENDED = "ALL_ENDED"
    FIRST_ENDED = "FIRST_ENDED"


class System(Sealed):
    """What surrounds the execution."""

    __slots__ = ("_run",)
    _run: Run
    _missing = {  # noqa: RUF012  # read only
        **dict.fromkeys(("connection", "connections"), "give this.task('REST', …) its url and headers"),
        **dict.fromkeys(("message", "messages"), "ask by a web form: a webhook whose flow answers with a page"),
        **dict.fromkeys(("scheduler", "schedulers", "schedule"), "have cron or a systemd timer call the webhook"),
        **dict.fromkeys(("task", "script"), "use this.task('REST', …) or this.flow(name)"),
        "executions": "keep the ids of your executions in a setting, and look at each with system.execution(id)",
        **dict.fromkeys(("vault_config", "vault_configs"), "keep what is secret in a setting that few may read"),
        **dict.fromkeys(("webhook", "webhooks"), "save the setting client.webhook.<name>"),
        **dict.fromkeys(("get", "load"), "the execution's fields are this.get(…)"),
        **dict.fromkeys(("user", "users"), "there is system.get_own_user()"),
        **dict.fromkeys(("client", "clients"), "there is system.get_own_client()"),
    }

    @property
    def return_when(self) -> ReturnWhen:
        """The values for wait_for."""
        return RETURN_WHEN

    def setting(self, name: Any = MISSING, /, **fields: Any) -> Setting:
        """A setting by its name; `value=` saves it at once."""
        plain = arguments.text(_named(name, fields, "system.setting"), "system.setting: a setting's name")
        return saved_at_once(make_record(Setting, self._run, plain), fields)

    def settings(self, *, filter: Any = None) -> list[Setting]:
        """The settings that the user may read."""
        return self._listed(Setting, "setting.list", arguments.name_filter(filter, "system.settings"))

    def file(self, name: Any = MISSING, /, **fields: Any) -> File:
        """A file by its full path; `content=` saves it at once."""
        if "path" in fields:  # its name in 2019
            fields.setdefault("name", fields.pop("path"))
        path = _named(name, fields, "system.file")
        return saved_at_once(make_record(File, self._run, arguments.file_name(path)), fields)

    def files(self, dir: Any = None, *, glob: Any = None, filter: Any = None) -> list[File]:
        """The files that the user may read: those in and below a folder, whose names fit a glob, or by a filter."""
        wanted = arguments.name_filter(filter, "system.files")
        if dir is not None:
            wanted["dir"] = arguments.folder(dir)
        if glob is not None:
            wanted["glob"] = arguments.text(glob, "system.files: glob")
        names = self._run.call("file.list", wanted)
        return [make_record(File, self._run, name) for name in names]

    def flow(self, name: str) -> Flow:
        """A flow by its name; this.flow(name) runs it."""
        return make_record(Flow, self._run, arguments.text(name, "system.flow: a flow's name"))

    def flows(self, *, filter: Any = None) -> list[Flow]:
        """The flows that the user may run."""
        return self._listed(Flow, "flow.list", arguments.name_filter(filter, "system.flows"))

    def _listed(self, kind: type[Kind], call: str, wanted: dict[str, str]) -> list[Kind]:
        names = self._run.call(call, {})
        return [make_record(kind, self._run, name) for name in names if arguments.fits(name, wanted)]

    def execution(self, execution_id: str) -> Child:
        """Another execution of the same client and user."""
        return look_up(self._run, execution_id)

    def get_own_user(self) -> User:
        """The user with whose permissions the execution runs."""
        return make_record(User, self._run, self._run.field("user_name"))

    def get_own_client(self) -> Client:
        """The client that the execution belongs to."""
        return make_record(Client, self._run, self._run.field("client_name"))

    def get_env_name(self) -> str:
        """The name of this installation."""
        return self._run.env_name


def _named(name: Any, fields: dict[str, Any], where: str) -> Any:
    """A record's name, which scripts give first or as name=. Raises MissingInputError."""
    given = fields.pop("name", MISSING) if name is MISSING else name
    if given is MISSING:
        raise MissingInputError(f"{where} needs a name: {where}('name')")
    return given


for _kind in (ReturnWhen, System):
    seal(_kind, _kind.__name__)

RETURN_WHEN: ReturnWhen = object.__new__(ReturnWhen)
