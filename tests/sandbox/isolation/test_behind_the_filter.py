"""Every other layer holds on its own: workers with the whole wall but the filter, asked from inside.

So that a hole in one layer is not a hole in the wall.
"""

from __future__ import annotations

import errno
from typing import Any

import pytest

from .conftest import Start
from .walled import ORDINARY_UID, Zygote

LAST_CAPABILITY = 40  # CAP_CHECKPOINT_RESTORE, the newest of linux/capability.h
NO_ENTRY = {errno.EACCES, errno.ENOENT, errno.EPERM, errno.EROFS}

# What would take a capability: its name, the attempt, the errnos that say no.
PRIVILEGED = {
    "CAP_SETUID": ('kernel.syscall("setuid", 0)', {errno.EPERM, errno.EINVAL}),
    "CAP_SETGID": ('kernel.syscall("setgid", 0)', {errno.EPERM, errno.EINVAL}),
    "CAP_SETGID, groups": ('kernel.syscall("setgroups", 0, 0)', {errno.EPERM}),
    "CAP_SYS_ADMIN, mount": ('kernel.mount(b"none", b"/", b"tmpfs", 0)', {errno.EPERM}),
    "CAP_SYS_ADMIN, umount": ('kernel.syscall("umount2", at(b"/\\0"), 2)', {errno.EPERM}),
    "CAP_SYS_ADMIN, remount": ('kernel.mount(None, b"/", None, 32)', {errno.EPERM}),
    "CAP_SYS_ADMIN, hostname": ('kernel.syscall("sethostname", at(b"x"), 1)', {errno.EPERM}),
    "CAP_SYS_ADMIN, namespaces": ('kernel.syscall("unshare", 0x00020000)', {errno.EPERM}),
    "CAP_SYS_ADMIN, swap": ('kernel.syscall("swapoff", at(b"/x\\0"))', {errno.EPERM}),
    "CAP_SYS_CHROOT": ('os.chroot("/")', {errno.EPERM}),
    "CAP_SYS_TIME": ('kernel.syscall("settimeofday", at(bytes(16)), 0)', {errno.EPERM}),
    "CAP_SYS_RAWIO": ('kernel.syscall("iopl", 3)', {errno.EPERM, errno.ENOSYS}),
    "CAP_SYS_MODULE": ('kernel.syscall("init_module", 0, 0, 0)', {errno.EPERM, errno.ENOSYS}),
    "CAP_SYS_PACCT": ('kernel.syscall("acct", 0)', {errno.EPERM, errno.ENOSYS}),
    "CAP_SYSLOG": ('kernel.syscall("syslog", 4, at(bytes(8)), 8)', {errno.EPERM}),
    "CAP_SYS_NICE": ('kernel.syscall("setpriority", 0, 0, -20)', {errno.EACCES, errno.EPERM}),
    "CAP_SYS_NICE, real time": ("os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))", {errno.EPERM}),
    "CAP_SYS_RESOURCE": ("resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))", {None, errno.EPERM}),
    "CAP_IPC_LOCK": ('kernel.syscall("mlock", at(bytes(8)), 8)', {errno.EPERM, errno.ENOMEM}),
    "CAP_MKNOD": ('os.mknod("/x", 0o020666, os.makedev(1, 3))', NO_ENTRY),
    "CAP_NET_RAW": ("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", {errno.EPERM, errno.EMFILE}),
    "CAP_BPF": ('kernel.syscall("bpf", 0, at(bytes(128)), 128)', {errno.EPERM, errno.EINVAL}),
    "CAP_PERFMON": (
        'kernel.syscall("perf_event_open", at(bytes(4) + b"\\x80" + bytes(123)), -1, 0, -1, 0)',
        {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOSYS, errno.EMFILE},
    ),
    "CAP_SETPCAP": ("kernel.prctl(24, 0)", {errno.EPERM}),
}


# Without its limits, a worker gets as far as a descriptor; with them, every attempt would end there.
UNLIMITED = {"seccomp": False, "config": {"skip": ["rlimits"]}}


def ask(zygote: Zygote, source: str) -> Any:
    ended = zygote.run(source, seccomp=False)
    assert ended["exit"] == 0, ended
    assert "error" not in ended, ended
    return ended["value"]


@pytest.mark.parametrize("number", range(LAST_CAPABILITY + 1))
def test_a_capability_is_neither_held_nor_to_be_had(zygote: Zygote, number: int) -> None:
    """capget answers none, capset cannot raise it, it is not in the bounding set, ambient cannot be raised."""
    source = f"""
import errno
from struct import pack, unpack
header = kernel.Buffer(pack("=Ii", 0x20080522, 0))
held = kernel.Buffer(bytes(24))
kernel.syscall("capget", header.address, held.address)
wanted = [0] * 6
wanted[3 * {number // 32} : 3 * {number // 32} + 3] = [1 << {number % 32}] * 3
sets = kernel.Buffer(pack("=6I", *wanted))
def refusal(call):
    try:
        call()
    except OSError as error:
        return error.errno
    return 0
value = [
    list(unpack("=6I", held.content)),
    refusal(lambda: kernel.syscall("capset", header.address, sets.address)),
    refusal(lambda: kernel.prctl(47, 2, {number})),
]
try:
    value.append(kernel.prctl(23, {number}))
except OSError as error:
    value.append(0 if error.errno == errno.EINVAL else error.errno)
"""
    held, capset, ambient, is_in_bounds = ask(zygote, source)
    assert held == [0] * 6
    assert capset == errno.EPERM
    assert ambient in (errno.EPERM, errno.EINVAL)
    assert is_in_bounds == 0


