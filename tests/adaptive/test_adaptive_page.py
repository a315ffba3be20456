"""The Python of docs/adaptive.md runs as it stands there, block after block."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tests.adaptive.quick import quicken
from tta_lite.adaptive.folder import verify_adaptive

PAGE = Path(__file__).parents[2] / "docs" / "adaptive.md"
# A network that learns for less than a second; what is left is what a reader types.
QUICK = {
    "epochs=40": "epochs=1",
    "FitSettings(40": "FitSettings(1",
    "(16, 32)": "(4, 4)",
    "for place in range(2)": "for place in range(1)",
    "block and not place": "block",
    "relu0_1": "relu0_0",
    '"digits", classifier, pixels="-1..1"': '"digits:1747", classifier, pixels="-1..1", batch_size=1650',
    "held_out(task, 300)": "held_out(task, 50)",
    "take(20)": "take(1)",
    "(0.75, 0.5, 0.25)": "(0.5,)",
    "round_to=4, floor=4": "round_to=2, floor=2",
    "(6, 4))": "(4,))",
}


def test_its_python_runs(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    code = "\n".join(blocks)
    for typed, quick in QUICK.items():
        assert typed in code, typed
        code = code.replace(typed, quick)
    quicken(monkeypatch)
    monkeypatch.chdir(tmp_path)
    # The reader's own picture.
    code = code.replace("answer = runner", "image = np.zeros((8, 8, 1))\nanswer = runner")
    exec(compile(code, str(PAGE), "exec"), {"np": np})
    for name in ("artifact", "slim", "sizes"):
        assert all(check.passed for check in verify_adaptive(tmp_path / name))
