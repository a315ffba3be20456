"""A kit, from an artifact to the report: what is in it, what its script does, and what is brought back."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.measure.device.conftest import IMAGES
from tta_lite.boards.profile import get_board
from tta_lite.boards.records import BoardProfile
from tta_lite.export.bundle import write_bundle
from tta_lite.measure.device import kit, own_libc
from tta_lite.measure.device.kit import Fit, fit, write_kit
from tta_lite.measure.device.library import as_numbers, needed_versions
from tta_lite.measure.device.results import read_results
from tta_lite.measure.device.transport import DeviceError
from tta_lite.models.backbones import Normalisation
from tta_lite.types import InputError

SYSTEM = get_board("rk3399").systems[0]
QUICK = {"ROUNDS": "2", "COOL_DOWN": "0", "PROFILE_RUNS": "2"}
FLAGS = ("--runs=3", "--min_secs=0", "--warmup_runs=1", "--warmup_min_secs=0")


def host(**changed) -> BoardProfile:
    """This machine's profile with changes."""
    return dataclasses.replace(get_board("host"), **changed)


def libc(version: str, name: str = "glibc") -> dict:
    """Of a board with that C library."""
    return {"systems": (dataclasses.replace(SYSTEM, name="An OS", libc=name, libc_version=version),)}


@pytest.fixture(scope="module")
def artifacts(files, tmp_path_factory) -> dict[str, Path]:
    """Preset -> the artifact of a run folder."""
    return {
        preset: write_bundle(
            tmp_path_factory.mktemp(preset) / "artifact",
            path.read_bytes(),
            name="Tiny net 0.35",
            normalisation=Normalisation((127.5,) * 3, (127.5,) * 3),
            golden_inputs=IMAGES[:2],
            report={"row": "G1+G2"},
        )
        for preset, path in files.items()
    }


@pytest.fixture(scope="module")
def made(program, artifacts, tmp_path_factory) -> dict[str, Path]:
    """Preset -> a kit for this machine, copied from where it was made."""
    folder, found = tmp_path_factory.mktemp("kits"), {}
    for preset, artifact in artifacts.items():
        write_kit(artifact, host(), folder / "made" / preset, own_libc=False)
        found[preset] = Path(shutil.copytree(folder / "made" / preset, folder / "a board's folder" / preset))
    shutil.rmtree(folder / "made")
    return found


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A kit of one's own to spoil."""
    unused = shutil.ignore_patterns("results.json", "runner.log")
    return Path(shutil.copytree(made["int8"], tmp_path / "kit", ignore=unused))


def run(folder: Path, *flags: str, timeout_s: float = 240, **settings: str) -> subprocess.CompletedProcess[str]:
    words = [f"{folder}/run.sh", *FLAGS, *flags]
    # A board has no Python, and its shell no settings of ours.
    bare = {"PATH": "/usr/bin:/bin", **QUICK, **settings}
    return subprocess.run(words, cwd="/", env=bare, capture_output=True, text=True, timeout=timeout_s)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def ran(request, made) -> tuple[str, Path, subprocess.CompletedProcess[str]]:
    return request.param, made[request.param], run(made[request.param])


def names_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_in_the_folder(folder, artifacts):
    golden = {f"golden/{side}_{n}.bin" for side in ("input", "output") for n in (0, 1)}
    rest = {"run.sh", "README.txt", "tta_runner", "lib/libLiteRt.so", "model.tflite", "kit.json", "SHA256SUMS"}
    assert names_of(folder) == golden | rest
    for name in ("model.tflite", *golden):
        assert (folder / name).read_bytes() == (artifacts["int8"] / name).read_bytes()
    record = json.loads((folder / "kit.json").read_text())
    assert (record["name"], record["row"], record["own_libc"]) == ("Tiny net 0.35", "G1+G2", False)
    text = (folder / "README.txt").read_text()
    assert len(text.splitlines()) < 66 and "@" not in (folder / "run.sh").read_text().replace('"$@"', "")
    assert f"SHA-256 {record['model_sha256']}" in text
    # The size that it names is that of the folder, to a megabyte.
    said = int(re.search(r"takes some (\d+) MB", text)[1])
    assert 0 <= said - sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6 < 1.1


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum (Debian's package coreutils)")
def test_sums_are_right_before_and_after_a_run(ran, tmp_path):
    for folder in (ran[1], shutil.copytree(ran[1], tmp_path / "copy")):
        check = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True)
        assert check.returncode == 0
        assert check.stdout.count(b": OK") == len(names_of(folder) - {"SHA256SUMS", "results.json", "runner.log"})
    (tmp_path / "copy" / "golden" / "input_0.bin").write_bytes(b"changed")
    assert subprocess.run(check.args, cwd=tmp_path / "copy", capture_output=True).returncode == 1


