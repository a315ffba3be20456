from __future__ import annotations

import zlib

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.training.fit import FitSettings, fit
from tta_lite.training.pruning import Pruning, sparsity, strip
from tta_lite.types import Candidate, InputError

PRUNED = ("stem", "narrow", "deconv1", "heatmaps")
SETTINGS = FitSettings(epochs=5, pruning=Pruning(), tensorboard=False)


def wrappers(model):
    return [layer for layer in model.layers if type(layer).__name__ == "PruneLowMagnitude"]


def small_net():
    return keras.Sequential([keras.layers.Dense(8, input_shape=(4,), name="dense")])


@pytest.fixture(scope="module")
def run(make_net, make_task, tmp_path_factory):
    """-> folder, network before, network after ten steps: pruned from step 2 to step 7."""
    folder, net = tmp_path_factory.mktemp("pruned"), make_net()
    return folder, net, fit(Candidate(net), make_task(), SETTINGS, folder, write=lambda line: None).model


def test_half_of_every_kernel_is_zero(run):
    *_, trained = run
    for name in PRUNED:
        kernel = trained.get_layer(name).get_weights()[0]
        # All but the rounding to whole weights.
        assert (kernel == 0).sum() == pytest.approx(kernel.size / 2, abs=0.5), name
    assert sparsity(trained) == pytest.approx(0.5, abs=0.001)


def test_depthwise_kernels_biases_and_norms_are_left_alone(run):
    *_, trained = run
    assert (trained.get_layer("down").get_weights()[0] != 0).all()
    for name in PRUNED:
        assert (trained.get_layer(name).get_weights()[1] != 0).all()
    assert (trained.get_layer("stem_bn").get_weights()[0] != 0).all()


def test_plain_layers_come_back(run):
    _, net, trained = run
    assert [type(layer) for layer in trained.layers] == [type(layer) for layer in net.layers]
    assert [layer.name for layer in trained.layers] == [layer.name for layer in net.layers]
    assert [weight.shape for weight in trained.weights] == [weight.shape for weight in net.weights]
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    assert trained(images).shape == (2, 8, 8, 3)


def test_the_input_is_not_changed(run, make_net, same):
    assert same(run[1], make_net())
    assert not wrappers(run[1]) and sparsity(run[1]) == 0


def zipped(model):
    return len(zlib.compress(b"".join(model.get_layer(name).get_weights()[0].tobytes() for name in PRUNED), 9))


def test_the_zeros_compress(run):
    _, net, trained = run
    assert zipped(trained) < 0.7 * zipped(net)


def test_a_finished_training_gives_the_same_zeros_again(run, make_net, make_task, same):
    folder, _, trained = run
    again = fit(Candidate(make_net()), make_task(), SETTINGS, folder, write=lambda line: pytest.fail(line)).model
    assert same(trained, again)


def test_a_stopped_training_goes_on_to_the_same_weights(run, make_net, make_task, interrupt, same, tmp_path):
    # In the fourth epoch: the masks are there, and not yet the last ones.
    interrupt(fit, Candidate(make_net()), make_task(), SETTINGS, tmp_path, epoch=3)
    resumed = fit(Candidate(make_net()), make_task(), SETTINGS, tmp_path, write=lambda line: None).model
    assert same(run[2], resumed)


def test_schedule_by_hand():
    # Equation 1 of Zhu and Gupta: s = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3, here from step 20 to step 70.
    (layer,) = wrappers(Pruning(sparsity=0.5, begin=0.2, end=0.7).wrap(small_net(), total_steps=100))
    for step, expected in ((20, 0.0), (30, 0.5 * (1 - 0.8**3)), (45, 0.4375), (70, 0.5)):
        now, share = layer.pruning_schedule(step)
        assert bool(now) and float(share) == pytest.approx(expected, abs=1e-6)
    assert [bool(layer.pruning_schedule(step)[0]) for step in (0, 19, 22, 71, 75, 100)] == [False] * 6


@pytest.mark.parametrize("total_steps", [1, 2, 3, 7, 105, 10_000])
@pytest.mark.parametrize(("begin", "end"), [(0.2, 0.7), (0.0, 1.0), (0.2, 1.0), (0.95, 1.0), (0.3, 0.31)])
def test_the_final_sparsity_is_always_reached(begin, end, total_steps):
    (layer,) = wrappers(Pruning(sparsity=0.8, begin=begin, end=end).wrap(small_net(), total_steps))
    # TFMOT counts the first step as step 1.
    turns = [
        layer.pruning_schedule(step) for step in range(1, total_steps + 1) if total_steps < 1000 or step % 100 == 0
    ]
    reached = [float(share) for now, share in turns if bool(now)]
    assert reached and reached[-1] == pytest.approx(0.8)
    assert reached == sorted(reached)


def test_strip_of_a_wrapped_network_that_was_not_trained():
    net = small_net()
    plain = strip(Pruning().wrap(net, 100))
    assert [type(layer).__name__ for layer in plain.layers] == ["Dense"]
    np.testing.assert_array_equal(plain.get_weights()[0], net.get_weights()[0])


def test_sparsity_by_hand():
    net = keras.Sequential(
        [
            keras.layers.Conv2D(2, 1, input_shape=(4, 4, 2), name="conv"),
            keras.layers.DepthwiseConv2D(1, name="depthwise"),
            keras.layers.Flatten(),
            keras.layers.Dense(1, name="dense"),
        ]
    )
    net.get_layer("conv").set_weights([np.array([[[[1, 0], [0, 0]]]]), np.zeros(2)])
    net.get_layer("depthwise").set_weights([np.zeros((1, 1, 2, 1)), np.zeros(2)])
    net.get_layer("dense").set_weights([np.ones((32, 1)), np.zeros(1)])
    assert sparsity(net) == 3 / 36
    assert sparsity(keras.Sequential([keras.layers.ReLU(input_shape=(3,))])) == 0


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, float("nan")])
def test_bad_sparsity(value):
    with pytest.raises(InputError, match=r"`sparsity` must be between 0 and 1. Received: "):
        Pruning(sparsity=value)


@pytest.mark.parametrize(("begin", "end"), [(0.7, 0.2), (0.5, 0.5), (-0.1, 0.5), (0.5, 1.1)])
def test_bad_schedule(begin, end):
    with pytest.raises(InputError, match=rf"0 <= begin < end <= 1. Received: {begin} and {end}"):
        Pruning(begin=begin, end=end)
