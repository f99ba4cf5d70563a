"""``apt`` and ``systemctl`` where everything is installed and no systemd runs: as much of them as
the operations page asks for. ``standins.py systemctl restart smsd``

smsd is started as its unit says, and `confined` as its unit says; nginx as Debian does it.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from confined import ACCOUNT

UNIT, STATE = Path("/etc/systemd/system/smsd.service"), Path("/var/lib/smsd")
#: What systemd would keep to itself.
KEPT = Path("/run/standin")
PATIENCE = 60.0
WHERE_PYTHON_IS = "import sys; print(sys.base_prefix)"


def apt(*words: str) -> None:
    """Whether all of it is installed already; a server that was installed runs."""
    for word in words:
        if word in ("install", "-y", "libnss-systemd"):  # that one's part is `confined`'s
            continue
        if word == "python3-venv":
            subprocess.run(["python3", "-c", "import ensurepip, venv"], check=True)
        elif word == "nginx-light":
            subprocess.run(["nginx"], check=True)
        else:
            subprocess.run(["dpkg-query", "--show", word], check=True)


def systemctl(verb: str, *words: str) -> None:
    for unit in [word for word in words if not word.startswith("-")]:
        if unit == "nginx":
            subprocess.run(["nginx", "-s", verb], check=True)
        else:
            VERBS[verb]()


def start() -> None:
    notified = listen(KEPT / "notify")
    program = shlex.split(told("ExecStart"))
    python = [program[0].replace("bin/smsd", "bin/python"), "-c", WHERE_PYTHON_IS]
    base = subprocess.run(python, capture_output=True, text=True, check=True).stdout.strip()
    STATE.mkdir(mode=0o700, exist_ok=True)
    hand_over(*told("LoadCredential").split(":"))
    confined = str(Path(__file__).with_name("confined.py"))
    shown = [] if base == "/usr" else [base]
    with (KEPT / "journal").open("ab") as journal:
        process = subprocess.Popen(
            [sys.executable, confined, str(UNIT), str(STATE), *shown, "--", *program],
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "NOTIFY_SOCKET": str(KEPT / "notify"),
                "CREDENTIALS_DIRECTORY": str(KEPT / "credentials"),
                "STATE_DIRECTORY": str(STATE),
            },
            stdin=subprocess.DEVNULL,
            stdout=journal,
            stderr=journal,
        )
    (KEPT / "pid").write_text(str(process.pid))
    while b"READY=1" not in next_notice(notified):
        pass
    process.returncode = 0  # it outlives us


def told(key: str) -> str:
    found = re.search(rf"^{key}=(.*)$", UNIT.read_text(), re.M)
    assert found, key
    return found[1]


def hand_over(name: str, directory: str) -> None:
    """`LoadCredential`: each file as NAME_FILE, for the account alone."""
    target = KEPT / "credentials"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for file in Path(directory).iterdir():
        copied = target / f"{name}_{file.name}"
        copied.write_bytes(file.read_bytes())
        copied.chmod(0o400)
        os.chown(copied, ACCOUNT, ACCOUNT)


def listen(where: Path) -> socket.socket:
    where.unlink(missing_ok=True)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.bind(str(where))
    where.chmod(0o777)
    line.settimeout(PATIENCE)
    return line


def next_notice(notified: socket.socket) -> bytes:
    try:
        heard = notified.recv(4096)
    except TimeoutError:
        heard = b"STOPPING=1"
    if b"STOPPING=1" in heard:
        sys.exit((KEPT / "journal").read_text())
    return heard


def stop() -> None:
    process = os.pidfd_open(main_process())
    signal.pidfd_send_signal(process, signal.SIGTERM)
    assert select.select([process], [], [], 10)[0], "it does not end within 10 s"


def main_process() -> int:
    return int((KEPT / "pid").read_text())


def restart() -> None:
    stop()
    start()


def status() -> None:
    os.kill(main_process(), 0)


VERBS: dict[str, Callable[[], None]] = {
    "enable": start,
    "restart": restart,
    "status": status,
}
PROGRAMS: dict[str, Callable[..., None]] = {"apt": apt, "systemctl": systemctl}

if __name__ == "__main__":
    KEPT.mkdir(exist_ok=True)
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
