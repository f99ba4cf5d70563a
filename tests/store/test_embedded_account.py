"""Whose account Postgres runs under."""

import os
import pwd

import pytest

from smsd.store.account import account_of, environment, server_account
from smsd.store.embedded import PostgresUnusable


def first_existing(*names):
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in names if name in known)


def test_root_takes_the_first_of_the_usual_unprivileged_users():
    expected = first_existing("smsd", "postgres", "nobody")
    assert server_account(environ={}, uid=0).name == expected


def test_root_takes_the_user_that_it_is_told_to():
    assert server_account(environ={"SMSD_USER": "nobody"}, uid=0).name == "nobody"
    assert server_account("daemon", environ={"SMSD_USER": "nobody"}, uid=0).name == "daemon"


@pytest.mark.parametrize("name", ["root", "no-such-user"])
def test_a_named_user_that_is_root_or_does_not_exist_is_refused(name):
    with pytest.raises(PostgresUnusable, match=f"has no user {name}.*SMSD_USER"):
        server_account(environ={"SMSD_USER": name}, uid=0)


def test_an_ordinary_user_is_the_servers_user_too():
    uid = pwd.getpwnam("nobody").pw_uid
    assert server_account(environ={"SMSD_USER": "ignored"}, uid=uid) == account_of(uid)
    assert server_account("nobody", environ={}, uid=uid) == account_of(uid)
    with pytest.raises(PostgresUnusable, match="Only root can run Postgres as somebody else"):
        server_account("daemon", environ={}, uid=uid)


def test_a_number_without_a_name_is_an_account_as_well():
    assert account_of(54321).name == "54321"


def test_programs_see_only_what_they_need(monkeypatch):
    monkeypatch.setenv("SMSD_SECRET", "canary")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    assert environment() == {
        "PATH": os.defpath,
        "LC_ALL": "C",
        "TZ": "UTC",
        "LD_LIBRARY_PATH": "/opt/lib",
    }
