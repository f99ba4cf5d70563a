"""SIGHUP to a gateway that runs: what it reads again, and what it keeps."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from canaries import canaries
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from daemon import LAST_WORDS, PATIENCE, RUN, Daemon, bare_environment, deadline, new_home
from manager import LAUNCH
from visitors import Org, until

pytestmark = pytest.mark.whole

AGAIN = "read the settings again: "
REFUSED = "the settings stay as they were: "


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


class Reloaded:
    """A gateway with a file of settings that is written anew before each SIGHUP."""

    def __init__(self, gateway: Daemon, file: Path) -> None:
        self.gateway, self._file = gateway, file
        gateway.excused.append(REFUSED)

    def with_file(self, text: str, lines: int = 1) -> list[str]:
        """What the gateway says to this file, in so many lines."""
        before = len(self._said())
        self._file.write_text(text)
        self.gateway.process.send_signal(signal.SIGHUP)
        until(lambda: len(self._said()) >= before + lines)
        return self._said()[before:]

    def _said(self) -> list[str]:
        whole, _, _ = self.gateway.log.read_text().rpartition("\n")
        events = [json.loads(line) for line in whole.splitlines()]
        return [event["msg"] for event in events if event["logger"] == "smsd.reload.Reload"]


def test_levels_of_the_log_are_taken_over_and_what_else_is_new_is_named(
    home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "smsd.toml"
    file.write_text('log_level = "error"')
    environ = {"DROPPED": "--log-level"}
    with Daemon(home, "--config", str(file), command=LAUNCH, environ=environ) as gateway:
        assert gateway.events() == []
        reload = Reloaded(gateway, file)
        assert reload.with_file('log_level = "info"') == [f"{AGAIN}log_level is now info"]
        assert reload.with_file('log_level = "info"\nwindow = 7\npool_size = 3', lines=2) == [
            f"{AGAIN}nothing to take over",
            "a restart is needed for what else is new: window, pool_size",
        ]
        assert reload.with_file('log_level = "loud"\nwindov = 7') == [
            f"{REFUSED}{file}: windov: is not a setting; did you mean window?;"
            f" {file}: log_level: must be one of debug, info, warn, error, critical, not 'loud'"
        ]
        assert reload.with_file('log_level = "info"') == [f"{AGAIN}nothing to take over"]


def test_proxies_are_trusted_and_no_longer_trusted(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "smsd.toml"
    file.write_text("")
    with Daemon(home, "--config", str(file), "--max-claims-per-hour", "1") as gateway:
        reload = Reloaded(gateway, file)

        def claims(client: str) -> int:
            org = Org(gateway.url)
            with org.agent:
                org.agent.headers["X-Forwarded-For"] = client
                return org.store().status_code

        assert [claims("198.51.100.1"), claims("198.51.100.2")] == [200, 429]
        assert reload.with_file('trusted_proxies = ["127.0.0.1"]') == [
            f"{AGAIN}trusted_proxies is now 127.0.0.1"
        ]
        assert [claims("198.51.100.1"), claims("198.51.100.1")] == [200, 429]
        assert claims("198.51.100.2") == 200
        assert reload.with_file("") == [f"{AGAIN}trusted_proxies is now (none)"]
        assert claims("198.51.100.3") == 429


# -- certificates --


def certificate(directory: Path, name: str) -> None:
    """A key and a certificate of this name, as ``both.pem``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "both.pem").write_bytes(pem + signed.public_bytes(Encoding.PEM))


def shaken_hands(port: int) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), PATIENCE))


def name_on(line: ssl.SSLSocket) -> str:
    shown = line.getpeercert(binary_form=True)
    assert shown is not None
    (attribute,) = x509.load_der_x509_certificate(shown).subject
    return str(attribute.value)


def health(line: ssl.SSLSocket) -> bytes:
    line.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    return line.recv(4096)


def test_a_certificate_is_read_again_and_one_that_is_broken_is_not_used(
    home: Path, tmp_path: Path
) -> None:
    certificate(tmp_path, "the first")
    file, pem = tmp_path / "smsd.toml", tmp_path / "both.pem"
    file.write_text("")
    endpoint = f"ssl:0:privateKey={pem}:interface=127.0.0.1"
    with Daemon(home, "--config", str(file), "--listen", endpoint) as gateway:
        reload = Reloaded(gateway, file)
        (listening,) = (e["where"] for e in gateway.events() if "where" in e)
        port = int(listening.rpartition("https://127.0.0.1:")[2])
        with shaken_hands(port) as early:
            assert name_on(early) == "the first"
            certificate(tmp_path, "the second")
            with shaken_hands(port) as line:
                assert name_on(line) == "the first"
            assert reload.with_file("") == [f"{AGAIN}nothing to take over"]
            with shaken_hands(port) as line:
                assert name_on(line) == "the second"
                assert b"200 OK" in health(line)
            assert b"200 OK" in health(early)

            pem.write_text("no certificate")
            (refusal,) = reload.with_file('log_level = "info"')
            assert refusal.startswith(f"{REFUSED}ssl:0:privateKey={pem}")
            pem.unlink()
            (refusal,) = reload.with_file("")
            assert refusal.endswith(f"{pem}: No such file or directory")
            with shaken_hands(port) as line:
                assert name_on(line) == "the second"


def test_a_start_with_a_certificate_that_cannot_be_used_is_refused_in_one_line(
    home: Path, tmp_path: Path
) -> None:
    endpoint = f"ssl:0:privateKey={tmp_path / 'none.pem'}:interface=127.0.0.1"
    daemon = Daemon(home, "--listen", endpoint)

    code, said = daemon.ended()

    assert code == 1
    (line,) = [line for line in daemon.log.read_text().splitlines() if line[0] != "{"]
    assert line.startswith(f"smsd: cannot start: {endpoint}")
    assert "No such file or directory" in line
    assert "Traceback" not in said


# -- a terminal --


def test_a_gateway_whose_terminal_is_closed_ends_in_order(home: Path) -> None:
    ours, its = pty.openpty()
    listen = ("--listen", "tcp:0:interface=127.0.0.1", "--data-dir", str(home / "data"))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*RUN, *listen, "--log-level", "warn"],
            cwd=home,
            env=bare_environment(),
            stdin=its,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    os.close(its)
    try:
        with deadline(process):
            assert process.stdout is not None
            assert any(line.startswith(LAST_WORDS) for line in process.stdout)
        process.send_signal(signal.SIGHUP)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(ours)
    assert canaries.found_in((home / "log").read_text()) == []
