from __future__ import annotations

import subprocess

import numpy as np

from tta_lite.report import environment


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_versions_are_those_that_run():
    versions = environment.package_versions(["numpy", "no-such-package"])
    assert versions == {"numpy": np.__version__, "no-such-package": None}


def test_commit_of_a_checkout_with_and_without_changes(tmp_path):
    git(tmp_path, "init", "--quiet")
    source = tmp_path / "package"
    source.mkdir()
    (source / "a.py").write_text("1")
    assert environment.git_commit(source) is None, "not committed yet"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert environment.git_commit(source) == commit
    (tmp_path / "other.txt").write_text("not the package's")
    assert environment.git_commit(source) == commit
    (source / "a.py").write_text("2")
    assert environment.git_commit(source) == f"{commit}-dirty"


def test_a_package_installed_inside_somebodys_checkout_has_no_commit(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "theirs.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "theirs")
    installed = tmp_path / ".venv" / "site-packages" / "tta_lite"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert environment.git_commit(installed) is None
    assert environment.git_commit(tmp_path / "missing") is None


def test_the_record_has_the_keys_of_the_run_folder():
    record = environment.describe_run({"epochs": 3}, recipe="case_study", seed=4, packages=["numpy"])
    assert record["flags"] == {"epochs": 3} and record["seed"] == 4 and record["recipe"] == "case_study"
    assert set(record["packages"]) == {"python", "numpy"}
    assert record["machine"]["cores"] >= 1 and "packages" not in record["machine"]
    assert set(record) == {"recipe", "flags", "seed", "packages", "git_commit", "machine"}
