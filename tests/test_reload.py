"""Reading the settings again: what is taken over, what waits for a restart, what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from smsd.domain.precedence import Misconfigured
from smsd.domain.settings import TABLE, Settings
from smsd.reload import Reload

LIVE = {
    "log_level": "debug",
    "trusted_proxies": ("10.0.0.0/8",),
    "claims": "token",
    "claim_token": "enrol-me-please",
    "max_connections_per_address": 10,
    "max_claims_per_hour": 20,
    "max_failures_per_minute": 30,
    "allow_origins": ("https://app.example",),
    "keep_messages": 30,
    "queue_ttl": 3600,
    "max_orgs": 40,
    "max_stored": 50,
    "max_queued": 60,
    "max_sends_per_minute": 70,
    "to_prefixes": ("+49", "+43"),
}


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == "smsd.reload.Reload":
            lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


class Gateway:
    """Takes settings over, or says why not."""

    def __init__(self) -> None:
        self.taken: list[Settings] = []
        self.trouble = ""

    def take(self, settings: Settings) -> None:
        if self.trouble:
            raise RuntimeError(self.trouble)
        self.taken.append(settings)


def test_these_settings_are_live_and_no_others() -> None:
    assert {row.name for row in TABLE.values() if row.told.live} == set(LIVE)


def test_the_operations_page_names_every_live_setting_and_no_other() -> None:
    page = (Path(__file__).parents[1] / "docs" / "operations.md").read_text()
    told = re.search(r"^A reload takes over\n(.*?)^and reads the certificates", page, re.M | re.S)
    assert told
    assert set(re.findall(r"`(\w+)`", told[1])) == set(LIVE)


def test_what_is_live_is_taken_over_and_the_rest_is_named(said: list[str]) -> None:
    gateway, old = Gateway(), Settings(pepper="p" * 32)
    new = replace(old, window=5, pepper="q" * 32, **LIVE)

    Reload(old, lambda: new, gateway.take)()

    assert gateway.taken == [replace(old, **LIVE)]
    assert said == [
        "info: read the settings again: claims is now token, claim_token is now (hidden),"
        " keep_messages is now 30 days, queue_ttl is now 3600 s, max_orgs is now 40 orgs,"
        " max_stored is now 50 messages, max_queued is now 60 tickets,"
        " max_sends_per_minute is now 70 tickets, to_prefixes is now +49 +43,"
        " max_connections_per_address is now 10 connections,"
        " max_claims_per_hour is now 20 claims, max_failures_per_minute is now 30 failures,"
        " trusted_proxies is now 10.0.0.0/8, allow_origins is now https://app.example,"
        " log_level is now debug",
        "warn: a restart is needed for what else is new: pepper, window",
    ]


def test_a_second_reload_tells_only_what_is_new_since_the_first(said: list[str]) -> None:
    gateway = Gateway()
    answers = [Settings(log_level="warn"), Settings(log_level="warn"), Settings()]
    reload = Reload(Settings(), lambda: answers.pop(0), gateway.take)

    for _ in range(3):
        reload()

    assert said == [
        "info: read the settings again: log_level is now warn",
        "info: read the settings again: nothing to take over",
        "info: read the settings again: log_level is now info",
    ]
    assert [settings.log_level for settings in gateway.taken] == ["warn", "warn", "info"]


def test_settings_that_cannot_be_used_are_refused_in_one_line(said: list[str]) -> None:
    gateway = Gateway()

    def read() -> Settings:
        raise Misconfigured(["a.toml: windov: is not a setting", "a.toml: claims: must be open"])

    Reload(Settings(), read, gateway.take)()

    assert gateway.taken == []
    assert said == [
        "error: the settings stay as they were:"
        " a.toml: windov: is not a setting; a.toml: claims: must be open"
    ]


def test_what_the_gateway_cannot_take_over_is_asked_for_again_the_next_time(
    said: list[str],
) -> None:
    gateway = Gateway()
    reload = Reload(Settings(), lambda: Settings(log_level="warn"), gateway.take)

    gateway.trouble = "key.pem: No such file or directory"
    reload()
    gateway.trouble = ""
    reload()

    assert said == [
        "error: the settings stay as they were: key.pem: No such file or directory",
        "info: read the settings again: log_level is now warn",
    ]


def test_a_fault_of_our_own_is_logged_and_ends_nothing(logged_failures) -> None:
    def read() -> Settings:
        raise ZeroDivisionError

    Reload(Settings(), read, Gateway().take)()

    assert logged_failures.taken(ZeroDivisionError)
