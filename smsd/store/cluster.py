"""The cluster on disk: how a new one is made, what its server is told, and whether they fit.

That the server runs, and goes on running, is `smsd.store.embedded`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smsd.store.account import Account
from smsd.store.binaries import Binaries, others
from smsd.store.directories import to_disk
from smsd.store.residents import Residents
from smsd.store.unusable import PostgresUnusable

PORT = 5432
NAME = "smsd"
#: Beside the cluster: where an upgrade makes a new one.
WORK = "upgrade"
READY = "ready to accept connections"

#: Runs a program to its end; raises `PostgresUnusable` with what it said where it fails.
Run = Callable[[Account, Sequence[str], bytes], Awaitable[None]]

#: For a small machine beside the gateway. What decides about durability stays at Postgres' own
#: defaults, which are safe.
DEFAULTS = {
    "shared_buffers": "64MB",
    "max_connections": "40",
    "jit": "off",
    "max_logical_replication_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
#: A private server of 40 connections has no use for workers that read for it (18 and newer).
DEFAULTS_FROM_18 = {"io_method": "sync"}

#: Nothing that a statement says may get into the log. An error goes to the client who caused
#: it and to nobody else (its text may quote a value), so ERROR is not logged at all; the other
#: switches are for what LOG, FATAL and PANIC would add, and for what a hand might have turned on
#: in postgresql.conf.
QUIET = {
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_duration": "off",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "debug_print_parse": "off",
    "debug_print_rewritten": "off",
    "debug_print_plan": "off",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data directory with all that is needed to run a server on it."""

    data: Path
    sockets: Path
    binaries: Binaries
    account: Account
    options: Mapping[str, str]

    @property
    def conninfo(self) -> str:
        """How libpq is told to connect."""
        return conninfo(self.sockets)

    def server(self) -> list[str]:
        """The command that runs the server."""
        return [self.binaries.path("postgres"), "-D", str(self.data), *_switches(self._settings())]

    def _settings(self) -> dict[str, str]:
        newer = DEFAULTS_FROM_18 if self.binaries.major >= 18 else {}
        return {**DEFAULTS, **newer, **self.options, **self._fixed()}

    def _fixed(self) -> dict[str, str]:
        return {
            **QUIET,
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "cluster_name": Residents(self.data).title,
            "lc_messages": "C",
            "log_destination": "stderr",
            "log_line_prefix": "",
            "logging_collector": "off",
        }

    def _refuse_fixed_options(self) -> None:
        """What the gateway relies on is not for a caller to set."""
        if wrong := sorted(self._fixed().keys() & self.options.keys()):
            raise PostgresUnusable(f"The private Postgres sets {', '.join(wrong)} itself.")

    async def make_or_check(self, run: Run) -> None:
        """See that a cluster is there which these binaries can serve."""
        self._refuse_fixed_options()
        if not self._is_there():
            self._refuse_half_an_upgrade()
            fresh = self._place_for_new()
            await run(self.account, self._initdb(fresh), b"")
            await run(self.account, self._single(fresh), f"CREATE DATABASE {NAME}\n".encode())
            self._move_in(fresh)
        self._check()

    def _is_there(self) -> bool:
        return os.path.lexists(self.data)

    def _place_for_new(self) -> Path:
        """Beside its place, and moved there when it is whole, so that a half-made cluster is
        never mistaken for one."""
        for abandoned in self.data.parent.glob(f"{self.data.name}.new-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{self.data.name}.new-", dir=self.data.parent))
        if self.account.uid != os.geteuid():
            os.chown(fresh, self.account.uid, self.account.gid)
        return fresh

    def _move_in(self, fresh: Path) -> None:
        fresh.rename(self.data)
        to_disk(self.data.parent)

    def _initdb(self, fresh: Path) -> list[str]:
        builtin = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        locale = builtin if self.binaries.major >= 17 else ["--locale=C.UTF-8", "--lc-messages=C"]
        flags = ["-E", "UTF8", "-A", "trust", "--no-instructions", "--data-checksums", *locale]
        hasty = ["--no-sync"] if self.options.get("fsync") == "off" else []
        return [self.binaries.path("initdb"), "-D", str(fresh), "-U", NAME, *flags, *hasty]

    def _single(self, fresh: Path) -> list[str]:
        settings = {**self._settings(), "exit_on_error": "on"}
        postgres = self.binaries.path("postgres")
        return [postgres, "--single", "-D", str(fresh), *_switches(settings), "postgres"]

    def _check(self) -> None:
        major = major_of(self.data)
        if major != self.binaries.major:
            raise PostgresUnusable(misfit(self.data, major, self.binaries))

    def _refuse_half_an_upgrade(self) -> None:
        """Data that is moved aside must not be mistaken for none."""
        if os.path.lexists(self.data.parent / WORK):
            raise PostgresUnusable(
                f"An upgrade was cut short at the worst moment: move {self.data}-… back to"
                f" {self.data}, and do `smsd upgrade` again."
            )


def major_of(data: Path) -> int:
    """The major version of a cluster; raises `PostgresUnusable` where it is none."""
    try:
        return int((data / "PG_VERSION").read_text())
    except (OSError, ValueError):
        raise PostgresUnusable(
            f"{data} is not a Postgres data directory (it has no PG_VERSION that can be read):"
            " move it away, or choose another data directory."
        ) from None


def misfit(data: Path, major: int, binaries: Binaries) -> str:
    """The sentence for data of another major version than the programs."""
    fitting = others(major)
    as_it_is = (
        f"use the programs of version {major} (setting postgres_bin = {fitting[0]})"
        if fitting
        else f"install PostgreSQL {major} and name its bin directory (setting postgres_bin)"
    )
    way = f"run `smsd upgrade`, or {as_it_is}" if major < binaries.major else as_it_is
    return (
        f"The data in {data} is of PostgreSQL {major}, the programs in {binaries.directory} are of"
        f" {binaries.version}, which cannot read it: {way}."
    )


def conninfo(sockets: Path) -> str:
    """How libpq is told to connect; it names the port lest PGPORT be heard."""
    where = str(sockets)
    host = f"'{where}'" if " " in where else where
    return f"host={host} port={PORT} user={NAME} dbname={NAME}"


def _switches(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
