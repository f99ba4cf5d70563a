import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.error import ReactorNotRunning
from twisted.internet.protocol import Factory
from twisted.logger import LogEvent, Logger, LogLevel, LogPublisher, globalLogPublisher
from twisted.python import log as legacy
from twisted.python.failure import Failure

from smsd.domain.cause import caused_by
from smsd.logs import Lines, as_json, as_text, as_words, writer

SECRET = "my-secret-key-123"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(
    say: Callable[[Logger], None],
    write: Callable[[LogEvent], str] = as_json,
    *,
    level: str = "info",
    namespace: str = "smsd.gateway.outbox",
) -> list[str]:
    """The lines that come of what ``say`` says to a logger."""
    stream = io.StringIO()
    say(Logger(namespace, observer=LogPublisher(Lines(stream, write, level))))
    return stream.getvalue().split("\n")[:-1]


def test_a_json_line_is_flat_and_carries_the_fields_of_the_event() -> None:
    (line,) = lines_of(lambda log: log.info("accepted {id} for {org}", id=5, org="acme"))

    found = json.loads(line)
    assert found.pop("ts").endswith("+00:00")
    assert found == {
        "level": "info",
        "logger": "smsd.gateway.outbox",
        "msg": "accepted 5 for acme",
        "id": 5,
        "org": "acme",
    }


def test_a_text_line_says_when_how_grave_who_and_what() -> None:
    (line,) = lines_of(lambda log: log.warn("{n} phones", n=2), as_text)

    assert line[20:] == "warn     smsd.gateway.outbox: 2 phones"


def test_what_a_stranger_wrote_cannot_forge_a_line() -> None:
    forged = "x\n2026-01-01 00:00:00 info smsd: all is well\x1b[2J\u2028"

    for write in (as_text, as_json):
        (line,) = lines_of(lambda log: log.info("{org}", org=forged), write)
        assert "\x1b" not in line


@pytest.mark.parametrize("odd", ["half \ud83d", 2**70, float("nan")])
def test_an_odd_value_does_not_silence_a_line(odd: object) -> None:
    for write in (as_text, as_json):
        assert len(lines_of(lambda log: log.info("{x}", x=odd), write)) == 1


def test_a_second_ctrl_c_is_not_news() -> None:
    assert lines_of(lambda log: log.failure("", Failure(ReactorNotRunning()))) == []


def test_objects_are_not_written_as_fields() -> None:
    class Request:
        def __repr__(self) -> str:
            return f"GET /messages/myorg/{SECRET}"

    (line,) = lines_of(lambda log: log.info("slow request", request=Request()))

    assert SECRET not in line


def test_only_what_is_grave_enough_is_shown() -> None:
    def say(log: Logger) -> None:
        for level in LogLevel.iterconstants():
            log.emit(level, level.name)

    assert [json.loads(line)["msg"] for line in lines_of(say, level="warn")] == [
        "warn",
        "error",
        "critical",
    ]
    assert len(lines_of(say, level="debug")) == 5


@pytest.mark.parametrize("namespace", ["twisted.web.http", "autobahn.websocket", "log_legacy"])
def test_libraries_are_heard_from_warning_on(namespace: str) -> None:
    def say(log: Logger) -> None:
        log.info("starting")
        log.warn("odd")

    (line,) = lines_of(say, namespace=namespace, level="debug")
    assert json.loads(line)["msg"] == "odd"


REASON = "the reason"


def fail() -> Failure:
    try:
        raise ValueError(REASON)
    except ValueError:
        return Failure()


@pytest.mark.parametrize("write", [as_text, as_json])
def test_an_error_says_where_it_happened_and_not_what_it_stumbled_over(
    write: Callable[[LogEvent], str],
) -> None:
    found = "\n".join(lines_of(lambda log: log.failure("no luck", fail()), write))

    assert "no luck (ValueError)" in found
    assert "in fail" in found
    assert "Traceback" in found
    assert "builtins.ValueError" in found
    assert REASON not in found


def test_a_warning_names_the_failure_without_a_traceback() -> None:
    (line,) = lines_of(lambda log: log.failure("again", fail(), level=LogLevel.warn))

    assert json.loads(line)["msg"] == "again (ValueError)"
    assert "traceback" not in line


def test_the_journal_gets_a_prefix_on_every_line(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as stream:
        status = os.fstat(stream.fileno())
        here = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        elsewhere = {"JOURNAL_STREAM": "1:2"}

        found = lines_of(lambda log: log.failure("no luck", fail()), writer("text", stream, here))
        assert len(found) > 2
        assert all(line.startswith("<2>") for line in found)
        (line,) = lines_of(lambda log: log.warn("x"), writer("auto", stream, here))
        assert line.startswith('<4>{"ts"')
        (line,) = lines_of(lambda log: log.warn("x"), writer("auto", stream, elsewhere))
        assert line.startswith("{")


def test_the_journal_is_given_words_where_that_is_asked_for_whatever_the_stream() -> None:
    write = writer("journal", Terminal(), {})

    (line,) = lines_of(lambda log: log.warn("2 phones"), write)
    assert line == "<4>smsd.gateway.outbox: 2 phones"
    found = lines_of(lambda log: log.failure("no luck", fail()), write)
    assert len(found) > 2
    assert all(line.startswith("<2>") for line in found)


@pytest.mark.parametrize("write", [as_text, as_words, as_json])
def test_a_line_names_the_request_that_caused_it(write: Callable[[LogEvent], str]) -> None:
    def say(log: Logger) -> None:
        caused_by(b"agent-7", log.info, "x", request="a field of that name")
        log.info("x")

    caused, other = lines_of(say, write)
    if write is as_json:
        assert json.loads(caused)["request"] == "agent-7"
    else:
        assert caused.endswith(": x (request agent-7)")
    assert "request" not in other


def test_auto_is_text_on_a_terminal_and_json_elsewhere() -> None:
    assert writer("auto", Terminal(), {}) is as_text
    assert writer("auto", io.StringIO(), {}) is as_json
    assert writer("json", Terminal(), {}) is as_json
    assert writer("text", io.StringIO(), {}) is as_text


@pytest.fixture
def everything() -> Iterator[io.StringIO]:
    """All that this process logs while the test runs, as the daemon would write it."""
    stream = io.StringIO()
    observer = Lines(stream, as_json, "debug")
    globalLogPublisher.addObserver(observer)
    yield stream
    globalLogPublisher.removeObserver(observer)


def test_factories_that_start_and_stop_are_not_news(everything: io.StringIO) -> None:
    factory = type("Phones", (Factory,), {"__module__": "smsd.phone.factory"})()

    factory.doStart()
    factory.doStop()
    legacy.msg("(Port 8080 closed)")

    assert everything.getvalue() == ""


UNHANDLED = """
import gc
from smsd import logs
from twisted.internet import defer

logs.begin(logs.Wanted("critical", "json"))
dropped = defer.fail(ValueError("the reason"))
del dropped
gc.collect()
"""


def test_an_error_that_nobody_awaited_is_critical_and_shown() -> None:
    """In a process of its own: here it would be a failure that this test left behind."""
    run = subprocess.run(
        [sys.executable, "-c", UNHANDLED], capture_output=True, text=True, check=True
    )

    found = [json.loads(line) for line in run.stderr.splitlines()]
    assert {line["level"] for line in found} == {"critical"}
    assert "builtins.ValueError" in found[-1]["traceback"]
    assert "the reason" not in run.stderr