@pytest.mark.parametrize(("source", "refusals"), PRIVILEGED.values(), ids=PRIVILEGED)
def test_what_takes_a_capability_is_refused(zygote: Zygote, source: str, refusals: set[int | None]) -> None:
    ended = zygote.run(source, seccomp=False)
    assert ended["exit"] == 0
    assert "error" in ended, f"succeeded: {source}"
    assert ended["errno"] in refusals, ended


def test_no_new_user_namespace_can_be_made(zygote: Zygote) -> None:
    """There, all capabilities would be back."""
    ended = zygote.run('kernel.syscall("unshare", 0x10000000)', seccomp=False)
    assert ended["errno"] in (errno.ENOSPC, errno.EPERM)


@pytest.mark.parametrize("path", ["/", "/etc/passwd", "/proc/self/environ", "/proc/1/mem", "/dev/null", "/tmp", "."])
def test_no_path_can_be_opened(zygote: Zygote, path: str) -> None:
    """Landlock forbids it, and but for the empty root there is nothing."""
    ended = zygote.run(f"os.open({path!r}, os.O_RDONLY)", **UNLIMITED)
    assert ended["errno"] in NO_ENTRY, ended


def test_nothing_can_be_written(zygote: Zygote) -> None:
    ended = zygote.run('os.open("/x", os.O_CREAT | os.O_WRONLY)', **UNLIMITED)
    assert ended["errno"] in NO_ENTRY
    ended = zygote.run('os.mkdir("/x")', seccomp=False)
    assert ended["errno"] in NO_ENTRY


def test_the_root_directory_is_empty_even_without_landlock(start: Start) -> None:
    zygote = start({"skip": ["landlock"]})
    for path in ("/", "/../../..", "."):
        assert zygote.run(f"value = os.listdir({path!r})", **UNLIMITED)["value"] == []
    assert ask(zygote, "value = os.getcwd()") == "/"


def test_landlock_forbids_files_even_without_the_empty_root(start: Start) -> None:
    zygote = start({"skip": ["empty_root"]})
    for path in ("/etc/passwd", "/proc/self/environ", "/"):
        assert zygote.run(f"open({path!r})", **UNLIMITED)["errno"] in (errno.EACCES, errno.EISDIR)
    assert zygote.run('os.listdir("/")', **UNLIMITED)["errno"] == errno.EACCES


def test_there_is_no_network(zygote: Zygote) -> None:
    """An empty network namespace, even its loopback is down."""
    source = "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(({!r}, 53))"
    for address in ("192.0.2.1", "127.0.0.1"):
        ended = zygote.run(source.format(address), **UNLIMITED)
        assert ended["errno"] == errno.ENETUNREACH
    source = 's = socket.socket(socket.AF_UNIX); s.connect("\\0abstract")'
    assert zygote.run(source, **UNLIMITED)["errno"] in (errno.EPERM, errno.ECONNREFUSED)


def test_no_process_outside_is_visible(zygote: Zygote) -> None:
    assert zygote.inner_pid == 1
    assert ask(zygote, "value = os.getppid()") == 1
    assert zygote.run(f"os.kill({zygote.pid}, 0)", seccomp=False)["errno"] == errno.ESRCH


def test_limits_leave_no_descriptor_file_or_process(zygote: Zygote) -> None:
    assert zygote.run("os.pipe()", seccomp=False)["errno"] == errno.EMFILE
    assert zygote.run("os.fork()", seccomp=False)["errno"] == errno.EAGAIN
    names = ["RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE", "RLIMIT_RTPRIO"]
    source = f"value = [resource.getrlimit(getattr(resource, name)) for name in {names}]"
    assert ask(zygote, source) == [[0, 0]] * len(names)


def test_writable_memory_never_becomes_executable(zygote: Zygote) -> None:
    source = 'kernel.syscall("mprotect", kernel.syscall("mmap", 0, 4096, 3, 0x22, -1, 0), 4096, 5)'
    assert zygote.run(source, seccomp=False)["errno"] == errno.EACCES
    assert zygote.run('kernel.syscall("mmap", 0, 4096, 7, 0x22, -1, 0)', seccomp=False)["errno"] == errno.EACCES


def test_the_process_is_marked(zygote: Zygote) -> None:
    """linux/prctl.h: GET_NO_NEW_PRIVS, GET_DUMPABLE, GET_MDWE, GET_SECUREBITS; GET_PDEATHSIG by address."""
    source = """
signal_number = kernel.Buffer(bytes(4))
kernel.prctl(2, signal_number.address)
value = [kernel.prctl(39), kernel.prctl(3), kernel.prctl(66), kernel.prctl(27), signal_number.content[0]]
"""
    assert ask(zygote, source) == [1, 0, 1, 0b11101111, 9]


def test_everybody_is_nobody_inside(zygote: Zygote) -> None:
    assert ask(zygote, "value = [os.getresuid(), os.getresgid()]") == [[65534] * 3, [65534] * 3]
    assert ORDINARY_UID != 65534


def test_only_the_socket_is_open(zygote: Zygote) -> None:
    source = """
def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
value = [fd for fd in range(4096) if is_open(fd)]
"""
    assert ask(zygote, source) == [3]


def test_the_environment_is_empty(zygote: Zygote) -> None:
    """In Python, in the C library, and on the stack where the kernel put it."""
    source = "value = [dict(os.environ), [text.decode() for _, text in kernel.environment_strings()]]"
    variables, strings = ask(zygote, source)
    assert set(variables) <= {"TZ", "LC_CTYPE"}
    assert all(text.split("=")[0] in ("TZ", "LC_CTYPE") for text in strings)
