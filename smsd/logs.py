"""How log lines look and which are shown: text for people, flat JSON for machines, or what the
journal reads.

One observer for Twisted's logger, the same under ``smsd run`` and under ``twistd --logger
smsd.logs.observer``. It writes what the code says and plain fields, never the repr of an object or
the text of an exception: a request's would carry the secret that is in its path.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, TextIO

import msgspec
from twisted.internet.error import ReactorNotRunning
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogBeginner,
)
from zope.interface import implementer

from smsd.domain.cause import request_id
from smsd.domain.way import way

_SYSLOG = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}
_CHATTER = ("Starting factory", "Stopping factory")
_LEGACY = {"message", "time", "system", "isError", "format", "why", "failure", "debugInfo"}
_OURS = {"ts", "level", "logger", "msg", "request", "traceback"}
_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}

Write = Callable[[LogEvent], str]


class Wanted(NamedTuple):
    """The two settings that concern the log."""

    level: str = "info"
    format: str = "auto"


_wanted = Wanted()
#: What `observer` made for this process.
_lines: Lines | None = None


def prepare(wanted: Wanted) -> None:
    """Says what `observer` shall make: twistd calls that by name, without arguments."""
    global _wanted
    _wanted = wanted


def observer() -> ILogObserver:
    """The observer for standard error as it really is, not as twistd redirects it."""
    global _lines
    stream = sys.__stderr__
    assert stream is not None
    _lines = Lines(stream, writer(_wanted.format, stream, os.environ), _wanted.level)
    return _lines


def begin(wanted: Wanted) -> None:
    """From here on everything is logged as ``wanted``."""
    prepare(wanted)
    globalLogBeginner.beginLoggingTo([observer()], redirectStandardIO=False)


def show_from(level: str) -> None:
    """From here on this is the least level that is shown."""
    if _lines is not None:
        _lines.show_from(level)


def writer(form: str, stream: TextIO, environ: Mapping[str, str]) -> Write:
    """What turns an event into lines on this stream."""
    if form == "auto":
        form = "text" if stream.isatty() else "json"
    if form == "journal":
        return _prefixed(as_words)
    write = as_text if form == "text" else as_json
    return _prefixed(write) if _is_journal(stream, environ) else write


@implementer(ILogObserver)
class Lines:
    """Writes the events that are worth it."""

    def __init__(self, stream: TextIO, write: Write, level: str) -> None:
        self._stream = stream
        self._write = write
        self.show_from(level)

    def show_from(self, level: str) -> None:
        """The least level that is written."""
        self._least = LogLevel.levelWithName(level)

    def __call__(self, event: LogEvent) -> None:
        if _level(event) >= self._least and not _is_chatter(event):
            self._stream.write(self._write(event))
            self._stream.flush()


def as_text(event: LogEvent) -> str:
    """One line that says when, how grave, who and what; a traceback follows indented."""
    return f"{_when(event):%Y-%m-%d %H:%M:%S} {_level(event).name:<8} {as_words(event)}"


def as_words(event: LogEvent) -> str:
    """The same without what the journal keeps itself: when, and how grave."""
    cause = f" (request {_request()})" if _request() else ""
    what = (_message(event) + cause).translate(_ESCAPED)
    lines = [f"{event.get('log_namespace', '-')}: {what}"]
    lines += [f"    {line.translate(_ESCAPED)}" for line in _traceback(event).splitlines()]
    return "\n".join(lines) + "\n"


def as_json(event: LogEvent) -> str:
    """One flat JSON object: ``ts``, ``level``, ``logger``, ``msg``, the event's own fields, and the
    id of the ``request`` that is the cause, if one is."""
    line: dict[str, object] = {
        "ts": _when(event).astimezone(UTC).isoformat(timespec="milliseconds"),
        "level": _level(event).name,
        "logger": event.get("log_namespace", "-"),
        "msg": _message(event),
        **_fields(event),
    }
    if cause := _request():
        line["request"] = cause
    if traceback := _traceback(event):
        line["traceback"] = traceback
    return _encoded(line) + "\n"


def _request() -> str:
    return request_id().decode()


def _encoded(line: dict[str, object]) -> str:
    try:
        return msgspec.json.encode(line).decode()
    except UnicodeEncodeError:  # half a character
        return json.dumps(line)


def _prefixed(write: Write) -> Write:
    """Each line begins as the journal wants it, with how grave it is."""

    def prefixed(event: LogEvent) -> str:
        mark = f"<{_SYSLOG[_level(event).name]}>"
        return "".join(f"{mark}{line}\n" for line in write(event).rstrip("\n").split("\n"))

    return prefixed


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether this very stream goes to the journal; a child may inherit only the variable."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _is_chatter(event: LogEvent) -> bool:
    """What libraries say of their daily life; from "warn" on they have our attention."""
    failure = event.get("log_failure")
    if failure is not None and failure.check(ReactorNotRunning):
        return True  # a second Ctrl-C while we are stopping
    if _level(event) >= LogLevel.warn:
        return False
    if not str(event.get("log_namespace", "")).startswith("smsd"):
        return True
    return str(event.get("log_format", "")).startswith(_CHATTER)


def _level(event: LogEvent) -> LogLevel:
    level: LogLevel = event.get("log_level") or LogLevel.info
    return level


def _when(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time", 0.0)).astimezone()


def _message(event: LogEvent) -> str:
    message = formatEvent(event)
    failure = event.get("log_failure")
    if failure is None:
        return message
    return f"{message or 'Unhandled error'} ({type(failure.value).__name__})"


def _traceback(event: LogEvent) -> str:
    """The way to what went wrong through our own fault; a warning needs none."""
    failure = event.get("log_failure")
    if failure is None or _level(event) < LogLevel.error:
        return ""
    found = way(failure.value, failure.getTracebackObject())
    return f"Traceback (most recent call last), from {found}".rstrip()


def _fields(event: LogEvent) -> dict[str, object]:
    return {
        name: value
        for name, value in event.items()
        if not name.startswith("log_")
        and name not in _LEGACY | _OURS
        and isinstance(value, (str, int, float, type(None)))
    }
