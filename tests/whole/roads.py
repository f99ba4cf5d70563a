"""A gateway of its own behind roads that can be spoilt, and who calls on it by them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canaries import canaries
from daemon import Daemon, new_home
from faults.proxy import ChaosProxy
from faults.server import Server
from visitors import Org, Phone, until


@dataclass
class Site:
    """A gateway, its Postgres, and the road between them."""

    daemon: Daemon
    server: Server
    road: ChaosProxy

    def count(self, sql: str, *values: object) -> int:
        ((number,),) = self.server.ask(f"SELECT count(*) FROM {sql}", *values)
        return int(number)

    def sessions(self, org: Org) -> int:
        return self.count("sessions WHERE org_id = %s", org.id)

    def tickets(self, org: Org, *statuses: str) -> int:
        return self.count("messages WHERE org_id = %s AND status = ANY(%s)", org.id, list(statuses))

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.daemon.process.pid}/fd").iterdir()))

    def memory(self) -> int:
        """What the daemon holds in memory. Bytes."""
        status = Path(f"/proc/{self.daemon.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) << 10


@contextmanager
def new_site(*argv: str) -> Iterator[Site]:
    """A gateway and its Postgres, to which it comes by TCP."""
    with new_home() as below, new_home() as home:
        server = Server(below)
        try:
            with ChaosProxy(("127.0.0.1", port_of(server))) as road:
                conninfo = f"host=127.0.0.1 port={road.port} user=smsd dbname=smsd"
                environ = {"SMSD_DATABASE": conninfo}
                with Daemon(home, *argv, environ=environ) as daemon:
                    daemon.excused.append("the database is away")
                    yield Site(daemon, server, road)
        finally:
            server.close()


def port_of(server: Server) -> int:
    words = dict(word.split("=") for word in server.conninfo_by_tcp.split())
    return int(words["port"])


def by(road: ChaosProxy, org: Org) -> Org:
    """The org's people on this road."""
    return Org(f"http://127.0.0.1:{road.port}", org.id, org.secret)


def many(org: Org, number: int, body: str = "hi", **more: Any) -> list[int]:
    drafts = [{"to": canaries.number(), "body": body} for _ in range(number)]
    return [result["id"] for result in org.send(messages=drafts, **more)["results"]]


def gets(phone: Phone, *tickets: int) -> None:
    """The phone is given these, in this order, and sends them."""
    for ticket in tickets:
        frame = next_ticket(phone)
        assert frame["id"] == ticket
        phone.confirm(ticket, ref=frame.get("ref"))


def next_ticket(phone: Phone) -> dict[str, Any]:
    """The next one, past what a phone hears besides."""
    while (frame := phone.hear())["type"] in ("connected", "sims_ack", "result_ack"):
        pass
    assert frame["type"] == "send_sms"
    return frame


def all_sent(site: Site, org: Org, number: int) -> None:
    until(lambda: site.tickets(org, "sent") == number)
    assert site.tickets(org, "queued", "sending", "failed") == 0
