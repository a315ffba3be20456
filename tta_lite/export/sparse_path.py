"""Does XNNPACK run a ``.tflite`` file's 1 x 1 convolutions by its sparse kernels, and if not, by which rule?

XNNPACK computes with zeros left out only where a whole cluster of ops can compute on planes (NCHW): it begins with a
stem, ends with a mean or a DEPTH_TO_SPACE, has more than two thirds of zeros in its 1 x 1 convolutions, and nothing in
between needs pixels (NHWC). It looks at all only if a kernel of the file is stored sparse, and never on an x86
processor with AVX. The kernels are those of Elsen et al., *Fast Sparse ConvNets*, CVPR 2020,
https://arxiv.org/abs/1911.09723; the rules stand in `xnn_subgraph_rewrite_for_nchw` of ``src/subgraph.c`` and in
`xnn_is_chw_compatible_config` of ``src/xnnpack/hardware-config.h``, https://github.com/google/XNNPACK. They are
followed here step by step, oddities too, and held against the kernels that LiteRT 2.3.0 names in its profile.
Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import platform
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from tta_lite.boards.cpuinfo import parse_cpuinfo
from tta_lite.export.sparse_nodes import Node, read_nodes

# More than two of three weights of a cluster's 1 x 1 convolutions must be zero.
LEAST_ZEROS = 2 / 3
AVX = "the processor is an x86 with AVX, where XNNPACK expects the dense kernels to be faster and never looks"
NONE_STORED = "no kernel is stored sparse (DENSIFY), and XNNPACK looks for zeros only if one is"


@dataclasses.dataclass(frozen=True)
class PointwiseConv:
    """A 1 x 1 convolution, or a dense layer, of the file.

    Attributes:
      index: its place in the file.
      layer: the Keras layer that it comes from.
      weights: of its kernel.
      zeros: share of them, 0..1.
      is_sparse: whether a sparse kernel runs it.
    """

    index: int
    layer: str
    weights: int
    zeros: float
    is_sparse: bool


@dataclasses.dataclass(frozen=True)
class SparsePath:
    """What XNNPACK does with a file's zeros.

    Attributes:
      taken: whether a sparse kernel runs any of its 1 x 1 convolutions.
      why: the rules that keep the others, or all, off them, by layer; in the order of the file.
      convs: all 1 x 1 convolutions and dense layers.
      wrong: layers at which XNNPACK leaves the planes without an end for it: wrong numbers come out of them.
    """

    taken: bool
    why: tuple[str, ...]
    convs: tuple[PointwiseConv, ...]
    wrong: tuple[str, ...]

    @property
    def share_of_zeros(self) -> Mapping[str, float]:
        """Layer -> share of zeros of its kernel, 0..1."""
        return {conv.layer: conv.zeros for conv in self.convs}

    @property
    def sparse_weights(self) -> float:
        """The share of all these weights, zeros too, that sparse kernels hold, 0..1."""
        whole = sum(conv.weights for conv in self.convs)
        return sum(conv.weights for conv in self.convs if conv.is_sparse) / whole if whole else 0.0


def has_avx(root: Path = Path("/")) -> bool:
    """Whether this machine is an x86 with AVX; where the system lists no features, an x86 is taken to have it."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return False
    try:
        flags = parse_cpuinfo((root / "proc/cpuinfo").read_text(encoding="utf-8"))[1]
    except OSError:
        return True
    return "avx" in flags if flags else True


def sparse_path(source: bytes | str | Path, *, avx: bool = False, left: Collection[int] = ()) -> SparsePath:
    """-> whether XNNPACK runs the file by its sparse kernels, and what keeps it off.

    Args:
      source: a ``.tflite`` file or its bytes.
      avx: whether the processor is an x86 with AVX, see `has_avx`; by default it is another, such as an Arm core.
      left: places of ops that XNNPACK does not take, see `tta_lite.export.delegation.undelegated_ops`.

    Raises:
      InputError: it is no such file, or has more than one graph.
    """
    tflite = source if isinstance(source, bytes) else Path(source).read_bytes()
    graph = _Graph(read_nodes(tflite, left))
    stored = any(node.kernel and node.kernel.is_stored_sparse for node in graph.nodes)
    planes = graph.planes if stored and not avx else set()
    convs, wrong = [], []
    for node in graph.nodes:
        is_sparse = bool(planes.intersection(node.outputs))
        if not is_sparse and not node.leaves and planes.intersection(node.inputs):
            wrong.append(node.layer)
        if node.kernel is None:
            continue
        convs.append(
            PointwiseConv(
                node.index, node.layer, node.kernel.weights, node.kernel.zeros / node.kernel.weights, is_sparse
            )
        )
    why = [AVX] if avx else []
    why += [] if stored else [NONE_STORED]
    why += graph.why()
    return SparsePath(any(conv.is_sparse for conv in convs), tuple(why), tuple(convs), tuple(wrong))


