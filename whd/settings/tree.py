"""What each path below config/ and flows/ means: the tree of CONTRACT 1, and every name that does not fit it.

Nothing here does I/O: the caller says whether an entry is a folder.
"""

from __future__ import annotations

import enum
import keyword
import posixpath
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from ..model.snapshot import Fault
from ..terminal import escape
from ..wire.suggest import closest

NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
WEBHOOK_PREFIX: Final = "client.webhook."
OPTIONS_FILE: Final = "whd.yaml"
USERS_FILE: Final = "users.yaml"
SETTINGS_FOLDER: Final = "settings"
LIB_FOLDER: Final = "lib"

_name = re.compile(NAME_PATTERN)
_IGNORED_ENDINGS = ("~", ".swp", ".tmp")
_ALMOST_YAML = (".yml", ".yaml", ".json")
# What people and packages append to a file that is to rest.
_PUT_ASIDE = (
    ".bak", ".old", ".orig", ".off", ".disabled", ".dpkg-old", ".dpkg-dist", ".dpkg-new", ".rpmsave", ".rpmnew", ".md",
)  # fmt: skip
_SEPARATORS = re.compile(r"[._ -]")
_PREFIX_LETTERS = WEBHOOK_PREFIX.replace(".", "")
_A_CLIENT = f"a name that matches {NAME_PATTERN}, or one that starts with a dot for a folder that is to rest"
_SETTINGS_LIE = "settings directly in config/<client>/settings/"


class FolderKind(enum.Enum):
    """The folders that are read, each at one depth; BELOW_SETTINGS to name the settings that do not belong there."""

    CONFIG = "config"
    CLIENT = "config/<client>"
    SETTINGS = "config/<client>/settings"
    BELOW_SETTINGS = "config/<client>/settings/<any>"
    FLOWS = "flows"
    CLIENT_FLOWS = "flows/<client>"
    LIB = "flows/<client>/lib"


class FileKind(enum.Enum):
    """The files that are read, and STRAY for an entry that is not read but is a fault."""

    OPTIONS = "options"
    USERS = "users"
    SETTING = "setting"
    WEBHOOK = "webhook"
    FLOW = "flow"
    MODULE = "module"
    STRAY = "stray"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is read. `client_name` is "" for the two roots."""

    kind: FolderKind
    path: str
    client_name: str = ""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A file that is read. `name`: of the webhook, setting, flow or module; `fault`: what is wrong with the name.

    `warning`: what is odd about the name of a file that is read all the same.
    """

    kind: FileKind
    path: str
    client_name: str = ""
    name: str = ""
    fault: Fault | None = None
    warning: Fault | None = None


def is_ignored(name: str) -> bool:
    """Hidden files, back-ups and what editors write beside a file."""
    return name.startswith(".") or name.endswith(_IGNORED_ENDINGS)


def displayed(path: str) -> str:
    """A path as a fault shows it: file names may hold line ends and bytes that are no text."""
    return escape(path)


def tree_entry(folder: Folder, name: str, *, is_folder: bool | None) -> TreeEntry | Folder | None:
    """What `name` in `folder` is; None for what nobody reads. `is_folder` is None for a link that leads nowhere."""
    if is_ignored(name):
        return None
    return _ENTRY_IN[folder.kind](folder, name, is_folder)


def _in_config(folder: Folder, name: str, is_folder: bool | None) -> TreeEntry | Folder | None:
    path = posixpath.join(folder.path, name)
    if name == OPTIONS_FILE:
        return TreeEntry(FileKind.OPTIONS, path)
    if is_folder:
        return _client_folder(FolderKind.CLIENT, path, name)
    return _unread(path, name, is_folder, OPTIONS_FILE)


def _client_folder(kind: FolderKind, path: str, name: str) -> TreeEntry | Folder:
    if _name.fullmatch(name):
        return Folder(kind, path, name)
    # A volume's lost+found, drafts, notes: no reason to call the whole daemon degraded.
    return _stray(path, "is no client's name: nothing in this folder is read", _A_CLIENT, is_warning=True)


