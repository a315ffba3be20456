"""Structured pruning of Sony's model-compression-toolkit for bench_channel_removal.py, in its own environment.

    python3.11 -m venv mct_env
    mct_env/bin/pip install "tensorflow==2.15.*" "numpy<2" model-compression-toolkit==2.6.1
    mct_env/bin/python benchmarks/mct_pruning_child.py --jobs=DIR/jobs.json

Reads the jobs and, from the folder of each seed beside them, start.npz and data.npz; writes the pruned weights. MCT's
target is the memory of the weights, and it takes no MACs: that memory is found by halving which gives the MACs of the
job. Its scores are drawn once a seed and remembered, for they do not depend on the target and take nearly all of its
time; the time is that of the call which draws them. Its channels leave in groups, as many as a kernel takes at once: 32
in the description of its own chip, so that nothing could leave layers of 16; here by one or by four. One group of each
layer stays, and MCT has no other floor.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import model_compression_toolkit as mct
import numpy as np
import removal_network as network
import tensorflow as tf
from model_compression_toolkit.core.common.pruning.pruner import Pruner
from model_compression_toolkit.pruning.keras import pruning_facade

BATCH = 32
HALVINGS = 12
Scores = tuple[dict[str, np.ndarray], dict[str, list[np.ndarray]]]


def platform(together: int) -> Any:
    """-> MCT's own description with channels that leave so many together."""
    own = mct.get_target_platform_capabilities()

    def narrower(options: Any) -> Any:
        configurations = [one.clone_and_edit(simd_size=together) for one in options.quantization_configurations]
        base = options.base_config.clone_and_edit(simd_size=together) if options.base_config else None
        return options.model_copy(update={"quantization_configurations": tuple(configurations), "base_config": base})

    sets = [
        one.model_copy(update={"qc_options": narrower(one.qc_options)}) if one.qc_options else one
        for one in own.operator_set
    ]
    return own.model_copy(
        update={"default_qco": narrower(own.default_qco), "operator_set": tuple(sets), "is_simd_padding": False}
    )


class Remembered(Pruner):
    """MCT's pruner; what it scored is kept by the names of the layers."""

    scores: Scores | None = None

    def get_score_per_entry_point(self, entry_nodes: list[Any]) -> Any:
        """As MCT's own, from the second call on without drawing."""
        if Remembered.scores is None:
            found = super().get_score_per_entry_point(entry_nodes)
            by_name = [{node.name: value for node, value in one.items()} for one in found]
            Remembered.scores = (by_name[0], by_name[1])
        return tuple({node: one[node.name] for node in entry_nodes} for one in Remembered.scores)


def prune(model: Any, memory: float, pictures: np.ndarray, samples: int, together: int) -> Any:
    """-> a model whose weights take so many bytes at most."""

    def batches() -> Iterator[list[np.ndarray]]:
        for start in range(0, len(pictures), BATCH):
            yield [pictures[start : start + BATCH]]

    made, _ = mct.pruning.keras_pruning_experimental(
        model=model,
        target_resource_utilization=mct.core.ResourceUtilization(weights_memory=memory),
        representative_data_gen=batches,
        pruning_config=mct.pruning.PruningConfig(num_score_approximations=samples),
        target_platform_capabilities=platform(together),
    )
    return made


def to_macs(model: Any, target: int, pictures: np.ndarray, samples: int, together: int) -> Any:
    """-> the largest found model that costs `target` MACs at most."""
    least, most = 0.0, 4.0 * model.count_params()
    best: Any = None
    for _ in range(HALVINGS):
        memory = (least + most) / 2
        try:
            made = prune(model, memory, pictures, samples, together)
        except Exception as error:  # MCT raises a bare one.
            if "Insufficient memory" not in str(error):
                raise
            least = memory
            continue
        if network.macs(network.weights_of(made)) <= target:
            best, least = made, memory
        else:
            most = memory
    if best is None:
        raise RuntimeError(f"MCT must reach {target} MACs. Received: no memory of weights that does")
    return best


def main() -> None:
    """Does every job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=Path, required=True, help="a list that bench_channel_removal.py wrote")
    parser.add_argument("--samples", type=int, default=32, help="pictures from which MCT draws scores; 32 is its own")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    pruning_facade.Pruner = Remembered
    jobs = json.loads(arguments.jobs.read_text(encoding="utf-8"))
    warm = False
    for seed, together in sorted({(job["seed"], int(job["scope"].removeprefix("by "))) for job in jobs}):
        place = arguments.jobs.parent / f"seed{seed}"
        data = network.load(place / "data.npz")
        pictures = data["calibration"]
        model = network.build(tf.keras, network.load(place / "start.npz"))
        np.save(place / "mct.dense.npy", model(data["test"], training=False).numpy())
        half = 2.0 * model.count_params()
        if not warm:
            # What is loaded at the first call is no part of the time.
            prune(model, half, pictures, 1, together)
            warm = True
        Remembered.scores = None
        tf.keras.utils.set_random_seed(seed)
        started = time.process_time()
        prune(model, half, pictures, arguments.samples, together)
        seconds = time.process_time() - started
        for job in jobs:
            if job["seed"] == seed and job["scope"] == f"by {together}":
                smaller = to_macs(model, job["macs"], pictures, arguments.samples, together)
                outputs = smaller(data["test"], training=False).numpy()
                network.keep(place, job["row"], network.weights_of(smaller), outputs, seconds=seconds)


if __name__ == "__main__":
    main()
