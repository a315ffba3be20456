"""When is a step left out, and what does it try? The gates on made-up rows, the trials on small networks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.guideline.made_up import Figures, MadeUpBench
from tta_lite.boards.profile import get_board
from tta_lite.compat import keras
from tta_lite.guideline.bench import START, State, Step, Teaching
from tta_lite.guideline.checks import ops_check
from tta_lite.guideline.settings import CLAUSES, Setting, Settings
from tta_lite.guideline.steps import guideline_steps
from tta_lite.measure.counting import count
from tta_lite.types import FP16, Budget, Candidate, InputError, Verdict

L = keras.layers
RK3399 = get_board("rk3399")
IMAGES = [np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32) for _ in range(4)]


def net(deconv: bool = False) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3), name="image")
    x = L.Conv2D(32, 3, padding="same", activation="relu", name="conv")(image)
    x = L.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="deep")(x)
    if deconv:
        return keras.Model(image, L.Conv2DTranspose(8, 4, strides=2, padding="same", name="up")(x))
    return keras.Model(image, L.Dense(4, name="scores")(L.GlobalAveragePooling2D(name="pool")(x)))


def setting(board=RK3399, *, trains=True, calibrates=True, **settings) -> Setting:
    quick = {"num_threads": 1, "rounds": 2, "num_runs": 2, "min_secs": 0.0}
    images = IMAGES if calibrates else []
    return Setting(Settings(**settings), board, None, trains, lambda count: images[:count], None, quick)


def state(budget: Budget, start: Figures | None = None, model: keras.Model | None = None, **rows: Figures) -> State:
    """-> the rows called after their steps, each taken; the last one stands."""
    bench = MadeUpBench(start or Figures(), {(name, name): figures for name, figures in rows.items()})
    for name in rows:
        bench.kept[name] = name
    comparison = bench.compare({name: bench.file(name) for name in (START, *rows)})
    entries = {}
    for name in (START, *rows):
        entry = bench._entry(name, name)
        report = dataclasses.replace(entry.report, **comparison[name].report_fields())
        entries[name] = dataclasses.replace(entry, report=report)
    return State(budget, Candidate(model), [START, *rows][-1], entries)


def the(name: str, chosen: Setting) -> Step:
    return next(step for step in guideline_steps(chosen) if step.name == name)


def why(name: str, chosen: Setting, at: State) -> list[str]:
    """-> the codes of the reasons for which a step is left out."""
    return [one.code for one in the(name, chosen).gate(at)]


def text(name: str, chosen: Setting, at: State) -> str:
    return "; ".join(str(one) for one in the(name, chosen).gate(at))


def board(**changes):
    cores = RK3399.cores
    if "features" in changes:
        cores = (dataclasses.replace(cores[0], features=changes.pop("features"), isa="armv8.2-a"),)
    runtimes = tuple(dataclasses.replace(one, **changes) for one in RK3399.runtimes[:1])
    return dataclasses.replace(RK3399, cores=cores, runtimes=runtimes)


SLOW = Budget(max_latency_ms=50)


def test_the_order_is_the_guideline_s():
    """Figure 9: G1, G2, then G5 if memory binds, then G3, then G4 if G3 lost too much; structure first."""
    steps = guideline_steps(setting())
    assert [step.name for step in steps] == ["G1", "G2", "subpixel", "channels", "G5", "G3", "G4"]
    clauses = {"G1": "6.1.1", "G2": "6.1.2", "subpixel": "6.1.2", "G5": "6.2.3", "G3": "6.2.1", "G4": "6.2.2"}
    assert {step.name: step.clause for step in steps} == {**clauses, "channels": "6.2.3"}


def test_what_the_later_steps_may_bring():
    """G2 leaves 40 % of the MACs at least, and G3 halves the file at least."""
    later = {step.name: step.later for step in guideline_steps(setting(macs=(0.7, 0.4)))}
    assert later["G1"]["size"] == pytest.approx(2.5 * 2.2) and later["G1"]["latency"] == pytest.approx(2.5)
    assert later["G2"]["size"] == later["subpixel"]["size"] == 2.2
    # Half of the channels' MACs on top, but not times what G2 takes out: it is the same room.
    assert later["G2"]["latency"] == later["subpixel"]["latency"] == 2 and later["channels"]["latency"] == 1
    fewer = {step.name: step.later["latency"] for step in guideline_steps(setting(macs=(0.7,), channels=(0.4,)))}
    assert fewer["G1"] == fewer["G2"] == 2.5
    assert the("G2", setting(trains=False)).later["latency"] == 1
    assert set(later["G3"].values()) == set(later["G4"].values()) == {1.0}
    assert the("G2", setting(calibrates=False)).later["size"] == 1.0


@pytest.mark.parametrize("name", CLAUSES)
def test_a_step_can_be_left_out_on_request(name):
    assert why(name, setting(left_out=(name,)), state(SLOW, model=net())) == ["left_out"]


@pytest.mark.parametrize(
    ("name", "codes"),
    [("G1", ["no_training"]), ("G2", []), ("channels", ["no_training"]), ("G5", ["no_training"]), ("G3", [])],
)
def test_without_training_data_only_what_needs_none_is_taken(name, codes):
    assert why(name, setting(trains=False), state(SLOW, model=net())) == codes


def test_factors_are_not_trained_where_nothing_can_be():
    found = the("G2", setting(trains=False))
    assert {trial.epochs for trial in found.trials(state(SLOW, model=net()))} == {0}


def test_full_integers_go_ahead_of_weights_alone():
    at = dataclasses.replace(state(SLOW), candidate=Candidate(net()))
    trials = the("G3", setting()).trials(at)
    assert [(trial.name, trial.ahead) for trial in trials] == [("int8", 1), ("dynamic", 0)]


def test_fewer_different_weights_only_where_the_zip_may_stay_too_large():
    # 900 KiB of zip before: 8 bits are counted on to halve it.
    chosen = setting()
    assert [one.name for one in the("G3", chosen).trials(state(Budget(max_zip_kib=450)))] == ["int8", "dynamic"]
    few = the("G3", chosen).trials(state(Budget(max_zip_kib=449)))
    assert [one.name for one in few] == ["int8", "int8-5bits", "dynamic"]
    export = few[1].make().export
    assert (export.preset, export.weight_bits, export.repairs) == ("int8", 5, ("bias_correction",))
    assert few[1].label == "full integers (int8), weights of 5 bits"


def test_integers_without_calibration_images_are_weights_alone():
    found = the("G3", setting(calibrates=False))
    assert [trial.name for trial in found.trials(state(SLOW, model=net()))] == ["dynamic"]


def test_pruning_only_if_memory_binds():
    assert why("G5", setting(), state(SLOW)) == ["no_memory_limit"]
    assert why("G5", setting(), state(Budget(max_size_kib=500))) == ["pruning_no_help"]
    assert why("G5", setting(), state(Budget(max_peak_memory_mib=10))) == ["pruning_no_help"]
    # 1,000 KiB that compress to 900: 225 in 8 bits.
    assert why("G5", setting(), state(Budget(max_zip_kib=300))) == ["int8_is_enough"]
    assert "225 of 300 KiB" in text("G5", setting(), state(Budget(max_zip_kib=300)))
    assert why("G5", setting(), state(Budget(max_zip_kib=200))) == []
    # Where there are no integers, nothing but pruning is left.
    assert why("G5", setting(left_out=("G3",)), state(Budget(max_zip_kib=300))) == []
    assert why("G5", setting(board(presets=("fp32",))), state(Budget(max_zip_kib=300))) == []


def test_channels_only_if_latency_binds():
    """And pruning never for it: each of the two for what the clause says of it."""
    for budget in (Budget(max_size_kib=500), Budget(max_zip_kib=200), Budget(max_latency_ms=200, max_size_kib=500)):
        assert why("channels", setting(), state(budget)) == ["no_latency_limit"]
    assert why("channels", setting(), state(SLOW)) == [] and why("G5", setting(), state(SLOW)) == ["no_memory_limit"]
    both = Budget(max_latency_ms=50, max_zip_kib=200)
    assert why("channels", setting(), state(both)) == why("G5", setting(), state(both)) == []


def test_what_loses_channels_is_taught_by_the_unmodified_network():
    at = dataclasses.replace(state(SLOW, G2=Figures(ms=80)), candidate=Candidate(net(), trail=("G2",)))
    trials = the("channels", setting(channels=(0.7, 0.4), criterion="l1_norm", finetune_epochs=3)).trials(at)
    assert [(trial.name, trial.epochs, trial.rate) for trial in trials] == [
        ("channels0.7", 3, 0.3), ("channels0.4", 3, 0.3)
    ]  # fmt: skip
    assert {(trial.teaching.row, trial.teaching.control) for trial in trials} == {("none", True)}
    made = trials[1].make()
    assert made.trail == ("G2", "channels 40% of the MACs")
    filters = [made.model.get_layer(name).filters for name in ("conv", "deep")]
    assert all(one % 8 == 0 for one in filters) and count(made.model).macs <= 0.4 * count(net()).macs
    assert made.model.output_shape == (None, 4)
    (alone,) = the("channels", setting(channels=(0.7,), teaching=None)).trials(at)
    assert alone.teaching is None


def test_what_g1_and_g2_train_is_taught_by_the_unmodified_network():
    for name in ("G1", "G2"):
        for wanted in (True, False):
            chosen = setting(backbones=("mobilenet_v2",), macs=(0.5,), teaching=Teaching(START, control=wanted))
            (trial,) = the(name, chosen).trials(state(SLOW, model=net()))
            assert (trial.teaching.row, trial.teaching.control) == ("none", wanted) and trial.epochs
    untrained = setting(macs=(0.5,), trains=False)
    (trial,) = the("G2", untrained).trials(state(SLOW, model=net()))
    assert trial.teaching is None and not trial.epochs


def test_channels_are_a_multiple_of_what_the_cores_compute_at_once():
    at = state(SLOW, model=net())
    wide = dataclasses.replace(RK3399.cores[0], features=("avx2", "fma"), isa="x86-64")
    chosen = setting(dataclasses.replace(RK3399, cores=(wide,)), channels=(0.7,), criterion="l1_norm")
    (trial,) = the("channels", chosen).trials(at)
    filters = [trial.make().model.get_layer(name).filters for name in ("conv", "deep")]
    assert all(one % 16 == 0 for one in filters) and min(filters) < 32


def test_a_board_without_integers():
    assert why("G3", setting(board(presets=("fp32", "fp16"))), state(SLOW)) == ["no_int8"]
    assert "fp32, fp16 only (6.2.1)" in text("G3", setting(board(presets=("fp32", "fp16"))), state(SLOW))
    assert [
        trial.name for trial in the("G3", setting(board(presets=("fp32", "dynamic")))).trials(state(SLOW, model=net()))
    ] == ["dynamic"]


def test_half_precision_after_integers_that_were_fine():
    at = state(SLOW, G3=Figures(ms=60, accuracy=79.5))
    assert why("G4", setting(board(features=("fp16",))), at) == ["g3_was_fine"]
    assert "taken at -0.5 points, and 3 may be lost" in text("G4", setting(board(features=("fp16",))), at)


def test_half_precision_where_the_cores_do_not_compute_it():
    """The case study's board is Armv8.0: no arithmetic in FP16."""
    assert why("G4", setting(), state(SLOW)) == ["no_fp16"]
    assert "Cortex-A72 and Cortex-A53 of Firefly-RK3399" in text("G4", setting(), state(SLOW))
    assert why("G4", setting(), state(SLOW, G3=Figures(accuracy=79))) == ["g3_was_fine", "no_fp16"]
    # Half the size is a gain all the same, if the size is what is missing.
    assert why("G4", setting(), state(Budget(max_size_kib=500))) == []


