"""What a user gets: a wheel of a clean checkout, installed into an environment that knows nothing of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What git would leave out, for a source tree without git.
NOT_SOURCE = (".git", ".venv", "build", "dist", "runs", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")


def run(*command: str | Path, cwd: Path, ends_with: int = 0) -> str:
    """-> what `command` printed; all its words in the error if it ends with another exit code."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == ends_with, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_source(target: Path) -> None:
    """Copy what is or would be committed, and nothing that an earlier build left."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*NOT_SOURCE))
        return
    listed = run(git, "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    copy_source(folder / "source")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    # No build isolation: the build uses the pinned setuptools and needs no network.
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--use-pep517", "-w", "dist", "./source", cwd=folder)
    (built,) = (folder / "dist").glob("tta_lite-*.whl")
    return built


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """-> an environment that holds the wheel; it borrows this one's packages, but not its link to the checkout."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv/bin/python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=folder,
    )
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    # A folder named in a .pth joins the path, but the .pth files inside it (the editable install) are not read.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_holds_the_code_and_its_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"tta_lite", "recipes"}
    expected = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("tta_lite/**/*.py", "recipes/**/*.py", "tta_lite/**/*.toml", "tta_lite/**/*.j2")
        for path in ROOT.glob(pattern)
    }
    assert "tta_lite/py.typed" in names
    assert "recipes/cli.py" in expected
    assert expected - names == set()


def test_the_wheel_names_its_licence_and_pythons(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
        assert any(name.endswith("LICENSE") for name in archive.namelist())
    assert "Requires-Python: <3.13,>=3.10" in metadata
    assert "Apache-2.0" in metadata


def test_the_fresh_environment_imports_the_wheel_not_the_checkout(fresh: Path) -> None:
    code = "import recipes.cli, tta_lite; print(tta_lite.__file__); print(recipes.cli.__file__)"
    for line in run(fresh / "venv/bin/python", "-c", code, cwd=fresh).splitlines():
        assert Path(line).is_relative_to(fresh)


def test_the_command_lists_the_recipes(fresh: Path) -> None:
    assert "case_study" in run(fresh / "venv/bin/tta-lite", "--help", cwd=fresh)


@pytest.mark.parametrize(
    "command",
    [("tta-lite", "case_study", "--help"), ("python", "-m", "recipes.case_study", "--help")],
    ids=["tta-lite", "python -m"],
)
def test_the_case_study_shows_its_flags(fresh: Path, command: tuple[str, ...]) -> None:
    program, *words = command
    # absl ends with 1 after --help.
    shown = run(fresh / "venv/bin" / program, *words, cwd=fresh, ends_with=1)
    assert "--epochs" in shown
    assert "--out" in shown
