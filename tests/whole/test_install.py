"""Installed plainly, and from another directory, twistd finds the gateway."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PARTS = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "smsd", "twisted")
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")

pytestmark = pytest.mark.whole


def builds_wheels_here() -> bool:
    """Whether this environment can build one, so that pip need not fetch setuptools first."""
    try:
        major, minor = importlib.metadata.version("setuptools").split(".")[:2]
    except importlib.metadata.PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= (70, 1)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing but the installed package."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for part in PARTS:  # a copy, since a build leaves its traces beside the sources
        if (CHECKOUT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
            shutil.copytree(CHECKOUT / part, source / part, ignore=ignored)
        else:
            shutil.copy(CHECKOUT / part, source / part)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    cheap = ["--no-deps", "--no-compile", "--root-user-action=ignore"]
    cheap += ["--no-build-isolation"] if builds_wheels_here() else []
    subprocess.run([*command, *cheap, "--target", str(target), str(source)], check=True)
    return target


def output(installed: Path, elsewhere: Path, *command: str) -> str:
    """What Python says where it can find the installed package and this environment's others.

    Not the checkout: -S leaves out the .pth file of its editable install.
    """
    found = (str(installed), *(sysconfig.get_path(name) for name in ("purelib", "platlib")))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(found), "COLUMNS": "80"}
    run = subprocess.run(
        [sys.executable, "-S", "-P", *command],
        cwd=elsewhere,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_twistd_lists_smsd(installed: Path, tmp_path: Path) -> None:
    listed = output(installed, tmp_path, *TWISTD, "--help").split("Commands:")[1]

    assert "smsd" in listed.split()


def test_twistd_smsd_knows_the_options(installed: Path, tmp_path: Path) -> None:
    helped = output(installed, tmp_path, *TWISTD, "smsd", "--help")

    for flag in ("--listen", "--database", "--data-dir", "--config"):
        assert flag in helped


def test_the_command_is_installed_and_knows_the_options(installed: Path, tmp_path: Path) -> None:
    assert (installed / "bin" / "smsd").exists()
    assert "--data-dir" in output(installed, tmp_path, "-m", "smsd", "run", "--help")


def test_what_is_not_python_is_installed_too(installed: Path) -> None:
    packed = {path.relative_to(installed) for path in (installed / "smsd").rglob("*.*")}

    for pattern in ("smsd/store/sql/*.sql", "smsd/store/migrations/*.sql", "smsd/rest/static/*"):
        there = {path.relative_to(CHECKOUT) for path in CHECKOUT.glob(pattern)}
        assert there
        assert there <= packed
