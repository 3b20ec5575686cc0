"""What systemd is told, what is taken over from it, and the units that it reads."""

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from whd.commands.unit_files import UNIT_NAMES, unit_texts
from whd.daemon.systemd import Notifier, take_listen_sockets
from whd.errors import ConfigError
from whd.model.options import Options

ROOT = Path(__file__).parents[2]

# Started as systemd would: the sockets on descriptors 3 and up, LISTEN_PID its own.
ACTIVATED = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from whd.daemon.systemd import take_listen_sockets
for entry in take_listen_sockets():
    print(entry.name, entry.socket.fileno(), entry.socket.family.name, entry.socket.getsockname(),
          entry.socket.get_inheritable(), entry.socket.getblocking())
    entry.socket.close()
print(sorted(name for name in os.environ if name.startswith("LISTEN")))
"""


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """systemd's end: the value of NOTIFY_SOCKET, and the socket."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@whd-test-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0", 1))
        receiver.settimeout(5)
        yield name, receiver


class TestNotify:
    """sd_notify(3)."""

    def test_every_message(self, manager: tuple[str, socket.socket]) -> None:
        name, receiver = manager
        environ = {"NOTIFY_SOCKET": name, "OTHER": "stays"}
        notifier = Notifier.from_environ(environ)
        assert environ == {"OTHER": "stays"}, "what the daemon starts must not speak for it"
        sent: tuple[tuple[Callable[[], bool], str], ...] = (
            (lambda: notifier.ready(), "READY=1"),
            (lambda: notifier.ready("serving 3 webhooks"), "READY=1\nSTATUS=serving 3 webhooks"),
            (lambda: notifier.stopping("draining"), "STOPPING=1\nSTATUS=draining"),
            (lambda: notifier.status("two\nREADY=1\r lines"), "STATUS=two READY=1 lines"),
            (lambda: notifier.watchdog(), "WATCHDOG=1"),
            (lambda: notifier.extend_timeout(2.5), "EXTEND_TIMEOUT_USEC=2500000"),
        )
        for send, expected in sent:
            assert send()
            assert receiver.recv(4096).decode() == expected
        notifier.close()

    def test_a_reload_carries_the_monotonic_clock(self, manager: tuple[str, socket.socket]) -> None:
        """sd_notify(3): in microseconds, so that systemd can tell an old READY from the one that ends the reload."""
        name, receiver = manager
        notifier = Notifier.from_environ({"NOTIFY_SOCKET": name})
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert notifier.reloading()
        first, second = receiver.recv(4096).decode().split("\n")
        assert first == "RELOADING=1"
        key, _, value = second.partition("=")
        assert key == "MONOTONIC_USEC"
        assert before <= int(value) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.close()

    @pytest.mark.parametrize("name", ["", "/nowhere/at/all", "@nobody-listens", "vsock:2:1234", "relative"])
    def test_nobody_there_is_no_error(self, name: str) -> None:
        notifier = Notifier.from_environ({"NOTIFY_SOCKET": name} if name else {})
        assert not notifier.ready()
        assert not notifier.watchdog()
        notifier.close()

    def test_a_manager_that_hangs_does_not_hang_the_daemon(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(str(tmp_path / "notify"))
            notifier = Notifier(str(tmp_path / "notify"))
            started = time.monotonic()
            while notifier.status("x"):
                assert time.monotonic() - started < 20
            notifier.close()

    @pytest.mark.parametrize(
        ("usec", "pid", "expected"),
        [
            ("30000000", None, 30.0),
            ("30000000", str(os.getpid()), 30.0),
            ("30000000", "1", 0.0),
            ("", None, 0.0),
            ("soon", None, 0.0),
        ],
    )
    def test_the_watchdog_is_meant_for_one_process(self, usec: str, pid: str | None, expected: float) -> None:
        """sd_watchdog_enabled(3)."""
        environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": usec} | ({"WATCHDOG_PID": pid} if pid else {})
        assert Notifier.from_environ(environ).watchdog_s == expected
        assert environ == {}


def activated(descriptors: list[int], **environ: str) -> str:
    """What ACTIVATED prints if it inherits these descriptors as 3 and up."""
    # Away from the target numbers first, so that no dup2 overwrites one that is still needed.
    high = [os.dup(descriptor) for descriptor in descriptors]
    moves = " ".join(f"{number}<&{descriptor}" for number, descriptor in enumerate(high, 3))
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", f'exec "$0" -c "$1" {moves}', sys.executable, ACTIVATED],
            cwd=ROOT,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | environ,
            pass_fds=high,
            capture_output=True,
            text=True,
        )
    finally:
        for descriptor in high:
            os.close(descriptor)
    return done.stdout + done.stderr


