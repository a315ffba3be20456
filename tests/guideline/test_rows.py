from __future__ import annotations

import pytest

from tta_lite.guideline.rows import DEFAULT_ROWS, ROWS, choose_rows
from tta_lite.types import InputError

# Table 1 of the TTA technical report: PCKh@0.5, initialisation (s), one image (s), on a Firefly RK3399.
TABLE_1 = {
    "none": (81.4, 12.113, 1.054),
    "G1": (77.7, 5.878, 0.704),
    "G1+G2": (76.3, 6.062, 0.354),
    "G1+G2+G4": (76.0, 5.929, 0.352),
}


def test_the_published_figures_are_table_1():
    theirs = {
        name: tuple(row.published[key] for key in ("pckh", "init_s", "latency_s"))
        for name, row in ROWS.items()
        if row.published
    }
    assert theirs == TABLE_1


def test_the_steps_of_a_row_are_those_of_its_name():
    for name, row in ROWS.items():
        steps = set(name.removesuffix(" scratch").split("+")) - {"none"}
        taken = {
            "G1": row.light,
            "G2": row.narrow,
            "G3": row.export.preset == "int8",
            "G4": row.mixed and row.export.preset == "fp16",
            "G5": row.pruned,
        }
        assert {step for step, there in taken.items() if there} == steps
        assert row.name == name
        assert row.pretrained is not name.endswith("scratch")


def test_a_row_has_the_clause_of_its_last_step():
    clauses = {"none": "7", "G1": "6.1.1", "G2": "6.1.2", "G3": "6.2.1", "G4": "6.2.2", "G5": "6.2.3"}
    for name, row in ROWS.items():
        assert row.clause == clauses[name.removesuffix(" scratch").split("+")[-1]]
        assert row.why


def test_the_six_rows_of_a_first_run():
    assert DEFAULT_ROWS == ("none", "G1", "G1+G2", "G1+G2+G4", "G1+G2+G3", "G1+G2+G5")
    assert [row.name for row in choose_rows(DEFAULT_ROWS)] == list(DEFAULT_ROWS)


def test_rows_come_in_the_tables_order_and_once():
    names = ["G1+G2 scratch", "G1+G2", "none", "G1+G2+G3", "G1+G2"]
    assert [row.name for row in choose_rows(names)] == ["none", "G1+G2", "G1+G2+G3", "G1+G2 scratch"]
    for place, name in enumerate(ROWS):
        source = ROWS[name].network_of
        assert source is None or list(ROWS).index(source) < place


def test_g3_needs_the_network_that_it_quantises():
    with pytest.raises(InputError, match=r"G1\+G2\+G3 exports the network of G1\+G2.*Received: none, G1\+G2\+G3"):
        choose_rows(["none", "G1+G2+G3"])


@pytest.mark.parametrize(
    ("names", "received"),
    [(["none", "G6", "g1"], "G6, g1"), ([], "none"), (["G1", ""], "none"), (["G1 + G2"], r"G1 \+ G2")],
)
def test_unknown_rows_are_refused_with_the_known_ones(names, received):
    with pytest.raises(InputError, match=rf"some of: none, G1, G1\+G2, .*Received: {received}$"):
        choose_rows(names)
