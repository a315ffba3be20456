"""``python -m tests.training.replicas``: two logical CPUs and one learn from a teacher; prints how far they differ."""

from __future__ import annotations

import tensorflow as tf


def main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from tests.training import small_pair as pair
    from tta_lite.compat import keras
    from tta_lite.training.distillation_terms import AttentionTransfer, Hint, KnowledgeDistillation
    from tta_lite.training.distiller import Distiller

    data = tf.data.Dataset.from_tensor_slices((pair.IMAGES, pair.LABELS)).batch(8)
    learnt = []
    for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
        with strategy.scope():
            net = pair.student(penalty=0.1)
            keras.utils.set_random_seed(0)
            terms = [KnowledgeDistillation(0.5), AttentionTransfer(), Hint()]
            distiller = Distiller(net, pair.teacher(), terms, task_weight=0.5)
            # Replicas need a graph; for one device it would cost more than it tells.
            distiller.compile(keras.optimizers.SGD(0.1), pair.loss(), run_eagerly=not learnt)
        distiller.fit(data, epochs=1, verbose=0)
        learnt.append(net)
    print("replicas", strategy.num_replicas_in_sync)
    print("difference", pair.differences(*learnt))
    print("learnt", pair.differences(learnt[0], pair.student()))


if __name__ == "__main__":
    main()
