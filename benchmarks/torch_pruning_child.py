"""torch-pruning on the network of bench_channel_removal.py, in its own environment.

    python3.11 -m venv torch_env
    torch_env/bin/pip install torch torch-pruning==1.6.1  # PyTorch's build for CPUs is enough.
    torch_env/bin/python benchmarks/torch_pruning_child.py --jobs=DIR/jobs.json

Reads the jobs and, from the folder of each seed beside them, start.npz and data.npz; writes the pruned weights under
Keras's names. torch-pruning's own benchmark goes to a number of MACs in many small steps and scores the channels anew
before each (https://github.com/VainF/Torch-Pruning, progressive_pruning of its reproduction of DepGraph); so does this
one. It stops at the group of channels with which the MACs are reached. `taylor_once` has the gradients of the dense
network all the way, for those of one that lost channels and was not trained may mislead.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import removal_network as network
import torch
import torch_pruning
from torch import nn

STEPS = 200
# Of 16, 32 and 64 channels 2, 4 and 8 stay at least.
MAX_RATIO = 0.875
CRITERIA = {
    "l1": lambda: torch_pruning.importance.GroupMagnitudeImportance(p=1),
    "l2": lambda: torch_pruning.importance.GroupMagnitudeImportance(p=2),
    "taylor": torch_pruning.importance.GroupTaylorImportance,
    "taylor_once": torch_pruning.importance.GroupTaylorImportance,
    "bn_scale": torch_pruning.importance.BNScaleImportance,
    "lamp": torch_pruning.importance.LAMPImportance,
    "random": torch_pruning.importance.RandomImportance,
}


class Net(nn.Module):
    """The network with weights under Keras's names. [B, 1, 8, 8] -> [B, 10]."""

    def __init__(self, weights: network.Weights) -> None:
        super().__init__()
        for name, size, _, _, _ in network.convolutions():
            kernel = weights[f"{name}/kernel"]
            conv = nn.Conv2d(kernel.shape[2], kernel.shape[3], size, padding=size // 2, bias=False)
            conv.weight.data = tensor(kernel.transpose(3, 2, 0, 1))
            norm = nn.BatchNorm2d(kernel.shape[3], eps=network.EPSILON)
            for ours, theirs in NORM.items():
                getattr(norm, theirs).data = tensor(weights[f"{name}_bn/{ours}"])
            setattr(self, name, conv)
            setattr(self, f"{name}_bn", norm)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.logits = nn.Linear(*weights["logits/kernel"].shape)
        self.logits.weight.data = tensor(weights["logits/kernel"].T)
        self.logits.bias.data = tensor(weights["logits/bias"])

    def _conv_bn(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return getattr(self, f"{name}_bn")(getattr(self, name)(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """-> logits."""
        x = torch.relu(self._conv_bn(x, network.STEM))
        for name, _, halves in network.BLOCKS:
            x = nn.functional.max_pool2d(x, 2) if halves else x
            y = self._conv_bn(torch.relu(self._conv_bn(x, f"{name}_conv1")), f"{name}_conv2")
            x = torch.relu(y + (self._conv_bn(x, f"{name}_shortcut") if halves else x))
        return self.logits(self.pool(x).flatten(1))


NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def tensor(array: np.ndarray) -> torch.Tensor:
    """-> a copy."""
    return torch.tensor(np.ascontiguousarray(array))


def weights_of(net: Any) -> dict[str, np.ndarray]:
    """-> the weights under Keras's names."""
    found = {"logits/kernel": net.logits.weight.T, "logits/bias": net.logits.bias}
    for name, *_ in network.convolutions():
        found[f"{name}/kernel"] = getattr(net, name).weight.permute(2, 3, 1, 0)
        norm = getattr(net, f"{name}_bn")
        found.update({f"{name}_bn/{ours}": getattr(norm, theirs) for ours, theirs in NORM.items()})
    return {key: value.detach().numpy().copy() for key, value in found.items()}


def macs(net: Any) -> int:
    """-> MACs for one picture, by the shapes alone."""
    return net.logits.weight.numel() + sum(
        getattr(net, name).weight.numel() * side * side for name, _, _, _, side in network.convolutions()
    )


def prune(net: Net, criterion: str, scope: str, target: int, pictures: torch.Tensor, labels: torch.Tensor) -> Any:
    """-> a smaller copy that costs `target` MACs at most."""
    smaller = copy.deepcopy(net).eval()
    pruner = torch_pruning.pruner.BasePruner(
        smaller,
        pictures[:1],
        CRITERIA[criterion](),
        global_pruning=scope == "global",
        pruning_ratio=1.0,
        max_pruning_ratio=MAX_RATIO,
        iterative_steps=STEPS,
        ignored_layers=[smaller.logits],
    )
    for step in range(STEPS):
        if criterion == "taylor" or (criterion == "taylor_once" and step == 0):
            smaller.zero_grad()
            nn.functional.cross_entropy(smaller(pictures), labels).backward()
        for group in pruner.step(interactive=True):
            group.prune()
            if macs(smaller) <= target:
                return smaller
    raise RuntimeError(f"{criterion}, {scope} must reach {target} MACs. Received: {macs(smaller)} at the last step")


def main() -> None:
    """Does every job of the list ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=Path, required=True, help="a list that bench_channel_removal.py wrote")
    todo = parser.parse_args().jobs
    torch.set_num_threads(1)
    warm = False
    for job in json.loads(todo.read_text(encoding="utf-8")):
        place = todo.parent / f"seed{job['seed']}"
        data = network.load(place / "data.npz")
        net = Net(network.load(place / "start.npz")).eval()
        train, test = (tensor(data[key].transpose(0, 3, 1, 2)) for key in ("calibration", "test"))
        labels = tensor(data["calibration_labels"])
        with torch.no_grad():
            np.save(place / "torch.dense.npy", net(test).numpy())
        if not warm:
            # What is loaded and compiled at the first call is no part of the time.
            prune(net, job["criterion"], job["scope"], job["macs"], train, labels)
            warm = True
        torch.manual_seed(job["seed"])
        started = time.process_time()
        smaller = prune(net, job["criterion"], job["scope"], job["macs"], train, labels)
        seconds = time.process_time() - started
        with torch.no_grad():
            outputs = smaller(test).numpy()
        network.keep(place, job["row"], weights_of(smaller), outputs, seconds=seconds)


if __name__ == "__main__":
    main()
