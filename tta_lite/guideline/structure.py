"""One step of structure (G1 or G2) on a network that the user has: what it costs before and after, measured."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.boards.profile import BoardProfile
from tta_lite.boards.runtime import Runtime
from tta_lite.compat import keras
from tta_lite.export.delegation import check_delegation, undelegated_ops
from tta_lite.export.for_runtime import exported_for
from tta_lite.export.tflite import export_tflite
from tta_lite.files import atomic_path, atomic_write
from tta_lite.guideline.case_study import FILE, MODEL, Journal, report_on_paper, say
from tta_lite.guideline.checks import as_if_trained, missing_ops
from tta_lite.guideline.timing import QUICK_RULES, time_together
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.counting import count
from tta_lite.models.backbones import LIGHT_BACKBONES, Normalisation
from tta_lite.transforms.backbone import swap_backbone
from tta_lite.types import FP32, InputError, LedgerEntry, Verdict


def measure_networks(
    networks: Mapping[str, tuple[keras.Model, str, str]],
    journal: Journal,
    rules: Mapping[str, Any],
    *,
    runtime: Runtime | None = None,
    write: Callable[[str], None] = say,
) -> list[LedgerEntry]:
    """Exports networks in float32, counts them and times them in turn; nothing is trained.

    Args:
      networks: name of the row -> the model, the clause it follows, and why or how it was made.
      journal: gets ``model.keras`` and ``model.tflite`` of each, and the ledger.
      rules: ``num_threads``, ``rounds``, ``num_runs``, ``min_secs``.
      runtime: of the board, see `tta_lite.export.for_runtime.exported_for`; None: no board is known.
      write: where progress goes.

    Returns:
      one entry a network.
    """
    entries, files = [], {}
    for index, (name, (model, clause, why)) in enumerate(networks.items()):
        began = time.monotonic()
        write(f"[{index + 1}/{len(networks)}] {name}: exporting")
        folder = journal.step_dir(index, name)
        tflite = exported_for(export_tflite(model, FP32), runtime)
        atomic_write(folder / FILE, tflite)
        with atomic_path(folder / MODEL) as temporary:
            model.save(temporary)
        counts = count(model)
        report = report_on_paper(tflite, counts)
        left = check_delegation(tflite)
        notes = [left] if left else []
        if counts.uncounted:
            notes.append(f"MACs are not counted for {', '.join(counts.uncounted)}.")
        details = {"label": f"{model.name}, fp32", "note": " ".join(notes), "undelegated": left}
        files[name] = folder / FILE
        entries.append(LedgerEntry(name, clause, Verdict.TAKEN, why, report, time.monotonic() - began, details))
    write(f"timing {len(files)} files in turn, {rules['rounds']} rounds, {rules['num_threads']} thread(s)")
    entries = time_together(entries, files, rules)
    journal.write_ledger(entries)
    return entries


@dataclasses.dataclass(frozen=True)
class Contender:
    """A light backbone in front of the user's head.

    Attributes:
      name: of the backbone.
      macs: of the whole network.
      params: of the whole network.
      size_bytes: of the float32 file.
      latency_ms: p50 on this machine; None if it was not timed.
      speedup: over the unmodified network, the median over the rounds.
      undelegated: ops that XNNPACK does not take here.
      unsupported: ops that the board's runtime does not take; None if no board was given.
      added: layers that adapt it to the head.
      fault: why it cannot be used; the figures are None then.
    """

    name: str
    macs: int | None = None
    params: int | None = None
    size_bytes: int | None = None
    latency_ms: float | None = None
    speedup: float | None = None
    undelegated: tuple[str, ...] = ()
    unsupported: tuple[str, ...] | None = None
    added: tuple[str, ...] = ()
    fault: str = ""


UNMODIFIED = "none"


def compare_backbones(
    model: keras.Model,
    board: BoardProfile | None = None,
    candidates: Sequence[str] = LIGHT_BACKBONES,
    *,
    runtime: str | None = None,
    cut: str | Sequence[str] | None = None,
    normalised: Normalisation | None = None,
    rules: Mapping[str, Any] | None = None,
    write: Callable[[str], None] = say,
) -> list[Contender]:
    """What the guideline means by "test several": each light backbone with this network's head, untrained but timed.

    Latency does not depend on the values of the weights, so that nothing needs training to be timed; accuracy does.

    Args:
      model: the unmodified network.
      board: the target: what its runtime does not take is told. The latency is this machine's all the same.
      candidates: names that `tta_lite.models.backbones.get_backbone` knows.
      runtime: one of the board's; its first if None.
      cut: see `swap_backbone`.
      normalised: see `swap_backbone`.
      rules: of `benchmark_together`; one thread and five rounds by default.
      write: where progress goes.

    Returns:
      the unmodified network first, then the candidates, the fastest first; those that cannot be used last.
    """
    rules = {**QUICK_RULES, **(rules or {})}
    asked = board.runtime(runtime) if board else None
    found: dict[str, Contender] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for index, name in enumerate((UNMODIFIED, *candidates), start=1):
            write(f"[{index}/{len(candidates) + 1}] {name}")
            try:
                added: tuple[str, ...] = ()
                network = model
                if name != UNMODIFIED:
                    swap = swap_backbone(model, name, cut, normalised=normalised)
                    network, added = swap.model, tuple(one.layer for one in swap.added)
                tflite = export_tflite(as_if_trained(network), FP32)
            except InputError as error:
                if name == UNMODIFIED:
                    raise
                found[name] = Contender(name, fault=" ".join(str(error).split()))
                continue
            counts = count(network)
            ops = tuple(dict.fromkeys(op.op for op in undelegated_ops(tflite)))
            missing = tuple(dict.fromkeys(miss.op for miss in missing_ops(tflite, asked))) if asked else None
            found[name] = Contender(
                name, counts.macs, counts.params, len(tflite), undelegated=ops, unsupported=missing, added=added
            )
            files[name] = Path(folder, f"{index:02d}.tflite")
            files[name].write_bytes(tflite)
        write(f"timing {len(files)} files in turn, {rules['rounds']} rounds, {rules['num_threads']} thread(s)")
        comparison = benchmark_together(files, **rules)
        speedups = comparison.speedups(UNMODIFIED)
    for name in files:
        found[name] = dataclasses.replace(
            found[name], latency_ms=comparison[name].latency.p50, speedup=speedups[name].median
        )
    rest = [contender for name, contender in found.items() if name != UNMODIFIED]
    rest.sort(key=lambda one: (bool(one.fault), one.latency_ms or 0.0))
    return [found[UNMODIFIED], *rest]


def contenders_table(contenders: Sequence[Contender]) -> str:
    """-> GitHub Markdown, one line a backbone; a column for the board's runtime if one was asked."""
    asked = any(one.unsupported is not None for one in contenders)
    head = ["backbone", "p50, ms", "speed-up", "MACs, G", "parameters, M", "file, MB", "not taken by XNNPACK here"]
    head += ["not supported on the board"] * asked + ["added"]
    numbers = 5
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * numbers + "---|" * (len(head) - 1 - numbers)]
    for one in contenders:
        if one.fault:
            cells = [one.name, *["-"] * numbers, f"cannot be used: {one.fault}", *["-"] * (len(head) - numbers - 2)]
        else:
            assert one.macs is not None and one.params is not None and one.size_bytes is not None
            cells = [
                one.name, f"{one.latency_ms:.1f}", f"{one.speedup:.1f}", f"{one.macs / 1e9:.2f}",
                f"{one.params / 1e6:.2f}", f"{one.size_bytes / 1e6:.1f}", ", ".join(one.undelegated) or "-",
                *[", ".join(one.unsupported or ()) or "-"] * asked, ", ".join(one.added) or "-",
            ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
