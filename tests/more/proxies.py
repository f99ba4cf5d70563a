"""The proxies that docs/proxies configures, run as they stand there but for ports and places.

Each configuration is changed in a few named strings; one that is no longer in it is an error.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from daemon import PATIENCE
from tools import tool
from visitors import until

CONFIGURATIONS = Path(__file__).parents[2] / "docs" / "proxies"
#: Where the certificate is, in all of them.
CERTIFICATES = "/etc/ssl/smsd"
#: What nginx's own configuration is around ours, without a place outside of its directory.
NGINX = """\
{user}
pid {home}/pid;
error_log {home}/main.log;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    access_log {home}/others.log;
    include {home}/smsd.conf;
}}
"""


@dataclass
class Proxy:
    """One that runs: for callers at ``url``, and at ``plain_url`` for those without TLS."""

    name: str
    home: Path
    argv: Sequence[str]
    port: int
    plain_port: int
    syslog: socket.socket | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    _heard: str = ""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def plain_url(self) -> str:
        return f"http://127.0.0.1:{self.plain_port}"

    def log(self) -> str:
        """All that it has written down until now, wherever."""
        while self.syslog is not None:
            try:
                self._heard += self.syslog.recv(65536).decode() + "\n"
            except BlockingIOError:
                break
        written = [p.read_text(errors="replace") for p in sorted(self.home.glob("*.log"))]
        return "\n".join([self._heard, *written])

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        """Stopped by its pid at the end."""
        with (self.home / "output.log").open("wb") as output:
            process = subprocess.Popen(
                self.argv,
                cwd=self.home,
                env={**os.environ, **self.environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            until(lambda: self._answers(process))
            yield self
        finally:
            process.terminate()
            process.wait(PATIENCE)

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self.log()
        with socket.socket() as line:
            return line.connect_ex(("127.0.0.1", self.port)) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def fitted(name: str, changes: Mapping[str, str]) -> str:
    """The configuration of this name with these strings replaced, all of which it must have."""
    text = (CONFIGURATIONS / name).read_text()
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in {name}"
        text = text.replace(old, new)
    return text


def nginx(home: Path, certificates: Path, gateway: int, more: Mapping[str, str]) -> Proxy:
    port, plain = free_port(), free_port()
    changes = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "    listen [::]:443 ssl http2;\n": "",
        "listen 80": f"listen 127.0.0.1:{plain}",
        "    listen [::]:80;\n": "",
        CERTIFICATES: str(certificates),
        "/var/log/nginx": str(home),
        "127.0.0.1:8080": f"127.0.0.1:{gateway}",
        **more,
    }
    (home / "smsd.conf").write_text(fitted("nginx.conf", changes))
    user = "user root;" if os.geteuid() == 0 else ""
    (home / "nginx.conf").write_text(NGINX.format(home=home, user=user))
    argv = [tool("nginx"), "-p", str(home), "-c", "nginx.conf", "-g", "daemon off;"]
    return Proxy("nginx", home, argv, port, plain)


def haproxy(home: Path, certificates: Path, gateway: int, more: Mapping[str, str]) -> Proxy:
    port, plain = free_port(), free_port()
    syslog = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    syslog.bind(("127.0.0.1", 0))
    syslog.setblocking(False)
    rights = "    chroot /var/lib/haproxy\n    user haproxy\n    group haproxy\n"
    changes = {
        "bind :::443 v4v6": f"bind 127.0.0.1:{port}",
        "bind :::80 v4v6": f"bind 127.0.0.1:{plain}",
        CERTIFICATES: str(certificates),
        "/dev/log": f"127.0.0.1:{syslog.getsockname()[1]}",
        "127.0.0.1:8080": f"127.0.0.1:{gateway}",
        "maxconn 20000": "maxconn 200",
        **({} if os.geteuid() == 0 else {rights: ""}),
        **more,
    }
    (home / "haproxy.cfg").write_text(fitted("haproxy.cfg", changes))
    argv = [tool("haproxy"), "-db", "-f", str(home / "haproxy.cfg")]
    return Proxy("haproxy", home, argv, port, plain, syslog)


def caddy(home: Path, certificates: Path, gateway: int, more: Mapping[str, str]) -> Proxy:
    port, plain = free_port(), free_port()
    changes = {
        "\nhttp://sms.example.org {": f"\nhttp://127.0.0.1:{plain} {{",
        "\nsms.example.org {": f"\nhttps://127.0.0.1:{port} {{",
        "\n{\n": f"\n{{\n\tadmin off\n\tauto_https disable_redirects\n\thttp_port {plain}\n"
        "\tdefault_bind 127.0.0.1\n",
        CERTIFICATES: str(certificates),
        "/var/log/caddy": str(home),
        "127.0.0.1:8080": f"127.0.0.1:{gateway}",
        **more,
    }
    (home / "Caddyfile").write_text(fitted("Caddyfile", changes))
    argv = [tool("caddy"), "run", "--adapter", "caddyfile", "--config", str(home / "Caddyfile")]
    places = {f"XDG_{kind}_HOME": str(home / kind) for kind in ("DATA", "CONFIG")}
    return Proxy("caddy", home, argv, port, plain, environ={"HOME": str(home), **places})


PROXIES = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}


@contextmanager
def proxy(name: str, home: Path, gateway: int, **more: Mapping[str, str]) -> Iterator[Proxy]:
    """One of them in ``home``, in front of the gateway at that port, with a new certificate."""
    if shutil.which(name) is None:
        tool(name)
    certify(home)
    made = PROXIES[name](home, home, gateway, more.get(name, {}))
    try:
        with made.running():
            yield made
    finally:
        if made.syslog is not None:
            made.syslog.close()


def certify(directory: Path) -> None:
    """A key, a certificate that vouches for itself, and both in one file."""
    key, certificate = directory / "key.pem", directory / "cert.pem"
    names = "subjectAltName=DNS:sms.example.org,DNS:localhost,IP:127.0.0.1"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    request = ["req", "-x509", *curve, "-nodes", "-days", "2", "-subj", "/CN=sms.example.org"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    command = [tool("openssl"), *request, "-addext", names, *files]
    subprocess.run(command, check=True, capture_output=True)
    (directory / "both.pem").write_text(key.read_text() + certificate.read_text())
