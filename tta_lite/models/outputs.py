"""What comes out of a network: probabilities, or numbers that are not?"""

from __future__ import annotations

from tta_lite.compat import keras


def ends_in_softmax(model: keras.Model) -> bool:
    """Whether the layer that gives a network's first output is a softmax, by itself or as an activation.

    >>> image = keras.Input((8,))
    >>> ends_in_softmax(keras.Model(image, keras.layers.Dense(3, activation="softmax")(image)))
    True
    >>> ends_in_softmax(keras.Model(image, keras.layers.Dense(3)(image)))
    False
    """
    last = model.get_layer(model.output_names[0])
    if isinstance(last, keras.Model):
        return ends_in_softmax(last)
    if isinstance(last, keras.layers.Wrapper):
        # Those of pruning and of quantisation-aware training give what is in them.
        last = last.layer
    activation = getattr(last, "activation", None)
    return isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax
