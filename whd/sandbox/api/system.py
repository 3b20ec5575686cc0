"""`system`: what surrounds the execution."""

from __future__ import annotations

from typing import Any

from ..errors import CloudomationException, InvalidInputError, MissingInputError
from ..run import Run
from . import arguments
from .executions import Child, look_up
from .records import Client, File, Flow, Kind, Setting, User, find_by_id, given_fields, make_record
from .sealed import MISSING, Sealed, seal


class ReturnWhen(Sealed):
    """When a wait is over."""

    __slots__ = ()
    ALL_SUCCEEDED = "ALL_SUCCEEDED"
    ALL_ENDED = "ALL_ENDED"
    FIRST_ENDED = "FIRST_ENDED"


class Status(Sealed):
    """How an execution stands."""

    __slots__ = ()
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    ENDED_SUCCESS = "ENDED_SUCCESS"
    ENDED_ERROR = "ENDED_ERROR"
    ENDED_CANCELLED = "ENDED_CANCELLED"


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
        **dict.fromkeys(
            ("log", "success", "error", "end", "sleep", "sleep_until", "wait_for", "set_output", "connect"),
            "it is the other of the handler's two arguments, this, that has it",
        ),
        **dict.fromkeys(("oauth", "oauths"), "get the token with a call of its own, and send it in headers"),
        **dict.fromkeys(
            (
                "bundle",
                "bundles",
                "git_config",
                "git_configs",
                "identity",
                "organization",
                "organizations",
                "plugin",
                "plugins",
                "project",
                "projects",
                "role",
                "roles",
                "schema",
                "schemas",
                "sync_config",
                "sync_configs",
                "tag",
                "tags",
                "wrapper",
                "wrappers",
                "workspace",
                "workspaces",
            ),
            "what belongs to a client are its flows, settings and files, and its users in users.yaml",
        ),
        **dict.fromkeys(("user", "users"), "there is system.get_own_user()"),
        **dict.fromkeys(("client", "clients"), "there is system.get_own_client()"),
    }

    @property
    def return_when(self) -> ReturnWhen:
        """The values for wait_for."""
        return RETURN_WHEN

    @property
    def status(self) -> Status:
        """The values of an execution's field `status`."""
        return STATUS

    def setting(
        self, select: Any = MISSING, init: Any = None, save: bool = True, *, by: str = "name", **fields: Any
    ) -> Setting:
        """A setting by its name. `value=`, or `init={'value': …}`, saves it at once, with save=False by its save()."""
        return given_fields(self._record(Setting, select, by, fields), init, save, fields)

    def settings(self, *, filter: Any = None) -> list[Setting]:
        """The settings that the user may read."""
        return self._listed(Setting, "setting.list", arguments.name_filter(filter, "system.settings"))

    def file(
        self, select: Any = MISSING, init: Any = None, save: bool = True, *, by: str = "name", **fields: Any
    ) -> File:
        """A file by its full path; `content=` or `text=` saves it at once, or with save=False by its save()."""
        if "path" in fields:  # its name in 2019
            fields.setdefault("name", fields.pop("path"))
        return given_fields(self._record(File, select, by, fields), init, save, fields)

    def files(self, dir: Any = None, *, glob: Any = None, filter: Any = None) -> list[File]:
        """The files that the user may read: those in and below a folder, whose names fit a glob, or by a filter."""
        wanted = arguments.name_filter(filter, "system.files")
        if dir is not None:
            wanted["dir"] = arguments.folder(dir)
        if glob is not None:
            wanted["glob"] = arguments.text(glob, "system.files: glob")
        names = self._run.call("file.list", wanted)
        return [make_record(File, self._run, name) for name in names]

    def flow(
        self, select: Any = MISSING, init: Any = None, save: bool = True, *, by: str = "name", **fields: Any
    ) -> Flow:
        """A flow by its name; this.flow(name) runs it."""
        flow = self._record(Flow, select, by, fields)
        if init is not None or fields:
            raise CloudomationException("system.flow: flows are files of the operator; a flow cannot save one")
        return flow

    def flows(self, *, filter: Any = None) -> list[Flow]:
        """The flows that the user may run."""
        return self._listed(Flow, "flow.list", arguments.name_filter(filter, "system.flows"))

    def _record(self, kind: type[Kind], select: Any, by: Any, fields: dict[str, Any]) -> Kind:
        """A record by what selects it: the first argument or select=, or name=, which is taken out of the fields."""
        where = f"system.{kind._area}"
        selected = fields.pop("name", select) if select is MISSING or select is None else select
        if selected is MISSING:
            raise MissingInputError(f"{where} needs a name: {where}('name')")
        if type(by) is not str or by not in ("name", "id"):
            raise InvalidInputError(f"{where}: by must be 'name' or 'id', not {arguments.shown(by)}")
        if by == "id":
            return find_by_id(kind, self._run, selected)
        if kind is File:
            return make_record(kind, self._run, arguments.file_name(selected))
        return make_record(kind, self._run, arguments.text(selected, f"{where}: a {kind._area}'s name"))

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


for _kind in (ReturnWhen, Status, System):
    seal(_kind, _kind.__name__)

RETURN_WHEN: ReturnWhen = object.__new__(ReturnWhen)
STATUS: Status = object.__new__(Status)
