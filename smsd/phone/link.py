"""One phone's WebSocket: bytes to the session's inputs, its effects to frames.

Nothing is decided here. Autobahn speaks RFC 6455; we add what it leaves out: receipts, a phone
that does not read, and the close codes that it keeps to itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import UNSET
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smsd.domain.errors import BadFrame, Problem
from smsd.domain.records import Ticket
from smsd.gateway.doorman import Caller, Newcomer
from smsd.gateway.visit import Identity
from smsd.phone.desk import Desk, Gateway
from smsd.phone.frames import Auth, CancelSms, GatewayFrame, SendSms, decode, encode
from smsd.phone.session import AUTH_WITHIN, Broken, Session
from smsd.phone.upgraded import Upgraded

if TYPE_CHECKING:
    from smsd.phone.factory import LinkFactory

#: A phone that leaves more than this unread is dropped, not buffered for. Bytes.
UNREAD = 1 << 20
#: RFC 6455, 5.5: what a close frame may say beside its code. Bytes.
REASON = 123


@implementer(IPushProducer)
class Link(Upgraded):
    """A phone's connection. ``who`` is None where the phone says it in an ``auth`` frame."""

    _log = Logger()
    factory: LinkFactory
    #: At which turn of the factory's wheel this phone is pinged.
    turn = 0
    heard_at = 0.0
    #: Whether the phone is read; while it is not, its silence is ours.
    listening = True
    _auth_timer: IDelayedCall | None = None
    _flowing = True
    _unread = 0
    _mark = b""
    _why: str | None = None
    _gathered: list[bytes] | None = None

    def __init__(
        self, gateway: Gateway, address: str, who: Caller | Newcomer | None, identity: Identity
    ) -> None:
        super().__init__()
        self._who = who
        self._identity = identity
        self._desk = Desk(gateway, self, address)

    @property
    def session(self) -> Session:
        """What is spoken here, as a machine."""
        return self._desk.session

    @property
    def writable(self) -> bool:
        """Whether the phone takes more now."""
        return self._flowing and self.state == self.STATE_OPEN

    # -- from the phone ------------------------------------------------------------------------

    def connectionMade(self) -> None:
        super().connectionMade()
        self.heard_at = self.factory.now()
        self.factory.links.add(self)
        self.transport.registerProducer(self, True)

    def onOpen(self) -> None:
        self._guarded(self._open)

    def _open(self) -> None:
        if self._who is None:
            self._auth_timer = self.factory.call_later(AUTH_WITHIN, self.session.time_out)
        else:
            self.session.knock()
            self._desk.enter(self._who, self._identity)

    def dataReceived(self, data: bytes) -> None:
        self.heard_at = self.factory.now()
        self._dataReceived(data)  # without a debug line that costs as much as a frame

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._stop_waiting()
        self._guarded(lambda: self._hear(payload, isBinary))

    def _hear(self, payload: bytes, binary: bool) -> None:
        if binary:
            self.session.dismiss(BadFrame("Frames are text: one JSON object each."))
            return
        try:
            frame = decode(payload)
        except BadFrame as problem:
            self.session.stammer(problem, self.factory.now())
            return
        if isinstance(frame, Auth):
            self.session.auth(frame)
        else:
            self.session.speak(frame)

    def onPong(self, payload: bytes) -> None:
        if payload.isdigit() and len(payload) < 20:
            self._guarded(lambda: self._desk.receipt(int(payload)))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.links.discard(self)
        self._stop_waiting()
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()
            self.closeHandshakeTimeoutCall = None
        super().connectionLost(reason)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self._guarded(lambda: self.session.lost(self._why or f"closed ({code})"))

    def _stop_waiting(self) -> None:
        """No ``auth`` frame is awaited any more."""
        timer, self._auth_timer = self._auth_timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _guarded(self, act: Callable[[], None]) -> None:
        """Autobahn swallows what is raised in its calls, or drops the reactor's connection."""
        try:
            act()
        except Exception:
            self._log.failure("a phone's session failed")
            self.session.dismiss(Broken())

    # -- to the phone --------------------------------------------------------------------------

    def send(self, frame: GatewayFrame) -> None:
        """Write a frame, unless the connection has ended."""
        if self.state == self.STATE_OPEN:
            self.sendFrame(opcode=self.MESSAGE_TYPE_TEXT, payload=encode(frame))

    def push(self, tickets: Sequence[Ticket], mark: int) -> None:
        """Write tickets, and a ping behind them: its pong is their receipt."""
        self._mark = str(mark).encode()
        with self._in_one_piece():
            for ticket in tickets:
                self.send(self._frame(ticket))
            self.ping()

    def ask_back(self, ticket_id: int) -> None:
        """Ask the phone for a ticket that was pushed to it."""
        self.send(CancelSms(ticket_id))

    def ping(self) -> None:
        """Ask the phone's socket for a sign of life.

        Every ping carries the latest mark, for a peer may answer the latest ping only.
        """
        self.sendPing(self._mark)

    def _frame(self, ticket: Ticket) -> SendSms:
        ledger = self._desk.keeps_ledger
        return SendSms(
            ticket.id,
            ticket.to,
            ticket.body,
            ticket.sim,
            ticket.ref if ledger else UNSET,
            ticket.attempt if ledger else UNSET,
            UNSET if ticket.expires_at is None else ticket.expires_at,
            ticket.receipt or UNSET,
        )

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """All that Autobahn writes comes through here; a phone that does not read is dropped."""
        if not self._flowing:
            self._unread += len(data)
            if self._unread > UNREAD:
                self.drop("it does not read")
                return
        if self._gathered is None:
            self.transport.write(data)
        else:
            self._gathered.append(data)

    @contextmanager
    def _in_one_piece(self) -> Iterator[None]:
        """What is written meanwhile leaves together, at the cost of one system call."""
        gathered = self._gathered = []
        try:
            yield
        finally:
            self._gathered = None
            self.transport.write(b"".join(gathered))

    def close(self, problem: Problem) -> None:
        """End the connection with the problem's close code."""
        reason = problem.detail.encode()[:REASON].decode(errors="ignore").encode()
        self.sendCloseFrame(problem.close, reason)
        self.read_on(True)

    def drop(self, why: str) -> None:
        """Cut the connection: there is nobody to say goodbye to."""
        self._why = self._why or why
        if self.state == self.STATE_CLOSED:  # said goodbye, and still there
            self.transport.abortConnection()
        else:
            self.dropConnection(abort=True)

    # -- the transport -------------------------------------------------------------------------

    def read_on(self, wanted: bool) -> None:
        """Go on reading from the phone, or stop for a while; at the end its goodbye is read."""
        wanted = wanted or self.state != self.STATE_OPEN
        if wanted == self.listening:
            return
        self.listening = wanted
        if wanted:
            self.heard_at = self.factory.now()
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()

    def pauseProducing(self) -> None:
        """The transport has enough to write for now; it may say so at every write."""
        self._flowing = False

    def resumeProducing(self) -> None:
        """The transport has written it."""
        self._flowing, self._unread = True, 0
        self._guarded(self._desk.writable_again)

    def stopProducing(self) -> None:
        """The transport has gone; `connectionLost` follows."""
        self._flowing = False
