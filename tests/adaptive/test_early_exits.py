"""Exits, the stages between them, and the file that holds them all."""

from __future__ import annotations

import numpy as np
import pytest

from tests.adaptive.networks import AFTER, classifier, images, with_exits
from tests.networks import randomised
from tta_lite.adaptive.loaded import LoadedStage
from tta_lite.adaptive.staged import cascade_stages, early_exit_file, early_exit_int8, tuned_modes
from tta_lite.compat import keras
from tta_lite.export.joined import join_files, shared_bytes
from tta_lite.export.runner import load
from tta_lite.export.signatures import export_part, export_signatures
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.counting import count
from tta_lite.transforms.early_exits import add_exits, split_stages
from tta_lite.types import FP32, InputError


@pytest.fixture(scope="module")
def net():
    return with_exits()


@pytest.fixture(scope="module")
def exported(net):
    return early_exit_file(net)


def test_the_classifier_stays_what_it_was():
    before = classifier()
    weights = [weight.copy() for weight in before.get_weights()]
    made = add_exits(before, AFTER, head="pooled")
    assert made.output_names == ["exit1_scores", "exit2_scores", "top"]
    np.testing.assert_array_equal(made(images())[-1], before(images()))
    assert [layer.name for layer in before.layers] == [layer.name for layer in classifier().layers]
    made.set_weights([weight + 1 for weight in made.get_weights()])
    assert all(np.array_equal(a, b) for a, b in zip(weights, before.get_weights(), strict=True))


def test_stages_one_after_the_other_give_what_the_network_gives(net):
    stages = split_stages(net)
    assert [stage.inputs for stage in stages] == [
        ("image",), ("stage1/features1",), ("stage2/features1", "stage1/features1"),
    ]  # fmt: skip
    made = {"image": images()}
    for stage, wanted in zip(stages, net(images()), strict=True):
        found = stage.model([made[name] for name in stage.inputs])
        found = found if isinstance(found, list) else [found]
        made |= {f"{stage.model.name}/{name}": value for name, value in zip(stage.outputs, found, strict=True)}
        np.testing.assert_array_equal(made[f"{stage.model.name}/scores"], wanted)
    # Nothing is computed twice, and nothing is left out.
    assert sum(count(stage.model).macs for stage in stages) == count(net).macs
    # To look at it has left the network what it was.
    assert split_stages(net)[1].inputs == stages[1].inputs


def test_one_file_gives_what_the_network_gives(net, exported):
    stages, tflite = exported
    interpreter = load(tflite)
    assert list(interpreter.get_signature_list()) == ["stage1", "stage2", "stage3"]
    wanted = [np.asarray(scores) for scores in net(images())]
    for place, image in enumerate(images()):
        made = {"image": image[None]}
        for stage, scores in zip(stages, wanted, strict=True):
            run = interpreter.get_signature_runner(stage.signature)
            found = run(**{argument: made[taken] for argument, taken in stage.inputs.items()})
            made |= {f"{stage.name}/{name}": values for name, values in found.items()}
            np.testing.assert_allclose(made[f"{stage.name}/scores"][0], scores[place], rtol=1e-4, atol=1e-5)
    assert sum(stage.macs for stage in stages) == count(net).macs


def test_signatures_share_their_weights_and_compute_what_their_own_files_do():
    # Large enough that weights and not records make the size. The first part holds all that the second does.
    wide = randomised(add_exits(classifier(48), ["add"]), std=0.1)
    parts = {"whole": wide, "last": keras.Model(wide.input, wide.outputs[-1])}
    own = {name: export_part(part) for name, part in parts.items()}
    both = export_signatures(parts)
    assert len(both) < 1.04 * max(map(len, own.values()))
    assert sum(map(len, own.values())) > 1.5 * max(map(len, own.values()))
    assert shared_bytes(both) > 0.7 * len(own["last"])
    for name, tflite in own.items():
        alone, together = load(tflite).get_signature_runner(), load(both).get_signature_runner(name)
        for image in images(3):
            for output, values in alone(image=image[None]).items():
                np.testing.assert_array_equal(together(image=image[None])[output], values)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["fp16", "dynamic"])
def test_smaller_weights_are_shared_too(preset):
    wide = add_exits(classifier(64), ["add"])
    parts = {"whole": wide, "last": keras.Model(wide.input, wide.outputs[-1])}
    assert len(export_signatures(parts, preset)) < 1.06 * len(export_part(wide, preset))


