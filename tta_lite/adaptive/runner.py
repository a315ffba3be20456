"""`AdaptiveRunner`: answers each image in the mode that the moment can bear. LiteRT and NumPy; no TensorFlow."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tta_lite.adaptive.loaded import LoadedStage, load_stages
from tta_lite.adaptive.modes import IMAGE, Mode, Stage
from tta_lite.adaptive.pictures import for_stage
from tta_lite.adaptive.policy import HEAT_MAPS, Policy, read_policy
from tta_lite.adaptive.present import PresentLatency
from tta_lite.adaptive.rules import LatencyBudget, Rule, Switch
from tta_lite.adaptive.sureness import is_sure, signal_of
from tta_lite.tasks.joints import joints_in_picture
from tta_lite.types import InputError

# What a mode is held against a budget by.
MEAN, WORST = "mean", "worst"
# (image [H, W, C], (height, width)) -> the image in that size.
Resize = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What came of one image.

    Attributes:
      scores: [classes] or whatever the stage that answered gives, float32.
      mode: in which it was answered.
      stages: what ran, in this order; the last one answered.
      latency_ms: all of it, from the image to the answer.
      signal: how sure the answer is, in the policy's signal; None: it has none.
      cut: whether it ended there for want of time and not because it was sure.
      joints: [J, 3] x, y in pixels of the image that was given, and the maximum of the joint's heat map, not above 0:
        not found; None: the policy's answers are no heat maps.
    """

    scores: np.ndarray
    mode: str
    stages: tuple[str, ...]
    latency_ms: float
    signal: float | None = None
    cut: bool = False
    joints: np.ndarray | None = None


class AdaptiveRunner:
    """The modes of an artifact folder, one of which answers each image.

    Without rules it stays in one mode. With rules it goes among the modes of `Policy.front`: the latency of each at
    present follows from how long the stages took that ran lately. Not for several threads at once.

    Attributes:
      policy: of the folder.
      mode: in which the last image was answered, or the next one will be.
      present: what stages take at present; None: the policy has no latencies.

    Args:
      folder: with policy.json and the files that it names.
      rules: of `tta_lite.adaptive.rules`; those of a budget need a policy with latencies.
      mode: the one to stay in, or to begin with; the cheapest if there are rules and the most accurate if not.
      dwell: frames that a mode is kept at least.
      hold: ``worst``: the stages of a mode together are held against a budget; ``mean``: what they take on average.
      num_threads: of the interpreters.
      resize: for an image that is not of a stage's size. None: modes of several sizes take one of the largest's, and
        make it smaller as their training did; any other size is an error.
      clock: seconds, rising.

    Raises:
      InputError: the folder lacks something, or a file does not have what the policy says.

    Example:
      runner = AdaptiveRunner("artifact", [LatencyBudget(33.0)])
      answer = runner.run(image, deadline_ms=33.0)
    """

    def __init__(
        self,
        folder: str | Path,
        rules: Sequence[Rule] = (),
        *,
        mode: str | None = None,
        dwell: int = 10,
        hold: str = WORST,
        num_threads: int = 1,
        resize: Resize | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if hold not in (MEAN, WORST):
            raise InputError(f"Argument `hold` must be {MEAN} or {WORST}. Received: {hold!r}")
        self.policy: Policy = read_policy(folder)
        self._clock, self._resize, self._hold = clock, resize, hold
        self._front = self.policy.front()
        known = self._front if rules else self.policy.modes
        names = [one.name for one in known]
        if mode is not None and mode not in names:
            raise InputError(f"Argument `mode` must be one of {', '.join(names)}. Received: {mode!r}")
        start = names.index(mode) if mode is not None else 0
        if mode is None and not rules:
            start = names.index(self._front[-1].name)
        self.mode = known[start].name
        self._switch = Switch(rules, dwell=dwell, level=start) if rules else None
        self._stages = load_stages(folder, self.policy, num_threads=num_threads)
        figures = {stage.name: stage.latency_ms for stage in self.policy.stages if stage.latency_ms is not None}
        self.present = PresentLatency(figures) if figures else None
        if self.present is None and any(isinstance(rule, LatencyBudget) for rule in rules):
            raise InputError(f"A budget in ms needs a policy with latencies. Received: {folder} without")

    @property
    def switches(self) -> int:
        """How often the mode has changed."""
        return self._switch.switches if self._switch is not None else 0

    def present_ms(self, mode: Mode) -> float:
        """-> what a mode takes at present, as it is held against a budget; its MACs if the policy has no latencies."""
        if self.present is None:
            return self.policy.macs(mode)
        return self.present.of(mode.stages, mode.reached if self._hold == MEAN else None)

    def run(self, image: np.ndarray, *, deadline_ms: float | None = None, **signals: float) -> Answer:
        """Answers one image.

        Args:
          image: [H, W, C] float32, normalised as the network expects it; of the size of the mode or, where modes are of
            several sizes, of the largest one.
          deadline_ms: no further stage begins that would end later at present: the answer that is there then is given.
          signals: what rules ask for, such as ``battery=0.4``.

        Raises:
          InputError: an image of another size, or a signal that a rule lacks.
        """
        began = self._clock()
        if self._switch is not None:
            self.mode = self._front[self._switch.step([self.present_ms(one) for one in self._front], signals)].name
        mode = self.policy.mode(self.mode)
        made: dict[str, np.ndarray] = {}
        ran: list[str] = []
        value, cut = None, False
        for place, name in enumerate(mode.stages):
            stage = self.policy.stage(name)
            if ran and deadline_ms is not None and self.present is not None:
                spent_ms = 1000 * (self._clock() - began)
                if spent_ms + self.present.of([name]) > deadline_ms:
                    cut = True
                    break
            self._run_stage(stage, image, made)
            ran.append(name)
            scores = made[f"{name}/{stage.scores}"][0]
            if self.policy.signal is not None:
                value = float(signal_of(scores, self.policy.signal, logits=self.policy.logits))
                if place < len(mode.thresholds) and is_sure(value, mode.thresholds[place], self.policy.signal):
                    break
        joints = None
        if self.policy.answers == HEAT_MAPS:
            shape = self.policy.stage(ran[-1]).image_shape
            assert shape is not None
            joints = joints_in_picture(scores, shape[:2], np.shape(image)[:2])
        return Answer(scores, mode.name, tuple(ran), 1000 * (self._clock() - began), value, cut, joints)

    def _run_stage(self, stage: Stage, image: np.ndarray, made: dict[str, np.ndarray]) -> None:
        loaded: LoadedStage = self._stages[stage.name]
        began = self._clock()
        given: Mapping[str, np.ndarray] = {
            argument: self._sized(stage, image) if taken == IMAGE else made[taken]
            for argument, taken in stage.inputs.items()
        }
        made |= {f"{stage.name}/{output}": found for output, found in loaded.run(given).items()}
        if self.present is not None:
            self.present.add(stage.name, 1000 * (self._clock() - began))

    def _sized(self, stage: Stage, image: np.ndarray) -> np.ndarray:
        wanted = stage.image_shape
        assert wanted is not None
        image = np.asarray(image, np.float32)
        if image.shape != wanted and self._resize is not None and image.ndim == 3:
            image = np.asarray(self._resize(image, wanted[:2]), np.float32)
        image = for_stage(self.policy, stage, image)
        if image.shape != wanted:
            raise InputError(
                f"An image must be {list(wanted)} for stage {stage.name!r}, or the runner be given `resize`. "
                f"Received: {list(image.shape)}"
            )
        return image[None]
