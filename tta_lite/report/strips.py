"""Pictures side by side as one small PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

GAP = 8
# Six people take 150 kB with so many, and 190 with all 255.
COLOURS = 128


def joined(tiles: Sequence[Image.Image]) -> bytes:
    """-> a PNG: RGB tiles of one size in a row, with clear gaps."""
    width, height = tiles[0].size
    strip = Image.new("RGB", (len(tiles) * (width + GAP) - GAP, height))
    gaps = Image.new("1", strip.size, 1)
    for i, tile in enumerate(tiles):
        at = (i * (width + GAP), 0)
        strip.paste(tile, at)
        gaps.paste(0, (*at, at[0] + width, height))
    # A palette keeps a page with many strips small. Its last colour is kept free for the gaps.
    small = strip.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    palette = small.getpalette() or []
    small.putpalette(palette + [255] * (3 * 256 - len(palette)))
    small.paste(255, mask=gaps)
    stream = io.BytesIO()
    small.save(stream, "png", optimize=True, transparency=255)
    return stream.getvalue()
