"""Runs the runner on a board, through any transport, and reads what it wrote. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.measure.device.build import build_runner
from tta_lite.measure.device.library import NAME, litert_library
from tta_lite.measure.device.own_libc import LOADERS, libc_files
from tta_lite.measure.device.transport import DeviceError, Finished, Transport
from tta_lite.measure.machine import parse_cpuinfo

RUNNER, RESULTS, MODEL = "tta_runner", "results.json", "model.tflite"
FORMAT = 1
GOLDEN_DIFFERS = 3
# The runner's `type` of an event: an op that the runtime's own kernels ran.
BUILTIN = 2
PROBE_S = 60.0
# A core's clock that moves by more between the first and the last timed run was throttled, or its governor awoke.
CLOCK_TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True)
class State:
    """What a board said of itself at one moment.

    Attributes:
      khz: core -> its clock; empty: the board does not say.
      governors: core -> what rules its clock.
      degrees: thermal zone -> degrees Celsius.
    """

    khz: Mapping[int, int]
    governors: Mapping[int, str]
    degrees: Mapping[str, float]

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> State:
        """-> of the runner's record."""
        zones = ((zone["zone"], zone["millidegrees"] / 1e3) for zone in record["temperatures"])
        return cls(
            {one["cpu"]: one["khz"] for one in record["cpus"]},
            {one["cpu"]: one["governor"] for one in record["cpus"]},
            dict(zones),
        )


@dataclasses.dataclass(frozen=True)
class Golden:
    """How one output compares with what was expected.

    Attributes:
      output: the file that held what was expected.
      elements: of the output.
      different: how many are not the same bit by bit.
      largest: difference; None: one of them is no number.
      scale: the largest number that was expected.
      agrees: integers are the same, floats differ by no more than the tolerance times `scale`.
    """

    output: str
    elements: int
    different: int
    largest: float | None
    scale: float | None
    agrees: bool


