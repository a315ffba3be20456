from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.measure.interpreter import TFLitePredictor
from tta_lite.types import InputError

SHAPE = (1, 2, 3, 1)


def convert(graph, *shapes, calibration=None) -> bytes:
    function = tf.function(graph).get_concrete_function(*[tf.TensorSpec(shape, tf.float32) for shape in shapes])
    converter = tf.lite.TFLiteConverter([function], None)
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x] for x in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def twice_less_one(x):
    return tf.nn.bias_add(tf.nn.conv2d(x, tf.constant(2.0, shape=(1, 1, 1, 1)), 1, "SAME"), [-1.0])


@pytest.fixture(scope="module")
def images():
    return np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 2, 3, 1)


@pytest.mark.parametrize("threads", [1, 2])
def test_float_file(images, threads):
    predict = TFLitePredictor(convert(twice_less_one, SHAPE), num_threads=threads)
    result = predict(images)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, 2 * images - 1, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_int8_file_speaks_real_numbers(images):
    predict = TFLitePredictor(convert(twice_less_one, SHAPE, calibration=images[:, None]))
    assert predict.input.dtype == predict.output.dtype == np.int8
    result = predict(images)
    assert result.dtype == np.float32
    # Input steps of 2 / 255 count twice, output steps of 4 / 255 once; each is off by half a step, the kernel by one.
    np.testing.assert_allclose(result, 2 * images - 1, atol=2 * 4 / 255)
    assert len(np.unique(result)) > 20


def test_an_example_does_not_depend_on_its_batch(images):
    predict = TFLitePredictor(convert(twice_less_one, SHAPE))
    assert np.array_equal(predict(images)[2:3], predict(images[2:3]))


def test_earlier_results_are_kept(images):
    predict = TFLitePredictor(convert(twice_less_one, SHAPE))
    first = predict(images[:1])
    kept = first.copy()
    predict(images[1:2])
    assert np.array_equal(first, kept)


def test_an_open_batch_works_too(images):
    predict = TFLitePredictor(convert(twice_less_one, (None, 2, 3, 1)))
    np.testing.assert_allclose(predict(images), 2 * images - 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 1), (4, 3, 2, 1), (4, 2, 3, 3), (0, 2, 3, 1)])
def test_other_shapes_are_refused(shape):
    predict = TFLitePredictor(convert(twice_less_one, SHAPE))
    with pytest.raises(InputError, match=r"\[B, 2, 3, 1\].*Received: \["):
        predict(np.zeros(shape, np.float32))


def test_files_that_are_no_single_function_are_refused():
    with pytest.raises(InputError, match="Received: 2 inputs, 1 outputs"):
        TFLitePredictor(convert(lambda a, b: a + b, (1, 2), (1, 2)))
    with pytest.raises(InputError, match="cannot be run"):
        TFLitePredictor(b"no flatbuffer")


def test_tensorflow_is_not_imported():
    code = (
        "import sys, tta_lite.measure.interpreter; sys.exit('tensorflow' in sys.modules or 'tf_keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
