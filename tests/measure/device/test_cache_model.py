"""The C model of two caches against one in Python that is written another way."""

from __future__ import annotations

import collections
import ctypes
import random
import shutil
import subprocess

import pytest

from tta_lite.measure.device.emulated_cores import Caches
from tta_lite.measure.device.plugins import NATIVE
from tta_lite.types import InputError


class Lru:
    """A cache as ordered dictionaries, the least recently used first."""

    def __init__(self, size: int, ways: int, line: int) -> None:
        self.sets = [collections.OrderedDict() for _ in range(size // ways // line)]
        self.ways = ways

    def touch(self, line: int) -> bool:
        one = self.sets[line % len(self.sets)]
        found = one.pop(line, False)
        one[line] = True
        if len(one) > self.ways:
            one.popitem(last=False)
        return found


def misses(caches: Caches, accesses: list[tuple[int, int]]) -> tuple[int, int]:
    first = Lru(caches.l1_bytes, caches.l1_ways, caches.line_bytes)
    second = Lru(caches.l2_bytes, caches.l2_ways, caches.line_bytes)
    counts = [0, 0]
    for address, size in accesses:
        for line in sorted({byte // caches.line_bytes for byte in (address, address + size - 1)}):
            if not first.touch(line):
                counts[0] += 1
                counts[1] += not second.touch(line)
    return counts[0], counts[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """caches, accesses -> misses of the first and the second."""
    if not (compiler := shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("no C compiler on the path (Debian: gcc)")
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.c").write_text(
        '#include "cache_model.h"\n'
        "int follow(uint64_t a, uint64_t aw, uint64_t b, uint64_t bw, uint64_t line, uint64_t n, const uint64_t *at,\n"
        "           uint64_t *misses) {\n"
        "  struct cache_pair pair = {.line_bytes = line};\n"
        "  if (!cache_make(&pair.first, a, aw, line) || !cache_make(&pair.second, b, bw, line)) return 1;\n"
        "  for (uint64_t i = 0; i < n; i++) cache_access(&pair, at[2 * i], at[2 * i + 1]);\n"
        "  misses[0] = pair.first_misses, misses[1] = pair.second_misses;\n"
        "  free(pair.first.lines), free(pair.second.lines);\n"
        "  return 0;\n}\n"
    )
    words = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{NATIVE}"]
    subprocess.run([*words, "-o", str(folder / "model.so"), str(folder / "model.c")], check=True)
    follow = ctypes.CDLL(str(folder / "model.so")).follow

    def model(caches: Caches, accesses: list[tuple[int, int]]) -> tuple[int, int]:
        flat = (ctypes.c_uint64 * (2 * len(accesses)))(*(number for pair in accesses for number in pair))
        counts = (ctypes.c_uint64 * 2)()
        sizes = (caches.l1_bytes, caches.l1_ways, caches.l2_bytes, caches.l2_ways, caches.line_bytes, len(accesses))
        assert follow(*map(ctypes.c_uint64, sizes), flat, counts) == 0
        return counts[0], counts[1]

    return model


A72 = Caches(32 * 1024, 2, 1024 * 1024, 16)


@pytest.mark.parametrize(
    ("accesses", "expected"),
    [
        # 64 KiB in lines, twice: twice what the first cache holds, so that it helps none; the second holds all.
        ([(line * 64, 8) for line in range(1024)] * 2, (2048, 1024)),
        # Half of the first cache: only the first time.
        ([(line * 64, 8) for line in range(256)] * 2, (256, 256)),
        # Three lines of one set of two ways, in turn: each pushes out the next one.
        ([(place * 16384, 4) for place in range(3)] * 10, (30, 3)),
        # Two of them fit.
        ([(place * 16384, 4) for place in range(2)] * 10, (2, 2)),
        # An access over the end of a line touches two.
        ([(60, 8)], (2, 2)),
        ([(56, 8)], (1, 1)),
    ],
)
def test_patterns_by_hand(model, accesses, expected):
    assert model(A72, accesses) == misses(A72, accesses) == expected


@pytest.mark.parametrize(
    "caches", [A72, Caches(512, 4, 4096, 16), Caches(3 * 64 * 2, 2, 5 * 64 * 3, 3), Caches(64, 1, 64, 1)]
)
def test_random_accesses(model, caches):
    draw = random.Random(1)
    span = 4 * caches.l2_bytes
    accesses = [
        (draw.randrange(span) if draw.random() < 0.3 else draw.randrange(span // 64), 16) for _ in range(20_000)
    ]
    assert model(caches, accesses) == misses(caches, accesses)


@pytest.mark.parametrize("sizes", [(1000, 2, 4096, 4), (1024, 0, 4096, 4), (1024, 2, 4096, 0), (1024, 2, 100, 1)])
def test_a_cache_without_whole_sets_is_refused(sizes):
    with pytest.raises(InputError, match="whole number of sets"):
        Caches(*sizes)
