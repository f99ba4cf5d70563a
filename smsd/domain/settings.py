"""Every setting of the gateway, stated once: its type, default, unit, rule and one sentence.

The flags, the names in the environment, the keys of the TOML file, the help and what
``smsd check`` and ``smsd settings`` print are all made from this table. Where a value comes
from, and which of two wins, is `smsd.domain.precedence`.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from smsd.domain import ceilings
from smsd.domain.allowance import NAMES, Allowance
from smsd.domain.conninfo import names_a_database, without_password
from smsd.domain.rows import Told, rows_of
from smsd.domain.shapes import is_endpoint, is_network, is_origin, is_path, with_backlog

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _hidden(value: str) -> str:
    return "(hidden)"


Whole = Annotated[int, Meta(ge=0, le=1_000_000)]
AtLeastOne = Annotated[int, Meta(ge=1, le=1_000_000)]


class Settings(Struct, frozen=True, kw_only=True):
    """What one gateway was told to be."""

    listen: Annotated[
        tuple[str, ...],
        Meta(min_length=1),
        Told(
            "Where to listen, as a Twisted endpoint; may be given several times",
            "ENDPOINT",
            "a Twisted endpoint, as in tcp:8080:interface=127.0.0.1",
            check=is_endpoint,
        ),
    ] = ("tcp:8080:interface=127.0.0.1",)
    database: Annotated[
        str | None,
        Told(
            "The Postgres to use; without it the gateway runs a private one in the data directory",
            "URL",
            "a postgresql://… URL or libpq's key=value pairs",
            example="postgresql://smsd@db.example/smsd",
            secret=True,
            check=names_a_database,
            show=without_password,
        ),
    ] = None
    metrics: Annotated[
        str | None,
        Told(
            "Where to show metrics for Prometheus, at /metrics; without it nowhere",
            "ENDPOINT",
            "a Twisted endpoint, as in tcp:9464:interface=127.0.0.1",
            example="tcp:9464:interface=127.0.0.1",
            check=is_endpoint,
        ),
    ] = None
    data_dir: Annotated[
        Path,
        Told(
            "Where the private Postgres and the pepper are kept",
            "DIR",
            "the path of a directory, written out (no ~)",
            default="var in a checkout, else StateDirectory= in a systemd unit, else /var/lib/smsd "
            "for root and ~/.local/share/smsd for others",
            example="/var/lib/smsd",
            check=is_path,
        ),
    ] = Path("var")
    postgres_bin: Annotated[
        Path | None,
        Told(
            "Where the programs of the private Postgres are; without it they are looked for",
            "DIR",
            "the path of a directory, written out (no ~)",
            example="/usr/lib/postgresql/18/bin",
            check=is_path,
        ),
    ] = None
    claims: Annotated[
        Literal["open", "token", "closed"],
        Told(
            "Who may claim a new org: anyone, who knows the claim token, or nobody",
            "WHO",
            live=True,
        ),
    ] = "open"
    claim_token: Annotated[
        Annotated[str, Meta(min_length=8)] | None,
        Told(
            "The token that a claim needs where claims is token",
            right="a text of at least 8 characters",
            live=True,
            example="a token of your own",
            secret=True,
            flag=False,
            show=_hidden,
        ),
    ] = None
    pepper: Annotated[
        Annotated[str, Meta(min_length=16)] | None,
        Told(
            "The key under which secrets are fingerprinted, the same for all nodes of one "
            "database; without it a file in the data directory, made at the first start",
            right="a text of at least 16 characters",
            example="64 digits of `openssl rand -hex 32`",
            secret=True,
            flag=False,
            show=_hidden,
        ),
    ] = None
    window: Annotated[
        AtLeastOne,
        Told("How many tickets a phone may have without a receipt", unit="tickets"),
    ] = 64
    unanswered: Annotated[
        AtLeastOne,
        Told("How many tickets a phone may have without a result", unit="tickets"),
    ] = 100
    resume_grace: Annotated[
        Annotated[float, Meta(ge=0, le=3600)],
        Told("How long a phone that is back may answer before a ticket is pushed again", unit="s"),
    ] = 3.0
    confirm_timeout: Annotated[
        Annotated[float, Meta(ge=1, le=2_592_000)],
        Told("How long after its first push a ticket may lack a result", unit="s"),
    ] = 600.0
    unconfirmed: Annotated[
        Literal["fail", "resend"],
        Told("What becomes of a ticket whose result never came", "WHAT"),
    ] = "fail"
    max_attempts: Annotated[
        AtLeastOne,
        Told("How often a ticket is pushed at most", unit="pushes"),
    ] = 5
    keep_messages: Annotated[
        Annotated[int, Meta(ge=0, le=36_500)],
        Told(
            "How long messages are kept; tickets that have not ended stay",
            unit="days",
            zero="for ever",
            live=True,
        ),
    ] = 0
    keep_events: Annotated[
        Annotated[int, Meta(ge=1, le=3650)],
        Told("How long events are kept, and for how long a reader may stay away", unit="days"),
    ] = 7
    keep_keys: Annotated[
        Annotated[int, Meta(ge=1, le=365)],
        Told("How long an Idempotency-Key is remembered", unit="days"),
    ] = 7
    queue_ttl: ceilings.QueueTtl = 0
    max_orgs: ceilings.MaxOrgs = 0
    max_stored: ceilings.MaxStored = 0
    max_queued: ceilings.MaxQueued = 0
    max_sends_per_minute: ceilings.MaxSends = 0
    to_prefixes: ceilings.ToPrefixes = ()
    max_connections_per_address: Annotated[
        Whole,
        Told(
            "How many connections one address may hold",
            unit="connections",
            zero="no limit",
            live=True,
        ),
    ] = 0
    max_claims_per_hour: Annotated[
        Whole,
        Told(
            "How many orgs one address may claim in an hour",
            unit="claims",
            zero="no limit",
            live=True,
        ),
    ] = 0
    max_failures_per_minute: Annotated[
        Whole,
        Told(
            "How often one address may fail in a minute",
            unit="failures",
            zero="no limit",
            live=True,
        ),
    ] = 0
    trusted_proxies: Annotated[
        tuple[str, ...],
        Told(
            "A proxy whose X-Forwarded-For is believed; may be given several times",
            "CIDR",
            "an address or a network in CIDR, as in 10.0.0.0/8",
            live=True,
            example="127.0.0.1",
            check=is_network,
        ),
    ] = ()
    hooks_allow: Annotated[
        tuple[str, ...],
        Told(
            "A network outside the public Internet that webhooks may be posted to, by http too; "
            "may be given several times",
            "CIDR",
            "an address or a network in CIDR, as in 10.0.0.0/8",
            example="10.0.0.0/8",
            check=is_network,
        ),
    ] = ()
    allow_origins: Annotated[
        tuple[str, ...],
        Told(
            "A web origin that browsers may call from (* for any, REST only); "
            "may be given several times",
            "ORIGIN",
            "an origin as browsers send it, as in https://app.example, or *",
            live=True,
            example="https://app.example",
            check=is_origin,
        ),
    ] = ()
    pool_size: Annotated[
        Annotated[int, Meta(ge=1, le=1000)],
        Told("How many connections to the database are kept", unit="connections"),
    ] = 6
    log_level: Annotated[
        Literal["debug", "info", "warn", "error", "critical"],
        Told("The least level that is logged", "LEVEL", live=True),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "text", "json", "journal"],
        Told(
            "How log lines look; auto is text on a terminal, JSON elsewhere; journal is text with "
            "a priority that journald reads in front",
            "FORMAT",
        ),
    ] = "auto"
    #: Where each setting that is not a default came from, by name.
    origins: dict[str, str] = {}

    @property
    def endpoints(self) -> tuple[str, ...]:
        """What to listen on, each with a backlog that survives a restart under load."""
        return tuple(with_backlog(endpoint) for endpoint in self.listen)

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The networks whose word on the client's address is believed."""
        return tuple(ipaddress.ip_network(proxy) for proxy in self.trusted_proxies)

    @property
    def hook_networks(self) -> tuple[Network, ...]:
        """The networks outside the public Internet that webhooks may be posted to."""
        return tuple(ipaddress.ip_network(network) for network in self.hooks_allow)

    @property
    def allowance(self) -> Allowance:
        """What an org is allowed that has no limits of its own."""
        return Allowance(**{name: getattr(self, name) for name in NAMES})

    def origin(self, name: str) -> str:
        """Where the value of this setting came from."""
        return self.origins.get(name, "default")

    def __repr__(self) -> str:
        said = (f"{row.name}={row.shown(getattr(self, row.name))!r}" for row in TABLE.values())
        return f"Settings({', '.join(said)})"


TABLE = rows_of(Settings)
