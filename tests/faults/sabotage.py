"""Breaches of the contract, made on purpose, to show that the campaign notices each of them.

Those of the gateway are wrapped round its classes before it starts; those of the phones are the
phones' own. Each names the count that must not stay 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def acknowledges_unstored() -> None:
    """An SMS is acknowledged before it is committed."""
    from twisted.internet.defer import succeed

    from smsd.gateway.inbox import Inbox

    store = Inbox.store

    async def hasty(self: Any, who: Any, sms: Any, visit: Any = None, **how: Any) -> int:
        if not sms or type(who).__name__ == "Newcomer":
            return await store(self, who, sms, visit, **how)
        from twisted.internet.defer import Deferred

        Deferred.fromCoroutine(store(self, who, sms, visit, **how)).addErrback(
            lambda _: succeed(None)
        )
        return len(sms)

    Inbox.store = hasty  # type: ignore[method-assign]


def pushes_uncommitted() -> None:
    """Tickets are pushed, and acknowledged, a moment before their commit."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.task import deferLater

    from smsd.store.connection import Connection
    from smsd.store.database import _BEGIN, _COMMIT, Database

    run = Database.run

    async def early(self: Any, statement: Any, **parameters: Any) -> Any:
        if statement.name != "append_messages" or '"direction":"in"' in parameters["rows"][:2000]:
            return await run(self, statement, **parameters)
        answer: Deferred[Any] = Deferred()

        async def body(connection: Connection) -> None:
            await connection.fetch(_BEGIN)
            answer.callback(await connection.fetch(statement, parameters))
            await deferLater(reactor, 0.03)
            await connection.fetch(_COMMIT, commits=True)

        def failed(failure: Any) -> None:
            if not answer.called:
                answer.errback(failure)

        self._shielded(statement.name, body, 2.5).addErrback(failed)
        return await answer

    Database.run = early  # type: ignore[method-assign, assignment]


def folds_nothing() -> None:
    """A retried SMS is stored again."""
    from smsd.store import messages

    arrived = messages.arrived

    def fresh(*args: Any) -> Any:
        row = arrived(*args)
        row.dedupe = None
        return row

    messages.arrived = fresh


def pushes_again_unasked() -> None:
    """A plain phone that is back is given again all that is in doubt, at once."""
    from smsd.gateway import resumption

    resumption.due_in = lambda ticket, keeps_ledger, grace: 0.0


def puts_nothing_back() -> None:
    """What never reached the transport is not put back into the queue."""
    from smsd.gateway.feeding import Feeding

    async def forget(self: Any, pushes: Any) -> None:
        return None

    Feeding.note_ends = forget  # type: ignore[method-assign]


def never_gives_up() -> None:
    """Tickets whose result never comes are left as they are."""
    from smsd.gateway.upkeep import Upkeep

    async def leave(self: Any) -> None:
        return None

    Upkeep._end_late = leave  # type: ignore[method-assign]


def forgets_keys() -> None:
    """A call that is repeated under its Idempotency-Key is carried out again."""
    from smsd.gateway.outbox import Outbox

    async def again(self: Any, caller: Any, drafts: Any, key: Any, **how: Any) -> Any:
        return await self.accept(caller, drafts, **how)

    Outbox.accept_once = again  # type: ignore[method-assign]


def tells_not_all() -> None:
    """Readers of events are not told of one in ten."""
    from msgspec.structs import replace

    from smsd.store import events

    read = events.read

    async def forgetful(*args: Any, **how: Any) -> Any:
        page = await read(*args, **how)
        return page and replace(page, events=[one for one in page.events if one.id % 10])

    events.read = forgetful


def posts_not_all() -> None:
    """One event in three is counted as posted and is not."""
    from smsd.outward.attempt import Attempt
    from smsd.outward.courier import Courier

    deliver = Courier.deliver

    async def lazy(self: Any, url: str, event_id: str, *rest: Any) -> Attempt:
        if int(event_id.rpartition("-")[2]) % 3 == 0:
            return Attempt(status=204, ms=1)
        return await deliver(self, url, event_id, *rest)

    Courier.deliver = lazy  # type: ignore[method-assign]


def posts_swapped() -> None:
    """One event in three is posted after the one that comes behind it."""
    from smsd.outward.attempt import Attempt
    from smsd.outward.courier import Courier

    deliver = Courier.deliver
    held: dict[str, Any] = {}

    async def swapping(self: Any, url: str, event_id: str, *rest: Any) -> Attempt:
        if int(event_id.rpartition("-")[2]) % 3 == 0:
            held[url] = (event_id, *rest)
            return Attempt(status=204, ms=1)
        attempt = await deliver(self, url, event_id, *rest)
        if attempt.taken and url in held:
            while not (await deliver(self, url, *held[url])).taken:
                pass
            del held[url]
        return attempt

    Courier.deliver = swapping  # type: ignore[method-assign]


def forgets_reports() -> None:
    """One report in three that an SMS arrived is not written down."""
    from smsd.gateway.results import Results

    take = Results.take_delivery

    async def forgetful(self: Any, visit: Any, delivery: Any) -> str:
        return "ignored" if delivery.id % 3 == 0 else await take(self, visit, delivery)

    Results.take_delivery = forgetful  # type: ignore[method-assign]


def takes_sent_for_delivered() -> None:
    """What a phone sent is believed to have arrived."""
    from smsd.domain.records import Delivery
    from smsd.gateway.results import Results

    take = Results.take

    async def hopeful(self: Any, visit: Any, result: Any) -> str:
        verdict = await take(self, visit, result)
        if result.success:
            hope = Delivery(org_id=result.org_id, id=result.id, delivered=True)
            await self.take_delivery(visit, hope)
        return verdict

    Results.take = hopeful  # type: ignore[method-assign]


#: What can be done to the gateway, by name.
GATEWAY: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        acknowledges_unstored,
        pushes_uncommitted,
        folds_nothing,
        pushes_again_unasked,
        puts_nothing_back,
        never_gives_up,
        forgets_keys,
        tells_not_all,
        posts_not_all,
        posts_swapped,
        forgets_reports,
        takes_sent_for_delivered,
    )
}
#: Ledger phones forget their ledger whenever they lose a connection.
PHONES = ("ledgers_are_lost",)
