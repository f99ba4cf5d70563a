"""The ledger on the disk: one JSON object a line, added at the end and never changed.

A line counts once it has been forced to the disk with fsync; only then does the phone go on. A
crash in the middle of a write leaves a torn last line, which is therefore worth nothing and is
dropped. A broken line anywhere else is damage that nobody can repair by guessing: the program
refuses to start rather than send an SMS twice.

At every start what is still needed is written to a new file, which then takes the old one's
place. Both are locked, so two programs never share a ledger, and both are readable only by their
owner, for they hold the texts of SMS that wait to be stored. The fsync blocks the reactor for
some milliseconds: fair for one phone, not an example for a server.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from smsd.handset.ledger import Entry, Ledger

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Entry)


class LedgerProblem(Exception):
    """This ledger cannot be used; the text says why."""


class Memory(Protocol):
    """What a phone remembers, and where it writes down more."""

    @property
    def ledger(self) -> Ledger: ...

    def write_down(self, entry: Entry) -> None: ...


class Forgetful:
    """The memory of a phone that promises nothing: it is gone when the program ends."""

    def __init__(self) -> None:
        self.ledger = Ledger()

    def write_down(self, entry: Entry) -> None:
        return


class LedgerFile:
    """An open and locked ledger: what it says, and the place to write down more."""

    def __init__(self, path: str, now: int) -> None:
        """``now`` is in Unix milliseconds; raises `LedgerProblem`."""
        self._path = os.path.realpath(path)
        self._torn: LedgerProblem | None = None
        try:
            self.ledger, self._file = _opened(self._path, now)
        except OSError as error:
            raise LedgerProblem(f"The ledger {path} cannot be used: {error.strerror}.") from None

    def write_down(self, entry: Entry) -> None:
        """Returns when the entry is on the disk; raises `LedgerProblem` where it cannot be.

        After the first failure always: an entry behind a torn line would damage the file.
        """
        if self._torn is not None:
            raise self._torn
        try:
            _write(self._file, [entry])
        except OSError as error:
            words = f"The ledger {self._path} cannot be written: {error.strerror}."
            self._torn = LedgerProblem(words)
            raise self._torn from None

    def close(self) -> None:
        os.close(self._file)


def _opened(path: str, now: int) -> tuple[Ledger, int]:
    """What the old file says, and the new one that has taken its place."""
    old = _locked(path)
    try:
        ledger = _read(path)
        ledger.close_the_gap()
        return ledger, _replaced(path, ledger.needed(now))
    finally:
        os.close(old)


def _locked(path: str) -> int:
    """The file under its lock, made where there was none."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(file, path)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # another program put a new file in its place before we had the lock


def _lock(file: int, path: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LedgerProblem(
            f"The ledger {path} is in use by another phone; give each phone its own file."
        ) from None


def _read(path: str) -> Ledger:
    with open(path, "rb") as file:
        *lines, last = file.read().split(b"\n")
    ledger = Ledger()
    for number, line in enumerate(lines, start=1):
        try:
            ledger.apply(_decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeError, KeyError):
            raise LedgerProblem(
                f"The ledger {path} is damaged in line {number}. Nobody can say any more which "
                "SMS were sent: put the file aside and start with a new one."
            ) from None
    _apply_torn(ledger, last)
    return ledger


def _apply_torn(ledger: Ledger, line: bytes) -> None:
    """A line without its end: it counts if it can be read, for that errs on the safe side."""
    try:
        ledger.apply(_decoder.decode(line))
    except (msgspec.MsgspecError, UnicodeError, KeyError):
        return


def _replaced(path: str, entries: Iterable[Entry]) -> int:
    """A new file with these entries, locked before it takes the old one's name."""
    new = f"{path}.new"
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(file, 0o600)
        _lock(file, new)
        _write(file, entries)
        os.rename(new, path)
        _force_directory(os.path.dirname(path))
    except BaseException:
        os.close(file)
        raise
    return file


def _write(file: int, entries: Iterable[Entry]) -> None:
    rest = memoryview(b"".join(_lines(entries)))
    while rest:
        rest = rest[os.write(file, rest) :]
    os.fsync(file)


def _lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    for entry in entries:
        yield _encode(entry) + b"\n"


def _force_directory(path: str) -> None:
    """The new name itself is on the disk only after this (fsync(2), notes)."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