class _Graph:
    """The clusters of a file: steps 1 to 4 of `xnn_subgraph_rewrite_for_nchw`, in its order."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.written = {tensor: place for place, node in enumerate(nodes) for tensor in node.outputs}
        self.readers: dict[int, list[int]] = defaultdict(list)
        for place, node in enumerate(nodes):
            for tensor in dict.fromkeys(node.inputs):
                self.readers[tensor].append(place)
        # A tensor that the network gives out is none of a cluster's, even for a node that reads it too.
        self.given_out = set(nodes[-1].inputs)
        self.leaders = list(range(len(nodes)))
        self.barred = [False] * len(nodes)
        # An end inside a larger cluster, as the mean of squeeze-and-excite, is none.
        self.ends = [node.leaves for node in nodes]
        self.planes: set[int] = self._planes()

    def _planes(self) -> set[int]:
        """-> the tensors that hold planes, if a kernel of the file is stored sparse."""
        if not self._join([place for place, node in enumerate(self.nodes) if node.leaves]):
            return set()
        while self._join(range(len(self.nodes))):
            pass
        for leader, barred in zip(self.leaders, list(self.barred), strict=True):
            self.barred[leader] |= barred
        self._bar_mixed_readers()
        weights, zeros = [0] * len(self.nodes), [0] * len(self.nodes)
        for node, leader in zip(self.nodes, self.leaders, strict=True):
            if node.kernel is not None:
                weights[leader] += node.kernel.weights
                zeros[leader] += node.kernel.zeros
        return {
            tensor
            for place in self._open()
            for tensor in self.nodes[place].inputs
            if zeros[self.leaders[place]] > LEAST_ZEROS * weights[self.leaders[place]]
        }

    def _join(self, places: Iterable[int]) -> bool:
        """Gives nodes and those that they read from one leader; bars those that read anything else. -> any change?"""
        changed = False
        for place in places:
            node = self.nodes[place]
            if self.barred[place] or not (node.inside or self.ends[place]):
                continue
            for tensor in node.inputs:
                source = self.written.get(tensor)
                if source is None or tensor in self.given_out or not self._gives_planes(source) or self.barred[source]:
                    self.barred[place] = True
                    continue
                self.ends[source] = False
                if self.leaders[source] != self.leaders[place]:
                    self.leaders[source] = self.leaders[place] = max(self.leaders[source], self.leaders[place])
                    changed = True
        return changed

    def _bar_mixed_readers(self) -> None:
        """Bars clusters with a tensor that something reads that cannot read planes."""
        counted: dict[int, int] = defaultdict(int)
        for place in self._open():
            for tensor in dict.fromkeys(self.nodes[place].inputs):
                counted[tensor] += 1
        for place in self._open():
            for tensor in self.nodes[place].inputs:
                if counted[tensor] != len(self.readers[tensor]):
                    self.barred[self.leaders[place]] = True

    def _open(self) -> list[int]:
        """-> the nodes of clusters that nothing bars."""
        return [
            place
            for place, node in enumerate(self.nodes)
            if (node.inside or self.ends[place]) and not self.barred[self.leaders[place]]
        ]

    def _gives_planes(self, place: int) -> bool:
        return self.nodes[place].enters or self.nodes[place].inside

    def why(self) -> list[str]:
        """-> what keeps each region with a 1 x 1 convolution off, in the order of the file."""
        said = []
        for region in self._regions():
            pointwise = [self.nodes[place] for place in region if self.nodes[place].op == "CONV_2D"]
            kernels = [node.kernel for node in pointwise if node.kernel is not None]
            if not kernels or any(self.planes.intersection(self.nodes[place].inputs) for place in region):
                continue
            found = self._at_the_rim(region)
            if not any(self.nodes[place].leaves for place in region):
                found.append("no mean over the picture and no DEPTH_TO_SPACE ends the cluster")
            weights, zeros = sum(one.weights for one in kernels), sum(one.zeros for one in kernels)
            if not zeros > LEAST_ZEROS * weights:
                found.append(
                    f"{zeros / weights:.1%} of the weights of its {len(kernels)} 1 x 1 convolutions are zero, and more "
                    "than two of three must be"
                )
            first = next(node.layer for node in pointwise if node.kernel is not None)
            found = found or ["XNNPACK's search for clusters leaves it out"]
            said += [f"from {first} on: {one}" for one in dict.fromkeys(found)]
        return said

    def _regions(self) -> list[list[int]]:
        """-> nodes that could be one cluster, each region in order."""
        found: dict[int, set[int]] = {}
        for place, node in enumerate(self.nodes):
            if not node.fits:
                continue
            region = {place}
            for tensor in node.inputs if not node.enters else ():
                source = self.written.get(tensor)
                if source is not None and self._gives_planes(source):
                    region |= found[source]
            for member in region:
                found[member] = region
        return [sorted(region) for region in {id(one): one for one in found.values()}.values()]

    def _at_the_rim(self, region: Sequence[int]) -> list[str]:
        found = []
        for place in region:
            node = self.nodes[place]
            for tensor in node.inputs if not node.enters else ():
                source = self.written.get(tensor)
                if source is None:
                    found.append(f"{node.layer} reads the network's input, and a cluster begins with a stem")
                elif source not in region:
                    found.append(_named(self.nodes[source]))
            if node.leaves:
                continue
            for reader in (one for tensor in node.outputs for one in self.readers[tensor] if one not in region):
                found.append(_named(self.nodes[reader]))
        return found


def _named(node: Node) -> str:
    why = node.why or "it writes pixels, and a cluster begins with a stem"
    return f"{node.layer} ({node.op}): {why}" if node.layer != node.op else f"{node.op}: {why}"