def _in_client(folder: Folder, name: str, is_folder: bool | None) -> TreeEntry | Folder | None:
    path = posixpath.join(folder.path, name)
    if name == USERS_FILE:
        return TreeEntry(FileKind.USERS, path, folder.client_name)
    if name == SETTINGS_FOLDER and is_folder is not None:
        if is_folder:
            return Folder(FolderKind.SETTINGS, path, folder.client_name)
        return _stray(path, "is a file", "a folder with the client's settings")
    if is_folder:
        meant = closest(name, (SETTINGS_FOLDER,))
        return _stray(path, "this folder is not read", suggestion=meant, is_warning=True)
    meant = USERS_FILE if closest(name, (USERS_FILE,)) else f"{SETTINGS_FOLDER}/{_yaml_name(name)}"
    return _unread(path, name, is_folder, meant)


def _in_settings(folder: Folder, name: str, is_folder: bool | None) -> TreeEntry | Folder | None:
    path = posixpath.join(folder.path, name)
    stem, ending = posixpath.splitext(name)
    if is_folder and ending != ".yaml":
        return Folder(FolderKind.BELOW_SETTINGS, path, folder.client_name)
    if ending != ".yaml":
        looks_meant = name.startswith(WEBHOOK_PREFIX) and not name.lower().endswith(_PUT_ASIDE)
        return _unread(path, name, is_folder, _yaml_name(name), looks_meant=looks_meant)
    if not _is_text(stem):
        return _stray(path, "the file's name is not printable text in UTF-8", "a setting's name and .yaml")
    if not stem.startswith(WEBHOOK_PREFIX):
        return TreeEntry(FileKind.SETTING, path, folder.client_name, stem, warning=_almost_a_webhook(path, stem))
    webhook_name = stem.removeprefix(WEBHOOK_PREFIX)
    if _name.fullmatch(webhook_name):
        return TreeEntry(FileKind.WEBHOOK, path, folder.client_name, webhook_name)
    return _stray(path, "is no webhook's name", f"{WEBHOOK_PREFIX}<name>.yaml, the name matching {NAME_PATTERN}")


def _in_folder_of_settings(folder: Folder, name: str, is_folder: bool | None) -> TreeEntry | Folder | None:
    path = posixpath.join(folder.path, name)
    if is_folder:
        return _stray(path, "this folder is not read", _SETTINGS_LIE, is_warning=True)
    if not name.lower().endswith(_ALMOST_YAML):
        return None
    meant = posixpath.join(posixpath.dirname(folder.path), _yaml_name(name))
    return _stray(path, "nothing reads this file", _SETTINGS_LIE, displayed(meant), is_warning=True)


def meant_webhook(stem: str) -> str:
    """The setting's name that a name much like a webhook's was meant to be, "" for any other."""
    parts = _SEPARATORS.split(stem)
    # client.webhooks.x and Client_webhook_x have it in the first two, client.web-hook.x in the first three.
    for count in (2, 3):
        start = sum(map(len, parts[:count])) + count
        name = stem[start:]
        if len(parts) > count and name and closest("".join(parts[:count]), (_PREFIX_LETTERS,), cutoff=0.9):
            return WEBHOOK_PREFIX + name
    return ""


def _almost_a_webhook(path: str, stem: str) -> Fault | None:
    meant = meant_webhook(stem)
    if not meant:
        return None
    what = "is an ordinary setting by its name, and no webhook"
    return Fault(displayed(path), 0, "", what, f"{WEBHOOK_PREFIX}<name>.yaml", f"{meant}.yaml", is_warning=True)


def _yaml_name(name: str) -> str:
    """What a setting's file was probably meant to be called."""
    stem, ending = posixpath.splitext(name)
    if ending.lower() not in _ALMOST_YAML:
        stem = name
    return f"{meant_webhook(stem) or stem}.yaml"


