"""`AdaptiveRunner` on a folder: what runs, when it stops, when it changes its mode; and that it needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.adaptive.networks import classifier, images, with_exits
from tta_lite.adaptive.folder import is_adaptive, read_golden, rewrite_policy, verify_adaptive, write_adaptive
from tta_lite.adaptive.policy import Mode, Policy, read_policy
from tta_lite.adaptive.rules import LatencyBudget, Signal
from tta_lite.adaptive.runner import AdaptiveRunner
from tta_lite.adaptive.staged import cascade_stages, early_exit_file
from tta_lite.adaptive.sureness import signal_of
from tta_lite.adaptive.timing import time_stages, with_latencies
from tta_lite.export.tflite import export_tflite
from tta_lite.types import FP32, INT8, InputError

NAMES = ("stage1", "stage2", "stage3")
SOME = {"interval": (0.0, 100.0), "examples": 10}


@pytest.fixture(scope="module")
def net():
    return with_exits()


@pytest.fixture(scope="module")
def sure(net):
    """-> [20, 3]: how sure each exit is of each image."""
    return np.stack([signal_of(scores, "max_softmax", logits=True) for scores in net(images(20))], axis=1)


@pytest.fixture(scope="module")
def thresholds(sure):
    """-> of the first two exits: each is sure of half of the images, and no image is near."""
    values = np.sort(sure[:, :2], axis=0)
    return tuple(float(one) for one in (values[9] + values[10]) / 2)


@pytest.fixture(scope="module")
def folder(net, thresholds, tmp_path_factory):
    stages, tflite = early_exit_file(net)
    modes = (
        Mode("first", NAMES[:1], 50.0, **SOME),
        Mode("two", NAMES[:2], 60.0, thresholds=(None,), shares=(0.0, 1.0), **SOME),
        Mode("some", NAMES, 70.0, thresholds=thresholds, shares=(0.25, 0.25, 0.5), **SOME),
        Mode("all", NAMES, 80.0, thresholds=(None, None), shares=(0.0, 0.0, 1.0), **SOME),
    )
    policy = Policy("net", "early_exit", "top-1 accuracy", stages, modes, signal="max_softmax", logits=True)
    policy = with_latencies(policy, {"stage1": [1.0], "stage2": [2.0], "stage3": [4.0]}, "made up")
    return write_adaptive(tmp_path_factory.mktemp("made") / "artifact", policy, {"model.tflite": tflite}, images(3))


class Clock:
    """Seconds that pass only when a stage runs."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def slowed(runner, clock, seconds, factor=1.0):
    """Every stage of the runner takes so many seconds x a factor, which may be changed later."""
    state = {"factor": factor}
    for name, stage in runner._stages.items():

        def run(given, stage=stage, name=name, run=stage.run):
            clock.now += state["factor"] * seconds[name]
            return run(given)

        stage.run = run
    return state


SECONDS = {"stage1": 0.001, "stage2": 0.002, "stage3": 0.004}


def test_each_exit_answers_what_the_network_gives_there(net, folder):
    wanted = [np.asarray(scores) for scores in net(images())]
    for mode, last in (("first", 0), ("two", 1), ("all", 2)):
        runner = AdaptiveRunner(folder, mode=mode)
        for place, image in enumerate(images()):
            answer = runner.run(image)
            assert answer.stages == NAMES[: last + 1]
            np.testing.assert_allclose(answer.scores, wanted[last][place], rtol=1e-4, atol=1e-5)


def test_it_stops_where_it_is_sure(folder, sure, thresholds):
    runner = AdaptiveRunner(folder, mode="some")
    ends = []
    for place, image in enumerate(images(20)):
        answer = runner.run(image)
        wanted = next((k for k in range(2) if sure[place, k] >= thresholds[k]), 2)
        assert len(answer.stages) == wanted + 1 and not answer.cut
        assert answer.signal == pytest.approx(sure[place, wanted], abs=1e-4)
        ends.append(wanted)
    assert set(ends) == {0, 1, 2}, "nothing was decided"


