import errno
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.domain.conninfo import carries_password, names_a_database, without_password
from smsd.domain.precedence import Misconfigured, default_data_dir, settle
from smsd.domain.settings import TABLE, Settings
from smsd.domain.shapes import is_endpoint, is_origin

HERE = Path("/srv/smsd")


class Files(dict[str, str]):
    """A file system of texts by path."""

    def read(self, path: Path) -> str:
        if str(path) not in self:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return self[str(path)]


def settings(
    *,
    flags: Mapping[str, str | list[str]] | None = None,
    environ: Mapping[str, str] | None = None,
    **files: str,
) -> Settings:
    """What is in force; a file is given as a keyword, as in ``smsd_toml="window = 1"``."""
    tree = Files({name.replace("_toml", ".toml"): text for name, text in files.items()})
    return settle(flags or {}, environ or {}, tree.read, directory=HERE, data_dir=HERE / "var")


def faults(**given: object) -> list[str]:
    with pytest.raises(Misconfigured) as refused:
        settings(**given)  # type: ignore[arg-type]
    return refused.value.faults


def test_with_nothing_given_the_defaults_are_in_force() -> None:
    assert settings() == Settings(data_dir=HERE / "var")
    assert settings().listen == ("tcp:8080:interface=127.0.0.1",)
    assert settings().origin("window") == "default"


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() -> None:
    toml = {"smsd_toml": "window = 1\nunanswered = 1\npool_size = 1"}
    environ = {"SMSD_CONFIG": "smsd.toml", "SMSD_UNANSWERED": "2", "SMSD_POOL_SIZE": "2"}

    found = settings(flags={"pool-size": "3"}, environ=environ, **toml)

    assert (found.window, found.unanswered, found.pool_size) == (1, 2, 3)
    assert found.max_attempts == 5
    assert [found.origin(n) for n in ("window", "unanswered", "pool_size", "max_attempts")] == [
        "smsd.toml",
        "environment (SMSD_UNANSWERED)",
        "command line (--pool-size)",
        "default",
    ]


def test_the_config_flag_beats_the_variable() -> None:
    found = settings(
        flags={"config": "a.toml"}, environ={"SMSD_CONFIG": "b.toml"}, a_toml="window = 7"
    )

    assert found.window == 7


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_every_default_obeys_its_own_rule(row) -> None:
    if row.default is not None:
        assert row.read(str(row.default) if row.name == "data_dir" else row.default) == row.default
    assert row.right
    assert row.told.help


def test_every_fault_is_listed_with_its_place_its_key_and_what_would_be_right() -> None:
    found = faults(
        flags={"config": "smsd.toml", "claims": "some"},
        environ={"SMSD_POOL_SIZE": "many", "SMSD_RESUME_GRACE": "-1"},
        smsd_toml='window = 0\nlisten = ["8080"]\nwindos = 3',
    )

    assert found == [
        "smsd.toml: windos: is not a setting; did you mean window?",
        "smsd.toml: window: must be a whole number from 1 to 1000000, not 0",
        "smsd.toml: listen: must be a Twisted endpoint, as in tcp:8080:interface=127.0.0.1 "
        "(several with spaces between), not ['8080']",
        "environment: SMSD_POOL_SIZE: must be a whole number from 1 to 1000, not 'many'",
        "environment: SMSD_RESUME_GRACE: must be a number of seconds from 0 to 3600, not '-1'",
        "command line: --claims: must be one of open, token, closed, not 'some'",
    ]


def test_a_bad_value_is_a_fault_even_where_another_overrides_it() -> None:
    assert len(faults(flags={"window": "3"}, environ={"SMSD_WINDOW": "x"})) == 1


@pytest.mark.parametrize("name", ["SMSD_WINDOWS", "SMSD_WINDOW_FILE", "SMSD_"])
def test_an_unknown_variable_of_ours_stops_the_start(name: str) -> None:
    (fault,) = faults(environ={name: "1"})

    assert fault.startswith(f"environment: {name}: is not a setting")


def test_variables_of_others_and_of_the_phone_are_let_be() -> None:
    assert settings(environ={"SMSD_SECRET": "x", "SMSD_USER": "nobody", "PATH": "/bin"})


def test_an_empty_variable_is_not_set() -> None:
    assert settings(environ={"SMSD_DATABASE": "", "SMSD_WINDOW": ""}).window == 64


@pytest.mark.parametrize("text", ["true", "1.5", '"64 "', "[1]", "2026-01-01", "{a = 1}"])
def test_what_is_no_number_in_the_file_is_a_fault(text: str) -> None:
    toml = f"window = {text}\nresume_grace = {text.replace('1.5', 'nan')}"

    found = faults(flags={"config": "smsd.toml"}, smsd_toml=toml)

    assert [fault.split(": ")[:2] for fault in found] == [
        ["smsd.toml", "window"],
        ["smsd.toml", "resume_grace"],
    ]