def test_the_script_is_for_any_posix_shell(made):
    script = made["int8"] / "run.sh"
    assert script.read_text().startswith("#!/bin/sh\n")
    for shell in ("dash", "bash", "busybox"):
        if found := shutil.which(shell):
            words = [found, "sh"] if shell == "busybox" else [found]
            assert subprocess.run([*words, "-n", script], capture_output=True).returncode == 0


def test_the_script_measures_and_checks(ran):
    preset, folder, done = ran
    assert done.returncode == 0, done.stderr
    assert "the outputs are those that were expected" in done.stdout
    assert (
        done.stdout.splitlines()[-1]
        == "written: results.json; on the other machine: tta-lite import-results results.json"
    )
    results = read_results(folder / "results.json")
    [group] = results.groups
    assert (group.cores, results.emulated, group.agrees) == ("all", False, True)
    assert group.figures.latency.runs == 2 * 3 and len(group.figures.round_p50) == 2
    # Two vectors in each of two rounds, two profiled runs in each.
    assert [Path(one.output).name for one in group.golden] == ["output_0.bin", "output_1.bin"] * 2
    assert {len(one["samples_us"]) for one in group.ops} == {4}
    assert group.figures.measured_on.board == get_board("host").title
    if preset == "int8":
        assert {one.different for one in group.golden} == {0}
    assert names_of(folder) & {"run.json", "run.json.part", "results.json.part"} == set()


def test_flags_and_settings_are_handed_on(folder):
    last = max(os.sched_getaffinity(0))
    done = run(folder, "--threads=2", f"--cpus={last}", ROUNDS="1", OUT="other.json")
    assert done.returncode == 0, done.stderr
    [group] = read_results(folder / "other.json").groups
    assert group.figures.measured_on.threads == 2
    assert group.figures.measured_on.cpu.endswith(f", cores {last}")
    assert not (folder / "results.json").exists()


def test_wrong_outputs_are_told_and_written(folder):
    path = folder / "golden" / "output_1.bin"
    stored = np.frombuffer(path.read_bytes(), np.int8).copy()
    stored[5] += 100 if stored[5] < 0 else -100
    path.write_bytes(stored.tobytes())
    done = run(folder)
    assert done.returncode == 3
    assert "THE OUTPUTS ARE NOT THOSE THAT WERE EXPECTED" in done.stderr and "are those" not in done.stdout
    [group] = read_results(folder / "results.json").groups
    assert group.agrees is False
    assert [(one.agrees, one.different, one.largest) for one in group.golden] == [(True, 0, 0), (False, 1, 100)] * 2


@pytest.mark.parametrize(
    ("spoil", "settings", "said"),
    [
        (lambda folder: (folder / "lib" / "libLiteRt.so").unlink(), {}, "the library of LiteRT cannot be opened"),
        (lambda folder: (folder / "model.tflite").write_text("no"), {}, "error: LiteRT cannot read the file"),
        (lambda folder: (folder / "tta_runner").unlink(), {}, "not found"),
        (lambda folder: (folder / "golden" / "input_0.bin").unlink(), {}, "input_0.bin cannot be read"),
        (lambda folder: None, {"CORES": "big"}, "error: --cores=big: "),
        (lambda folder: None, {"CORES": " "}, "error: nothing was run. Expected: ROUNDS of 1 or more"),
        (lambda folder: None, {"ROUNDS": "0"}, "error: nothing was run. Expected: ROUNDS of 1 or more"),
        (lambda folder: None, {"ROUNDS": "many"}, "error: nothing was run. Expected: ROUNDS of 1 or more"),
        (lambda folder: None, {"COOL_DOWN": "long"}, "sleep: invalid time"),
        (lambda folder: None, {"PROFILE_RUNS": "x"}, "--profile_runs must be a whole number"),
        (lambda folder: (folder / "results.json.part").symlink_to("/dev/full"), {}, "is the disk full?"),
        (lambda folder: (folder / "run.json.part").symlink_to("/dev/full"), {}, "No space left on device"),
    ],
    ids=[
        "library", "model", "program", "golden", "cores", "no cores", "no rounds", "rounds", "pause", "profile",
        "full", "full for the runner",
    ],
)  # fmt: skip
def test_what_goes_wrong_ends_in_one_error_and_no_results(folder, spoil, settings, said):
    before = names_of(folder)
    spoil(folder)
    done = run(folder, **settings)
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert "expected" not in done.stdout
    assert names_of(folder) <= before | {"runner.log"}


