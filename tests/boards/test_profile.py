"""Board profiles: what comes with the package, and what is said of a file that is wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tta_lite.boards.features import FEATURES
from tta_lite.boards.profile import boards, get_board, get_runtime
from tta_lite.boards.records import Cores, Gpu, System
from tta_lite.boards.runtime import Runtime
from tta_lite.boards.toml_record import record
from tta_lite.types import InputError

GOOD = """
title = "Mine"
memory_mib = 512
memory_source = "its manual"
[[cores]]
name = "Cortex-A7"
count = 1
max_mhz = 900
features = ["neon"]
source = "its manual"
[[runtimes]]
name = "small"
version = "1"
presets = ["int8"]
source = "its manual"
ops = ["CONV_2D"]
"""


@pytest.mark.parametrize("name", boards())
def test_what_comes_with_the_package_is_whole(name):
    board = get_board(name)
    assert board.name == name
    assert board.memory_mib > 0 and board.memory_source
    assert all(cores.source for cores in board.cores)
    # This machine may not tell its clock.
    assert name == "host" or all(cores.max_mhz > 0 for cores in board.cores)
    assert all(runtime.source for runtime in board.runtimes)
    assert board.runtime() is board.runtimes[0]
    # The fastest kind first, and big ones before little ones.
    clusters = [cores.cluster for cores in board.cores]
    assert clusters in (["all"], ["big", "little"]) or name == "host"


@pytest.mark.parametrize("name", sorted(set(boards()) - {"host"}))
def test_every_profile_tells_its_architecture_its_system_and_how_to_pin_its_cores(name):
    board = get_board(name)
    assert board.architecture and board.systems and all(cores.isa and cores.midr_part for cores in board.cores)
    if board.architecture == "aarch64":
        cpus = sorted(cpu for cores in board.cores for cpu in cores.cpus)
        assert cpus == list(range(sum(cores.count for cores in board.cores)))
        assert {"l1d", "l1i", "l2"} <= set.intersection(*(set(cores.caches_kib) for cores in board.cores))


def test_a_profile_of_ones_own(tmp_path):
    (tmp_path / "mine.toml").write_text(GOOD)
    board = get_board(tmp_path / "mine.toml")
    assert (board.name, board.title) == ("mine", "Mine")
    assert board.runtime("small").ops == {"CONV_2D"}


RUNTIME = 'ops = ["CONV_2D"]'
CORE = "max_mhz = 900"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("memory_mib = 512", "", "mine.toml: expected .*Received: 'memory_mib' is missing"),
        ("memory_mib = 512", 'memory_mib = "much"', "'memory_mib' must be a whole number and is 'much'"),
        ("memory_mib = 512", "memory_mib = true", "'memory_mib' must be a whole number and is True"),
        ("memory_mib = 512", "memory_mib = -1", r"mine.toml: Board 'mine': must have a `memory_mib` .*Received: -1"),
        ("memory_mib = 512", "memory_mib = ", "must be a board profile in TOML"),
        ("memory_mib = 512", "memory_mib = 512\nmemory_offered_mib = [256]", r"offer its 512 MiB\. Received: \[256\]"),
        ("memory_mib = 512", "memory_mib = 512\nspeed = 3", "mine.toml: .*'speed' is unknown"),
        ("memory_mib = 512", 'memory_mib = 512\narchitecture = "z80"', "`architecture` of aarch64.*Received: 'z80'"),
        ("memory_mib = 512", 'memory_mib = 512\nfill_from = "the moon"', "must be .this machine.*Received: 'the moon'"),
        ("memory_mib = 512", "memory_mib = 512\ngpu = 3", r"one table \[gpu\]\. Received: 3"),
        ("memory_mib = 512", "memory_mib = 512\nsystems = 3", r"tables \[\[systems\]\]\. Received: 3"),
        ("count = 1", 'count = 1\nruntimes = ["x"]', "'runtimes' is unknown here: it must stand above the first"),
        ("count = 1", "count = 1\nspeed = 2", r"\[\[cores\]\] 1: .*'speed' is unknown"),
        (
            "count = 1",
            "count = 0",
            r"\[\[cores\]\] 1: Cores 'Cortex-A7': must have a `count` of 1 to 1024. Received: 0",
        ),
        ("[[cores]]", "[[kernels]]", r"one or more tables \[\[cores\]\]. Received: None"),
        (CORE, "max_mhz = -900", r"mine.toml: \[\[cores\]\] 1: .*`max_mhz` of 1 to 10000.*Received: -900"),
        (CORE, "max_mhz = 900_000", "`max_mhz` of 1 to 10000.*Received: 900000"),
        (CORE, f"{CORE}\ncpus = [0, 1]", r"`cpus` of 1 different numbers, one a core\. Received: \[0, 1\]"),
        (CORE, f"{CORE}\ncpus = [-1]", r"`cpus` of 1 different numbers, one a core\. Received: \[-1\]"),
        (CORE, f'{CORE}\ncluster = "huge"', "a `cluster` of big, little, all. Received: 'huge'"),
        (CORE, f'{CORE}\nisa = "armv10-a"', "an `isa` of armv7-a, .*Received: 'armv10-a'"),
        (CORE, f"{CORE}\ncaches_kib = {{ l4 = 1 }}", r"`caches_kib` of l1i, l1d, l2, l3\. Received: \['l4'\]"),
        (CORE, f"{CORE}\ncaches_kib = {{ l2 = 0 }}", r"`caches_kib.l2` of 1 to .*Received: 0"),
        (CORE, f'{CORE}\ncaches_kib = {{ l2 = "1M" }}', "'caches_kib' must be a table of whole numbers"),
        (CORE, f"{CORE}\nshared_by = {{ l2 = 2 }}", r"give `caches_kib.l2`, which is shared"),
        (
            CORE,
            f"{CORE}\ncaches_kib = {{ l2 = 1 }}\nshared_by = {{ l2 = 2 }}",
            "`shared_by.l2` of no more than its 1 cores",
        ),
        (CORE, f"{CORE}\nmidr_part = 0x1000", "`midr_part` of 12 bits. Received: 0x1000"),
        ('features = ["neon"]', 'features = ["mmx"]', r"have `features` of neon.*Received: \['mmx'\]"),
        ('features = ["neon"]', 'features = ["fp16"]\nisa = "armv8.0-a"', r"armv8.0-a can have. Received: \['fp16'\]"),
        ('features = ["neon"]', 'features = "neon"', "'features' must be a list of texts and is 'neon'"),
        ('source = "its manual"\n[[runtimes]]', 'source = " "\n[[runtimes]]', r"say where its figures stand"),
        ('presets = ["int8"]', 'presets = ["int4"]', r"some of fp32.*Received: \['int4'\]"),
        ('presets = ["int8"]', "presets = []", r"some of fp32.*Received: \[\]"),
        (RUNTIME, "", "either a list `ops` or ask"),
        (RUNTIME, 'ask = "oracle"', "Received: 0 ops and ask = 'oracle'"),
        (RUNTIME, 'ops = ["CONV_2D", "CONV_2D"]', "'ops' names CONV_2D twice"),
        (RUNTIME, 'ops = ["CONV_9D"]', r"mine.toml: \[\[runtimes\]\] 1: ops must be named as in .*Received: CONV_9D"),
        (RUNTIME, f"{RUNTIME}\nmax_inputs = {{ ADD = 2 }}", "must stand in `ops`, too. Received: ADD"),
        (RUNTIME, f"{RUNTIME}\nmax_inputs = {{ CONV_2D = 0 }}", "`max_inputs.CONV_2D` must be 1 or more. Received: 0"),
        (RUNTIME, f'{RUNTIME}\ndtypes = {{ CONV_2D = ["int8"] }}', "`asked` must say where 'dtypes' stands"),
        (
            RUNTIME,
            f'{RUNTIME}\nasked = "me"\ndtypes = {{ CONV_2D = ["int9"] }}',
            r"`dtypes.CONV_2D` must be some of float32, .*Received: \['int9'\]",
        ),
        (
            RUNTIME,
            f'{RUNTIME}\nasked = "me"\ndtypes = {{ CONV_2D = ["int8"] }}\nrefused_dtypes = {{ CONV_2D = ["int8"] }}',
            "of CONV_2D each type must stand in one of",
        ),
        (RUNTIME, f'{RUNTIME}\nneeds_glibc = "new"\narithmetic_source = "me"', "a version as .2.34.*Received: 'new'"),
        (RUNTIME, f'{RUNTIME}\ncomputes = ["int8"]', "`arithmetic_source` must say where 'computes' stands"),
        (RUNTIME, f"{RUNTIME}\n[[runtimes]]\n", r"\[\[runtimes\]\] 2: expected .*'name' is missing"),
        (
            RUNTIME,
            f'{RUNTIME}\n[[runtimes]]\nname = "small"\nversion = "2"\npresets = ["int8"]\nsource = "me"\n'
            'ask = "litert"',
            r"name each runtime once. Received: \['small', 'small'\]",
        ),
    ],
)
def test_a_wrong_profile_is_said(tmp_path, old, new, said):
    assert old in GOOD
    (tmp_path / "mine.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=said) as caught:
        get_board(tmp_path / "mine.toml")
    assert str(tmp_path / "mine.toml") in str(caught.value) and "Received: " in str(caught.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            '[[systems]]\nname = "x"\nlibc = "dietlibc"\nsource = "me"',
            r"\[\[systems\]\] 1: .*`libc` of glibc.*'dietlibc'",
        ),
        ('[[systems]]\nname = "x"\nlibc = "glibc"\nsource = ""', r"\[\[systems\]\] 1: System 'x': must say where"),
        ('[[systems]]\nname = "x"\nlibc = "glibc"\nlibc_version = "2x"\nsource = "me"', "`libc_version` as .2.27"),
        ('[gpu]\nname = "x"\nfp16 = 1\nsource = "me"', r"\[gpu\]: .*'fp16' must be true or false and is 1"),
        ('[gpu]\nname = "x"\nfp16 = true\nsource = ""', r"\[gpu\]: GPU 'x': must say where"),
    ],
)
def test_a_wrong_table_is_said(tmp_path, table, said):
    (tmp_path / "mine.toml").write_text(f"{GOOD}\n{table}\n")
    with pytest.raises(InputError, match=said):
        get_board(tmp_path / "mine.toml")


def test_runtimes_are_shared_by_name(tmp_path):
    cores = GOOD[GOOD.index("[[cores]]") : GOOD.index("[[runtimes]]")]
    start = 'title = "Mine"\nmemory_mib = 512\nmemory_source = "its manual"\n'
    (tmp_path / "mine.toml").write_text(f'{start}runtimes = ["armnn-20.08", "tflite-micro"]\n{cores}')
    board = get_board(tmp_path / "mine.toml")
    assert board.runtimes == (get_runtime("armnn-20.08"), get_runtime("tflite-micro"))
    for listed, said in (
        ('["armnn"]', r"one of armnn-20.08, .*Received: 'armnn'"),
        ("[]", r"Received: \[\]"),
        ("[3]", r"\[3\]"),
    ):
        (tmp_path / "mine.toml").write_text(f"{start}runtimes = {listed}\n{cores}")
        with pytest.raises(InputError, match=said):
            get_board(tmp_path / "mine.toml")


def test_a_folder_or_no_text_is_no_profile(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe title")
    for name in ("folder.toml", "bytes.toml"):
        with pytest.raises(InputError, match="must be a board profile in TOML"):
            get_board(tmp_path / name)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "benchmarks/boards").glob("*.toml")))
def test_profiles_written_before_there_was_more_to_say_still_load(path):
    assert get_board(path).runtime().presets


TEXTS = st.text(st.characters(codec="ascii", exclude_categories=("Cc",), exclude_characters='"\\'), min_size=1)
WORDS = TEXTS.map(str.strip).filter(bool)


@given(
    title=WORDS,
    memory=st.integers(1, 1 << 20),
    count=st.integers(1, 8),
    mhz=st.integers(0, 10_000),
    features=st.lists(st.sampled_from(sorted(FEATURES)), unique=True),
    caches=st.dictionaries(st.sampled_from(["l1i", "l1d", "l2", "l3"]), st.integers(1, 1 << 16)),
    ops=st.lists(st.sampled_from(["CONV_2D", "ADD", "MEAN", "PAD"]), min_size=1, unique=True),
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_was_written_is_read(tmp_path, title, memory, count, mhz, features, caches, ops):
    pairs = ", ".join(f"{level} = {size}" for level, size in caches.items())
    text = (
        f'title = "{title}"\nmemory_mib = {memory}\nmemory_source = "me"\n[[cores]]\nname = "c"\ncount = {count}\n'
        f'max_mhz = {mhz}\nfeatures = {json.dumps(features)}\nsource = "me"\ncpus = {list(range(count))}\n'
        f'caches_kib = {{ {pairs} }}\n[[runtimes]]\nname = "r"\nversion = "1"\npresets = ["fp32"]\nsource = "me"\n'
        f"ops = {json.dumps(ops)}\n"
    )
    (tmp_path / "mine.toml").write_text(text)
    board = get_board(tmp_path / "mine.toml")
    (cores,) = board.cores
    assert (board.title, board.memory_mib, cores.count, cores.max_mhz) == (title, memory, count, mhz)
    assert (cores.features, dict(cores.caches_kib)) == (tuple(features), caches)
    assert cores.cpus == tuple(range(count)) and board.runtime().ops == set(ops)
    assert all(board.computes(feature) == (feature in features) for feature in FEATURES)


VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**40), 2**40), st.floats(), st.text(max_size=5), st.none()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("kind", [Cores, System, Gpu, Runtime])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_stands_there_is_an_error_of_ours_or_a_record(kind, data):
    names = [field.name for field in dataclasses.fields(kind)]
    values = data.draw(st.dictionaries(st.sampled_from([*names, "other"]), VALUES))
    try:
        assert isinstance(record(kind, values, "f.toml: [[t]] 1"), kind)
    except InputError as error:
        assert str(error).startswith("f.toml: [[t]] 1: ") and "Received: " in str(error)


def test_unknown_names_are_said():
    with pytest.raises(InputError, match=r"A board is one of .*rk3399.*Received: 'rk9999'"):
        get_board("rk9999")
    with pytest.raises(InputError, match=r"litert-xnnpack, armnn\. Received: 'tensorrt'"):
        get_board("rk3399").runtime("tensorrt")
    with pytest.raises(InputError, match=r"the clusters all\. Received: 'big'"):
        get_board("raspberry_pi_4").cluster("big")


def test_clusters_are_found_by_name():
    board = get_board("rk3399")
    assert [[cores.name for cores in board.cluster(name)] for name in ("big", "little", "all")] == [
        ["Cortex-A72"], ["Cortex-A53"], ["Cortex-A72", "Cortex-A53"],
    ]  # fmt: skip
