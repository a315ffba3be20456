"""The page of the layer debugger: which layers lose what by quantisation, and which codes nothing uses."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.compare import Grid
from tta_lite.export.quantize.debug import Debug, OpError
from tta_lite.export.quantize.single_error import CODES, Weights, quantised_weights
from tta_lite.export.quantize.statistics import TensorStatistics, collect
from tta_lite.report import columns as cols
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.plots import THEMES
from tta_lite.report.quantization_plots import activation_plot, codes_reached, weights_plot
from tta_lite.report.run_folder import RunFolder, slug
from tta_lite.report.templating import environment

PAGE, RECORD, TEMPLATE = "report.html", "debug.json", "quantization.html.j2"
# Layers of the short list, and of those whose tensors are drawn.
MOST_WORST, MOST_DRAWN = 10, 5
# A bar of this many decibels is full: an error of a thousandth.
FULL_DB = 60.0


def write_debug(
    folder: RunFolder,
    title: str,
    found: Debug,
    images: Sequence[np.ndarray],
    *,
    facts: Mapping[str, str] | None = None,
    say: Language = ENGLISH,
) -> Path:
    """Writes ``debug.json``, ``plots/*.png`` and ``report.html`` into the run folder; -> the page's path.

    Args:
      folder: of the run.
      title: of the page.
      found: what the debugger found.
      images: that fill the histograms, each [1, H, W, C] float32.
      facts: name -> text: how the file was made.
      say: the language.
    """
    folder.write_json(RECORD, {**found.to_json(), **({"facts": dict(facts)} if facts else {})})
    drawn = tensor_views(found, images, say)
    for one in drawn:
        folder.write_bytes(f"plots/{slug(one['layer'])}-{one['kind']}.png", one["light"])
    return folder.write_text(PAGE, render_page(title, found, drawn, facts or {}, say))


def render_page(
    title: str, found: Debug, drawn: Sequence[Mapping[str, Any]], facts: Mapping[str, str], say: Language = ENGLISH
) -> str:
    """-> the page as HTML; every text is escaped.

    Args:
      title: of the window and above the headline.
      found: what the debugger found.
      drawn: of `tensor_views`.
      facts: how the file was made.
      say: the language.
    """
    worst = found.worst()
    return environment().get_template(TEMPLATE).render(
        say=say,
        title=title,
        headline=_headline(found, say),
        summary=_summary(found, say),
        with_gain=any(one.gain is not None for one in found.ops),
        worst=[op_line(one, found, say) for one in worst[:MOST_WORST]],
        errors={
            "title": say("Every layer, from the image to the output"),
            "bars": [op_line(one, found, say) for one in found.ops],
            "every": [op_line(one, found, say) for one in found.ops],
            "with_gain": any(one.gain is not None for one in found.ops),
            "short": False,
            "notes": (),
        },
        figures=[{**one, "light": _address(one["light"]), "dark": _address(one["dark"])} for one in drawn],
        notes=op_notes(found, say),
        facts=dict(facts),
    )  # fmt: skip


def tensor_views(
    found: Debug, images: Sequence[np.ndarray], say: Language = ENGLISH,
    most: int = MOST_DRAWN,
) -> list[dict[str, Any]]:  # fmt: skip
    """-> weights and written tensor of each of the worst layers: PNGs, and the sentence that says what is wasted."""
    ours, theirs = GraphEdit(found.float_tflite), GraphEdit(found.tflite)
    held = collect(found.float_tflite, images)
    views = []
    for one in found.worst(most):
        if (weights := quantised_weights(ours, theirs, one.tensor)) is not None:
            pictures = {name: weights_plot(weights, theme, say) for name, theme in THEMES.items()}
            views.append({**pictures, "layer": one.layer, "kind": "weights", "what": say("weights"), "single": False,
                          "said": weights_sentence(weights, say)})  # fmt: skip
        if (grid := _grid(one)) is not None:
            single = weights is None
            pictures = {name: activation_plot(held[one.tensor], grid, theme, say) for name, theme in THEMES.items()}
            views.append({**pictures, "layer": one.layer, "kind": "output", "what": say("output"), "single": single,
                          "said": range_sentence(held[one.tensor], grid, say)})  # fmt: skip
    return views


def weights_sentence(weights: Weights, say: Language = ENGLISH) -> str:
    """-> how many codes no weight reaches."""
    codes = weights.per_channel().astype(np.int32)
    reached = codes.max(axis=1) - codes.min(axis=1) + 1
    idle = say(
        "{share} % of the {codes} codes are never used: a channel's weights reach {typical} of them on average, those "
        "of the narrowest channel {least}.",
        share=f"{100 * (1 - float(reached.mean()) / CODES):.0f}", codes=CODES, typical=f"{reached.mean():.0f}",
        least=int(reached.min()),
    )  # fmt: skip
    scales = say("All channels share one scale.") if len(weights.scales) == 1 else ""
    return f"{idle} {scales}".strip()


def range_sentence(held: TensorStatistics, grid: Grid, say: Language = ENGLISH) -> str:
    """-> how many codes no value reaches, and how far values lie outside."""
    codes = grid.last - grid.first + 1
    reached = codes_reached(held, grid)
    low, high = grid.range
    if reached == codes:
        said = say("All {codes} codes are in use, from {low} to {high}.", codes=codes, low=_short(low),
                   high=_short(high))  # fmt: skip
    else:
        said = say(
            "{share} % of the {codes} codes are never used: they reach from {low} to {high}, the values from {least} "
            "to {most}.",
            share=f"{100 * (1 - reached / codes):.0f}", codes=codes, low=_short(low), high=_short(high),
            least=_short(held.low), most=_short(held.high),
        )  # fmt: skip
    if held.low < low - grid.scale / 2 or held.high > high + grid.scale / 2:
        said += " " + say("What lies outside is clipped.")
    return said


def _headline(found: Debug, say: Language) -> str:
    return say(
        "The output keeps {output} dB of signal to noise; {layer} does most of the harm",
        output=_db(found.output_sqnr_db, say), layer=found.worst(1)[0].layer,
    )  # fmt: skip


def _summary(found: Debug, say: Language) -> str:
    worst = found.worst()
    noise = [10 ** (-one.alone_db / 10) for one in worst]
    share = sum(noise[:3]) / sum(noise) if sum(noise) else 0.0
    weights = sum(one.by_weights for one in worst[:MOST_WORST])
    return say(
        "The three worst of {count} layers make {share} % of the noise that reaches the output. Of the {worst} worst, "
        "{weights} lose most by their weights, the others by the range of what they write.",
        count=len(worst), share=f"{100 * share:.0f}", worst=min(MOST_WORST, len(worst)), weights=weights,
    )  # fmt: skip


def op_line(one: OpError, found: Debug, say: Language) -> dict[str, Any]:
    """-> the figures of an op as texts."""
    return {
        "layer": one.layer,
        "fused": ", ".join(one.fused[1:]),
        "op": one.op,
        "alone": _db(one.alone_db, say),
        "weights": _db(one.weights_db, say),
        "output": _db(one.output_db, say),
        "by_weights": one.by_weights,
        "gain": cols.DASH if one.gain is None else cols.number(one.gain, 2, sign=True),
        "run": _db(one.sqnr_db, say),
        "run_share": _share(one.sqnr_db),
        "local": _db(one.local_sqnr_db, say),
        "local_share": _share(one.local_sqnr_db),
        "cosine": cols.number(one.cosine, 4),
        "mean_error": cols.DASH if not math.isfinite(one.mean_error) else _short(one.mean_error),
        "range": f"{_short(one.low)} {cols.DASH} {_short(one.high)}",
        "held": cols.DASH if one.held_low is None or one.held_high is None
        else f"{_short(one.held_low)} {cols.DASH} {_short(one.held_high)}",
        "scale": cols.DASH if one.scale is None else _short(one.scale),
        "clipped": cols.number(100 * one.clipped, 2),
        "worst": one in found.worst(MOST_WORST),
    }  # fmt: skip


def op_notes(found: Debug, say: Language) -> list[str]:
    """-> what a reader of the figures must know."""
    notes = [
        say(
            "SQNR: power of the float network's values over the power of the errors, in decibels. 20 dB more are a "
            "tenth of the error. Over {images} images.",
            images=found.images,
        ),
        say(
            "Output if only this layer is quantised: the float network in which nothing but this layer's weights, or "
            "nothing but what it writes, is rounded as in the quantised file. The noises of all layers add up to that "
            "of the whole file, nearly."
        ),
        say(
            "As run: the layer's values in the quantised file, with the errors of all layers before it. By itself: its "
            "values if the layers before it were exact."
        ),
    ]
    if any(one.gain is not None for one in found.ops):
        notes.append(
            say(
                "If kept in float: by how much the score ({metric}) of the quantised file grows if this layer stays "
                "in float32. A layer whose output range does the harm gains little by itself: the layers that read it "
                "take int8, and must be kept with it.",
                metric=say.known(found.metric),
            )
        )  # fmt: skip
    return notes


def _grid(one: OpError) -> Grid | None:
    if one.scale is None or one.zero_point is None or one.held_low is None or one.held_high is None:
        return None
    first, last = (round(end / one.scale) + one.zero_point for end in (one.held_low, one.held_high))
    return Grid(one.scale, one.zero_point, first, last)


def _share(ratio_db: float) -> str:
    """-> percent of a full bar."""
    return f"{100 * min(max(ratio_db, 0.0), FULL_DB) / FULL_DB:.1f}"


def _db(ratio: float, say: Language) -> str:
    if math.isinf(ratio):
        return say("no error") if ratio > 0 else cols.DASH
    return cols.number(ratio, 1)


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", cols.MINUS)


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