def test_it_changes_its_mode_by_a_budget(folder):
    clock = Clock()
    runner = AdaptiveRunner(folder, [LatencyBudget(7.5, 1.0, 0.85)], dwell=5, clock=clock, mode="all")
    state = slowed(runner, clock, SECONDS)
    image = images(1)[0]

    def modes(frames):
        return [runner.run(image).mode for _ in range(frames)]

    assert modes(30) == ["all"] * 30
    # All stages take 14 ms now, two 6, one 2.
    state["factor"] = 2.0
    slow = modes(100)
    assert slow[0] == "all" and slow[-1] == "two"
    state["factor"] = 10.0
    assert modes(100)[-1] == "first"
    # 11.9 ms of all stages do not fit; 5.1 of two are below 0.85 x 7.5.
    state["factor"] = 1.7
    assert modes(200)[-1] == "two"
    state["factor"] = 0.8
    assert modes(300)[-1] == "all"
    assert runner.switches == 4


def test_it_changes_its_mode_by_a_battery(folder):
    runner = AdaptiveRunner(folder, [Signal("battery", (0.2, 0.4, 0.6))], dwell=1)
    image = images(1)[0]
    charges = (0.9, 0.5, 0.3, 0.1, 0.9)
    assert [runner.run(image, battery=one).mode for one in charges] == ["all", "some", "two", "first", "all"]
    with pytest.raises(InputError, match="needs the signal 'battery'"):
        runner.run(image)


def test_a_deadline_cuts_what_would_end_too_late(folder):
    clock = Clock()
    runner = AdaptiveRunner(folder, mode="all", clock=clock)
    slowed(runner, clock, SECONDS)
    image = images(1)[0]
    found = [runner.run(image, deadline_ms=ms) for ms in (7.5, 6.0, 2.5, 0.1)]
    assert [len(answer.stages) for answer in found] == [3, 2, 1, 1]
    assert [answer.cut for answer in found] == [False, True, True, True]
    assert found[0].latency_ms == pytest.approx(7.0)


def test_what_it_is_held_against(folder):
    worst, mean = (AdaptiveRunner(folder, [LatencyBudget(100.0)], hold=hold) for hold in ("worst", "mean"))
    some = worst.policy.mode("some")
    assert worst.present_ms(some) == pytest.approx(7.0)
    assert mean.present_ms(some) == pytest.approx(1 + 0.75 * 2 + 0.5 * 4)


def test_a_cascade_of_a_float_and_an_int8_file(tmp_path):
    nets = {"light": classifier(2, name="light"), "heavy": classifier(4, name="heavy")}
    files = {
        "light": export_tflite(nets["light"], INT8, [image[None] for image in images()]),
        "heavy": export_tflite(nets["heavy"], FP32),
    }
    stages = cascade_stages(files)
    modes = [
        Mode("both", ("light", "heavy"), 80.0, thresholds=(None,), shares=(0.0, 1.0), **SOME),
        Mode("light", ("light",), 70.0, **SOME),
    ]
    policy = Policy("pair", "cascade", "top-1 accuracy", stages, modes, signal="entropy", logits=True)
    place = write_adaptive(tmp_path / "pair", policy, {f"{k}.tflite": v for k, v in files.items()}, images(2))
    assert all(check.passed for check in verify_adaptive(place))
    for name, mode, tolerance in (("heavy", "both", 1e-5), ("light", "light", 0.2)):
        found = AdaptiveRunner(place, mode=mode).run(images(1)[0])
        np.testing.assert_allclose(found.scores, nets[name](images(1))[0], atol=tolerance)
    with pytest.raises(InputError, match="needs a policy with latencies"):
        AdaptiveRunner(place, [LatencyBudget(5.0)])
    # MACs order the modes for a battery all the same.
    assert AdaptiveRunner(place, [Signal("battery", (0.5,))]).run(images(1)[0], battery=0.1).mode == "light"