def test_half_precision_where_integers_lost_too_much():
    at = state(SLOW, G3=Figures(accuracy=20))
    lossy = {**at.entries, "G3": dataclasses.replace(at.entries["G3"], verdict=Verdict.TOO_LOSSY)}
    at = dataclasses.replace(at, entries=lossy, current=START)
    fp16 = setting(board(features=("neon", "fp16")))
    assert why("G4", fp16, at) == []
    trials = the("G4", fp16).trials(dataclasses.replace(at, candidate=Candidate(net())))
    assert [trial.make().export for trial in trials] == [FP16, FP16]
    # The second one is trained in 16 bits first: float16 on a GPU, else bfloat16, which needs no loss scaling.
    wanted = "mixed_float16" if tf.config.list_physical_devices("GPU") else "mixed_bfloat16"
    assert [(trial.epochs, trial.rate, trial.precision) for trial in trials] == [(0, 1.0, "float32"), (2, 0.3, wanted)]
    untrained = the("G4", setting(board(features=("fp16",)), trains=False)).trials(at)
    assert [trial.precision for trial in untrained] == ["float32"]
    assert why("G4", setting(board(presets=("fp32", "int8"))), at) == ["no_fp16_files"]


def test_subpixel_is_for_deconvs_of_stride_2():
    assert why("subpixel", setting(), state(SLOW, model=net())) == ["no_deconv"]
    assert why("subpixel", setting(), state(SLOW, model=net(deconv=True))) == []