def test_a_file_that_is_not_there_or_no_toml_is_named() -> None:
    assert faults(flags={"config": "a.toml"}) == [
        "a.toml: cannot be read: No such file or directory"
    ]
    (fault,) = faults(flags={"config": "a.toml"}, a_toml="window\n")
    assert fault.startswith("a.toml: is not TOML: ")
    assert "line 1" in fault


def test_lists_are_split_at_spaces_in_the_environment_and_repeated_as_flags() -> None:
    both = ("tcp:80:interface=127.0.0.1", "unix:/run/smsd.sock")

    assert settings(environ={"SMSD_LISTEN": " ".join(both)}).listen == both
    assert settings(flags={"listen": list(both)}).listen == both
    assert settings(flags={"config": "a.toml"}, a_toml=f"listen = {list(both)}").listen == both


def test_listening_nowhere_is_a_fault() -> None:
    assert faults(flags={"config": "a.toml"}, a_toml="listen = []")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@db/sms",
        "postgres://me:hunter2@db:5432,db2:5432/sms",
        "postgresql://me:hun@ter/2@db/sms",
        "postgresql://db/sms?user=me&password=hunter2",
        "postgresql:///sms?sslpassword=hunter2&host=/run",
        "host=db password=hunter2 dbname=sms",
        "host=db password = 'hunt er2'",
        "PASSWORD=hunter2",
    ],
)
def test_a_password_on_the_command_line_is_refused_and_never_shown(url: str) -> None:
    (fault,) = faults(flags={"database": url})

    assert "which ps shows" in fault
    assert "SMSD_DATABASE in the environment" in fault
    assert "hun" not in fault
    found = settings(environ={"SMSD_DATABASE": url})
    assert found.database == url
    assert "hun" not in repr(found)
    assert "er2" not in TABLE["database"].shown(found.database)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db/sms",
        "postgresql://me@db:5432/sms?application_name=me",
        "postgresql:///sms?host=/run/postgresql",
        "host=/run/postgresql dbname=sms user='a b'",
        "dbname=sms passfile=/etc/pgpass",
    ],
)
def test_a_database_without_a_password_may_be_named_anywhere(url: str) -> None:
    assert settings(flags={"database": url}).database == url
    assert without_password(url) == url


@pytest.mark.parametrize("text", ["sms", "mysql://db/sms", "db:5432", "host=", "a=b c", " "])
def test_what_libpq_would_not_understand_is_no_database(text: str) -> None:
    assert names_a_database(text) is (text == "host=")


@given(st.text(alphabet=st.characters(exclude_characters="/@?& \\'", codec="utf-8"), min_size=1))
def test_no_password_in_a_url_survives_being_shown(password: str) -> None:
    url = f"postgresql://me:{password}@db/sms"

    assert carries_password(url)
    assert without_password(url) == "postgresql://me:***@db/sms"


def test_a_secret_comes_from_the_environment_or_a_file_or_a_credential() -> None:
    pepper, token = "p" * 32, "enrol-me-please"
    directory = {"CREDENTIALS_DIRECTORY": "/run/c"}
    files = {"/run/c/smsd_pepper": f"{pepper}\n", "/run/c/claim_token": token, "p": f"{pepper}\n"}

    def found(environ: dict[str, str]) -> Settings:
        return settings(environ=environ, **files)

    assert found({"SMSD_PEPPER": pepper}).pepper == pepper
    assert found({"SMSD_PEPPER_FILE": "p"}).pepper == pepper
    assert found(directory).pepper == pepper
    assert found(directory).claim_token == token
    assert found({**directory, "SMSD_PEPPER": "q" * 32}).pepper == "q" * 32
    assert found(directory).origin("pepper") == "/run/c/smsd_pepper"


def test_our_own_name_of_a_credential_beats_the_bare_one() -> None:
    files = {"/run/c/smsd_pepper": "p" * 32, "/run/c/pepper": "q" * 32}

    found = settings(environ={"CREDENTIALS_DIRECTORY": "/run/c"}, **files)

    assert found.pepper == "p" * 32


def test_a_credential_of_ours_that_is_no_setting_is_a_fault() -> None:
    listed = ["smsd_databse", "smsd_window", "smsd_pepper", "tls_key"]

    with pytest.raises(Misconfigured) as refused:
        settle(
            {},
            {"CREDENTIALS_DIRECTORY": "/run/c"},
            Files({"/run/c/smsd_pepper": "p" * 32}).read,
            lambda folder: listed if folder == Path("/run/c") else [],
            directory=HERE,
            data_dir=HERE,
        )

    assert refused.value.faults == [
        "/run/c/smsd_databse: is not a setting; did you mean smsd_database?",
        "/run/c/smsd_window: is not a setting; `smsd check` lists them",
    ]


def test_a_secret_given_twice_or_from_a_file_that_is_not_there_is_a_fault() -> None:
    assert faults(environ={"SMSD_PEPPER": "p" * 32, "SMSD_PEPPER_FILE": "p"}) == [
        "environment: SMSD_PEPPER_FILE: give this or SMSD_PEPPER, not both"
    ]
    assert faults(environ={"SMSD_PEPPER_FILE": "/nowhere"}) == [
        "environment: SMSD_PEPPER_FILE: /nowhere: cannot be read: No such file or directory"
    ]


