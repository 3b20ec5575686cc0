"""Layer closed_fds: the zygote keeps its control socket, a worker keeps its socket, and nothing else is open.

Zygote: 0 and 1 are /dev/null, 2 stays what the daemon gave it (the log), 3 is the control socket.
Worker: 3 is its socket; 0, 1 and 2 are closed, not /dev/null, so that exactly one descriptor can be used at all, and
no flow writes into the daemon's log or terminal. What C code prints in despair gets EBADF.
"""

from __future__ import annotations

import errno
import os
import sys

from . import kernel
from .wall import Wall

SOCKET_FD = 3
# close_range(2) takes unsigned ints; ~0U means "to the end".
_LAST_FD = 0xFFFFFFFF
# Only for kernels before 5.9, where descriptors are closed one by one.
_OLD_KERNEL_LAST_FD = 65536


def keep_control(wall: Wall) -> str:
    """The zygote's descriptors; also leaves the daemon's session, so that a terminal's Ctrl-C ends only the daemon."""
    _leave_terminal()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    if null > 2:
        os.close(null)
    _close_from(SOCKET_FD + 1)
    os.set_inheritable(SOCKET_FD, False)
    return ""


def keep_socket(wall: Wall) -> str:
    """A worker's descriptors: config["socket_fd"] becomes 3. Raises OSError when that is not open.

    Socket objects that were made before do not notice: the caller detaches them and builds its own over 3.
    """
    socket_fd = wall.config.get("socket_fd", SOCKET_FD)
    if socket_fd != SOCKET_FD:
        os.dup2(socket_fd, SOCKET_FD, inheritable=False)
    _close_from(SOCKET_FD + 1)
    for fd in range(SOCKET_FD):
        if _is_open(fd):
            os.close(fd)
    # With no stream objects, a stray print or traceback is silence instead of an error.
    sys.stdin = sys.stdout = sys.stderr = None
    os.fstat(SOCKET_FD)
    return ""


def close_all() -> None:
    """Closes every descriptor of this process."""
    _close_from(0)


def _leave_terminal() -> None:
    try:
        os.setsid()
    except PermissionError:
        # setsid(2) refuses a process group leader, which as such has left the terminal's group already.
        return


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _close_from(first: int) -> None:
    try:
        kernel.syscall("close_range", first, _LAST_FD, 0)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        os.closerange(first, _OLD_KERNEL_LAST_FD)