def test_a_board_without_depth_to_space_keeps_its_deconvs():
    without = dataclasses.replace(
        RK3399.runtimes[1],
        name="listed",
        ops=RK3399.runtimes[1].ops - {"DEPTH_TO_SPACE"},
        max_inputs={},
        presets=("fp32", "int8"),
    )  # fmt: skip
    chosen = setting(dataclasses.replace(RK3399, runtimes=(without,)))
    trial = the("subpixel", chosen).trials(state(SLOW, model=net(deconv=True)))[0]
    with pytest.raises(InputError, match="up: the board does not take DEPTH_TO_SPACE"):
        trial.make()


def test_what_the_backbones_are_and_where_they_start():
    chosen = setting(backbones=("mobilenet_v1_0.25", "squeezenet_1.1"), weights={"squeezenet_1.1": "a.npz"}, epochs=7)
    trials = the("G1", chosen).trials(state(SLOW, model=net()))
    assert [(trial.name, trial.epochs) for trial in trials] == [("mobilenet_v1_0.25", 7), ("squeezenet_1.1", 7)]
    assert [trial.label for trial in trials] == [
        "mobilenet_v1_0.25 (from random weights)", "squeezenet_1.1 (pretrained)",
    ]  # fmt: skip
    made = trials[0].make()
    assert made.model.output_shape == (None, 4) and made.trail == ("G1 mobilenet_v1_0.25",)


