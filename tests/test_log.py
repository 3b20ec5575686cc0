"""The log: one line per event, in the format that was asked for, and never in the daemon's way."""

import json
import logging
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from whd import log

ROOT = Path(__file__).parents[1]
NASTY = "first\nsecond\r\x1b[31mred\x00\x85\u2028\ud800 end"


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[IO[str]]:
    """A file to log to."""
    with (tmp_path / "log").open("w+", encoding="utf-8") as file:
        yield file


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    """Puts the loggers' levels back."""
    loggers = [logging.getLogger(), logging.getLogger("whd")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def lines_of(stream: IO[str], **options: str) -> list[str]:
    """What a few events leave in the stream."""
    configured = log.configure(stream=stream, environ={}, **options)
    try:
        logger = logging.getLogger("whd.test")
        logger.info("plain %s", "text", extra={"client": "acme", "size_bytes": 5, "text": 'a "b" c'})
        logger.error(NASTY)
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logger.exception("it failed")
        logger.debug("not at info")
        logging.getLogger("asyncio").info("not from others")
        logging.getLogger("asyncio").warning("from others")
    finally:
        configured.close()
    return Path(stream.name).read_text("utf-8").split("\n")[:-1]


class TestFormats:
    """Whatever is logged, each event is one line."""

    def test_text(self, stream: IO[str]) -> None:
        first, second, third, fourth = lines_of(stream, format="text")
        moment, rest = first.split(" ", 1)
        assert rest == 'INFO    whd.test: plain text client=acme size_bytes=5 text="a \\"b\\" c"'
        assert time.strptime(moment[:-5], "%Y-%m-%dT%H:%M:%S")
        assert moment.endswith("Z")
        assert second.endswith("ERROR   whd.test: first\\nsecond\\r\\x1b[31mred\\x00\\x85\\u2028\\ud800 end")
        assert "it failed traceback=" in third
        assert "ValueError: two\\nlines" in third
        assert fourth.endswith("WARNING asyncio: from others")

    def test_json(self, stream: IO[str]) -> None:
        first, second, third, fourth = map(json.loads, lines_of(stream, format="json"))
        assert first.pop("time").endswith("Z")
        assert first == {
            "level": "info",
            "logger": "whd.test",
            "message": "plain text",
            "client": "acme",
            "size_bytes": 5,
            "text": 'a "b" c',
        }
        assert second["message"] == NASTY
        assert "ValueError: two\nlines" in third["traceback"]
        assert fourth["logger"] == "asyncio"

    def test_journal(self, stream: IO[str]) -> None:
        """sd-daemon(3): the level stands before the line; the time is the journal's."""
        first, second, third, fourth = lines_of(stream, format="journal")
        assert first == '<6>whd.test: plain text client=acme size_bytes=5 text="a \\"b\\" c"'
        assert second.startswith("<3>whd.test: first\\nsecond")
        assert third.startswith("<3>whd.test: it failed traceback=")
        assert fourth == "<4>asyncio: from others"

    def test_levels(self, stream: IO[str]) -> None:
        assert [line.split(" ")[1] for line in lines_of(stream, format="text", level="error")] == ["ERROR", "ERROR"]

    def test_debug_shows_all_of_ours(self, stream: IO[str]) -> None:
        assert "not at info" in "".join(lines_of(stream, format="text", level="debug"))

    def test_warnings_of_python_are_lines_too(self) -> None:
        script = (
            "import warnings; from whd import log; it = log.configure(format='journal');"
            "warnings.warn('odd'); warnings.simplefilter('default'); warnings.warn('odd\\nthing'); it.close()"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        assert len(done.stderr.splitlines()) == 2
        assert all(line.startswith("<4>py.warnings: ") for line in done.stderr.splitlines())


class TestChoice:
    """auto: the journal where standard error is connected to it, else text; colour on terminals alone."""

    def test_the_journal_is_known_by_its_descriptor(self, stream: IO[str]) -> None:
        status = os.fstat(stream.fileno())
        journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert log.chosen_format("auto", stream.fileno(), journal) == "journal"
        assert log.chosen_format("text", stream.fileno(), journal) == "text"

    @pytest.mark.parametrize("value", ["", "1:2", "x", "1", ":", "-1:-2", "\u0661:2", "1:2:3"])
    def test_a_variable_that_was_inherited_proves_nothing(self, stream: IO[str], value: str) -> None:
        assert log.chosen_format("auto", stream.fileno(), {"JOURNAL_STREAM": value}) == "text"

    def test_no_colour_in_a_file(self, stream: IO[str]) -> None:
        assert "\x1b" not in "".join(lines_of(stream, format="text"))

    @pytest.mark.parametrize(
        ("environ", "has_colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
    )
    def test_colour_on_a_terminal(self, environ: dict[str, str], has_colour: bool) -> None:
        ours, theirs = pty.openpty()
        try:
            with open(theirs, "w", closefd=False) as terminal:
                configured = log.configure(format="auto", stream=terminal, environ=environ)
                logging.getLogger("whd.test").error("red")
                configured.close()
            assert (b"\x1b[31m" in os.read(ours, 4096)) is has_colour
        finally:
            os.close(ours)
            os.close(theirs)


class TestReconfigure:
    """Level and format are live."""

    def test_format_and_level_change(self, stream: IO[str]) -> None:
        configured = log.configure(level="error", format="text", stream=stream, environ={})
        logger = logging.getLogger("whd.test")
        logger.info("no")
        assert not logger.isEnabledFor(logging.DEBUG)
        configured.reconfigure(level="debug", format="json")
        assert logger.isEnabledFor(logging.DEBUG)
        logger.debug("yes")
        configured.reconfigure(level="info", format="journal")
        assert not logger.isEnabledFor(logging.DEBUG)
        logger.info("yes")
        configured.close()
        first, second = Path(stream.name).read_text().splitlines()
        assert json.loads(first)["message"] == "yes"
        assert second == "<6>whd.test: yes"

    def test_close_leaves_nothing_behind(self, stream: IO[str]) -> None:
        before = logging.getLogger().handlers[:]
        log.configure(stream=stream, environ={}).close()
        assert logging.getLogger().handlers == before
        assert not [thread for thread in threading.enumerate() if thread.name == "whd-log"]


class TestNeverInTheWay:
    """Who logs never waits and never fails, whatever becomes of the line."""

    def test_a_stream_that_takes_nothing_stops_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pipe that nobody reads: what does not fit is dropped, counted, and told of when there is a reader."""
        monkeypatch.setattr(log, "MAX_WAITING", 100)
        monkeypatch.setattr(log, "CLOSE_S", 20.0)
        reading, writing = os.pipe()
        with open(writing, "w") as pipe:
            configured = log.configure(format="journal", stream=pipe, environ={})
            logger = logging.getLogger("whd.test")
            started = time.monotonic()
            while configured.dropped < 10:
                logger.info("x" * 1000)
            assert time.monotonic() - started < 10
            got: list[bytes] = []
            reader = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(reading, 65536), b"")))
            reader.start()
            configured.close()
        reader.join()
        os.close(reading)
        text = b"".join(got).decode()
        assert "lines were dropped" in text
        assert {len(line) for line in text.splitlines() if "dropped" not in line} == {len("<6>whd.test: ") + 1000}

    def test_a_stream_that_is_gone_raises_nothing(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "w") as pipe:
            configured = log.configure(stream=pipe, environ={})
            logging.getLogger("whd.test").error("nobody hears it")
            configured.close()
            assert configured.dropped == 1

    def test_a_non_blocking_stream_gets_every_line(self) -> None:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(reading, 512), b"")))
        with open(writing, "w") as pipe:
            configured = log.configure(format="journal", stream=pipe, environ={})
            for number in range(200):
                logging.getLogger("whd.test").info("%d %s", number, "x" * 1000)
            reader.start()
            configured.close()
        reader.join()
        os.close(reading)
        numbers = [line.split(b" ")[1] for line in b"".join(got).splitlines()]
        assert numbers == [str(number).encode() for number in range(200)]

    def test_a_wrong_argument_is_a_line_and_no_exception(self, stream: IO[str]) -> None:
        logger = logging.getLogger("whd.test.wrong")
        logger.propagate = False  # pytest's own handlers would raise
        handler = log.StreamHandler(stream.fileno())
        logger.addHandler(handler)
        logger.error("%d", "not a number")
        logger.removeHandler(handler)
        handler.close()
        (line,) = Path(stream.name).read_text().splitlines()
        assert "cannot be formatted: TypeError" in line

    def test_lines_of_many_threads_are_whole(self, stream: IO[str]) -> None:
        configured = log.configure(format="journal", stream=stream, environ={})

        def work(number: int) -> None:
            for count in range(200):
                logging.getLogger("whd.test").info("%d-%d", number, count)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        configured.close()
        expected = {f"<6>whd.test: {number}-{count}" for number in range(5) for count in range(200)}
        assert set(Path(stream.name).read_text().splitlines()) == expected
