"""Bring a database up to the schema of this release: numbered files, forward only.

Each file runs in one transaction together with its row in ``schema_migrations``, under an
advisory lock, so that many daemons may start at once. An applied file is never edited: its
checksum is compared. A database newer than this release is refused.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

from twisted.logger import Logger

from smsd.store.database import Database, Transaction
from smsd.store.statements import Statement

_log = Logger()

_PATIENCE = Statement(
    "migrate_patience",
    "SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '10min'",
)
#: Held by whoever changes the schema.
LOCK = Statement("migrate_lock", "SELECT pg_advisory_xact_lock(1936552804)")
#: Daemons wait for each other; a migration that waits for a table holds up everybody behind it.
_HASTE = Statement("migrate_haste", "SET LOCAL lock_timeout TO DEFAULT")
_TABLE = Statement(
    "migrate_table",
    """CREATE TABLE IF NOT EXISTS schema_migrations (
        version integer PRIMARY KEY,
        name text NOT NULL,
        sha256 text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )""",
)
_APPLIED = Statement("migrate_applied", "SELECT version, sha256 FROM schema_migrations")
_RECORD = Statement(
    "migrate_record",
    "INSERT INTO schema_migrations (version, name, sha256)"
    " VALUES (%(version)s, %(name)s, %(sha256)s)",
)


class WrongSchema(RuntimeError):
    """This database was not made by this release or an older one."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``migrations/``."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All migrations of this release, in order."""
    found = []
    for path in files(__package__).joinpath("migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", path.name):
            found.append(Migration(int(match[1]), match[2], path.read_text("utf-8")))
    return sorted(found, key=lambda m: m.version)


async def migrate(database: Database, known: list[Migration] | None = None) -> list[int]:
    """Apply what is missing and return the versions applied; raises `WrongSchema`."""
    known = migrations() if known is None else known
    applied: list[int] = []
    while True:
        version = await database.transaction(
            "migrate", lambda tx: _apply_next(tx, known), deadline=660
        )
        if version is None:
            return applied
        _log.info("migrated the database to version {version}", version=version)
        applied.append(version)


async def _apply_next(tx: Transaction, known: list[Migration]) -> int | None:
    await tx.run(_PATIENCE)
    await tx.run(LOCK)
    await tx.run(_HASTE)
    await tx.run(_TABLE)
    there: dict[int, str] = dict(await tx.run(_APPLIED))
    check(there, known)
    missing = next((m for m in known if m.version not in there), None)
    if missing is None:
        return None
    await tx.run(_RECORD, version=missing.version, name=missing.name, sha256=missing.sha256)
    await tx.run(Statement(missing.name, missing.sql))
    return missing.version


def told(version: int, known: list[Migration]) -> list[str]:
    """What is to be said of a database at this version; 0: it has no tables yet."""
    newest = max((migration.version for migration in known), default=0)
    if version == newest:
        return []
    if not version:
        return ["It has no tables yet: start the gateway to make them."]
    if version > newest:
        return [
            f"It is at version {version}, this smsd knows versions up to {newest}:"
            " install the newer smsd again."
        ]
    return [
        f"It is at version {version}, this smsd works with version {newest}:"
        " start the gateway to migrate it; a backup before that is the way back."
    ]


def check(there: dict[int, str], known: list[Migration]) -> None:
    """Raises `WrongSchema` where what was applied, by version its checksum, is not of these."""
    hashes = {m.version: m.sha256 for m in known}
    at, newest = max(there, default=0), max(hashes, default=0)
    if at > newest:
        raise WrongSchema(
            f"the database is at version {at}, this smsd knows versions up to {newest}:"
            " install the newer smsd again, or restore the backup made before the upgrade"
        )
    for version, sha256 in there.items():
        if hashes.get(version) != sha256:
            raise WrongSchema(
                f"migration {version} was applied in a form that this smsd does not know:"
                " the database belongs to another build of smsd"
            )
    for version in hashes.keys() - there.keys():
        if version < at:
            raise WrongSchema(
                f"the database is at version {at}, but version {version} was never applied:"
                " it belongs to another build of smsd"
            )
