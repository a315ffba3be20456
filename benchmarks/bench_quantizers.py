"""int8 of one network by this project, by two quantisers alone and by Sony's model-compression-toolkit, side by side.

    python benchmarks/bench_quantizers.py --model=net.keras --task=pose:lspet:/data/lspet --pixels=-1..1 --flip_test \
        --out=DIR [--mct_python=mct/bin/python] [--gptq_epochs=5]

Every tool gets the same calibration images and is left at its own settings, MCT with a description of TFLite (see
mct_child.py, which also says how its environment is made). A row a tool: accuracy of the file with its 95 % interval on
the task's test examples, bytes, speed (files in turn, one run), seconds and processor seconds from the Keras model to
the file. MCT's accuracy is that of its quantised Keras model if its file cannot be made; the row says so. Files stay
in --out, and a run that was stopped goes on with what is there. Cost: five minutes for a network of 3 million
parameters at 128 x 128 on 2 idle cores, and as long again for each of MCT's.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from quantizers_alone import from_keras_model, litert_quantizer_alone

from tta_lite.compat import keras
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.export.runner import TFLitePredictor
from tta_lite.measure import machine
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.models.files import load_network
from tta_lite.tasks.find import find_task
from tta_lite.types import Accuracy, ExportSpec, InputError, Task

_MODEL = flags.DEFINE_string("model", None, "A trained network, a .keras file.", required=True)
_TASK = flags.DEFINE_string("task", None, "As of tta-lite: pose:<data set>:PATH, image_folder:PATH.", required=True)
_PIXELS = flags.DEFINE_string("pixels", "-1..1", "What the network expects of its pixels.")
_FLIP_TEST = flags.DEFINE_bool("flip_test", False, "pose: score the mean of a picture and its mirror image.")
_COUNT = flags.DEFINE_integer("count", 200, "Calibration images.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Each file has its turn so often.", 1)
_MCT_PYTHON = flags.DEFINE_string("mct_python", None, "Of the environment that holds MCT; its rows stay empty if not.")
_GPTQ_EPOCHS = flags.DEFINE_integer("gptq_epochs", 0, "Above 0: also MCT's gradient PTQ.", 0)
_OUT = flags.DEFINE_string("out", None, "A folder.", required=True)

FLOAT = "float32"
CHILD = Path(__file__).with_name("mct_child.py")


def makers(model: keras.Model, images: list[np.ndarray]) -> dict[str, Callable[[], bytes]]:
    """-> tool -> how it makes its file of the Keras model, all from the beginning."""

    def fresh() -> FloatFile:
        # A float file is kept for the model that it was made of; each tool shall pay for its own.
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        return FloatFile.of_model(copy)

    def ours(**settings: Any) -> bytes:
        return PostTraining(fresh(), images).quantize(ExportSpec("int8", len(images), **settings))

    table = {
        FLOAT: lambda: fresh().tflite,
        "tta_lite_converter": lambda: ours(backend="converter"),
        "tta_lite_litert_quantizer": lambda: ours(backend="litert_quantizer"),
        # The first repair that G3 of the guideline tries.
        "tta_lite_corrected": lambda: ours(repairs=("bias_correction",)),
        "tensorflow_alone": lambda: from_keras_model(model, np.concatenate(images)),
        "litert_quantizer_alone": lambda: litert_quantizer_alone(fresh().tflite, images),
    }
    return table


def made(folder: Path, name: str, make: Callable[[], bytes]) -> dict[str, Any]:
    """-> seconds that a tool took; its file lies in the folder."""
    record = folder / f"{name}.json"
    if not record.is_file():
        wall, used = time.perf_counter(), time.process_time()
        tflite = make()
        took = {"seconds": time.perf_counter() - wall, "processor_s": time.process_time() - used}
        (folder / f"{name}.tflite").write_bytes(tflite)
        record.write_text(json.dumps(took), encoding="utf-8")
    return json.loads(record.read_text(encoding="utf-8"))


class Recorder:
    """A predictor that only keeps what it is shown, so that another process can predict it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.seen = shape, list[np.ndarray]()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """[B, H, W, C] -> zeros."""
        self.seen.append(images)
        return np.zeros((len(images), *self.shape), np.float32)


class Replay:
    """A predictor that gives out, in order, what was predicted elsewhere."""

    def __init__(self, predictions: np.ndarray) -> None:
        self.predictions, self.given = predictions, 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """[B, H, W, C] -> the next B predictions."""
        self.given += len(images)
        return self.predictions[self.given - len(images) : self.given]


