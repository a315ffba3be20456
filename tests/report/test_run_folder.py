from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_lite import files
from tta_lite.report.run_folder import RunFolder
from tta_lite.types import InputError, Latency, LedgerEntry, MeasuredOn, Report, Verdict

RECIPE = {
    "recipe": "case_study",
    "flags": {"epochs": 3, "rows": ["none", "G1"], "progress": True},
    "seed": 7,
    "packages": {"numpy": "2.0"},
    "git_commit": None,
    "machine": {"cpu": "A", "cores": 2},
}

# Dies between the last byte and the new name, with no clean-up.
KILLED_WHILE_WRITING = """
import json, os, pathlib, signal, sys
from tta_lite import files, types
from tta_lite.report.run_folder import RunFolder
files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
entry = types.LedgerEntry.from_json(json.loads(pathlib.Path(sys.argv[1], "entry.json").read_text()))
folder = RunFolder(sys.argv[1])
folder.write_ledger([*folder.read_ledger(), entry])
"""

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
texts = st.text(max_size=20)
counts = st.none() | st.integers(0, 2**60)
reports = st.builds(
    Report,
    accuracy=st.none() | finite,
    metric=st.none() | texts,
    accuracy_interval=st.none() | st.tuples(finite, finite),
    accuracy_parts=st.none() | st.dictionaries(texts, finite, max_size=3),
    init_s=st.none() | finite,
    latency_ms=st.none() | st.builds(Latency, finite, finite, finite, finite, finite, finite, st.integers(0, 999)),
    size_bytes=counts,
    macs=counts,
    measured_on=st.none() | st.builds(MeasuredOn, texts, texts, texts, st.integers(1, 8), texts, st.booleans()),
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
ledger_entries = st.builds(
    LedgerEntry,
    texts,
    texts,
    st.sampled_from(Verdict),
    texts,
    reports,
    finite,
    st.dictionaries(texts, plain, max_size=3),
)


def changed(**flags) -> dict:
    return {**RECIPE, "flags": {**RECIPE["flags"], **flags}}


def test_a_new_folder_holds_the_recipe_and_an_empty_ledger(tmp_path):
    folder = RunFolder.open(tmp_path / "deep" / "run", RECIPE)
    assert json.loads((tmp_path / "deep" / "run" / "recipe.json").read_text()) == RECIPE
    assert folder.read_ledger() == [] and folder.notices == []


def test_the_same_command_goes_on_and_keeps_the_first_recipe(tmp_path, ladder):
    RunFolder.open(tmp_path, RECIPE).write_ledger(ladder[:1])
    # Tuples and NumPy numbers are what flags and seeds often are; they are the same flags.
    again = {**changed(rows=("none", "G1")), "seed": np.int64(7)}
    folder = RunFolder.open(tmp_path, again)
    assert folder.read_ledger() == [ladder[0]]
    assert folder.recipe == RECIPE
    folder.write_ledger(ladder[:2])
    assert RunFolder.open(tmp_path, RECIPE).read_ledger() == ladder[:2]


def test_other_flags_are_refused_and_all_named(tmp_path):
    RunFolder.open(tmp_path, RECIPE)
    with pytest.raises(InputError) as caught:
        RunFolder.open(tmp_path, {**changed(epochs=4, width=0.5), "seed": 8})
    message = str(caught.value)
    assert str(tmp_path / "recipe.json") in message
    assert "--epochs: expected 3, received 4" in message
    assert "--width: expected 'unset', received 0.5" in message
    assert "the seed: expected 7, received 8" in message
    assert "--rows" not in message and "--progress" not in message
    assert json.loads((tmp_path / "recipe.json").read_text()) == RECIPE


def test_a_flag_that_an_older_version_did_not_have_counts_as_its_default(tmp_path):
    RunFolder.open(tmp_path, RECIPE)
    newer = {"width": 1.0, "epochs": 9, "parts": ()}
    assert RunFolder.open(tmp_path, changed(width=1.0, parts=[]), defaults=newer).recipe == RECIPE
    refused = (({"width": 0.5}, "--width: expected 1.0, received 0.5"), ({"epochs": 9}, "--epochs: expected 3"))
    for flags, words in refused:
        with pytest.raises(InputError, match=words):
            RunFolder.open(tmp_path, changed(**flags), defaults=newer)


def test_flags_of_display_may_differ(tmp_path):
    RunFolder.open(tmp_path, RECIPE)
    with pytest.raises(InputError, match="progress"):
        RunFolder.open(tmp_path, changed(progress=False))
    assert RunFolder.open(tmp_path, changed(progress=False), display_flags=["progress"]).recipe == RECIPE


def test_changed_packages_and_machine_are_notices(tmp_path):
    RunFolder.open(tmp_path, RECIPE)
    folder = RunFolder.open(tmp_path, {**RECIPE, "packages": {"numpy": "2.1"}, "machine": {"cpu": "B", "cores": 2}})
    assert any("numpy 2.0 -> 2.1" in notice for notice in folder.notices)
    assert any("machine changed" in notice for notice in folder.notices)


@pytest.mark.parametrize("text", ["{", "[]", '{"seed": 1}', ""])
def test_a_broken_recipe_file_is_an_input_error(tmp_path, text):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(InputError, match=r"recipe\.json"):
        RunFolder.open(tmp_path, RECIPE)


def test_a_ledger_without_a_recipe_is_refused(tmp_path):
    (tmp_path / "ledger.jsonl").write_text("")
    with pytest.raises(InputError, match=r"ledger\.jsonl"):
        RunFolder.open(tmp_path, RECIPE)


def test_a_file_in_the_place_of_the_folder_is_an_input_error(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="Received"):
        RunFolder.open(tmp_path / "run", RECIPE)


def test_a_torn_last_line_is_dropped_with_a_notice_at_every_place(tmp_path, ladder):
    folder = RunFolder.open(tmp_path, RECIPE)
    folder.write_ledger(ladder[:2])
    whole = (tmp_path / "ledger.jsonl").read_bytes()
    first_line = whole.index(b"\n") + 1
    for cut in range(first_line + 1, len(whole) - 1, 37):
        (tmp_path / "ledger.jsonl").write_bytes(whole[:cut])
        torn = RunFolder.open(tmp_path, RECIPE)
        assert torn.read_ledger() == ladder[:1]
        assert len(torn.notices) == 1 and "line 2" in torn.notices[0]
    torn.write_ledger([*torn.read_ledger(), ladder[2]])
    fresh = RunFolder.open(tmp_path, RECIPE)
    assert fresh.read_ledger() == [ladder[0], ladder[2]] and fresh.notices == []


def test_a_whole_last_line_that_only_lost_its_line_feed_is_kept(tmp_path, ladder):
    folder = RunFolder.open(tmp_path, RECIPE)
    folder.write_ledger(ladder[:2])
    file = tmp_path / "ledger.jsonl"
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    assert folder.read_ledger() == ladder[:2]


@pytest.mark.parametrize(
    "bad", [b"{torn\n", b"[1]\n", b"{}\n", b"\xff\xfe\n", b'{"name": "x", "verdict": "perhaps"}\n'], ids=repr
)
def test_any_other_bad_line_names_file_and_line(tmp_path, ladder, bad):
    folder = RunFolder.open(tmp_path, RECIPE)
    folder.write_ledger(ladder[:2])
    file = tmp_path / "ledger.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + bad + lines[1])
    with pytest.raises(InputError, match=r"ledger\.jsonl, line 2 .*Received"):
        folder.read_ledger()
    # A line that ends in a line feed is not torn, so not even the last one may be dropped.
    file.write_bytes(lines[0] + bad)
    with pytest.raises(InputError, match="line 2"):
        folder.read_ledger()


@settings(max_examples=25, deadline=None)
@given(st.lists(ledger_entries, max_size=3))
def test_the_ledger_gives_back_what_was_written(tmp_path_factory, entries):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.write_ledger(entries)
    assert folder.read_ledger() == entries
    for line in (folder.path / "ledger.jsonl").read_bytes().split(b"\n")[:-1]:
        json.loads(line, parse_constant=lambda name: pytest.fail(f"not strict JSON: {name}"))


def test_numpy_figures_and_nan_become_plain_json(tmp_path):
    report = Report(accuracy=math.nan, size_bytes=np.int64(5), init_s=np.float32(0.5))
    entry = LedgerEntry("none", "", Verdict.TAKEN, "", report, np.float64(1.5), {"offsets": np.arange(3)})
    folder = RunFolder(tmp_path)
    folder.write_ledger([entry])
    (back,) = folder.read_ledger()
    assert back.report == Report(accuracy=None, size_bytes=5, init_s=0.5)
    assert back.details == {"offsets": [0, 1, 2]} and back.seconds == 1.5


def test_a_killed_write_leaves_the_old_file_and_a_temporary_one_that_the_next_run_removes(tmp_path, ladder):
    folder = RunFolder.open(tmp_path, RECIPE)
    folder.write_ledger(ladder[:1])
    before = (tmp_path / "ledger.jsonl").read_bytes()
    (tmp_path / "entry.json").write_text(files.to_json_text(ladder[1].to_json()))
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    leftover = list(tmp_path.glob(f"{files.TEMPORARY_PREFIX}*"))
    assert len(leftover) == 1 and leftover[0].stat().st_size > len(before)
    assert (tmp_path / "ledger.jsonl").read_bytes() == before
    others = [tmp_path / place / f"{files.TEMPORARY_PREFIX}x" for place in ("steps/00-none/training", "worker_1")]
    for file in others:
        file.parent.mkdir(parents=True)
        file.touch()
    fresh = RunFolder.open(tmp_path, RECIPE)
    assert fresh.read_ledger() == [ladder[0]] and fresh.notices == []
    # A worker, which may be writing at this moment, has a folder of its own.
    assert list(tmp_path.rglob(f"{files.TEMPORARY_PREFIX}*")) == others[1:]


def test_a_saver_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="disk"), files.atomic_path(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras" and temporary.parent == tmp_path
        temporary.write_bytes(b"half")
        raise RuntimeError("disk")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("model.keras", b"old")]


def test_written_files_take_the_users_permissions(tmp_path):
    old = os.umask(0o022)
    try:
        files.atomic_write(tmp_path / "a.txt", "\r\n\N{EN DASH}")
    finally:
        os.umask(old)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "a.txt").read_bytes() == b"\r\n\xe2\x80\x93"


def test_step_folders_are_numbered_and_named(tmp_path):
    folder = RunFolder(tmp_path)
    names = [folder.step_dir(i, name).name for i, name in ((0, "none"), (3, "G1+G2+G4"), (12, "../x y"), (1, "모델"))]
    assert names == ["00-none", "03-g1-g2-g4", "12-x-y", "01-step"]
    assert all((tmp_path / "steps" / name).is_dir() for name in names)


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../b", ""])
def test_nothing_is_written_outside_the_folder(tmp_path, name):
    with pytest.raises(InputError, match="inside"):
        RunFolder(tmp_path).write_text(name, "")
