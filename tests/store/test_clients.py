"""Which programs carry a database about, and that none of them shows a password."""

from __future__ import annotations

import pytest

from smsd.store.clients import access, fitting, newest
from smsd.store.unusable import PostgresUnusable


@pytest.fixture
def installed(tmp_path):
    """Makes a directory with programs of some version."""

    def make(major, *, programs=("pg_dump", "pg_restore", "psql")):
        directory = tmp_path / str(major)
        directory.mkdir()
        for program in programs:
            path = directory / program
            path.write_text(f'#!/bin/sh\necho "{program} (PostgreSQL) {major}.2 (Debian)"\n')
            path.chmod(0o755)
        return directory

    return make


def test_those_of_the_servers_version_are_taken_and_else_the_next_newer(installed):
    among = [installed(major) for major in (15, 18, 16)]
    assert fitting(16, among=among).version == "16.2"
    assert fitting(17, among=among).major == 18
    assert fitting(14, among=among).major == 15


def test_older_ones_are_refused_with_what_to_install(installed):
    with pytest.raises(PostgresUnusable) as refused:
        fitting(18, among=[installed(15), installed(16)])
    assert "The server is PostgreSQL 18, and the pg_dump in" in str(refused.value)
    assert "is of 16.2, which is too old" in str(refused.value)
    assert "install postgresql-client-18" in str(refused.value)


def test_a_directory_without_all_of_them_is_none(installed):
    with pytest.raises(PostgresUnusable, match="No pg_dump, pg_restore, psql found"):
        fitting(15, among=[installed(15, programs=["pg_dump", "psql"])])


def test_those_beside_the_private_server_are_found():
    assert newest().major >= 15


@pytest.mark.parametrize(
    "conninfo",
    ["postgresql://me:s3%20cret@host:5433/smsd?sslmode=require", "user=me password='s3 cret'"],
    ids=["url", "pairs"],
)
def test_a_password_is_in_the_environment_and_in_no_argument(conninfo):
    told = access(conninfo)
    assert told.environ["PGPASSWORD"] == "s3 cret"
    assert "s3" not in told.dsn
    assert "user=me" in told.dsn


def test_a_password_that_could_only_be_an_argument_is_refused():
    with pytest.raises(PostgresUnusable, match="sslpassword"):
        access("host=x sslpassword=s3cret")