class TestSocketActivation:
    """sd_listen_fds(3)."""

    def test_sockets_are_taken_over_by_name(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(tmp_path / "unix"))
            unix.listen()
            text = activated([tcp.fileno(), unix.fileno()], LISTEN_FDS="2", LISTEN_FDNAMES="whd:local")
            assert text.splitlines() == [
                f"whd 3 AF_INET {tcp.getsockname()} False False",
                f"local 4 AF_UNIX {tmp_path / 'unix'} False False",
                "[]",
            ]

    def test_names_may_be_missing(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as tcp:
            assert activated([tcp.fileno()], LISTEN_FDS="1").startswith(" 3 AF_INET")

    def test_a_datagram_socket_is_refused(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            text = activated([udp.fileno()], LISTEN_FDS="1", LISTEN_FDNAMES="odd")
            assert "ConfigError: descriptor 3 (odd) of socket activation does not listen for streams" in text

    def test_a_connection_is_refused(self) -> None:
        """Accept=yes hands over one connection, not the listening socket."""
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.create_connection(tcp.getsockname()) as client:
            assert "Accept=no" in activated([client.fileno()], LISTEN_FDS="1")

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("w") as file:
            assert "is no socket" in activated([file.fileno()], LISTEN_FDS="1")

    def test_what_is_meant_for_another_process_is_left_alone(self) -> None:
        environ = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x", "OTHER": "stays"}
        assert take_listen_sockets(environ) == []
        assert environ == {"OTHER": "stays"}

    def test_without_activation_there_is_nothing(self) -> None:
        assert take_listen_sockets({}) == []
        assert take_listen_sockets({"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())}) == []

    def test_a_number_that_is_none_is_a_fault(self) -> None:
        with pytest.raises(ConfigError, match="LISTEN_FDS"):
            take_listen_sockets({"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())})


class TestUnits:
    """The units that `whd units` prints."""

    def test_no_placeholder_is_left(self) -> None:
        texts = unit_texts("/opt/whd/bin/whd", listen="unix:/run/whd.sock", drain_s=90)
        assert set(texts) == set(UNIT_NAMES)
        assert not [text for text in texts.values() if "{" in text or "}" in text]
        assert (
            "ExecStart=/opt/whd/bin/whd serve --config /etc/whd/config --flows /etc/whd/flows" in texts["whd.service"]
        )
        assert "TimeoutStopSec=105\n" in texts["whd.service"]
        assert "ListenStream=/run/whd.sock\n" in texts["whd.socket"]

    def test_systemd_waits_longer_than_the_drain(self) -> None:
        text = unit_texts("/usr/bin/whd", drain_s=Options().drain_s)["whd.service"]
        (line,) = [line for line in text.splitlines() if line.startswith("TimeoutStopSec=")]
        assert int(line.partition("=")[2]) > Options().drain_s

    def test_a_path_with_odd_letters_is_quoted(self) -> None:
        """systemd.service(5): `%` and `$` are doubled, words with spaces stand in quotes."""
        text = unit_texts('/opt/my "50%" $HOME/whd')["whd.service"]
        assert 'ExecStart="/opt/my \\"50%%\\" $$HOME/whd" serve' in text

    def test_a_relative_path_is_refused(self) -> None:
        for path in ("whd", "./whd", "", "/opt/x\nExecStartPre=/bin/sh"):
            with pytest.raises(ConfigError):
                unit_texts(path)
        with pytest.raises(ConfigError):
            unit_texts("/usr/bin/whd", user="a\nb")

    def test_what_root_writes_into_the_folders_is_readable_for_the_daemon(self) -> None:
        """Setgid: a file made in there gets the daemon's group, whatever root's own is."""
        text = unit_texts("/usr/bin/whd", user="hooks")["whd.service"]
        assert "install -d -o root -g hooks -m 2750 /etc/whd /etc/whd/config /etc/whd/flows" in text
        assert "\nConfigurationDirectoryMode=2750\n" in text, "or systemd would take the bit away at the start"

    def test_the_walls_own_means_stay_open(self) -> None:
        """A plain `RestrictNamespaces=yes` or a filter without mount and seccomp would take the sandbox away."""
        text = unit_texts("/usr/bin/whd")["whd.service"]
        assert "RestrictNamespaces=cgroup ipc mnt net pid user uts\n" in text
        lines = [line.partition("=")[2] for line in text.splitlines() if line.startswith("SystemCallFilter=")]
        # What comes later wins: the wall's own calls after what is taken out of the first set.
        assert [line[0] for line in lines[:2]] == ["@", "~"]
        allowed = set(" ".join(lines[2:]).split())
        assert {"mount", "umount2", "pivot_root", "capset", "seccomp", "landlock_restrict_self"} <= allowed
        assert "ProtectControlGroups=yes" not in text, "it makes Delegate= useless"
        assert "\nType=notify\n" in text, "systemd 252 knows no notify-reload"

    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
    @pytest.mark.parametrize("command", ["plain", "with space"])
    def test_systemd_accepts_them(self, tmp_path: Path, command: str) -> None:
        """With a command that exists: systemd looks for it."""
        (tmp_path / command).write_text("#!/bin/sh\n")
        (tmp_path / command).chmod(0o755)
        for name, text in unit_texts(str(tmp_path / command)).items():
            (tmp_path / name).write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", str(tmp_path / "whd.service"), str(tmp_path / "whd.socket")],
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
    def test_the_service_is_little_exposed(self, tmp_path: Path) -> None:
        """systemd's own measure, from 0 (nothing) to 10: a threshold of 2.5 is given in tenths."""
        for name, text in unit_texts(sys.executable).items():
            (tmp_path / name).write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(tmp_path / "whd.service")],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers is not installed")
    def test_the_user_can_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "whd.conf").write_text(unit_texts("/usr/bin/whd")["whd.sysusers"])
        done = subprocess.run(
            ["systemd-sysusers", "--dry-run", str(tmp_path / "whd.conf")], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
