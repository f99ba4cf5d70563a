"""What a command says and asks: tables for people, JSON for programs, progress beside both.

Answers go to standard output; questions, progress and what went wrong to standard error.
"""

from __future__ import annotations

import getpass
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TextIO

import msgspec
from msgspec import Struct

from smsd.repair.endings import Interrupted, Misused, NotAllowed

#: Seconds: what takes longer than this tells how far it has got, and then as often.
SOON = 2.0

Cells = dict[str, Any]


class Terminal:
    """Where a command was typed, or a program that pretends to be one."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        json: bool = False,
        yes: bool = False,
        stdin: TextIO = sys.stdin,
        stdout: TextIO = sys.stdout,
        stderr: TextIO = sys.stderr,
    ) -> None:
        """``clock`` gives seconds; ``yes`` answers every question."""
        self._clock = clock
        self._json = json
        self._yes = yes
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr

    def rows(self, columns: Sequence[str], rows: Sequence[Cells], *, empty: str) -> None:
        """A list; ``empty`` is what people are told where nothing is in it."""
        if self._json:
            self._put(rows)
        elif rows:
            self._table(columns, [[shown(row[name]) for name in columns] for row in rows])
        else:
            self._stdout.write(f"{empty}\n")

    def facts(self, facts: Cells) -> None:
        """What there is to know of one thing."""
        if self._json:
            self._put(facts)
            return
        width = max(map(len, facts))
        for name, value in facts.items():
            self._stdout.write(f"{_words(name):<{width}}  {shown(value)}\n")

    def done(self, sentence: str, **facts: Any) -> None:
        """It is done: the sentence for people, the facts for programs."""
        if self._json:
            self._put(facts)
        else:
            self._stdout.write(f"{sentence}\n")

    def line(self, value: Any) -> None:
        """One line of JSON, whoever reads it."""
        self._put(value)

    def confirm(self, question: str) -> None:
        """Go on only with a yes; raises `NotAllowed` without one."""
        if self._yes:
            return
        if not self._stdin.isatty():
            raise NotAllowed(f"{question} Say --yes: nobody is here to be asked.")
        self._stderr.write(f"{question} [y/N] ")
        self._stderr.flush()
        with _interruptible():
            answer = self._stdin.readline().strip().lower()
        if answer not in ("y", "yes"):
            raise NotAllowed("Nothing was done.")

    def secret(self) -> str:
        """A secret that is typed twice unseen, or the first line of standard input."""
        if not self._stdin.isatty():
            return self._stdin.readline().rstrip("\r\n")
        with _interruptible():
            typed = getpass.getpass("SecretKey: ")
            if getpass.getpass("The same again: ") != typed:
                raise Misused("These were two different secrets; nothing was done.")
        return typed

    def progress(self, doing: str) -> Callable[[int], None]:
        """To be told of each step: says every two seconds what was done until then."""
        total, next_time = 0, self._clock() + SOON

        def told(number: int) -> None:
            nonlocal total, next_time
            total += number
            if self._clock() >= next_time:
                next_time = self._clock() + SOON
                self.tell(f"{doing}: {total:,} ..." if total else f"{doing} ...")

        return told

    def tell(self, sentence: str) -> None:
        """Something beside the answer."""
        self._stderr.write(f"{sentence}\n")
        self._stderr.flush()

    def _table(self, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        lines = [[_words(name).upper() for name in columns], *cells]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            padded = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
            self._stdout.write(f"{'  '.join(padded).rstrip()}\n")

    def _put(self, value: Any) -> None:
        self._stdout.write(f"{msgspec.json.encode(value).decode()}\n")


def shown(value: object) -> str:
    """A value for people's eyes: times to the second, in UTC."""
    if value is None or value == []:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return _printable(str(value))


def cells(record: Struct) -> Cells:
    """A record as a row."""
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _printable(text: str) -> str:
    """A phone may say anything; a terminal obeys control characters."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


@contextmanager
def _interruptible() -> Iterator[None]:
    """While we wait for the keyboard nobody else does: the reactor stands, and would hear of a
    Ctrl-C only after the answer."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except (KeyboardInterrupt, EOFError):
        raise Interrupted("Interrupted; nothing was done.") from None
    finally:
        signal.signal(signal.SIGINT, before)
