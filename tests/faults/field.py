"""All that takes part: a database, the gateway on it, orgs with their phones, agents, and the roads
between them. Who strikes when is `faults.campaign`'s.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

from faults.agents import Agents
from faults.cast import regulars
from faults.checker import Checker, Findings
from faults.gateway import Gateway
from faults.journal import Journal
from faults.ledgers import LedgerPhone
from faults.listeners import Listeners
from faults.orgs import Org
from faults.phones import Phone
from faults.postgres import Postgres
from faults.proxy import ChaosProxy
from faults.waiting import comes_true, runs_out
from faults.witness import Witness

ORGS, ROADS = 4, 3
#: Of all texts this share comes over phones' connections.
BY_SOCKET = 0.25


class DurablePostgres(Postgres):
    """On the machine's own disk, and as large as it needs to be; it cannot be filled."""

    OPTIONS = {"max_wal_size": "1GB", "shared_buffers": "64MB", "autovacuum": "on"}  # noqa: RUF012

    def __init__(self, home: Path) -> None:
        super().__init__(home, options=self.OPTIONS)

    def _own_disks(self) -> tuple[None, str]:
        return None, "it is on the machine's own disk"


class Field:
    """One gateway with its surroundings; ``rate`` texts a second are handed in."""

    def __init__(
        self, home: Path, postgres: Postgres, chance: Random, *, rate: float, sabotage: str = ""
    ) -> None:
        self.postgres = postgres
        self.journal = Journal()
        self.roads: list[ChaosProxy] = []
        self.database_road: ChaosProxy | None = None
        self.spoilt = False
        self._chance = chance
        self._rate = rate
        in_gateway = "" if sabotage == "ledgers_are_lost" else sabotage
        self._forgetful = sabotage == "ledgers_are_lost"
        self.gateway = Gateway(home, self.journal, postgres.conninfo, in_gateway)
        self._witness = Witness(self.journal, postgres.conninfo)
        self._stack = ExitStack()
        self.orgs = [Org(f"org-{at}", listens=at % 2 == 0) for at in range(ORGS)]
        self.phones = [phone for org in self.orgs for phone in self._phones_of(org)]
        self.agents = Agents(
            self.journal,
            self.gateway.port,
            self.orgs,
            chance,
            rate * (1 - BY_SOCKET),
            number=max(6, int(rate / 12)),
        )
        self.regulars = regulars(self.orgs, self.journal, self.gateway.port, chance)
        self.listeners = Listeners(self.orgs, self.journal, self.gateway.port, chance)
        self._lives: list[asyncio.Task[None]] = []
        self._inflow: asyncio.Task[None] | None = None

    # -- its life --

    async def open(self, flags: Sequence[str], hurry: float) -> None:
        """Everybody is there, and nobody strikes yet."""
        self.gateway.flags, self.gateway.hurry = list(flags), hurry
        self.gateway.start()
        self.roads = [
            self._stack.enter_context(ChaosProxy(("127.0.0.1", self.gateway.port), seed=at))
            for at in range(ROADS)
        ]
        port = int(self.postgres.conninfo_by_tcp.split("port=")[1].split()[0])
        self.database_road = self._stack.enter_context(ChaosProxy(("127.0.0.1", port)))
        claiming = asyncio.create_task(self.agents.claim())
        try:
            await self.gateway.serving()
            await claiming
        finally:
            claiming.cancel()
        self.checker = Checker(await asyncio.to_thread(self.postgres.connect))
        self._stack.callback(self.listeners.close)
        await self.listeners.begin(self.checker)
        for regular in self.regulars:
            await regular.prepare()
        lively = (*self.phones, *self.listeners.readers)
        self._lives = [asyncio.create_task(one.live()) for one in lively]

    async def close(self) -> None:
        """Everybody goes home."""
        for life in self._lives:
            life.cancel()
        if self._lives:
            await asyncio.wait(self._lives)
        await self.gateway.close()
        self._stack.close()
        self._witness.close()
        await asyncio.to_thread(self.postgres.close)

    def over_roads(self, wanted: bool) -> None:
        """Phones reach the gateway over the roads that can be spoilt, or directly."""
        self.spoilt = wanted

    def database_over_road(self, wanted: bool) -> None:
        """So does the gateway the database, from its next start on."""
        assert self.database_road is not None
        self.gateway.conninfo = (
            f"host=127.0.0.1 port={self.database_road.port} user=smsd dbname=smsd"
            if wanted
            else self.postgres.conninfo
        )

    # -- what happens on it --

    def start_traffic(self) -> None:
        """Texts come from everywhere."""
        for one in (self.agents, *self.regulars):
            one.start()
        self._inflow = asyncio.create_task(self._flow())

    async def stop_traffic(self) -> None:
        """No new ones; those that must arrive do."""
        assert self._inflow is not None
        self._inflow.cancel()
        await asyncio.wait([self._inflow])
        await asyncio.gather(*(one.stop() for one in (self.agents, *self.regulars)))

    async def heal(self) -> None:
        """Whatever was done to anybody ends."""
        for road in self._all_roads:
            await asyncio.to_thread(road.heal)
        await asyncio.to_thread(self.postgres.heal)
        await self.gateway.serving()

    async def gathered(self) -> None:
        """Most phones are on line, so that there is something to destroy; or they do not come."""
        await comes_true(self._most_on_line, within=3)

    async def floors(self) -> str:
        """Below which ids the next check has nothing to look for."""
        return json.dumps(await asyncio.to_thread(self.checker.floors))

    async def quiet(self, within: float) -> None:
        """Every ticket has come to its end and nobody waits for an answer, if it ever ends; then
        whoever listens was told all, which depends on how far behind the deaths have left him."""
        await comes_true(self._calm, within)
        await runs_out(self._untold, within)

    async def check(self, floors: str) -> Findings:
        """What the journal and the database say of the round that is over."""
        await self._reconnect_checker()
        hooks = self.listeners.hooks
        found = await asyncio.to_thread(self.checker.check, self.journal.now, floors, hooks)
        for phone in self.phones:
            if phone.waits:
                found.note("never answered", (phone.name, phone.debts))
        return found

    async def drop_some(self, number: int, deaf: float) -> list[Phone]:
        """Some phones lose their connections."""
        victims = self._chance.sample(self.phones, number)
        await asyncio.gather(*(phone.drop(deaf) for phone in victims))
        if self._forgetful:
            for phone in victims:
                if isinstance(phone, LedgerPhone):
                    phone.forget()
        return victims

    @property
    def _all_roads(self) -> list[ChaosProxy]:
        return [*self.roads, *([self.database_road] if self.database_road else [])]

    async def _most_on_line(self) -> bool:
        return sum(phone.on_line for phone in self.phones) > len(self.phones) - 4

    async def _calm(self) -> bool:
        if any(phone.waits for phone in self.phones):
            return False
        await self._reconnect_checker()
        if await asyncio.to_thread(self.checker.open_tickets):
            return False
        return not await asyncio.to_thread(self.checker.unheard, self.journal.now.reported)

    async def _untold(self) -> int:
        await self._reconnect_checker()
        return await self.listeners.untold(self.checker)

    async def _reconnect_checker(self) -> None:
        self.checker = Checker(await asyncio.to_thread(self.postgres.connect))

    async def _flow(self) -> None:
        pause = 1 / (self._rate * BY_SOCKET)
        while True:
            await self._chance.choice(self.phones).receive()
            await asyncio.sleep(pause * self._chance.uniform(0.5, 1.5))

    # -- phones --

    def _phones_of(self, org: Org) -> list[Phone]:
        at = int(org.id.removeprefix("org-"))
        numbers = [f"+1555{at}00{n}" for n in range(3)]
        org.sims += [*numbers, 0]
        device = {"device_id": f"device-{at}"}
        phones = [
            self._phone(
                LedgerPhone, f"ledger-{at}-a", org, {"device_id": "a", "ledger": "1"}, numbers[0]
            ),
            self._phone(
                LedgerPhone, f"ledger-{at}-b", org, {"device_id": "b", "ledger": "1"}, None
            ),
            self._phone(Phone, f"plain-{at}-device", org, device, numbers[1]),
            self._phone(Phone, f"plain-{at}-number", org, {}, numbers[2]),
        ]
        if at == 0:
            phones.append(self._phone(Phone, "plain-0-nobody", org, {}, None))
        return phones

    def _phone(
        self, kind: type[Phone], name: str, org: Org, query: dict[str, str], number: str | None
    ) -> Phone:
        return kind(
            name,
            org.id,
            self.journal,
            self._witness,
            lambda: self._port_for(name),
            Random(self._chance.random()),
            query=query,
            sims=[{"slot": 0, "number": number}],
        )

    def _port_for(self, name: str) -> int:
        if not self.spoilt:
            return self.gateway.port
        return self.roads[sum(name.encode()) % ROADS].port
