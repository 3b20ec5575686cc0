"""Layer namespaces, first part: user, mount, pid, network, IPC, UTS and cgroup namespaces of the zygote's own.

Made once by the zygote and shared by its workers: a set per worker costs 1.6 ms more and keeps workers only from what
seccomp keeps them from anyway. Hosts differ in what they refuse, and a half-made user namespace cannot be left again:
so a child tries first, and this process goes only where the child has been.
"""

from __future__ import annotations

import errno
import os

from . import kernel
from .identity import NOBODY, step_aside, step_back
from .wall import Wall

# linux/sched.h
_CLONE_NEWNS = 0x00020000
_CLONE_NEWCGROUP = 0x02000000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_ALL_BUT_USER = _CLONE_NEWNS | _CLONE_NEWCGROUP | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWPID | _CLONE_NEWNET
# A message of so many characters fits into a pipe at once.
_DEFECT_CHARS = 1_000

# What refuses user namespaces to ordinary users: file, the content that does it, the way out.
_SWITCHES = (
    ("/proc/sys/user/max_user_namespaces", "0", "set the sysctl user.max_user_namespaces above 0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "set the sysctl kernel.unprivileged_userns_clone to 1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "give whd's Python an AppArmor profile with `userns,`, or set the sysctl"
        " kernel.apparmor_restrict_unprivileged_userns to 0",
    ),
)


def enter(wall: Wall) -> str:
    """Moves this process into new namespaces; the pid namespace begins with its next child (`pid_one`).

    Root falls back to all but the user namespace where that is refused.
    """
    code, defect = _tried_by_child(wall, with_user=True)
    if code == 0:
        _enter(wall, with_user=True)
        _forbid_nesting()
    elif wall.is_root and _tried_by_child(wall, with_user=False)[0] == 0:
        _enter(wall, with_user=False)
    else:
        return defect or _why(code)
    wall.has_user_namespace = code == 0
    wall.has_mount_namespace = wall.has_pid_namespace = True
    return "" if code == 0 else f"all but the user namespace: {defect or _why(code)}"


def _enter(wall: Wall, *, with_user: bool) -> None:
    if not with_user:
        kernel.syscall("unshare", _ALL_BUT_USER)
        return
    steps_aside = wall.is_root and not wall.skips("user")
    if steps_aside:
        step_aside()
    uid, gid = os.geteuid(), os.getegid()
    try:
        kernel.syscall("unshare", _CLONE_NEWUSER | _ALL_BUT_USER)
    except OSError:
        if steps_aside:
            step_back()
        raise
    # user_namespaces(7): without a right in the parent, setgroups is given up first, and only the own id is mapped.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/gid_map", f"{NOBODY} {gid} 1")
    _write("/proc/self/uid_map", f"{NOBODY} {uid} 1")


def _tried_by_child(wall: Wall, *, with_user: bool) -> tuple[int, str]:
    """(0, ""), or the errno that the attempt ended with in a child, and what went wrong if it was no OSError."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = errno.EIO
        try:
            _enter(wall, with_user=with_user)
            code = 0
        except OSError as error:
            code = error.errno or errno.EIO
        except Exception as error:
            os.write(writing, f"{type(error).__name__}: {error}"[:_DEFECT_CHARS].encode("utf-8", "replace"))
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as pipe:
        defect = pipe.read().decode("utf-8")
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), defect


def _forbid_nesting() -> None:
    """No user namespace inside this one: there, a process would hold all capabilities again (namespaces(7)).

    The limit is this namespace's own. seccomp forbids the same, so a host with a read-only /proc/sys loses nothing.
    """
    try:
        _write("/proc/sys/user/max_user_namespaces", "0")
    except OSError:
        return


def _why(code: int) -> str:
    for path, content, remedy in _SWITCHES:
        if _read(path) == content:
            return f"user namespaces are switched off here; {remedy}"
    if code == errno.EPERM:
        return (
            "the kernel refuses a user namespace (EPERM), as containers' default seccomp profiles do;"
            " allow unshare(2), mount(2) and pivot_root(2), or run whd outside of the container"
        )
    if code in (errno.EINVAL, errno.ENOSYS):
        return f"this kernel lacks a namespace, or the process has threads ({os.strerror(code)})"
    return f"a user namespace cannot be made: {os.strerror(code)}"


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    # os.open and bytes: open() would load a codec here, from files that the user we became may not be able to read.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