def run_mct(model: keras.Model, task: Task, images: list[np.ndarray], folder: Path, name: str, epochs: int) -> None:
    """Runs the child; its figures, file and predictions lie in the folder of that name."""
    out, pictures = folder / name, folder / "pictures.npy"
    if (out / "took.json").is_file():
        return
    model.save(folder / "net.h5", include_optimizer=False)
    np.save(folder / "calibration.npy", np.concatenate(images))
    if not pictures.is_file():
        recorder = Recorder(tuple(model.outputs[0].shape[1:]))
        task.score(recorder)
        np.save(pictures, np.concatenate(recorder.seen))
    command = [_MCT_PYTHON.value, str(CHILD), f"--model={folder / 'net.h5'}", f"--out={out}"]
    command += [f"--calibration={folder / 'calibration.npy'}", f"--pictures={pictures}", f"--gptq_epochs={epochs}"]
    # Its TensorFlow is another one, with a Keras of its own.
    kept = {key: value for key, value in os.environ.items() if key not in ("TF_USE_LEGACY_KERAS", "PYTHONPATH")}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=kept)
    if done.returncode:
        raise InputError(f"{name} must run to its end. Received: exit code {done.returncode} of {' '.join(command)}")
    (out / "took.json").write_text(done.stdout.splitlines()[-1], encoding="utf-8")


def mct_row(task: Task, folder: Path, name: str) -> tuple[Accuracy, dict[str, Any], Path | None]:
    """-> the accuracy, the figures of the child, and its file if LiteRT runs it."""
    took, file = json.loads((folder / name / "took.json").read_text(encoding="utf-8")), folder / name / "int8.tflite"
    if file.is_file():
        try:
            return scored(folder / name / "score.json", task, TFLitePredictor(file.read_bytes())), took, file
        except InputError as error:
            took["export_error"] = str(error)
    predictions = np.load(folder / name / "predictions.npy")
    return scored(folder / name / "score.json", task, Replay(predictions)), took, None


def scored(record: Path, task: Task, predict: Callable[[np.ndarray], np.ndarray]) -> Accuracy:
    """-> the accuracy, kept for a run that goes on."""
    if not record.is_file():
        found = task.score(predict)
        record.write_text(json.dumps([found.value, found.metric, found.interval, found.examples]), encoding="utf-8")
    value, metric, interval, examples = json.loads(record.read_text(encoding="utf-8"))
    return Accuracy(value, metric, tuple(interval), examples=examples)


def main(argv: Sequence[str]) -> None:
    """Quantises by every tool, scores, times, prints."""
    del argv
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"{machine.summary()}, load {loads} before; {_COUNT.value} calibration images")
    folder = Path(_OUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    model = load_network(_MODEL.value)
    task = find_task(_TASK.value, model, pixels=_PIXELS.value, flip_test=_FLIP_TEST.value)
    images = list(task.calibration(_COUNT.value))
    rows: dict[str, tuple[str, str, float, float]] = {}
    files: dict[str, Path] = {}
    for name, make in makers(model, images).items():
        took, file = made(folder, name, make), folder / f"{name}.tflite"
        accuracy = scored(folder / f"{name}.score.json", task, TFLitePredictor(file.read_bytes()))
        rows[name] = (_text(accuracy), f"{file.stat().st_size:,}", took["seconds"], took["processor_s"])
        files[name] = file
        print(f"# {name}: {accuracy.metric} {_text(accuracy)}", flush=True)
    notes = []
    for name, epochs in (("mct", 0), ("mct_gptq", _GPTQ_EPOCHS.value)):
        if name == "mct_gptq" and not epochs:
            continue
        if _MCT_PYTHON.value:
            run_mct(model, task, images, folder, name, epochs)
        if not (folder / name / "took.json").is_file():
            rows[name] = ("not installed", "-", float("nan"), float("nan"))
            continue
        found, took, exported = mct_row(task, folder, name)
        size = f"{exported.stat().st_size:,}" if exported else "no file"
        rows[name] = (_text(found), size, took["quantise_s"], took.get("quantise_cpu_s", float("nan")))
        if exported:
            files[name] = exported
        else:
            notes.append(f"{name}: of the quantised Keras model, for the export failed: {took['export_error']}")
    speeds = benchmark_together(files, rounds=_ROUNDS.value, min_secs=5).speedups(FLOAT)
    print("\n| tool | accuracy (95 % interval) | bytes | times as fast as float32 | seconds | of the processor |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, (accuracy_text, size, seconds, used) in rows.items():
        speed = f"{speeds[name].median:.2f} ({speeds[name].min:.2f}-{speeds[name].max:.2f})" if name in speeds else "-"
        print(f"| {name} | {accuracy_text} | {size} | {speed} | {seconds:.1f} | {used:.1f} |")
    print("\n" + "\n".join([*notes, f"load {', '.join(f'{load:.1f}' for load in os.getloadavg())} after"]))


def _text(accuracy: Accuracy) -> str:
    return f"{accuracy.value:.1f} ({accuracy.interval[0]:.1f}-{accuracy.interval[1]:.1f})"


if __name__ == "__main__":
    app.run(main)
