"""The stages of a policy as functions: signatures of files that LiteRT runs. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tta_lite.adaptive.modes import IMAGE, Stage
from tta_lite.adaptive.policy import Policy
from tta_lite.export.runner import Edge, load
from tta_lite.types import InputError


class LoadedStage:
    """One stage: real numbers in, real numbers out; quantised at the edges where the file is.

    Attributes:
      inputs: argument -> what the file has there.
      outputs: the same of the outputs.
    """

    def __init__(self, stage: Stage, interpreter: Interpreter) -> None:
        signatures = interpreter.get_signature_list()
        if stage.signature not in signatures:
            raise InputError(
                f"{stage.file} must have the signature {stage.signature!r} of stage {stage.name!r}. "
                f"Received: {', '.join(map(str, signatures)) or 'none'}"
            )
        self._runner = interpreter.get_signature_runner(stage.signature)
        self.inputs = {name: _edge(name, told) for name, told in self._runner.get_input_details().items()}
        self.outputs = {name: _edge(name, told) for name, told in self._runner.get_output_details().items()}
        if set(self.inputs) != set(stage.inputs) or stage.scores not in self.outputs:
            raise InputError(
                f"Signature {stage.signature!r} of {stage.file} must take {sorted(stage.inputs)} and give "
                f"{stage.scores!r}. Received: {sorted(self.inputs)} -> {sorted(self.outputs)}"
            )
        for argument, taken in stage.inputs.items():
            if taken == IMAGE and self.inputs[argument].shape[1:] != stage.image_shape:
                raise InputError(
                    f"Signature {stage.signature!r} of {stage.file} must take an image "
                    f"{list(stage.image_shape or ())}. Received: {list(self.inputs[argument].shape)}"
                )
        # The first run packs weights: no image shall wait for it.
        self.run({name: np.zeros(edge.shape, np.float32) for name, edge in self.inputs.items()})

    def run(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Argument -> [1, ...] float32; -> output -> [1, ...] float32."""
        stored = {name: self.inputs[name].quantise(values) for name, values in given.items()}
        return {name: self.outputs[name].dequantise(found) for name, found in self._runner(**stored).items()}


def load_stages(folder: str | Path, policy: Policy, *, num_threads: int = 1) -> dict[str, LoadedStage]:
    """-> name -> stage; each file is loaded once.

    Raises:
      InputError: a file is missing, cannot be run, or does not have what the policy says.
    """
    place = Path(folder)
    interpreters: dict[str, Interpreter] = {}
    for stage in policy.stages:
        if stage.file in interpreters:
            continue
        path = place / stage.file
        if not path.is_file():
            raise InputError(f"The folder of a policy must hold its files. Received: {place} without {stage.file}")
        interpreters[stage.file] = load(path.read_bytes(), num_threads=num_threads)
    stages = {stage.name: LoadedStage(stage, interpreters[stage.file]) for stage in policy.stages}
    for stage in policy.stages:
        for argument, taken in stage.inputs.items():
            if taken == IMAGE:
                continue
            source, _, output = taken.partition("/")
            found = stages[source].outputs.get(output) if source in stages else None
            if found is None or found.shape != stages[stage.name].inputs[argument].shape:
                raise InputError(
                    f"Stage {stage.name!r} must take {taken!r} of its own shape as `{argument}`. "
                    f"Received: {None if found is None else list(found.shape)}"
                )
    return stages


def _edge(name: str, told: Mapping) -> Edge:
    scale, zero_point = told["quantization"]
    return Edge(
        name, told["index"], tuple(int(n) for n in told["shape_signature"]), np.dtype(told["dtype"]), float(scale),
        int(zero_point),
    )  # fmt: skip
