"""A flatbuffer as a function of images, so that its accuracy is measured by the very pipeline of the Keras model.

The code is in `tta_lite.export.runner`, because an export is run before it leaves the house. Imports no TensorFlow.
"""

from tta_lite.export.runner import TFLitePredictor

__all__ = ["TFLitePredictor"]