def _in_flows(folder: Folder, name: str, is_folder: bool | None) -> TreeEntry | Folder | None:
    path = posixpath.join(folder.path, name)
    if is_folder and name != "__pycache__":
        return _client_folder(FolderKind.CLIENT_FLOWS, path, name)
    if is_folder is False and name.endswith(".py"):
        return _stray(path, "nothing reads this file", f"flows/<client>/{name}", is_warning=True)
    return _unread(path, name, is_folder, "")


def _in_client_flows(folder: Folder, name: str, is_folder: bool | None) -> TreeEntry | Folder | None:
    path = posixpath.join(folder.path, name)
    if name == LIB_FOLDER and is_folder:
        return Folder(FolderKind.LIB, path, folder.client_name)
    if name == LIB_FOLDER and is_folder is None:
        return _stray(path, "is a link that leads nowhere", "a folder with the client's helper modules behind it")
    if is_folder and name != "__pycache__" and not name.endswith(".py"):
        return _stray(path, "this folder is not read", f"flows directly in {displayed(folder.path)}/", is_warning=True)
    if not name.endswith(".py"):
        return None
    if not _is_text(name):
        return _stray(path, "the file's name is not printable text in UTF-8", "a flow's name and .py")
    return TreeEntry(FileKind.FLOW, path, folder.client_name, name.removesuffix(".py"))


def _in_lib(folder: Folder, name: str, is_folder: bool | None) -> TreeEntry | Folder | None:
    path = posixpath.join(folder.path, name)
    if is_folder:
        if name == "__pycache__":
            return None
        what = "this folder is not read: a client's helper modules are files, without packages"
        return _stray(path, what, f"its modules in flows/{folder.client_name}/{LIB_FOLDER}/ itself", is_warning=True)
    if not name.endswith(".py"):
        return _unread(path, name, is_folder, "")
    module = name.removesuffix(".py")
    if is_module_name(module):
        return TreeEntry(FileKind.MODULE, path, folder.client_name, module)
    if name == "__init__.py":
        return _stray(path, "nothing reads this file: lib is no package", "no such file", is_warning=True)
    return _stray(
        path, "no flow can import a file of this name", "a name in Python, not _name, and .py", is_warning=True
    )


def is_module_name(name: str) -> bool:
    """Whether an import statement of a flow can name it; Python compares names in their normal form (NFKC)."""
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("_")
        and unicodedata.normalize("NFKC", name) == name
    )


_ENTRY_IN = {
    FolderKind.CONFIG: _in_config,
    FolderKind.CLIENT: _in_client,
    FolderKind.SETTINGS: _in_settings,
    FolderKind.BELOW_SETTINGS: _in_folder_of_settings,
    FolderKind.FLOWS: _in_flows,
    FolderKind.CLIENT_FLOWS: _in_client_flows,
    FolderKind.LIB: _in_lib,
}


def _unread(path: str, name: str, is_folder: bool | None, meant: str, *, looks_meant: bool = False) -> TreeEntry | None:
    """A fault for an entry that nobody reads if it seems meant to be read; None for others, a README for one."""
    if is_folder is None:
        return _stray(path, "is a link that leads nowhere that whd may look", "a file or folder behind it")
    if looks_meant or name.lower().endswith(_ALMOST_YAML):
        return _stray(path, "nothing reads this file", suggestion=meant, is_warning=True)
    return None


def _is_text(name: str) -> bool:
    # Python keeps bytes that are not UTF-8 as lone surrogates (PEP 383), which are not printable either.
    return name.isprintable()


def _stray(path: str, what: str, expected: str = "", suggestion: str = "", *, is_warning: bool = False) -> TreeEntry:
    fault = Fault(displayed(path), 0, "", what, expected, suggestion, is_warning)
    return TreeEntry(FileKind.STRAY, path, fault=fault)
