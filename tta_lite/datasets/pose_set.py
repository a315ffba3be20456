"""`PoseSet`: people in pictures with their joints, whatever file they were read from. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class JointSet:
    """The joints of a data set.

    Attributes:
      name: ``mpii``, ``coco`` or ``lsp``.
      names: one a joint; left and right are the person's.
      flip_pairs: indices that change places when a picture is mirrored.
      scored: indices that the set's metric counts.
    """

    name: str
    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    scored: tuple[int, ...]
    bones: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.names)

    def select(self, names: Sequence[str]) -> JointSet:
        """-> the joints called `names`, in that order, with the pairs and bones that are whole.

        >>> LSP14.select(["l_knee", "r_knee", "neck"]).flip_pairs
        ((1, 0),)

        Raises:
          InputError: a name that is unknown or there twice, or a joint without its mirror image.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown or not names or len(set(names)) != len(names):
            raise InputError(f"Joints of {self.name} must be different ones of: {', '.join(self.names)}. "
                             f"Received: {', '.join(names) or 'none'}")  # fmt: skip
        place = {self.names.index(name): new for new, name in enumerate(names)}
        for pair in self.flip_pairs:
            if sum(joint in place for joint in pair) == 1:
                a, b = (self.names[joint] for joint in pair)
                raise InputError(f"{a} and {b} change places when a picture is mirrored: take both or neither. "
                                 f"Received: {', '.join(names)}")  # fmt: skip

        def kept(pairs: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
            return tuple((place[a], place[b]) for a, b in pairs if a in place and b in place)

        scored = tuple(sorted(place[joint] for joint in self.scored if joint in place))
        return JointSet(self.name, tuple(names), kept(self.flip_pairs), scored, kept(self.bones))

    @property
    def flip_order(self) -> np.ndarray:
        """[J] int: `joints[flip_order]` are the joints of the mirrored picture in their own places."""
        order = np.arange(len(self.names))
        for a, b in self.flip_pairs:
            order[a], order[b] = b, a
        return order


MPII16 = JointSet(
    "mpii",
    (
        "r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "pelvis", "thorax",
        "upper_neck", "head_top", "r_wrist", "r_elbow", "r_shoulder", "l_shoulder", "l_elbow", "l_wrist",
    ),
    ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)),
    # The official PCKh leaves pelvis and thorax out.
    (0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15),
    ((0, 1), (1, 2), (2, 6), (3, 6), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9),
     (10, 11), (11, 12), (12, 7), (13, 7), (13, 14), (14, 15)),
)  # fmt: skip

LSP14 = JointSet(
    "lsp",
    (
        "r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle",
        "r_wrist", "r_elbow", "r_shoulder", "l_shoulder", "l_elbow", "l_wrist", "neck", "head_top",
    ),
    ((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)),
    tuple(range(14)),
    ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 12), (9, 12), (9, 10), (10, 11), (12, 13),
     (2, 8), (3, 9)),
)  # fmt: skip

COCO17 = JointSet(
    "coco",
    (
        "nose", "l_eye", "r_eye", "l_ear", "r_ear", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow",
        "l_wrist", "r_wrist", "l_hip", "r_hip", "l_knee", "r_knee", "l_ankle", "r_ankle",
    ),
    ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    tuple(range(17)),
    ((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
     (0, 1), (0, 2), (1, 3), (2, 4)),
)  # fmt: skip

JOINT_SETS = {joint_set.name: joint_set for joint_set in (MPII16, COCO17, LSP14)}


@dataclasses.dataclass(frozen=True)
class PoseSet:
    """N people. Pixel (0, 0) is the centre of the top left pixel; x goes right and y down.

    Attributes:
      name: what a report calls it.
      joint_set: its J joints.
      joints: [N, J, 2] float32, (x, y) in pixels of the picture; 0 where not annotated.
      annotated: [N, J] bool.
      center: [N, 2] float32, the middle of the person's crop.
      box: [N] float32, the side of the person's square crop in pixels, before augmentation.
      head_size: [N] float32, what PCKh measures in, in pixels; NaN: the person is not scored.
      items: N texts that say where a person was read from, for errors.
      load: index -> the picture, [H, W, 3] uint8 RGB.
      skipped: one text a bad example that was left out on request.
    """

    name: str
    joint_set: JointSet
    joints: np.ndarray
    annotated: np.ndarray
    center: np.ndarray
    box: np.ndarray
    head_size: np.ndarray
    items: tuple[str, ...]
    load: Callable[[int], np.ndarray]
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, j = len(self.items), len(self.joint_set)
        wanted = {"joints": (n, j, 2), "annotated": (n, j), "center": (n, 2), "box": (n,), "head_size": (n,)}
        for field, shape in wanted.items():
            if getattr(self, field).shape != shape:
                raise InputError(f"`{field}` of {self.name} must be {shape}. Received: {getattr(self, field).shape}")
        if n == 0:
            raise InputError(f"{self.name} must hold one person or more. Received: 0 (skipped: {len(self.skipped)})")

    def __len__(self) -> int:
        return len(self.items)

    def select_joints(self, names: Sequence[str]) -> PoseSet:
        """-> the same people with only the joints called `names`; see `JointSet.select`."""
        joint_set = self.joint_set.select(names)
        index = [self.joint_set.names.index(name) for name in names]
        return dataclasses.replace(
            self, joint_set=joint_set, joints=self.joints[:, index], annotated=self.annotated[:, index]
        )

    def subset(self, indices: np.ndarray | Sequence[int]) -> PoseSet:
        """-> the people at `indices` ([M] int), in that order."""
        index = np.asarray(indices, dtype=np.int64)
        load = self.load
        return dataclasses.replace(
            self,
            joints=self.joints[index],
            annotated=self.annotated[index],
            center=self.center[index],
            box=self.box[index],
            head_size=self.head_size[index],
            items=tuple(self.items[i] for i in index),
            load=lambda i: load(int(index[i])),
        )