def test_a_bad_secret_is_not_repeated() -> None:
    (fault,) = faults(environ={"SMSD_PEPPER": "short"})

    assert fault == "environment: SMSD_PEPPER: must be a text of at least 16 characters"


def test_no_secret_is_in_the_repr_or_shown() -> None:
    found = settings(environ={"SMSD_PEPPER": "p" * 32, "SMSD_CLAIM_TOKEN": "enrol-me-please"})

    assert "ppp" not in repr(found)
    assert "enrol" not in repr(found)
    assert TABLE["pepper"].shown(found.pepper) == "(hidden)"


def test_secrets_have_no_flag() -> None:
    assert [row.name for row in TABLE.values() if not row.told.flag] == ["claim_token", "pepper"]
    assert settings(flags={"pepper": "p" * 32}).pepper is None


def test_claims_by_token_need_a_token() -> None:
    assert faults(flags={"claims": "token"}) == [
        "command line (--claims): token needs a claim_token too, and has none"
    ]
    environ = {"SMSD_CLAIM_TOKEN": "enrol-me-please"}
    assert settings(flags={"claims": "token"}, environ=environ).claims == "token"


def test_a_relative_data_dir_starts_from_the_working_directory() -> None:
    assert settings(flags={"data-dir": "d"}).data_dir == HERE / "d"
    assert settings(flags={"data-dir": "/d"}).data_dir == Path("/d")
    for wrong in ("~/d", "", "a\0b"):
        assert faults(flags={"data-dir": wrong})


def test_the_default_data_dir_is_beside_a_checkout_else_where_the_system_asks() -> None:
    def at(checkout: bool, root: bool, **environ: str) -> Path:
        return default_data_dir(environ, HERE, checkout=checkout, root=root)

    assert at(True, True) == HERE / "var"
    assert at(False, True, XDG_DATA_HOME="/x") == Path("/var/lib/smsd")
    assert at(False, False, XDG_DATA_HOME="/x", HOME="/home/me") == Path("/x/smsd")
    assert at(False, False, XDG_DATA_HOME="x", HOME="/home/me") == Path(
        "/home/me/.local/share/smsd"
    )
    assert at(False, False, STATE_DIRECTORY="/var/lib/smsd:/x", HOME="/") == Path("/var/lib/smsd")
    assert at(True, False, STATE_DIRECTORY="/var/lib/ci", HOME="/") == HERE / "var"


@pytest.mark.parametrize(
    "text",
    [
        "tcp:8080",
        "tcp:0:interface=127.0.0.1",
        "tcp:port=8080",
        "tcp6:8080:interface=\\:\\:1",
        "ssl:443:privateKey=k.pem",
        "unix:/run/smsd.sock:mode=660",
        "systemd:domain=INET:index=0",
        "onion:80",
    ],
)
def test_a_server_endpoint_is_taken(text: str) -> None:
    assert is_endpoint(text)


@pytest.mark.parametrize(
    "text",
    ["8080", "127.0.0.1:8080", "http://0.0.0.0:80", "tcp:", "tcp", "tcp:65536", "tcp:host:80", ""],
)
def test_what_is_no_server_endpoint_is_refused(text: str) -> None:
    assert not is_endpoint(text)


def test_a_listener_has_room_for_a_crowd_unless_it_says_otherwise() -> None:
    listen = ("tcp:80", "tcp:81:backlog=7", "unix:/s", "tcp6:82:interface=\\:\\:")

    assert Settings(listen=listen).endpoints == (
        "tcp:80:backlog=4096",
        "tcp:81:backlog=7",
        "unix:/s",
        "tcp6:82:interface=\\:\\::backlog=4096",
    )


def test_trusted_proxies_are_networks() -> None:
    found = settings(environ={"SMSD_TRUSTED_PROXIES": "127.0.0.1 10.0.0.0/8 ::1"})

    assert [str(network) for network in found.proxies] == ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]
    assert faults(environ={"SMSD_TRUSTED_PROXIES": "10.0.0.1/8"})
    assert faults(environ={"SMSD_TRUSTED_PROXIES": "localhost"})


@pytest.mark.parametrize("text", ["*", "https://app.example", "http://[::1]:8080", "app://local"])
def test_an_origin_is_written_as_a_browser_sends_it(text: str) -> None:
    assert is_origin(text)


@pytest.mark.parametrize(
    "text", ["app.example", "https://app.example/", "https://App.example", "https://", "null", ""]
)
def test_what_no_browser_sends_is_no_origin(text: str) -> None:
    assert not is_origin(text)


def test_a_value_is_shown_with_its_unit_and_a_zero_with_its_meaning() -> None:
    assert TABLE["resume_grace"].shown(3.0) == "3 s"
    assert TABLE["resume_grace"].shown(0.0) == "0 s"
    assert TABLE["max_claims_per_hour"].shown(0) == "0 (no limit)"
    assert TABLE["listen"].shown(("tcp:1", "tcp:2")) == "tcp:1 tcp:2"
    assert TABLE["database"].shown(None) == "(none)"
