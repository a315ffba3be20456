"""Networks of `tf_keras` given back as files of Keras 3."""