def test_int8_stages_are_files_of_their_own_and_answer_as_the_network_does(net):
    stages, files = early_exit_int8(net, [image[None] for image in images(20)])
    assert [stage.file for stage in stages] == list(files) == ["stage1.tflite", "stage2.tflite", "stage3.tflite"]
    loaded = [LoadedStage(stage, load(files[stage.file])) for stage in stages]
    assert all(edge.dtype == np.int8 for one in loaded for edge in (*one.inputs.values(), *one.outputs.values()))
    wanted = [np.asarray(scores) for scores in net(images(20))]
    apart = np.zeros((20, 3))
    for place, image in enumerate(images(20)):
        made = {"image": image[None]}
        for exit_, (stage, one) in enumerate(zip(stages, loaded, strict=True)):
            found = one.run({argument: made[taken] for argument, taken in stage.inputs.items()})
            made |= {f"{stage.name}/{name}": values for name, values in found.items()}
            apart[place, exit_] = np.abs(found["scores"][0] - wanted[exit_][place]).max()
    # 255 steps from the smallest score to the largest; roundings of the layers before add up to some.
    assert (apart.max(axis=0) < 0.06 * np.array([np.ptp(scores) for scores in wanted])).all()
    assert [stage.macs for stage in stages] == [stage.macs for stage in early_exit_file(net)[0]]


def test_what_cannot_be_joined_is_refused(exported):
    with pytest.raises(InputError, match="one file or more"):
        join_files({})
    with pytest.raises(InputError, match="3 and 3 for 'a'"):
        join_files({"a": exported[1]})
    with pytest.raises(InputError, match="exported with one of"):
        export_part(classifier(), "int8")
    with pytest.raises(InputError, match="fixed input sizes"):
        export_part(keras.Model(*(2 * [keras.Input((None, None, 1))])))


@pytest.mark.parametrize(
    ("after", "head", "said"),
    [
        ([], "conv", "one layer or more"),
        (["relu0", "relu0"], "conv", "each once"),
        (["add", "relu0"], "conv", "in the order"),
        (["nowhere"], "conv", "layers of the network"),
        (["pool"], "conv", r"needs features \[B, H, W, C\]"),
        (["add"], "best", "`head` must be one of"),
        (["add"], lambda x, classes, activation, name: x, r"must give \[B, 5\]"),
    ],
)
def test_exits_that_cannot_be_are_refused(after, head, said):
    with pytest.raises(InputError, match=said):
        add_exits(classifier(), after, head=head)


def test_an_exit_of_nothing_new_is_refused():
    net = classifier()
    with pytest.raises(InputError, match="something new"):
        split_stages(keras.Model(net.input, [net.output, net.output]))


def test_a_head_ends_as_the_classifier_does():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 3, name="conv")(image)
    soft = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x))
    made = add_exits(keras.Model(image, soft), ["conv"])
    np.testing.assert_allclose(np.sum(made(images())[0], axis=1), 1, rtol=1e-5)


def test_modes_of_a_cascade(exported):
    files = {"light": export_tflite(classifier(2, name="light"), FP32), "heavy": export_tflite(classifier(), FP32)}
    stages = cascade_stages(files)
    assert [stage.file for stage in stages] == ["light.tflite", "heavy.tflite"]
    assert [stage.macs for stage in stages] == [count(classifier(2)).macs, count(classifier()).macs]
    labels = np.arange(200) % 2
    right = np.eye(2)[labels]
    # The light one is right wherever it is sure, and sure of every fourth.
    sure = (np.arange(200) // 2 % 4 == 0)[:, None]
    light = np.where(sure, 0.8 * right + 0.1, 0.2 * right[:, ::-1] + 0.4)
    modes = tuned_modes(stages, ([light, right], labels), ([light, right], labels))
    assert modes[0].stages == ("light",) and modes[0].accuracy == 25.0
    assert modes[-1].accuracy == 100.0 and modes[-1].shares == (0.25, 0.75)
    assert modes[-1].thresholds[0] == pytest.approx(0.75)
    # Where it is unsure it is wrong.
    assert modes[-1].answered == (100.0, 100.0) and modes[-1].cut == (0.0,)
    with pytest.raises(InputError, match="one signature"):
        cascade_stages({"a": exported[1]})
