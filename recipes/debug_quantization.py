"""Which layers lose what by quantisation, and which precision each should have (G3, clause 6.2.1).

  tta-lite debug-quantization --model=net.keras --task=pose:lspet:/data/lspet --pixels=imagenet --out=runs/debug
  tta-lite debug-quantization --model=net.tflite --calibration=/data/pictures --pixels=-1..1 --out=runs/debug
  tta-lite debug-quantization --model=net.keras --task=... --max_size_kib=4000 --out=runs/mixed
  tta-lite debug-quantization --model=net.keras --task=... --max_latency_ms=6 --out=runs/mixed

Prints the worst layers by their names in the Keras network, and writes debug.json, report.html (which codes are never
used, layer by layer) and plots/. --leave_one_out makes the file once for each op, with that op in float32. With
--max_size_kib or --max_latency_ms, the layers that lose most get 16x8 or float32 as long as the file stays within; the
latency is that of this machine, or what --latency_model predicts. The file is mixed.tflite, and mixed.json tells what
was tried.

Cost: about 0.3 s an op; as much again with --leave_one_out; a search two to four times that.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags, logging
from rich.console import Console
from rich.table import Table

from recipes import _app, _quantization, _run, _task
from tta_lite.report.language import LANGUAGES
from tta_lite.types import InputError

if TYPE_CHECKING:
    import numpy as np

    from tta_lite.export.quantize.debug import Debug
    from tta_lite.export.quantize.post_training import PostTraining
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.types import ExportSpec

_DEBUG_IMAGES = flags.DEFINE_integer("debug_images", 8, "Calibration pictures that the errors are measured on.", 1)
_LEAVE_ONE_OUT = flags.DEFINE_bool("leave_one_out", False, "Also make the file once for each op, with it in float32.")
_MAX_SIZE = flags.DEFINE_float("max_size_kib", None, "Search the precision of each layer: the file's limit.", 0)
_MAX_LATENCY = flags.DEFINE_float(
    "max_latency_ms", None, "Search the precision of each layer: of an inference here.", 0
)
_LATENCY_MODEL = flags.DEFINE_string(
    "latency_model", None, "With --max_latency_ms: predicted by it (tta-lite predict --fit) and not measured here."
)
_WORST = flags.DEFINE_integer("worst", 10, "Layers to print.", 1)
_LANGUAGE = flags.DEFINE_enum("language", "en", tuple(LANGUAGES), "Of report.html.")

# A file takes less time than a layer, and single pictures differ by 10 dB.
_SEARCH_IMAGES = 32
_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_run, _quantization, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, quantises, compares, writes."""
    if not _task.TASK.value:
        _task.refuse("with --task", _task.BATCH_SIZE, _task.MIRROR, _task.FLIP_TEST)
    if _MAX_LATENCY.value is None:
        _task.refuse("with --max_latency_ms", _LATENCY_MODEL)
    from tta_lite.export.quantize.debug import debug_export
    from tta_lite.export.quantize.post_training import PostTraining
    from tta_lite.guideline.quantize_file import edges_of
    from tta_lite.report.quantization import write_debug

    logging.set_verbosity(logging.WARNING)
    source = _quantization.source()
    spec = _quantization.spec(lambda: source)
    if not spec.needs_images:
        raise InputError(f"--preset must be int8 or int16x8, whose activations are rounded. Received: {spec.preset}")
    searched = _MAX_SIZE.value is not None or _MAX_LATENCY.value is not None
    if searched and spec.preset != "int8":
        raise InputError(f"A search of the precisions begins with --preset=int8. Received: --preset={spec.preset}")
    latency = None if _MAX_LATENCY.value is None else _latency()
    task = _task.find(edges_of(source.tflite)) if _task.TASK.value else None
    images = _quantization.images(source, task)
    post = PostTraining(source, images)
    values = {holder.name: holder.value for holder in _FLAGS}
    folder = _run.open_folder("debug_quantization", _FLAGS, seed=_task.SEED.value)
    shown = images[: _DEBUG_IMAGES.value]
    found = debug_export(post, spec, shown, leave_one_out=_LEAVE_ONE_OUT.value)
    facts = {
        name: json.dumps(value) if not isinstance(value, str) else value for name, value in values.items() if value
    }
    page = write_debug(folder, source.name, found, shown, facts=facts, say=LANGUAGES[_LANGUAGE.value])
    _show(found)
    print(f"written: {page}, {folder.path}/debug.json")
    if searched:
        _search(post, spec, images[: max(_SEARCH_IMAGES, _DEBUG_IMAGES.value)], found, folder, latency)


def _search(
    post: PostTraining,
    spec: ExportSpec,
    images: Sequence[np.ndarray],
    found: Debug,
    folder: RunFolder,
    latency: Callable[[bytes], float] | None,
) -> None:
    from tta_lite.export.quantize.mixed import search_mixed_precision

    chosen = search_mixed_precision(
        post,
        images,
        spec=spec,
        max_size_bytes=None if _MAX_SIZE.value is None else int(_MAX_SIZE.value * 1024),
        max_latency_ms=_MAX_LATENCY.value,
        latency=latency,
        found=found,
    )
    folder.write_bytes("mixed.tflite", chosen.tflite)
    folder.write_json("mixed.json", chosen.to_json())
    raised = ", ".join(f"{layer} {precision}" for layer, precision in chosen.raised.items()) or "none gained anything"
    told = "" if chosen.latency_ms is None else f", {chosen.latency_ms:.3g} ms"
    size, before = (f"{count / 1024:,.0f} KiB" for count in (chosen.size_bytes, len(found.tflite)))
    print(f"raised: {raised}")
    first = chosen.tried[0].score
    print(f"output {chosen.score:.1f} dB, before {first:.1f} dB; {size}, before {before}{told}")
    print(f"written: {folder.path}/mixed.tflite, {folder.path}/mixed.json")


def _latency() -> Callable[[bytes], float]:
    """-> what tells the milliseconds of a file: measured in a process of its own here, or predicted."""
    if _LATENCY_MODEL.value:
        from tta_lite.measure.latency_model import load_model
        from tta_lite.measure.predict import predict

        model = load_model(_LATENCY_MODEL.value)
        return lambda tflite: predict(tflite, model).latency_ms
    from tta_lite.measure.benchmark import benchmark

    def measured(tflite: bytes) -> float:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "model.tflite"
            path.write_bytes(tflite)
            return benchmark(path, num_runs=20, min_secs=0.3).latency.p50

    return measured


def _show(found: Debug) -> None:
    tried = any(one.gain is not None for one in found.ops)
    table = Table(box=None, pad_edge=False)
    table.add_column("worst layers", overflow="fold", min_width=24)
    table.add_column("by")
    for head in ("output dB", "SQNR dB", "cosine", *(["gain"] if tried else [])):
        table.add_column(head, justify="right")
    for one in found.worst(_WORST.value):
        gain = [] if one.gain is None else [f"{one.gain:+.2f}"]
        figures = (f"{one.alone_db:.1f}", f"{one.sqnr_db:.1f}", f"{one.cosine:.4f}", *gain)
        table.add_row(one.layer, "weights" if one.by_weights else "range", *figures)
    console = Console()
    console.print(table)
    console.print(
        f"output of the whole file: {found.output_sqnr_db:.1f} dB over {found.images} images, {len(found.ops)} ops, "
        f"{found.seconds:.0f} s; output dB: of the network's output if only that layer is quantised, which loses most "
        "by its weights or by the range of what it writes; SQNR: of its own values, as run",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


if __name__ == "__main__":
    _app.run(main)
