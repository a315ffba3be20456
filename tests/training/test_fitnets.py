"""FitNets' first stage in the house's `fit`: the step that it takes, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.conftest import same_weights, tiny_net, tiny_task
from tta_lite.compat import keras
from tta_lite.training.distillation import Distillation
from tta_lite.training.distillation_terms import AttentionTransfer, Hint
from tta_lite.training.fit import FitSettings
from tta_lite.training.fitnets import fit_hints, hinted, without_hint
from tta_lite.types import Candidate, InputError

PAIR = Hint(2.0, {"narrow": "narrow"})
# After the hinted layer, in the order of the network.
LATER = ("narrow_relu", "deconv1", "deconv1_relu", "heatmaps")


def wider():
    """-> a teacher of other widths, with layers of the same names."""
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(6, 3, 4, "same", activation="relu")(image)
    x = keras.layers.Conv2D(20, 3, 2, "same", name="narrow")(x)
    return keras.Model(image, keras.layers.Conv2DTranspose(3, 4, 2, "same")(x))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    student = tiny_net(norm=False)
    keras.utils.set_random_seed(2)
    teacher = wider()
    settings = FitSettings(epochs=8, learning_rate=3e-3, tensorboard=False)
    folder = tmp_path_factory.mktemp("hints")
    found = fit_hints(Candidate(student), teacher, PAIR, tiny_task(), settings, folder).model
    return student, teacher, found, folder


def distance_after_regression(student, teacher):
    """-> how much of the teacher's features the best linear 1 x 1 regressor leaves unexplained, in float64."""
    images = np.concatenate([x for x, *_ in tiny_task().validation_data()])
    mine, theirs = (
        keras.Model(net.input, net.get_layer("narrow").output)(images).numpy().astype(np.float64)
        for net in (student, teacher)
    )
    mine, theirs = mine.reshape(-1, mine.shape[-1]), theirs.reshape(-1, theirs.shape[-1])
    mine = np.concatenate([mine, np.ones([len(mine), 1])], axis=1)
    rest = theirs - mine @ np.linalg.lstsq(mine, theirs, rcond=None)[0]
    return np.square(rest).sum() / np.square(theirs - theirs.mean(axis=0)).sum()


def test_the_hinted_layer_can_be_read_as_the_teachers(learnt):
    student, teacher, found, folder = learnt
    rows = (folder / "history.csv").read_text().splitlines()
    hint = rows[0].split(",").index("hint")
    first, last = (float(row.split(",")[hint]) for row in (rows[1], rows[-1]))
    assert last < 0.5 * first
    assert distance_after_regression(found, teacher) < distance_after_regression(student, teacher)


def test_what_comes_after_the_hint_is_as_it_was(learnt):
    student, _, found, _ = learnt
    for layer in student.layers:
        same = same_weights(layer, found.get_layer(layer.name))
        assert same == (layer.name in LATER or not layer.get_weights()), layer.name
    assert [layer.name for layer in found.layers] == [layer.name for layer in student.layers]


def test_a_stopped_stage_goes_on_to_the_same_weights(learnt, tmp_path):
    student, teacher, found, _ = learnt
    settings = FitSettings(epochs=8, learning_rate=3e-3, tensorboard=False)

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_hints(Candidate(student), teacher, PAIR, tiny_task(), settings, tmp_path, callbacks=[Kill()])
    again = fit_hints(Candidate(student), teacher, PAIR, tiny_task(), settings, tmp_path).model
    assert same_weights(again, found)


def test_the_hint_leaves_the_second_stage():
    attention = AttentionTransfer(3.0)
    rest, hint = without_hint(Distillation(wider(), 0.3, terms=(PAIR, attention)))
    assert hint is PAIR and rest is not None and (rest.weight, rest.terms) == (0.3, (attention,))
    assert without_hint(Distillation(wider(), 0.0, terms=(PAIR,))) == (None, PAIR)
    with pytest.raises(InputError, match="needs one `Hint` among the terms"):
        without_hint(Distillation(wider()))
    with pytest.raises(InputError, match="one pair of layers"):
        hinted(tiny_net(norm=False), wider(), Hint(1.0, {"narrow": "narrow", "down": "narrow"}))