def test_the_folder_is_verified(folder, tmp_path):
    checks = list(verify_adaptive(folder))
    assert is_adaptive(folder) and all(check.passed for check in checks) and len(checks) == 2 + 4
    copy = rewrite_policy(_copied(folder, tmp_path / "copy"), read_policy(folder))
    golden = json.loads((copy / "golden.json").read_text())
    golden["modes"]["all"][0]["scores"][0] += 1.0
    (copy / "golden.json").write_text(json.dumps(golden))
    found = list(verify_adaptive(copy))
    assert [check.passed for check in found] == [False, None] and "golden.json" in str(found[0])
    golden["modes"]["all"][1]["stages"] = ["stage1"]
    wrong = _resummed(copy, golden)
    bad = [check for check in verify_adaptive(wrong) if not check.passed]
    assert len(bad) == 1 and "1 ended at another stage" in str(bad[0])


def _copied(folder, target):
    files = {"model.tflite": (folder / "model.tflite").read_bytes()}
    return write_adaptive(target, read_policy(folder), files, read_golden(folder)[0])


def _resummed(folder, golden):
    """As if the wrong answers had been written so: the sums are right."""
    from tta_lite.export.manifest import file_sums, write_sums

    (folder / "golden.json").write_text(json.dumps(golden))
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    sums = {name: {"sha256": one, "bytes": size} for name, (one, size) in file_sums(folder).items()}
    manifest["files"] = {name: sums[name] for name in manifest["files"]}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))
    (folder / "SHA256SUMS").unlink()
    write_sums(folder)
    return folder


def test_what_does_not_fit_is_refused(folder, tmp_path):
    policy, tflite = read_policy(folder), (folder / "model.tflite").read_bytes()
    first, *rest = policy.stages
    with pytest.raises(InputError, match="must hold model"):
        write_adaptive(tmp_path / "a", policy, {}, images(1))
    for change, said in (
        ({"signature": "stage9"}, "must have the signature 'stage9'"),
        ({"scores": "marks"}, "give 'marks'"),
        ({"image_shape": (9, 9, 1)}, r"must take an image \[9, 9, 1\]"),
    ):
        wrong = dataclasses.replace(policy, stages=(dataclasses.replace(first, **change), *rest))
        with pytest.raises(InputError, match=said):
            write_adaptive(tmp_path / "a", wrong, {"model.tflite": tflite}, images(1))
    assert not (tmp_path / "a").exists(), "half a folder was left"
    crossed = dataclasses.replace(rest[0], inputs=dict.fromkeys(rest[0].inputs, "stage1/scores"))
    with pytest.raises(InputError, match="of its own shape"):
        wrong = dataclasses.replace(policy, stages=(first, crossed, rest[1]))
        write_adaptive(tmp_path / "a", wrong, {"model.tflite": tflite}, images(1))
    with pytest.raises(InputError, match="`mode` must be one of"):
        AdaptiveRunner(folder, mode="fastest")
    with pytest.raises(InputError, match="`hold` must be"):
        AdaptiveRunner(folder, hold="median")
    with pytest.raises(InputError, match=r"must be \[8, 8, 1\]"):
        AdaptiveRunner(folder).run(images(1, size=4)[0])
    enlarged = AdaptiveRunner(folder, resize=lambda image, size: np.kron(image[..., 0], np.ones((2, 2)))[..., None])
    assert enlarged.run(images(1, size=4)[0]).stages == NAMES


def test_stages_are_timed(folder):
    samples = time_stages(folder, runs=3)
    assert set(samples) == set(NAMES) and all(len(one) == 3 and min(one) > 0 for one in samples.values())
    policy = with_latencies(read_policy(folder), {name: [1.0, 2.0, 3.0] for name in NAMES}, "made up", quantiles=2)
    assert policy.stages[0].latency_ms == 2.0 and policy.stages[0].spread_ms == (1.5, 2.5)


def test_it_runs_without_tensorflow(folder):
    code = f"""
import sys
import numpy as np
from tta_lite.adaptive.rules import LatencyBudget
from tta_lite.adaptive.runner import AdaptiveRunner
runner = AdaptiveRunner({str(folder)!r}, [LatencyBudget(1000.0)])
answer = runner.run(np.zeros((8, 8, 1), np.float32), deadline_ms=1000.0)
loaded = {{name.split(".")[0] for name in sys.modules}}
print(answer.mode, sorted(loaded & {{"tensorflow", "tf_keras", "keras", "scipy", "matplotlib"}}))
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.stdout.strip() == "all []", done.stderr[-2000:]