def test_the_backbones_of_a_board_that_lacks_an_op(monkeypatch):
    # All of the light networks that would do are converted to name them; one is enough here.
    monkeypatch.setitem(ops_check.__kwdefaults__, "others", ("squeezenet_1.1",))
    without = dataclasses.replace(RK3399.runtimes[1], ops=RK3399.runtimes[1].ops - {"DEPTHWISE_CONV_2D"})
    chosen = setting(dataclasses.replace(RK3399, runtimes=(without,)), backbones=("mobilenet_v1_0.25",))
    with pytest.raises(InputError, match="DEPTHWISE_CONV_2D"):
        the("G1", chosen).trials(state(SLOW, model=net()))[0].make()


def test_pruned_networks_cost_what_trained_ones_will():
    chosen = setting(sparsities=(0.75,))
    (trial,) = the("G5", chosen).trials(state(Budget(max_zip_kib=1), model=net()))
    assert trial.sparsity == 0.75 and trial.outline is not None
    kernel = trial.outline().model.get_layer("deep").get_weights()[0]
    assert np.mean(kernel == 0) == pytest.approx(0.75, abs=0.001)
    kept = net().get_layer("deep").get_weights()[0]
    assert np.abs(kept[kernel == 0]).max() <= np.abs(kept[kernel != 0]).min()
    assert trial.make().model.get_layer("deep").get_weights()[0].all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "epochs"),
        ({"macs": (1.5,)}, "macs"),
        ({"sparsities": (0.0,)}, "sparsities"),
        ({"channels": (1.0,)}, "channels"),
        ({"criterion": "size"}, "criterion"),
        ({"left_out": ("G9",)}, "left_out"),
        ({"backbones": ("mobilnet",)}, "Unknown backbone"),
        ({"weights": {"mobilnet": "imagenet"}}, "weights"),
        ({"finetune_rate": 0.0}, "finetune_rate"),
    ],
)
def test_settings_that_cannot_be(settings, words):
    with pytest.raises(InputError, match=words):
        Settings(**settings)
