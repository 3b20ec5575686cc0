"""A death test per forbidden system call: raw calls of unrestricted Python in a walled worker.

Each ends the worker (SIGSYS), or, where honest code could try it by mistake, answers EPERM. Nothing else is accepted:
not another errno, for that would mean that the call reached the kernel.
"""

from __future__ import annotations

import errno
import signal

import pytest

from whd.sandbox.isolation import kernel, seccomp
from whd.sandbox.isolation.syscalls import NUMBERS

from .walled import Zygote

KNOWN = NUMBERS.get(kernel.MACHINE, {})
DEADLY = sorted(set(KNOWN) - set(seccomp.ALLOWED) - seccomp.REFUSED)
REFUSED = sorted(set(KNOWN) & seccomp.REFUSED)

only_x86_64 = pytest.mark.skipif(kernel.MACHINE != "x86_64", reason="an entry that only x86-64 has")

NEW_PAGE = 'kernel.syscall("mmap", 0, 4096, 3, 0x22, -1, 0)'
# Calls that are allowed, with arguments that are not: what is tried, the source.
WRONG_ARGUMENTS = {
    "executable memory": 'kernel.syscall("mmap", 0, 4096, 7, 0x22, -1, 0)',
    "executable memory, not writable": 'kernel.syscall("mmap", 0, 4096, 5, 0x22, -1, 0)',
    "a mapping of a descriptor": 'kernel.syscall("mmap", 0, 4096, 1, 0x02, 3, 0)',
    "memory made executable": f'kernel.syscall("mprotect", {NEW_PAGE}, 4096, 5)',
    "memory shared with a child or a thread": 'kernel.syscall("mmap", 0, 4096, 3, 0x21, -1, 0)',
    "memory that is locked": 'kernel.syscall("mmap", 0, 4096, 3, 0x2022, -1, 0)',
    "memory offered for merging": f'kernel.syscall("madvise", {NEW_PAGE}, 4096, 12)',
    "memory pushed out": f'kernel.syscall("madvise", {NEW_PAGE}, 4096, 21)',
    "memory moved to an address": 'kernel.syscall("mremap", 0, 4096, 4096, 3, 65536)',
    "a protection bit above 32 bits": 'kernel.syscall("mmap", 0, 4096, 1 << 32 | 3, 0x22, -1, 0)',
    "sending to an address": 'kernel.syscall("sendto", 3, at(b"x"), 1, 0, 1 << 40, 16)',
    "sending out of band": 'kernel.syscall("sendto", 3, at(b"x"), 1, 1, 0, 0)',
    "receiving out of band": 'kernel.syscall("recvfrom", 3, at(b"x"), 1, 1, 0, 0)',
    "reading a socket's error queue": 'kernel.syscall("recvfrom", 3, at(b"x"), 1, 0x2040, 0, 0)',
    "a priority-inheriting futex": 'kernel.syscall("futex", at(bytes(8)), 6, 0, 0, 0, 0)',
    "requeueing a futex": 'kernel.syscall("futex", at(bytes(8)), 3, 1, 1, 0, 0)',
    "another process's CPU clock": "time.clock_gettime(((~1) << 3) | 2)",
    "a thread": "threading.Thread(target=print).start()",
    "a process": "os.fork()",
    "a program": 'os.execv("/bin/true", ["true"])',
    "a signal to the zygote": "os.kill(os.getppid(), 9)",
    "a signal to every process": "os.kill(-1, 9)",
    "a signal to itself": "os.kill(os.getpid(), 9)",
    "an internet socket": "socket.socket()",
    "a pipe": "os.pipe()",
    "a descriptor through its socket": "socket.socket(fileno=3).recvmsg(1, 100)",
    "memory in a file": 'os.memfd_create("x")',
}


@pytest.mark.parametrize("name", DEADLY)
def test_a_deadly_system_call_kills_the_worker(zygote: Zygote, name: str) -> None:
    ended = zygote.run(f"kernel.syscall_number({KNOWN[name]})")
    assert ended == {"exit": -signal.SIGSYS}


@pytest.mark.parametrize("name", REFUSED)
def test_a_harmless_system_call_is_refused_and_the_worker_lives(zygote: Zygote, name: str) -> None:
    ended = zygote.run(f"kernel.syscall_number({KNOWN[name]})")
    assert (ended["exit"], ended["errno"]) == (0, errno.EPERM)


@pytest.mark.parametrize("source", WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS)
def test_an_allowed_call_with_forbidden_arguments_kills_the_worker(zygote: Zygote, source: str) -> None:
    assert zygote.run(source) == {"exit": -signal.SIGSYS}


@pytest.mark.parametrize("number", [337, 423, 470, 511, 1023, 0x3FFFFFFF, 0x7FFFFFFF, -2])
def test_a_number_that_no_table_names_kills_the_worker(zygote: Zygote, number: int) -> None:
    """Numbers of newer kernels are forbidden before anyone has heard of them."""
    assert zygote.run(f"kernel.syscall_number({number})") == {"exit": -signal.SIGSYS}


@only_x86_64
@pytest.mark.parametrize("number", [335, 336])
def test_probe_calls_that_bypass_filters_reach_nothing(zygote: Zygote, number: int) -> None:
    """uretprobe and uprobe pass every filter on newer kernels, which then answer those who do not come from a probe."""
    ended = zygote.run(f"value = kernel.syscall_number({number})")
    assert ended["exit"] in (-signal.SIGSYS, -signal.SIGILL) or ended["errno"] in (errno.ENXIO, errno.ENOSYS)


@only_x86_64
@pytest.mark.parametrize("name", ["getpid", "read", "execve", "mmap"])
def test_the_x32_abi_kills_the_worker(zygote: Zygote, name: str) -> None:
    assert zygote.run(f"kernel.syscall_number({0x40000000 | KNOWN[name]})") == {"exit": -signal.SIGSYS}


@only_x86_64
def test_the_32_bit_entry_kills_the_worker(zygote: Zygote) -> None:
    """int 0x80 enters with other numbers: 20 is getpid there and writev here. SIGSEGV where the kernel lacks it."""
    ended = zygote.run("value = call_through_int_0x80()")
    assert ended["exit"] in (-signal.SIGSYS, -signal.SIGSEGV)
    assert "value" not in ended


def test_the_filter_cannot_be_lifted_or_replaced(zygote: Zygote) -> None:
    """seccomp(2) is deadly; by prctl(PR_SET_SECCOMP) it is EPERM."""
    assert zygote.run("kernel.prctl(22, 1)")["errno"] == errno.EPERM
    assert zygote.run('kernel.syscall("seccomp", 0, 0, 0)') == {"exit": -signal.SIGSYS}
