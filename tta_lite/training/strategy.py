"""Where a training runs: `tf.distribute` behind three names."""

from __future__ import annotations

import functools
import json
import os

import tensorflow as tf

from tta_lite.types import InputError


def _multi_worker() -> tf.distribute.Strategy:
    text = os.environ.get("TF_CONFIG")
    if not text:
        raise InputError(
            "--strategy=multi_worker needs the environment variable TF_CONFIG, a JSON text with `cluster` and `task` "
            "(https://www.tensorflow.org/guide/distributed_training). Received: nothing"
        )
    try:
        config = json.loads(text)
        workers = config["cluster"]["worker"]
        config["task"]["type"], config["task"]["index"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"TF_CONFIG must hold cluster.worker and task.type, task.index. Received: {text!r}") from error
    if not isinstance(workers, list) or not workers:
        raise InputError(f"TF_CONFIG's cluster.worker must be a list of host:port. Received: {workers!r}")
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise InputError(
            "A cluster must be joined before anything else runs in TensorFlow: call get_strategy('multi_worker') "
            f"first. Received: {error}"
        ) from error
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise InputError(
            "TF_CONFIG must give every worker a host:port of its own, and this process a place in the cluster "
            f"({error}). Received: {text!r}"
        ) from error


STRATEGIES = {
    "none": tf.distribute.get_strategy,
    "mirrored": tf.distribute.MirroredStrategy,
    "multi_worker": _multi_worker,
}


@functools.cache
def get_strategy(name: str) -> tf.distribute.Strategy:
    """-> the strategy called `name`; one a process, for a cluster can be joined only once.

    Args:
      name: ``none`` (this device), ``mirrored`` (all GPUs of this machine) or ``multi_worker`` (the cluster of
        TF_CONFIG; must be asked for before anything else runs in TensorFlow).

    Raises:
      InputError: an unknown name, or no usable TF_CONFIG.
    """
    if name not in STRATEGIES:
        raise InputError(f"Argument `strategy` must be one of {', '.join(STRATEGIES)}. Received: {name!r}")
    return STRATEGIES[name]()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the files: a cluster's chief (worker 0 if it has none) or a process that is alone."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    chief = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (chief, 0)


def mean_and_variance(strategy: tf.distribute.Strategy, number: int) -> tuple[float, float]:
    """-> of the numbers that all workers give, here each at the same time; (number, 0) for a process that is alone.

    Workers that disagree (one has something to train, another has not) would wait for each other for ever.
    """
    if strategy.num_replicas_in_sync == 1:
        return number, 0.0
    own = strategy.run(lambda: tf.constant([number, number**2], tf.float64))
    mean, mean_of_squares = strategy.reduce(tf.distribute.ReduceOp.MEAN, own, axis=None).numpy()
    return mean, mean_of_squares - mean**2
