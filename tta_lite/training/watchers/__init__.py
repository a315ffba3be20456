"""Callbacks that serve Keras 2 and Keras 3 alike; `tta_lite.training.callbacks` has their names."""