def test_a_killed_script_leaves_no_results(folder):
    before = names_of(folder)
    words = ["setsid", f"{folder}/run.sh", "--min_secs=60"]
    process = subprocess.Popen(words, env={"PATH": "/usr/bin:/bin", **QUICK}, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (folder / "run.json.part").exists() and time.monotonic() < until:
        time.sleep(0.02)
    # As a terminal does at Ctrl-C: the whole group.
    os.killpg(os.getpgid(process.pid), signal.SIGTERM)
    assert process.wait(60) != 0
    assert names_of(folder) - {"runner.log"} == before


def test_an_emulated_run_says_so(folder):
    # `env` runs its words as they are: what stands in for an emulator here.
    done = run(folder, EMULATOR="env", ROUNDS="1")
    assert done.returncode == 0, done.stderr
    results = read_results(folder / "results.json")
    assert results.emulated and results.groups[0].agrees


@pytest.fixture(scope="module")
def results(made) -> str:
    folder = made["int8"]
    if not (folder / "results.json").exists():
        assert run(folder).returncode == 0
    return (folder / "results.json").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2], r"copied whole\? Received: "),
        (lambda text: "", r"copied whole\?"),
        (lambda text: "\x00" * 100, r"copied whole\?"),
        (lambda text: "[]", "TypeError"),
        (lambda text: "{}", "KeyError: 'format'"),
        (lambda text: text.replace('"format": 1, "emulated"', '"format": 2, "emulated"'), "ValueError: format 2"),
        (lambda text: text.replace('"own_libc"', '"own"'), "KeyError: 'own_libc'"),
        (lambda text: text.replace('"samples_us"', '"samples"'), "must hold what tta_runner wrote"),
        (lambda text: re.sub(r'"samples_us": \[[^]]*\]\n', '"samples_us": []\n', text), "must hold what tta_runner"),
        (lambda text: text[: text.index('"runs"')] + '"runs": []}', "no runs"),
        (lambda text: text[: text.index('"runs"')] + '"runs": {"a": 1}}', "TypeError"),
        (lambda text: text.replace("CONV_2D", "X").replace('"Convolution', '"Other', 1), "must run the same ops"),
        (lambda text: text.replace('"model_sha256": "', '"model_sha256": 1, "x": "'), "model_sha256"),
        (lambda text: text.replace('"cores": "all"', '"cores": 7'), "cores"),
    ],
    ids=[
        "torn", "empty", "zeros", "list", "nothing", "format", "kit", "record", "no samples", "no runs", "runs",
        "ops", "sum", "cores",
    ],
)  # fmt: skip
def test_torn_and_foreign_results_are_refused(results, tmp_path, change, said):
    path = tmp_path / "results.json"
    path.write_text(change(results))
    with pytest.raises(InputError, match=said) as caught:
        read_results(path)
    assert "Received: " in str(caught.value)


def test_results_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must be the results\.json that a kit's run\.sh wrote: No such file"):
        read_results(tmp_path / "none.json")
    with pytest.raises(InputError, match="Is a directory"):
        read_results(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="must be the results"):
        read_results(tmp_path / "binary")


def test_it_is_said_which_c_library_is_needed(program):
    needs = needed_versions(Path(program.words[0]), program.library)["GLIBC"]
    old, new = "2.16", f"{as_numbers(needs)[0]}.{as_numbers(needs)[1] + 1}"
    assert fit(host(**libc(old))) == Fit(needs, old, True, "An OS")
    assert fit(host(**libc(new))) == Fit(needs, new, False, "An OS")
    assert fit(host(**libc(needs))).own_libc is False
    # Android and Alpine have none of glibc, whatever their versions.
    for name in ("bionic", "musl"):
        assert fit(host(**libc("9.9", name))) == Fit(needs, "", True, "An OS")
    assert fit(host(systems=())) == Fit(needs, "", False, "")
    assert fit(host(**libc(old)), own_libc=False).own_libc is False
    assert fit(host(**libc(new)), own_libc=True).own_libc is True
    assert str(fit(host(**libc(old)))).endswith(
        f"needs glibc {needs}; An OS has glibc 2.16: the kit brings a glibc of its own"
    )
    assert str(fit(host(**libc("")))).endswith("An OS has no glibc that is known: the kit brings a glibc of its own")
    assert "the profile does not say what the board has: the board's own" in str(fit(host(systems=())))


def test_a_kit_with_a_c_library_of_its_own_runs(program, artifacts, tmp_path):
    try:
        own_libc.libc_files(platform.machine())
    except DeviceError as error:
        pytest.skip(str(error))
    found = write_kit(artifacts["int8"], host(**libc("2.16")), tmp_path / "kit")
    assert found.own_libc and {f"lib/{name}" for name in own_libc.FILES} < names_of(tmp_path / "kit")
    done = run(tmp_path / "kit", ROUNDS="1")
    assert done.returncode == 0, done.stderr
    assert read_results(tmp_path / "kit" / "results.json").groups[0].figures.measured_on.runtime.endswith("own)")


def test_big_and_little_cores_are_measured_apart(program, artifacts, tmp_path):
    cores = host().cores[0]
    two = (dataclasses.replace(cores, cluster="big", cpus=()), dataclasses.replace(cores, cluster="little", cpus=()))
    write_kit(artifacts["int8"], host(cores=two), tmp_path / "kit")
    assert "CORES=${CORES:-big little}" in (tmp_path / "kit" / "run.sh").read_text()
    assert "big and the little cores apart" in (tmp_path / "kit" / "README.txt").read_text()


def test_what_a_kit_does_not_overwrite(program, artifacts, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    for target in (mine, mine / "notes.txt"):
        with pytest.raises(
            InputError, match=r"must be new, empty, or an earlier kit \(with a kit\.json\)\. Received: "
        ):
            write_kit(artifacts["int8"], host(), target, own_libc=False)
    assert (mine / "notes.txt").read_text() == "mine"
    (mine / "notes.txt").unlink()
    write_kit(artifacts["int8"], host(), mine, own_libc=False)
    (mine / "old").write_text("of an earlier kit")
    write_kit(artifacts["fp32"], host(), mine, own_libc=False)
    assert not (mine / "old").exists()
    assert (mine / "model.tflite").read_bytes() == (artifacts["fp32"] / "model.tflite").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_kit_that_fails_leaves_the_old_one(program, artifacts, tmp_path, monkeypatch):
    write_kit(artifacts["int8"], host(), tmp_path / "kit", own_libc=False)
    before = names_of(tmp_path / "kit")

    def full(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kit, "_readme", full)
    with pytest.raises(InputError, match=r"The kit cannot be written: No space left on device\. Received: .*kit"):
        write_kit(artifacts["int8"], host(), tmp_path / "kit", own_libc=False)
    assert names_of(tmp_path / "kit") == before and [path.name for path in tmp_path.iterdir()] == ["kit"]


def test_an_artifact_that_was_changed_is_refused(program, artifacts, tmp_path):
    changed = Path(shutil.copytree(artifacts["int8"], tmp_path / "artifact"))
    (changed / "golden" / "output_0.bin").write_bytes(b"changed")
    with pytest.raises(InputError, match=r"must be as it was written\. Received: .*output_0\.bin: changed"):
        write_kit(changed, host(), tmp_path / "kit", own_libc=False)
    with pytest.raises(InputError, match=r"An artifact must be a folder with a MANIFEST\.json"):
        write_kit(tmp_path, host(), tmp_path / "kit", own_libc=False)
    assert not (tmp_path / "kit").exists()


def test_a_microcontroller_has_no_kit(artifacts, tmp_path):
    with pytest.raises(DeviceError, match=r"a microcontroller runs TensorFlow Lite Micro"):
        write_kit(artifacts["int8"], get_board("cortex_m7"), tmp_path / "kit")
