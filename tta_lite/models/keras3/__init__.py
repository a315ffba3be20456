"""Models of Keras 3 read, and what its files and those of `tf_keras` call the same things."""
