"""In which order Keras 3 numbers the layers of a functional model when it reads one; its weights are filed by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Node = tuple[str, int]
"""A layer's name and the number of its call."""


def layer_order(reads: Mapping[Node, Sequence[Node]], inputs: Sequence[str], outputs: Sequence[Node]) -> list[str]:
    """-> the names of all layers, the farthest from the outputs first, and then as a walk back from these meets them.

    Keras walks back from the outputs, depth first, and takes as a layer's depth the length of the longest way to an
    output (``keras.src.ops.function.map_graph``).

    Args:
      reads: each call -> the calls that give what it reads, in the order of its arguments.
      inputs: names of the input layers.
      outputs: calls that give the model's outputs.

    Example: the short way of a residual block is as far from the sum as the last layer of the long one.

      >>> reads = {("in", 0): [], ("a", 0): [("in", 0)], ("b", 0): [("a", 0)], ("c", 0): [("in", 0)],
      ...          ("add", 0): [("c", 0), ("b", 0)]}
      >>> layer_order(reads, ["in"], [("add", 0)])
      ['in', 'a', 'c', 'b', 'add']
    """
    done: dict[Node, None] = {}
    met: dict[str, int] = {}
    for output in outputs:
        stack = [(output, False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                done.setdefault(node)
            elif node not in done:
                met.setdefault(node[0], len(met))
                stack.append((node, True))
                stack += [(other, False) for other in reversed(reads[node])]
    depths: dict[Node, int] = {}
    of_layer: dict[str, int] = {}
    for node in reversed(list(done)):
        depth = max(depths.get(node, 0), of_layer.get(node[0], 0))
        of_layer[node[0]] = depths[node] = depth
        for other in reads[node]:
            depths[other] = max(depth + 1, depths.get(other, 0))
    for name in inputs:
        # An input that nothing reads.
        of_layer.setdefault(name, 0)
        met.setdefault(name, -1)
    return sorted(of_layer, key=lambda name: (-of_layer[name], met[name]))
