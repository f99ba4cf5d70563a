"""The command line: options, a start and its end, and what ``smsd check`` shows."""

import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from twisted.application.service import MultiService

from smsd.__main__ import USAGE, check, listing, main, run
from smsd.cycles import THRESHOLDS
from smsd.domain.settings import TABLE, Settings
from smsd.options import Options
from smsd.tap import Start
from smsd.welcome import welcome


def parsed(tmp_path: Path, *argv: str, **environ: str) -> Settings:
    options = Options(environ, tmp_path)
    options.parseOptions(argv)
    return options.settings


def test_every_setting_but_the_secret_ones_is_a_flag(tmp_path: Path) -> None:
    helped = str(Options({}, tmp_path))

    for row in TABLE.values():
        assert (f"--{row.flag}=" in helped) is row.told.flag
    assert "--config=" in helped


def test_flags_are_read_and_listen_may_be_given_twice(tmp_path: Path) -> None:
    found = parsed(tmp_path, "--listen", "tcp:1", "--listen=tcp:2", "--window", "3")

    assert (found.listen, found.window) == (("tcp:1", "tcp:2"), 3)


def test_the_file_named_by_config_is_read(tmp_path: Path) -> None:
    (tmp_path / "smsd.toml").write_text("window = 5")

    assert parsed(tmp_path, "--config", str(tmp_path / "smsd.toml")).window == 5
    assert parsed(tmp_path, SMSD_CONFIG=str(tmp_path / "smsd.toml")).window == 5


def test_data_belongs_into_var_only_in_a_checkout_of_ours(tmp_path: Path) -> None:
    assert parsed(tmp_path, HOME="/home/me").data_dir.parts[-1] == "smsd"

    (tmp_path / "setup.cfg").write_text("[metadata]\nname = other\n")
    assert parsed(tmp_path, HOME="/home/me").data_dir.parts[-1] == "smsd"

    (tmp_path / "setup.cfg").write_text("[metadata]\nname = smsd\n")
    assert parsed(tmp_path, HOME="/home/me").data_dir == tmp_path / "var"


@pytest.mark.parametrize(
    "argv", [["--window", "x"], ["--bogus"], ["word"], ["--config", "/nowhere"], ["--window"]]
)
def test_what_cannot_be_used_ends_with_2_and_its_place(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(tmp_path, *argv)

    assert ended.value.code == 2
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "smsd cannot start:"
    assert second.startswith(("  command line: ", "  /nowhere: "))


class Reactor:
    """As much of a reactor as a start sees: it runs what waits, then stops in order."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []
        self.stopping: list[Callable[[], object]] = []
        self.stops = 0

    def callWhenRunning(self, call: Callable[..., object], *args: object) -> None:
        self.waiting.append(lambda: call(*args))

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], object]) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.stopping.append(call)

    def stop(self) -> None:
        self.stops += 1

    def run(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()
        for call in self.stopping:
            call()


class Gateway(MultiService):
    """A service that notes how it was started, and says what the test told it to."""

    def __init__(self, say: Callable[[], None]) -> None:
        super().__init__()
        self.say = say
        self.events: list[str] = []

    def privilegedStartService(self) -> None:
        self.events.append("privileged")

    def startService(self) -> None:
        self.events.append("start")
        self.say()

    def stopService(self) -> None:
        self.events.append("stop")


def test_a_run_starts_the_service_and_stops_it_when_the_reactor_does() -> None:
    gateway = Gateway(lambda: None)

    assert run(Start(Reactor()), lambda: gateway) == 0
    assert gateway.events == ["privileged", "start", "stop"]


def test_a_start_that_failed_stops_the_reactor_and_ends_with_1() -> None:
    start = Start(Reactor())
    gateway = Gateway(lambda: start.failed("another process uses the data directory"))

    assert run(start, lambda: gateway) == 1
    assert start.reactor.stops == 1
    assert gateway.events[-1] == "stop"


def test_the_assembly_gets_the_settings_and_the_two_ways_to_speak() -> None:
    start, settings, seen = Start(Reactor(), collector=Collector()), Settings(), []

    def assemble(*args: object, **named: object) -> MultiService:
        seen.append((args, named))
        return MultiService()

    start.service(settings, assemble)

    assert seen == [
        ((settings, start.reactor), {"announce": start.announce, "failed": start.failed})
    ]


class Collector:
    """Python's `gc`, as far as a start speaks to it."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def freeze(self) -> None:
        self.told.append("freeze")

    def set_threshold(self, *thresholds: int) -> None:
        self.told.append(thresholds)


def test_what_a_start_makes_is_out_of_the_garbage_collectors_sight_and_it_looks_seldom() -> None:
    start = Start(Reactor(), collector=Collector())

    start.service(Settings(), lambda *_, **__: MultiService())

    assert start.collector.told == ["freeze", THRESHOLDS]
    assert THRESHOLDS[0] > gc.get_threshold()[0]


async def _answer(text: str, error: type[Exception] | None = None) -> str:
    if error:
        raise error(text)
    return text


def driven(coroutine: Awaitable[None]) -> None:
    with pytest.raises(StopIteration):
        coroutine.send(None)  # type: ignore[attr-defined]


def test_check_shows_what_is_in_force_and_what_the_database_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = Settings(window=3, origins={"window": "smsd.toml"})

    driven(check(settings, _answer("Postgres 18.6 answers.")))

    shown = capsys.readouterr().out
    assert shown.endswith("\nPostgres 18.6 answers.\n")
    assert [line.split() for line in shown.splitlines() if line.startswith("window")] == [
        ["window", "3", "tickets", "smsd.toml"]
    ]


def test_check_ends_with_1_where_the_database_does_not_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        check(Settings(), _answer("connection refused", RuntimeError)).send(None)

    assert ended.value.code == 1
    assert "The database does not answer: connection refused" in capsys.readouterr().out


def test_no_secret_is_listed() -> None:
    text = listing(
        Settings(
            pepper="pepper-of-this-node",
            claim_token="enrol-me-please",
            database="postgresql://me:hunter2@db/sms",
        )
    )

    for secret in ("pepper-of", "enrol-me", "hunter2"):
        assert secret not in text
    assert "postgresql://me:***@db/sms" in text
    assert len(text.splitlines()) == len(TABLE)


@pytest.mark.parametrize("argv", [[], ["fly"]])
def test_an_unknown_command_is_answered_with_the_usage(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err == USAGE


def test_help_and_version_are_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main(["--version"]) == 0
    assert "smsd 0." in capsys.readouterr().out


def test_asking_for_help_does_not_choose_a_reactor() -> None:
    code = (
        "import sys, smsd.__main__ as m; m.main(['--help']);"
        "sys.exit('twisted.internet.reactor' in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_the_welcome_has_the_real_address_in_every_line_to_paste() -> None:
    text = welcome(["http://127.0.0.1:9000", "http://10.0.0.1:80"], Path("/d"))

    assert text.count("curl") == 3
    assert "8080" not in text
    assert "smsd phone --org myorg --url ws://127.0.0.1:9000/websocket" in text
    assert "Also at http://10.0.0.1:80" in text


def test_the_usual_address_needs_no_url_for_the_phone() -> None:
    assert "smsd phone --org myorg\n" in welcome(["http://127.0.0.1:8080"], Path("/d"))
