"""Certificates of ``ssl:`` endpoints: read again at SIGHUP, and refused where they are broken."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from daemon import PATIENCE, Daemon, new_home
from reloaded import AGAIN, REFUSED, Reloaded

pytestmark = pytest.mark.whole


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


def certificate(directory: Path, name: str, *, weak: bool = False) -> None:
    """A key and a certificate of this name, as ``both.pem``."""
    key = rsa.generate_private_key(65537, 1024) if weak else ec.generate_private_key(ec.SECP256R1())
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

            second = pem.read_text()
            certificate(tmp_path, "the third")
            _, _, third = pem.read_text().partition("-----BEGIN CERT")
            pem.write_text(f"{second.partition('-----BEGIN CERT')[0]}-----BEGIN CERT{third}")
            (refusal,) = reload.with_file("")
            assert "no key and certificate that fit each other" in refusal
            certificate(tmp_path, "the fourth", weak=True)
            (refusal,) = reload.with_file("")
            assert refusal.startswith(f"{REFUSED}ssl:0:privateKey={pem}")
            assert "OpenSSL cannot use its files" in refusal
            assert refusal.endswith("key too small")
            pem.write_text("no certificate")
            (refusal,) = reload.with_file('log_level = "info"')
            assert refusal.startswith(f"{REFUSED}ssl:0:privateKey={pem}")
            assert "OpenSSL cannot use its files (PEM" in refusal
            pem.unlink()
            (refusal,) = reload.with_file("")
            assert refusal.endswith(f"{pem}: No such file or directory")
            with shaken_hands(port) as line:
                assert name_on(line) == "the second"


def test_a_start_with_a_certificate_that_cannot_be_used_is_refused_in_one_line(
    home: Path, tmp_path: Path
) -> None:
    missing = f"ssl:0:privateKey={tmp_path / 'none.pem'}:interface=127.0.0.1"
    line = refused(home, missing)
    assert line.startswith(f"smsd: cannot start: {missing}")
    assert line.endswith("none.pem: No such file or directory")


def test_an_ssl_endpoint_with_a_misspelt_part_is_not_called_a_bad_certificate(
    home: Path, tmp_path: Path
) -> None:
    certificate(tmp_path, "anybody")
    line = refused(home, f"ssl:0:privateKey={tmp_path / 'both.pem'}:interfaces=127.0.0.1")
    assert "cannot be used as an endpoint" in line
    assert "interfaces" in line.rpartition(": ")[2]


def refused(home: Path, endpoint: str) -> str:
    """The one line in which a start on this endpoint is refused."""
    daemon = Daemon(home, "--listen", endpoint)
    code, said = daemon.ended()
    assert code == 1
    assert "Traceback" not in said
    (line,) = [line for line in daemon.log.read_text().splitlines() if line[0] != "{"]
    return line
