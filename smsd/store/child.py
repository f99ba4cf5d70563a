"""A program of Postgres as a process of its own: never as root, and never without us.

It gets its own session, so that Ctrl-C in our terminal is not also its signal, and it is told
by the kernel (SIGINT) when we are gone, however we went. Which programs there are, and what
they are told, is not here.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from smsd.store.account import Account, environment
from smsd.store.unusable import PostgresUnusable

Hear = Callable[[str], None]

#: The order is the point. ctypes is loaded while we may still read our own Python; a change of
#: user clears the death signal, so that is asked for after it; and a parent that was gone before
#: that can send none, so it is looked for last. SIGINT is never Python's, which could note one
#: and forget it at the exec. No core is dumped: texts would be in it.
_SHIM = """
import ctypes, os, resource, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
prctl = ctypes.CDLL(None, use_errno=True).prctl
parent, uid, gid = map(int, sys.argv[1:4])
program = sys.argv[4:]
os.setsid()
try:
    if uid != os.geteuid():
        os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir("/")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    prctl(1, signal.SIGINT, 0, 0, 0)
    if os.getppid() == parent:
        os.execv(program[0], program)
except OSError as error:
    sys.stderr.write(f"cannot run {program[0]} as user {uid}: {error.strerror}\\n")
sys.exit(1)
"""

#: No line of a log is longer than this; the rest of one that is is not kept.
_LONGEST = 65536


class Child(ProcessProtocol):
    """One run of one program; ``hear`` is given the lines that it writes to its stderr."""

    def __init__(self, hear: Hear, stdin: bytes = b"") -> None:
        self.status = "still running"
        self.succeeded = False
        self._hear = hear
        self._stdin = stdin
        self._rest = b""
        self._over = False
        self._awaited: list[tuple[str | None, Deferred[bool]]] = []

    def said(self, text: str) -> Deferred[bool]:
        """True once a line with this text was heard, False if the program ended without."""
        return self._awaiting(text)

    def ended(self) -> Deferred[bool]:
        """Fires (with False) when it is over and nobody holds its pipes any more."""
        return self._awaiting(None)

    def interrupt(self) -> None:
        """Ask it to end quickly and in order; harmless where it has ended."""
        self._signal(signal.SIGINT)

    def quit(self) -> None:
        """Make it end at once, as after a loss of power; harmless where it has ended."""
        self._signal(signal.SIGQUIT)

    def _signal(self, number: int) -> None:
        """A process that somebody has stopped hears of it only when it goes on."""
        try:
            if self.transport is not None:
                self.transport.signalProcess(number)
                self.transport.signalProcess(signal.SIGCONT)
        except ProcessExitedAlready:
            pass

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._stdin)
        self.transport.closeStdin()

    def errReceived(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LONGEST]
        for line in lines:
            self._heard(line.decode("utf-8", "replace"))

    def processEnded(self, reason: Failure) -> None:
        if self._rest:
            self._heard(self._rest.decode("utf-8", "replace"))
        self.succeeded = not isinstance(reason.value, ProcessTerminated)
        self.status = _told(reason.value)
        self._over = True
        self._fire(lambda text: True, False)

    def _awaiting(self, text: str | None) -> Deferred[bool]:
        waiting: Deferred[bool] = Deferred()
        if self._over:
            waiting.callback(False)
        else:
            self._awaited.append((text, waiting))
        return waiting

    def _heard(self, line: str) -> None:
        self._hear(line)
        self._fire(lambda text: text is not None and text in line, True)

    def _fire(self, concerns: Callable[[str | None], bool], answer: bool) -> None:
        fired = [waiting for text, waiting in self._awaited if concerns(text)]
        self._awaited = [(text, each) for text, each in self._awaited if not concerns(text)]
        for waiting in fired:
            waiting.callback(answer)


def spawn(
    reactor: IReactorProcess,
    account: Account,
    argv: Sequence[str],
    child: Child,
    *,
    environ: Mapping[str, str] | None = None,
    files: Mapping[int, int | str] | None = None,
) -> Child:
    """Start the program as this account, through the shim above.

    ``files`` are its descriptors, as Twisted's ``childFDs``; by default three pipes to us.
    """
    shim = [sys.executable, "-I", "-S", "-c", _SHIM]
    whose = [str(os.getpid()), str(account.uid), str(account.gid)]
    try:
        reactor.spawnProcess(
            child,
            sys.executable,
            [*shim, *whose, *argv],
            env=environment() if environ is None else dict(environ),
            childFDs=None if files is None else dict(files),
        )
    except OSError as error:
        raise PostgresUnusable(f"No process could be started: {error.strerror}.") from None
    return child


def _told(reason: BaseException | None) -> str:
    if not isinstance(reason, ProcessTerminated):
        return "ended in order"
    return f"signal {reason.signal}" if reason.signal else f"exit status {reason.exitCode}"
