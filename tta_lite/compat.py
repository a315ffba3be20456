"""Which Keras? The only file that chooses it.

TensorFlow Model Optimization 0.8 accepts nothing but the Keras 2 API, so the whole house is built on ``tf_keras``.
Everything else says ``from tta_lite.compat import keras``.
"""

import tf_keras as keras

__all__ = ["keras"]
