from __future__ import annotations

import csv

import pytest

from tests.adaptive.made_up import policy
from tests.recipes.in_process import recipe, typed
from tta_lite.adaptive.policy import write_policy


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifact")
    write_policy(folder / "policy.json", policy())
    return folder


def test_it_writes_the_table_and_the_plot(artifact, tmp_path, capfd):
    with recipe("adaptive_simulate") as module:
        run = typed(module, capfd)
        words = [f"--artifact={artifact}", "--period_ms=12", "--seconds=20", "--seed=2", "--cut", "--hold=mean"]
        code, out, errors = run(*words, f"--out={tmp_path / 'walk'}")
        assert code == 0, errors
        # What it was: the same trace from its file, in Korean.
        again, korean, _ = run(*words, f"--trace={tmp_path / 'walk' / 'trace.csv'}", "--language=ko",
                               f"--out={tmp_path / 'again'}")  # fmt: skip
        assert again == 0
    rows = [list(csv.reader((tmp_path / name / "simulation.csv").open())) for name in ("walk", "again")]
    assert [row[0] for row in rows[0]] == ["mode", "adaptive", "first", "half", "all"]
    assert rows[0] == rows[1]
    assert "| adaptive |" in out and "Simulated, from latencies that were: made up" in out
    assert "| 적응형 |" in korean and "모의실험" in (tmp_path / "again" / "simulation.md").read_text(encoding="utf-8")
    for name in ("walk", "again"):
        assert (tmp_path / name / "simulation.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_flag_is_one_line(artifact, tmp_path, capfd):
    with recipe("adaptive_simulate") as module:
        run = typed(module, capfd)
        for words, said in (
            ((f"--artifact={tmp_path}",), "must be a folder with a policy.json"),
            ((f"--artifact={artifact}", "--trace=storm"), "--trace must be a CSV file or one of sinusoid, steps, walk"),
            ((f"--artifact={artifact}", "--up=2"), "0 < up <= down"),
        ):
            code, _, errors = run(*words, "--period_ms=12", f"--out={tmp_path / 'out'}")
            assert code == 2 and said in errors and len(errors.splitlines()) == 1
    assert not (tmp_path / "out").exists()
