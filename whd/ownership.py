"""Whose a file is and who may read it, as file modes say it (path_resolution(7)), and what to do where that is wrong.

Access lists and capabilities other than root's are not looked at: where the kernel itself can be asked, it is.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

READ: Final = 0o4
SEARCH: Final = 0o1


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine with all groups; `gid` is the first one."""

    uid: int
    gid: int
    groups: frozenset[int]

    @classmethod
    def current(cls) -> Account:
        """The one that this process runs as."""
        return cls(os.geteuid(), os.getegid(), frozenset((os.getegid(), *os.getgroups())))

    @classmethod
    def owner_of(cls, path: Path) -> Account:
        """The one that a file or folder belongs to, with what the groups' table says of it. Raises OSError."""
        status = path.stat()
        try:
            entry = pwd.getpwuid(status.st_uid)
        except KeyError:
            return cls(status.st_uid, status.st_gid, frozenset((status.st_gid,)))
        return cls(status.st_uid, entry.pw_gid, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)))

    @property
    def name(self) -> str:
        """The user's name, or number where it has none."""
        return user_name(self.uid)

    def may(self, status: os.stat_result, access: int) -> bool:
        """Whether the mode allows all of `access`, of READ and SEARCH."""
        if self.uid == 0:
            return True
        if status.st_uid == self.uid:
            granted = status.st_mode >> 6
        elif status.st_gid in self.groups:
            granted = status.st_mode >> 3
        else:
            granted = status.st_mode
        return granted & access == access

    def way_to_read(self, path: str, status: os.stat_result) -> str:
        """The command after which this account can read a file or folder, and others cannot."""
        quoted = shlex.quote(path)
        is_folder = stat.S_ISDIR(status.st_mode)
        if self.uid in (0, status.st_uid):
            return f"chmod {'700' if is_folder else '600'} {quoted}"
        # Setgid, so that what is made in there is readable too.
        chmod = f"chmod {'2750' if is_folder else '640'} {quoted}"
        return chmod if status.st_gid in self.groups else f"chgrp {group_name(self.gid)} {quoted} && {chmod}"

    def way_to_close(self, path: str, status: os.stat_result) -> str:
        """The command after which others cannot read a file any more, and this account still can."""
        is_ours = self.uid in (0, status.st_uid) or (status.st_gid in self.groups and status.st_mode & stat.S_IRGRP)
        return f"chmod o-r {shlex.quote(path)}" if is_ours else self.way_to_read(path, status)


def user_name(uid: int) -> str:
    """The name of a user, the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """The name of a group, the number where there is none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def described(status: os.stat_result) -> str:
    """Owner, group and mode, as in `root:whd, mode 0640`."""
    return f"{user_name(status.st_uid)}:{group_name(status.st_gid)}, mode {stat.S_IMODE(status.st_mode):04o}"


# ---- what whd makes itself -------------------------------------------------------------------------------------------


def make_folder(path: Path) -> None:
    """Makes a folder (0700), and those above it, if need be. Raises OSError.

    What root makes belongs to who owns the folder that it is made in: a command that root runs must not lock out the
    daemon.
    """
    missing = []
    above = path.absolute()
    while not above.exists() and above != above.parent:
        missing.append(above)
        above = above.parent
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        if (to := _other_owner(folder.parent)) is not None:
            os.chown(folder, to.st_uid, to.st_gid)
    if not path.is_dir():
        path.mkdir(mode=0o700)  # says what stands there instead


def give_to_folders_owner(descriptor: int, folder: Path) -> None:
    """Gives a file that root made to who owns its folder. Raises OSError."""
    if (to := _other_owner(folder)) is not None:
        os.fchown(descriptor, to.st_uid, to.st_gid)


def _other_owner(folder: Path) -> os.stat_result | None:
    if os.geteuid() != 0:
        return None
    status = folder.stat()
    return status if status.st_uid != 0 else None


def closed_to_us(*paths: Path) -> str:
    """Which of these this process may not read and write, whose it is, and the way out; "" if there is none."""
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        except OSError:
            continue  # a folder above, which is among the paths or the caller's to name
        if os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
            continue
        me = user_name(os.geteuid())
        whose = f"{path} belongs to {described(status)}, and this runs as {me}"
        if status.st_uid == os.geteuid():
            return f"{whose}; chmod u+rw{'x' if path.is_dir() else ''} {shlex.quote(str(path))}"
        if status.st_uid == 0 or _is_ours(path.parent):
            chown = "chown -R" if path.is_dir() else "chown"
            return f"{whose}; as root: {chown} {me}:{group_name(os.getegid())} {shlex.quote(str(path))}"
        return f"{whose}; run it as {user_name(status.st_uid)}"
    return ""


def _is_ours(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