@dataclasses.dataclass(frozen=True)
class Run:
    """One process of the runner.

    Attributes:
      samples_ms: one a timed run.
      init_s: seconds to load, prepare and run once.
      init: the same in parts.
      memory_bytes: by which the process grew; None: the system does not tell.
      kernels: ``xnnpack`` or ``builtin``.
      fully_delegated: whether XNNPACK took every op.
      threads: of the runtime.
      cpus: the cores that it could use.
      pinned: whether those were chosen.
      before: just before the first timed run,
      after: and just after the last.
      machine: architecture, kernel and C library.
      processor: what its cores call themselves, as ``2 x Cortex-A72 + 4 x Cortex-A53``; empty: they do not say.
      golden: one an output that was checked.
      profile: one a profiled run: its events in order, each with ``type``, ``node``, ``name`` and ``us``.
    """

    samples_ms: tuple[float, ...]
    init_s: float
    init: Mapping[str, float]
    memory_bytes: int | None
    kernels: str
    fully_delegated: bool
    threads: int
    cpus: tuple[int, ...]
    pinned: bool
    before: State
    after: State
    machine: Mapping[str, Any]
    processor: str
    golden: tuple[Golden, ...]
    profile: tuple[tuple[Mapping[str, Any], ...], ...]

    @property
    def clock_moved(self) -> bool:
        """Whether a core that was used had another clock at the end than at the beginning, or had gone."""
        pairs = ((self.before.khz[cpu], self.after.khz.get(cpu, 0)) for cpu in self.cpus if cpu in self.before.khz)
        return any(abs(after - before) > CLOCK_TOLERANCE * before for before, after in pairs)

    @classmethod
    def from_json(cls, text: str, where: str) -> Run:
        """-> what the runner wrote.

        Args:
          text: of its file.
          where: it came from, for the message.

        Raises:
          DeviceError: it is not the runner's, or of another version.
        """
        try:
            record = json.loads(text)
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']}")
            samples = tuple(float(sample) / 1e3 for sample in record["samples_us"])
            if not samples or not all(0 < sample < math.inf for sample in samples):
                raise ValueError(f"{len(samples)} timed runs, or one that took no time")
            memory = record["memory"]
            known = min(memory["before_bytes"], memory["peak_bytes"]) >= 0
            return cls(
                samples_ms=samples,
                init_s=float(record["init_s"]),
                init=dict(record["init"]),
                memory_bytes=max(0, memory["peak_bytes"] - memory["before_bytes"]) if known else None,
                kernels=record["kernels"],
                fully_delegated=record["fully_delegated"],
                threads=int(record["threads"]),
                cpus=tuple(int(cpu) for cpu in record["cpus"]),
                pinned=record["pinned"],
                before=State.from_json(record["before"]),
                after=State.from_json(record["after"]),
                machine=dict(record["machine"]),
                processor=_processor(record["machine"]["processors"]),
                golden=tuple(_golden(one) for one in record["golden"]),
                profile=tuple(tuple(_event(one) for one in run) for run in record["profile"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DeviceError(
                f"{where} must hold what tta_runner wrote, format {FORMAT}. Received: {type(error).__name__}: {error}"
            ) from error


def profiled_ops(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """-> one record an op that the runtime ran, in order, over all profiled runs.

    ``name`` is the runtime's, ``kind`` is ``builtin`` or ``xnnpack``, ``place`` that of a builtin op in the file or of
    another among the delegate's, ``samples_us`` has one time a profiled run.

    Args:
      runs: of one file; with none profiled the list is empty.

    Raises:
      DeviceError: they are not of one file.
    """
    profiles = [profile for run in runs for profile in run.profile]
    sequences = {tuple((event["name"], event["node"], event["type"]) for event in profile) for profile in profiles}
    if len(sequences) > 1:
        raise DeviceError(f"All profiled runs must run the same ops. Received: {len(sequences)} different sequences")
    return [
        {
            "name": name,
            "kind": "builtin" if kind == BUILTIN else "xnnpack",
            "place": node,
            "samples_us": [profile[place]["us"] for profile in profiles],
        }
        for place, (name, node, kind) in enumerate(next(iter(sequences), ()))
    ]


def _processor(processors: Sequence[Mapping[str, str]]) -> str:
    text = "\n\n".join("\n".join(f"{name} : {value}" for name, value in one.items()) for one in processors)
    return parse_cpuinfo(text)[0]


def _event(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kind(record[name]) for name, kind in (("type", int), ("node", int), ("name", str), ("us", float))}


def _golden(record: Mapping[str, Any]) -> Golden:
    return Golden(**{
        **record,
        "largest": None if record["largest"] < 0 else record["largest"],
        "scale": None if record["scale"] < 0 else record["scale"],
    })  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Installed:
    """The runner and LiteRT's library in the work folder of a board.

    Attributes:
      words: that begin a command.
      architecture: as ``uname -m`` says it.
      own_libc: whether the board's C library was too old, and one was brought along.
    """

    words: tuple[str, ...]
    architecture: str
    own_libc: bool


def install(transport: Transport) -> Installed:
    """Puts the runner and the library into the work folder, and tries whether they work there.

    Raises:
      DeviceError: there is no runner for that board, or it does not work there.
    """
    # An emulator's commands are this machine's, so that it says itself what it is.
    architecture = getattr(transport, "architecture", "")
    architecture = architecture or transport.run(["uname", "-m"], timeout_s=PROBE_S).stdout.strip()
    program = transport.put(build_runner(architecture), RUNNER)
    library = transport.put(litert_library(architecture), NAME)
    transport.run(["chmod", "755", program], timeout_s=PROBE_S)
    probe = ["--probe", f"--library={library}"]
    first = transport.run([program, *probe], timeout_s=PROBE_S)
    if first.code == 0:
        return Installed((program, f"--library={library}"), architecture, False)
    # An old C library, or none of glibc at all, as on Android.
    loader = ""
    for file in libc_files(architecture):
        path = transport.put(file, file.name)
        loader = path if file.name == LOADERS[architecture] else loader
    transport.run(["chmod", "755", loader], timeout_s=PROBE_S)
    words = (loader, "--library-path", transport.folder, program)
    second = transport.run([*words, *probe], timeout_s=PROBE_S)
    if second.code:
        raise DeviceError(
            f"{transport.title}: the runner does not work there, neither with that board's C library "
            f"({_last_line(first)}) nor with its own. Received: {_last_line(second)}"
        )
    return Installed((*words, f"--library={library}"), architecture, True)


def run_file(
    transport: Transport,
    installed: Installed,
    model: str,
    *,
    flags: Sequence[str] = (),
    timeout_s: float = 600,
    before: Sequence[str] = (),
) -> Run:
    """Runs a file that was put into the work folder.

    Args:
      transport: to the board.
      installed: there.
      model: the file's path there.
      flags: more of the runner's, as ``--threads=2``; files that they name must be there.
      timeout_s: seconds that it may take.
      before: words in front of the command.

    Raises:
      DeviceError: it did not run, took too long, or wrote nothing.
    """
    results = f"{transport.folder}/{RESULTS}"
    words = [*before, *installed.words, f"--model={model}", f"--out={results}", *flags]
    transport.run(["rm", "-f", results], timeout_s=PROBE_S)
    done = transport.run(words, timeout_s=timeout_s)
    if done.code not in (0, GOLDEN_DIFFERS):
        raise DeviceError(f"{transport.title}: the network did not run there. Received: {_last_line(done)}")
    with tempfile.TemporaryDirectory(prefix="tta_lite_results_") as folder:
        file = Path(folder) / RESULTS
        transport.get(RESULTS, file)
        return Run.from_json(file.read_text(encoding="utf-8"), f"{RESULTS} of {transport.title}")


def _last_line(done: Finished) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    said = (errors or lines or [f"exit code {done.code} and no word"])[-1].removeprefix("error: ")
    return said if done.code < 128 else f"ended by signal {done.code - 128}; before: {said}"
