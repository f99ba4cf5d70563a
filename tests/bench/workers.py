"""Several gateways on one database: nodes of one machine, each on a port of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from bench.figures import Row
from bench.load import Load, load
from bench.meter import Cost
from bench.scenarios import CLIENTS, WARM, Asked
from bench.sides import Running

#: Orgs whose ids have a gap, or come twice.
_BROKEN = """
SELECT count(*) FROM (
    SELECT FROM messages GROUP BY org_id HAVING count(*) <> max(id) OR count(DISTINCT id) <> max(id)
) AS broken
"""


def webhook(one: Running, asked: Asked, count: int) -> Row:
    """As many clients at each of ``count`` gateways, all of one org."""
    with _beside(one, count) as nodes:
        _load(nodes, WARM)
        before, cost = one.stored, _cost(nodes)
        found = _load(nodes, asked.seconds)
        rows, statements = one.stored - before
        spent = _cost(nodes).a_message(cost, rows)
    if broken := one.database.number(_BROKEN):
        raise SystemExit(f"{broken:.0f} orgs have ids with a gap")
    rate = sum(each.rate for each in found)
    return {"a second": rate, **spent, "rows a statement": rows / statements}


@contextmanager
def _beside(one: Running, count: int) -> Iterator[list[Running]]:
    """So many gateways on the database of one that runs, itself among them."""
    with ExitStack() as ended:
        nodes = [one]
        for at in range(1, count):
            home = one.home / f"node{at}"
            home.mkdir()
            nodes.append(Running(one.side, one.database, home))
            ended.callback(nodes[-1].stop)
            nodes[-1].start()
        yield nodes


def _load(nodes: Sequence[Running], seconds: float) -> list[Load]:
    with ThreadPoolExecutor(len(nodes)) as pool:
        under_way = [
            pool.submit(load, node, "webhook", clients=CLIENTS, seconds=seconds) for node in nodes
        ]
        return [each.result() for each in under_way]


def _cost(nodes: Sequence[Running]) -> Cost:
    costs = [node.cost for node in nodes]
    return Cost(sum(cost.daemon for cost in costs), costs[0].postgres)
