"""The object graph of a node above its open database, from the bottom to the top.

Everything that the floors below are given (time, chance, the reactor, names) comes from here.
When each part starts and stops is `smsd.assembly`'s.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from smsd.domain.errors import ShuttingDown, Unavailable
from smsd.domain.pepper import Pepper
from smsd.domain.settings import Settings
from smsd.domain.tallies import Spread
from smsd.gateway import places
from smsd.gateway.allowances import Allowances
from smsd.gateway.archive import Archive
from smsd.gateway.attendance import Attendance
from smsd.gateway.bell import Bell
from smsd.gateway.claims import ClaimPolicy
from smsd.gateway.confirmations import Confirmations
from smsd.gateway.consent import Consent
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Doorman
from smsd.gateway.feeding import Feeding
from smsd.gateway.hashing import Hashing
from smsd.gateway.hearing import Hearing
from smsd.gateway.hooks import TESTS, Hooks
from smsd.gateway.inbox import Inbox
from smsd.gateway.keys import Keys
from smsd.gateway.outbox import Outbox
from smsd.gateway.paces import Paces
from smsd.gateway.pacing import Pacing
from smsd.gateway.patience import Patience
from smsd.gateway.postman import Postman
from smsd.gateway.questions import Questions
from smsd.gateway.quotas import Quotas
from smsd.gateway.readiness import Readiness
from smsd.gateway.recalls import Recalls
from smsd.gateway.results import Results
from smsd.gateway.resumption import Resumption, Rules
from smsd.gateway.roster import Roster
from smsd.gateway.rotation import Rotation
from smsd.gateway.schedule import Schedule
from smsd.gateway.spawn import Spawn
from smsd.gateway.streams import Streams
from smsd.gateway.upkeep import Upkeep
from smsd.gateway.visit import Limits
from smsd.outward.courier import Courier
from smsd.outward.gates import Gates
from smsd.outward.names import make_room
from smsd.phone.desk import Gateway
from smsd.phone.door import PhoneDoor
from smsd.phone.factory import LinkFactory
from smsd.rest.api import Api
from smsd.rest.pages import pages
from smsd.rest.services import Services
from smsd.rest.site import Site
from smsd.rest.stream import sign_of_life, spelt
from smsd.sight.lookout import Lookout
from smsd.sight.sources import Sources
from smsd.store import events, keepsakes, phones
from smsd.store.census import Census
from smsd.store.database import Database
from smsd.store.keepsakes import NodeName

#: Results in flight are taken for so long at a shutdown. Seconds.
LAST_RESULTS = 5.0
#: Seconds.
DAY = 86_400.0


class Parts:
    """The object graph above an open database."""

    def __init__(self, settings: Settings, reactor: Any, database: Database, home: Path) -> None:
        self._settings = settings
        self._reactor = reactor
        self._database = database
        self.node = NodeName(home)
        self._spawn = Spawn()
        self._patience = Patience(reactor, random.random)
        self.hashing = Hashing(reactor, random.random)
        self._bell = Bell(reactor, partial(events.bounds, database))
        self._allowances = Allowances(settings.allowance)
        quotas = Quotas(database, self._allowances, reactor.seconds)
        pepper = _pepper(settings, home)
        self._doorman = Doorman(
            database,
            pepper,
            self.hashing,
            reactor=reactor,
            claims=_claims(settings),
            allowances=self._allowances,
            max_failures_per_minute=settings.max_failures_per_minute,
            max_claims_per_hour=settings.max_claims_per_hour,
        )
        self._rotation = Rotation(database, self._doorman, pepper, self.hashing)
        self._roster = Roster(reactor.seconds)
        self._resumption = Resumption(
            database, Rules(settings.resume_grace, settings.max_attempts), self._patience
        )
        self._pacing = Pacing(database, self._allowances, self._roster, reactor)
        self._feeding = Feeding(
            database,
            self._roster,
            self._resumption,
            self._spawn,
            self._patience,
            self._bell,
            self._pacing,
        )
        self._dispatch = Dispatch(
            database,
            self._roster,
            self._resumption,
            self._spawn,
            self._patience,
            self._bell,
            self._pacing,
            self._feeding,
        )
        self._paces = Paces(database, self._allowances, self._feeding, self._pacing)
        self._consent = Consent(database, self._allowances)
        self._confirmations = Confirmations(
            database, self._allowances, self._feeding, self._bell, self._spawn
        )
        self._attendance = Attendance(
            database,
            self._roster,
            self._dispatch,
            self._feeding,
            self._spawn,
            self._patience,
            self._bell,
            node_id=self.node.node_id,
            clock=reactor.seconds,
            time_of_day=time.time,
            new_id=lambda: str(uuid.uuid4()),
            limits=Limits(settings.window, settings.unanswered),
        )
        self._keys = Keys(database, self._doorman, self._roster, self._attendance)
        self._courier = Courier(reactor, settings.hook_networks)
        self._gates = Gates()
        self._postman = Postman(
            reactor,
            database,
            self._courier,
            self._gates,
            self._spawn,
            self._bell,
            node_id=self.node.node_id,
            keep=settings.keep_events * DAY,
            now=time.time,
            chance=random.random,
        )
        self._hooks = Hooks(
            database,
            self._courier,
            self._gates,
            keep=settings.keep_events * DAY,
            stirred=self._postman.expect,
            now=time.time,
        )
        self._inbox = Inbox(
            database,
            self._doorman,
            self._patience,
            quotas,
            self._bell,
            stored=self._confirmations.heard,
        )
        self._results = Results(
            database, self._roster, self._dispatch, self._feeding, self._patience, self._bell
        )
        self._recalls = Recalls(
            reactor, database, self._roster, self._results, self._patience, self._bell
        )
        self._outbox = Outbox(
            database,
            self._roster,
            self._dispatch,
            self._spawn,
            self._patience,
            quotas,
            self._bell,
            self._pacing,
            time_of_day=time.time,
        )
        self._archive = Archive(database, self._bell, self._recalls)
        # Half of the pool at most is for those who wait.
        self._hearing = Hearing(reactor, database, self._bell, max(1, settings.pool_size // 2))
        self._questions = Questions(database, self._outbox, self._hearing)
        self._streams = Streams(
            reactor,
            database,
            self._bell,
            keep=settings.keep_events * DAY,
            at_once=max(1, settings.pool_size // 4),
            chance=random.random,
            spell=spelt,
            sign_of_life=sign_of_life,
        )
        self._upkeep = Upkeep(
            reactor=reactor,
            database=database,
            doorman=self._doorman,
            roster=self._roster,
            dispatch=self._dispatch,
            feeding=self._feeding,
            attendance=self._attendance,
            keys=self._keys,
            spawn=self._spawn,
            node_id=self.node.node_id,
            confirm_timeout=settings.confirm_timeout,
            unconfirmed=settings.unconfirmed,
            max_attempts=settings.max_attempts,
            allowances=self._allowances,
            quotas=quotas,
            bell=self._bell,
            schedule=Schedule(database, self._feeding, self._bell),
            streams=self._streams,
            postman=self._postman,
            confirmations=self._confirmations,
            keep_events=settings.keep_events,
            keep_messages=settings.keep_messages,
            keep_keys=settings.keep_keys,
        )
        self._links = LinkFactory(
            reactor,
            Gateway(
                self._doorman,
                self._attendance,
                self._inbox,
                self._feeding,
                self._results,
                self._recalls,
                self._patience,
                self._spawn,
                settings.unanswered,
            ),
        )

    def api(self, serving: Callable[[], str]) -> Api:
        """The REST face, with the door for phones in it. ``serving`` as `Readiness` has it."""
        lanes = (*self._inbox.lanes, *self._outbox.lanes, *self._results.lanes)
        self.readiness = Readiness(
            self._database, lanes, clock=self._reactor.seconds, serving=serving
        )

        services = Services(
            self._doorman,
            self._inbox,
            self._outbox,
            self._archive,
            self._hearing,
            self._questions,
            self._streams,
            self._rotation,
            self._keys,
            self._hooks,
            self._paces,
            self._consent,
            self._paces.sims,
            self.readiness.parts,
            PhoneDoor(self._links),
        )
        self._api = Api(services, pages=pages(), origins=self._settings.allow_origins)
        return self._api

    def lookout(self, site: Site) -> Lookout:
        """Whoever shows metrics of this node and its site; `api` has been called."""

        def sources(census: Census, lag: Spread) -> Sources:
            return Sources(
                site=site,
                api=self._api,
                links=self._links,
                doorman=self._doorman,
                hashing=self.hashing,
                inbox=self._inbox,
                outbox=self._outbox,
                hearing=self._hearing,
                streams=self._streams,
                feeding=self._feeding,
                resumption=self._resumption,
                results=self._results,
                attendance=self._attendance,
                roster=self._roster,
                upkeep=self._upkeep,
                database=self._database,
                census=census,
                lag=lag,
            )

        conninfo = self._database.conninfo
        return Lookout(self._reactor, conninfo, sources, self._pacing.held_back)

    def renew(self, settings: Settings) -> None:
        """Take over the settings that are live; `api` has been called."""
        self._api.allow(settings.allow_origins)
        self._allowances.renew(settings.allowance)
        self._upkeep.keep_messages = settings.keep_messages
        self._doorman.renew(
            _claims(settings),
            max_failures_per_minute=settings.max_failures_per_minute,
            max_claims_per_hour=settings.max_claims_per_hour,
        )

    async def begin(self) -> None:
        """Make known that this node is here; its sessions of an earlier life are over."""
        await phones.leave(self._database, self.node.node_id)
        await self._upkeep.beat()
        make_room(self._reactor, TESTS + places.ALL)
        self._links.start()
        self._upkeep.start()

    async def end(self) -> None:
        """No new pushes; the last results; every phone and whoever waits is told; every row is
        written down."""
        self._hooks.close()
        self._postman.close()
        self._streams.close()
        self._bell.close()
        self._feeding.close()
        self._attendance.close()
        await self._last_results()
        self._attendance.dismiss_all(ShuttingDown())
        self._patience.end()
        self._links.stop()
        self._upkeep.stop()
        await self._spawn.idle()
        await self._hearing.drained()
        await self._streams.drained()
        for lane in (self._inbox, self._outbox, self._results):
            await lane.drained()
        with suppress(Unavailable):  # the others find out by our silence
            await phones.leave(self._database, self.node.node_id)

    async def _last_results(self) -> None:
        until = self._reactor.seconds() + LAST_RESULTS
        while any(visit.awaits_results for visit in self._roster):
            if self._reactor.seconds() >= until:
                return
            pause: Deferred[None] = Deferred()
            self._reactor.callLater(0.05, pause.callback, None)
            await pause


def _claims(settings: Settings) -> ClaimPolicy:
    return ClaimPolicy(settings.claims, settings.claim_token, settings.max_orgs)


def _pepper(settings: Settings, home: Path) -> Pepper:
    if settings.pepper is not None:
        return Pepper(settings.pepper.encode())
    return keepsakes.pepper(home)
