"""A road to Postgres on which one statement, or the answer to it, gets lost on its way."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Factory, Protocol


class Loss:
    """Waits for a statement that holds these words, and has something happen to it once."""

    def __init__(self, words: bytes) -> None:
        self.words = words
        #: The statement was met on its way.
        self.met: Deferred[None] = Deferred()
        #: What Postgres said to it, which nobody heard.
        self.answered: Deferred[bytes] = Deferred()

    def meet(self, near: Near, statement: bytes) -> None:
        near.far.listener = self
        near.far.say(statement)
        self.met.callback(None)

    def heard(self, near: Near, answer: bytes) -> None:
        """Postgres has answered: the answer is lost, and the connection with it."""
        near.far.listener = Nobody()
        near.transport.abortConnection()
        self.answered.callback(answer)


class Silence(Loss):
    """The answer is lost, and the connection stays."""

    def heard(self, near: Near, answer: bytes) -> None:
        near.far.listener = Nobody()
        self.answered.callback(answer)


class Delay(Loss):
    """The statement stays in some buffer, and its client loses the connection."""

    def meet(self, near: Near, statement: bytes) -> None:
        self._near, self._statement = near, statement
        near.far.listener = self
        near.transport.abortConnection()
        self.met.callback(None)

    def arrive(self) -> Deferred[bytes]:
        """The statement comes to Postgres after all; what that says."""
        self._near.far.say(self._statement)
        return self.answered


class Nobody(Loss):
    """Whatever Postgres says, nobody hears it."""

    def __init__(self) -> None:
        super().__init__(b"")

    def heard(self, near: Near, answer: bytes) -> None:
        pass


class Near(Protocol):
    """The end of the road at the client."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay

    def connectionMade(self) -> None:
        self.far = Far(self)
        self.relay.ends.append(self)
        reactor.connectUNIX(self.relay.postgres, FarFactory(self.far))

    def dataReceived(self, data: bytes) -> None:
        loss = self.relay.loss
        if loss is not None and loss.words in data:
            self.relay.loss = None
            loss.meet(self, data)
        else:
            self.far.say(data)

    def connectionLost(self, reason: object = None) -> None:
        if self.far.listener is None and self.far.transport is not None:
            self.far.transport.loseConnection()


class Far(Protocol):
    """The end of the road at Postgres."""

    def __init__(self, near: Near) -> None:
        self._near = near
        self._early: list[bytes] = []
        self.listener: Any = None

    def say(self, data: bytes) -> None:
        if self.transport is None:
            self._early.append(data)
        else:
            self.transport.write(data)

    def connectionMade(self) -> None:
        self.transport.writeSequence(self._early)

    def dataReceived(self, data: bytes) -> None:
        if self.listener is None:
            self._near.transport.write(data)
        else:
            self.listener.heard(self._near, data)

    def connectionLost(self, reason: object = None) -> None:
        if self._near.transport.connected:
            self._near.transport.loseConnection()


class FarFactory(ClientFactory):
    noisy = False

    def __init__(self, far: Far) -> None:
        self._far = far

    def buildProtocol(self, _: object) -> Far:
        return self._far


class Relay(Factory):
    """Stands between a pool and the Postgres that ``conninfo`` names."""

    noisy = False

    def __init__(self, conninfo: str) -> None:
        named = dict(part.split("=", 1) for part in conninfo.split())
        self.postgres = f"{named['host']}/.s.PGSQL.{named.get('port', 5432)}"
        self._port = reactor.listenTCP(0, self, interface="127.0.0.1")
        here = {"host": "127.0.0.1", "port": self._port.getHost().port, "sslmode": "disable"}
        self.conninfo = " ".join(f"{key}={value}" for key, value in {**named, **here}.items())
        self.loss: Loss | None = None
        self.ends: list[Near] = []

    def buildProtocol(self, _: object) -> Near:
        return Near(self)

    def lose(self, loss: Loss) -> Loss:
        """The next statement that holds its words meets this."""
        self.loss = loss
        return loss

    async def close(self) -> None:
        await self._port.stopListening()
        for end in self.ends:
            for leg in (end.transport, end.far.transport):
                if leg is not None:
                    leg.abortConnection()
