from __future__ import annotations

import contextlib
import csv
import json
import os
import socket
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.training.fit import FitSettings, fit
from tta_lite.training.strategy import get_strategy, is_chief, mean_and_variance
from tta_lite.types import Candidate, InputError

ROOT = Path(__file__).parents[2]
WORKERS = 2


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def tf_config(ports, index):
    workers = [f"127.0.0.1:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def train(make_net, make_task, folder, strategy):
    settings = FitSettings(epochs=3, strategy=strategy, tensorboard=False)
    # Batch norm takes its statistics over what one replica sees: without it, many replicas equal one.
    trained = fit(Candidate(make_net(norm=False)), make_task(), settings, folder, write=lambda line: None).model
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return trained.get_weights(), {key: [float(row[key]) for row in rows] for key in ("loss", "val_loss")}


@pytest.fixture(scope="module")
def alone(make_net, make_task, tmp_path_factory):
    return train(make_net, make_task, tmp_path_factory.mktemp("none"), "none")


def compare(weights, history, alone):
    expected_weights, expected = alone
    for key in ("loss", "val_loss"):
        np.testing.assert_allclose(history[key], expected[key], rtol=1e-4)
    for weight, expected_weight in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(weight, expected_weight, atol=2e-4)


def test_mirrored_on_one_device(alone, make_net, make_task, tmp_path):
    compare(*train(make_net, make_task, tmp_path, "mirrored"), alone)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two worker processes on loopback. -> their folders, when both have ended."""
    folders = [tmp_path_factory.mktemp("cluster") / f"worker_{index}" for index in range(WORKERS)]
    ports, running = free_ports(WORKERS), []
    with contextlib.ExitStack() as stack:
        for index, folder in enumerate(folders):
            folder.mkdir()
            log = stack.enter_context((folder / "log.txt").open("w"))
            environment = {**os.environ, "TF_CONFIG": tf_config(ports, index)}
            command = [sys.executable, "-m", "tests.training.worker", "cluster", str(folder)]
            running.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
            stack.callback(running[-1].wait)
            stack.callback(running[-1].kill)
        with contextlib.suppress(subprocess.TimeoutExpired):
            for one in running:
                one.wait(timeout=600)
        codes = [one.poll() for one in running]
    assert codes == [0] * WORKERS, "\n\n".join((folder / "log.txt").read_text()[-3000:] for folder in folders)
    return folders


def test_the_workers_of_a_cluster_agree(cluster):
    first, second = (np.load(folder / "result.npz") for folder in cluster)
    assert set(first) == set(second) and len(first["loss"]) == 3
    for key in first:
        np.testing.assert_allclose(first[key], second[key], rtol=1e-6, atol=1e-7, err_msg=key)


def test_a_cluster_learns_what_one_process_learns(cluster, alone):
    result = np.load(cluster[0] / "result.npz")
    weights = [result[f"weight_{index}"] for index in range(len(result) - 2)]
    compare(weights, result, alone)


def test_the_first_worker_alone_writes_history_and_progress(cluster):
    assert (cluster[0] / "history.csv").is_file() and not (cluster[1] / "history.csv").exists()
    assert (cluster[0] / "logs").is_dir() and not (cluster[1] / "logs").exists()
    assert "training: epoch 3/3 done" in (cluster[0] / "log.txt").read_text()
    assert "training: epoch" not in (cluster[1] / "log.txt").read_text()


def test_workers_with_checkpoints_of_different_epochs_do_not_wait_for_ever(cluster):
    for folder, epoch in zip(cluster, (3, 0), strict=True):
        assert (folder / "error.txt").read_text() == (
            f"The checkpoints of all workers must be of one epoch; that of {folder} is of epoch {epoch}. "
            "Received: a mean of 1.50 over the workers"
        )


def test_workers_learn_of_each_other_whether_they_agree(cluster):
    for folder in cluster:
        assert np.load(folder / "agreement.npy").tolist() == [2, 1]


def test_a_process_that_is_alone_agrees_with_itself():
    assert mean_and_variance(get_strategy("none"), 3) == (3, 0)


def test_one_strategy_a_process():
    assert get_strategy("none") is get_strategy("none")
    assert get_strategy("none").num_replicas_in_sync == 1


def test_unknown_strategy():
    with pytest.raises(InputError, match=r"`strategy` must be one of none, mirrored, multi_worker. Received: 'tpu'"):
        get_strategy("tpu")


ADDRESSES = ["127.0.0.1:1", "127.0.0.1:2"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, r"needs the environment variable TF_CONFIG.* Received: nothing"),
        ("", r"needs the environment variable TF_CONFIG.* Received: nothing"),
        ("worker 0", r"must hold cluster.worker and task.type, task.index. Received: 'worker 0'"),
        ("[]", r"must hold cluster.worker and task.type"),
        ({"cluster": {"worker": ADDRESSES}}, r"must hold cluster.worker and task.type"),
        ({"cluster": {"worker": ADDRESSES}, "task": {"type": "worker"}}, r"must hold cluster.worker and task.type"),
        ({"task": {"type": "worker", "index": 0}}, r"must hold cluster.worker and task.type"),
        ({"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}, r"list of host:port. Received: \[\]"),
        ({"cluster": {"worker": "host:1"}, "task": {"type": "worker", "index": 0}}, r"list of host:port. Received"),
        ({"cluster": {"worker": ADDRESSES}, "task": {"type": "worker", "index": 2}}, r"a place in the cluster"),
        ({"cluster": {"worker": ADDRESSES}, "task": {"type": "worker", "index": "x"}}, r"a place in the cluster"),
        ({"cluster": {"worker": ADDRESSES}, "task": {"type": "boss", "index": 0}}, r"a place in the cluster"),
        ({"cluster": {"worker": [1, 2]}, "task": {"type": "worker", "index": 0}}, r"a host:port of its own"),
    ],
)
def test_bad_tf_config(monkeypatch, config, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(InputError, match=message):
        get_strategy("multi_worker")


def test_a_cluster_that_is_joined_too_late(monkeypatch):
    tf.constant(0)
    monkeypatch.setenv("TF_CONFIG", tf_config(free_ports(1), 0))
    with pytest.raises(InputError, match="must be joined before anything else runs"):
        get_strategy("multi_worker")


@pytest.mark.parametrize("name", ["none", "mirrored"])
def test_a_process_that_is_alone_writes_the_files(name):
    assert is_chief(get_strategy(name))


@pytest.mark.parametrize(
    ("jobs", "task", "chief"),
    [
        (["worker"], ("worker", 0), True),
        (["worker"], ("worker", 1), False),
        (["chief", "worker"], ("chief", 0), True),
        (["chief", "worker"], ("worker", 0), False),
    ],
)
def test_who_writes_the_files_of_a_cluster(jobs, task, chief):
    spec = tf.train.ClusterSpec({job: ["127.0.0.1:1", "127.0.0.1:2"][: 1 + (job == "worker")] for job in jobs})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(spec, task_type=task[0], task_id=task[1])
    assert is_chief(types.SimpleNamespace(cluster_resolver=resolver)) == chief
