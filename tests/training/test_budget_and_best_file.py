"""`BudgetWatch` and `TFLiteExport`: limits on cost, and the best file of a training."""

from __future__ import annotations

import hashlib
import itertools
import json
import math

import pytest

from tests.training.loop import drive, make_net, silent
from tta_lite.training.callbacks import (
    BudgetWatch,
    TFLiteExport,
)
from tta_lite.types import InputError


@pytest.fixture(scope="module")
def net():
    return make_net()


def test_a_budget_is_watched_every_few_epochs(net):
    figures, lines = iter([1.0, 2.0, 9.0]), []
    watch = BudgetWatch({"size": (lambda model: next(figures), 5)}, every=2, write=lines.append)
    seen = drive(watch, net, epochs=9, steps=1)
    assert [logs["size"] for logs in seen] == [1.0, 2.0, 2.0, 9.0]
    assert lines == ["BudgetWatch: size is 9, above its limit of 5, after epoch 4; the training stops"]
    assert watch.over == ("size",) and net.stop_training


def test_a_warning_does_not_stop(net):
    lines = []
    both = {"size": (lambda model: 6, 5), "macs": (lambda model: 5, 5)}
    drive(BudgetWatch(both, action="warn", write=lines.append), net, epochs=2, steps=1)
    assert not net.stop_training and len(lines) == 3 and lines[0].endswith("limit of 5, at the start")


def test_a_figure_that_is_no_number_is_over_its_limit(net):
    watch = BudgetWatch({"latency": (lambda model: math.nan, 5)}, write=silent)
    drive(watch, net, epochs=1, steps=1)
    assert watch.over == ("latency",)
    with pytest.raises(InputError, match=r"function of 'size' must give a number. Received: b'file'"):
        drive(BudgetWatch({"size": (lambda model: b"file", 5)}), net, epochs=1, steps=1)


def exported(folder, scores, net, *, epochs, first=0, known=b"", **options):
    """Each file holds the number of its export; the scores are as given."""
    files, left = (f"{first}.{k}".encode() for k in itertools.count()), iter(scores)
    keep = TFLiteExport(
        folder / "net.tflite", lambda model: next(files), lambda file: 7.5 if file == known else next(left),
        write=silent, **options,
    )  # fmt: skip
    return keep, drive(keep, net, epochs=epochs, steps=1, first=first)


@pytest.mark.parametrize(("mode", "best"), [("max", 1), ("min", 0)])
def test_the_best_file_is_kept_with_its_record(tmp_path, net, mode, best):
    scores = [5.0, 9.0, 7.0]
    keep, seen = exported(tmp_path, scores, net, epochs=3, mode=mode)
    assert [logs["int8_accuracy"] for logs in seen] == scores
    file = (tmp_path / "net.tflite").read_bytes()
    record = json.loads((tmp_path / "net.json").read_text())
    assert file == f"0.{best}".encode() and record["epoch"] == best and record["value"] == scores[best]
    assert record["sha256"] == hashlib.sha256(file).hexdigest() and record["mode"] == mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.json", "net.tflite"] and keep.best == record


def test_a_training_that_goes_on_knows_the_best_file(tmp_path, net):
    exported(tmp_path, [5.0, 8.0, 6.0], net, epochs=3)
    _, seen = exported(tmp_path, [7.0], net, epochs=5, first=3, every=5)
    # Until its first export it logs what was measured last.
    assert [logs["int8_accuracy"] for logs in seen] == [6.0, 7.0]
    assert (tmp_path / "net.tflite").read_bytes() == b"0.1"
    exported(tmp_path, [8.5], net, epochs=6, first=5)
    assert (tmp_path / "net.tflite").read_bytes() == b"5.0"
    # One that begins knows nothing of it.
    exported(tmp_path, [1.0], net, epochs=1)
    assert (tmp_path / "net.tflite").read_bytes() == b"0.0"


def test_killed_between_file_and_record(tmp_path, net):
    exported(tmp_path, [5.0], net, epochs=1)
    (tmp_path / "net.tflite").write_bytes(b"newer")
    keep, _ = exported(tmp_path, [7.0], net, epochs=2, first=1, known=b"newer")
    assert keep.best["value"] == 7.5 and (tmp_path / "net.tflite").read_bytes() == b"newer"
    assert json.loads((tmp_path / "net.json").read_text())["sha256"] == hashlib.sha256(b"newer").hexdigest()


def test_a_score_that_is_no_number_is_never_the_best(tmp_path, net):
    keep, _ = exported(tmp_path, [math.nan, 3.0, math.nan], net, epochs=3)
    assert keep.best["value"] == 3.0 and keep.best["epoch"] == 1


def test_a_record_of_another_metric_is_refused(tmp_path, net):
    exported(tmp_path, [5.0], net, epochs=1)
    with pytest.raises(InputError, match=r"must be of pckh \(max\).* Received: int8_accuracy \(max\)"):
        exported(tmp_path, [5.0], net, epochs=2, first=1, metric="pckh")
    (tmp_path / "net.json").write_text("[]")
    with pytest.raises(InputError, match=r"must be the record of net.tflite. Received: "):
        exported(tmp_path, [5.0], net, epochs=2, first=1)
