"""A second gateway's hand on the same database, as a process of its own.

``python writer.py CONNINFO NAME WRITERS ROUNDS ORG...``: so many writers at once, each storing
batches of rows of several orgs, inbound and outbound. Prints how many rows it stored.
"""

import random
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from smsd.store.database import Database

sys.path.insert(0, str(Path(__file__).parent))
from seed import append, sms, ticket


async def write(database, name, rounds, org_ids):
    """Batches of up to 12 rows of mixed orgs, in any order; how many rows were stored."""
    chance, stored = random.Random(name), 0
    for at in range(rounds):
        rows = [
            chance.choice([sms, ticket])(chance.choice(org_ids), body=f"{name}/{at}/{n}")
            for n in range(chance.randint(1, 12))
        ]
        stored += len(
            set(zip([row.org_id for row in rows], await append(database, *rows), strict=True))
        )
    return stored


async def write_all(database, name, writers, rounds, org_ids):
    """As many writers at once."""
    counts = await gatherResults(
        [
            Deferred.fromCoroutine(write(database, f"{name}{n}", rounds, org_ids))
            for n in range(writers)
        ]
    )
    return sum(counts)


async def main(_, conninfo, name, writers, rounds, *org_ids):
    database = Database(reactor, conninfo, size=int(writers), chance=random.random, deadline=30)
    await database.open()
    print(await write_all(database, name, int(writers), int(rounds), org_ids))
    await database.close()


if __name__ == "__main__":
    react(lambda *given: Deferred.fromCoroutine(main(*given)), sys.argv[1:])
