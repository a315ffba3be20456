"""The programs here that speak for us, `ssh` and `adb`, and what a script at their other end answered."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a script on the board answered.

    Attributes:
      code: an exit code, or the word that the script says instead.
      stdout: what it wrote.
      stderr: what it complained of; where the way to the board has one stream for both, that is in `stdout`.
    """

    code: str
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """What it complained of, in one line."""
        return one_line(self.stderr)


def marked(script: str, mark: str) -> str:
    """-> a script that tells its own output from a start-up file's and from the client's, and ends by its ``code``.

    A client's own exit code does not do: `ssh` gives 255 for a lost connection and for a program's 255, and an old
    `adb` gives none. It is one compound command, which a shell has read to its end before it runs any of it.

    Args:
      script: one of `remote_script`'s.
      mark: a word that nothing else holds.
    """
    return (
        f"{{\nprintf '%s\\n' {mark}-out; printf '%s\\n' {mark}-err >&2\n{script}\n"
        f"printf '\\n%s %s\\n' {mark}-end \"$code\"\nexit 0\n}}\n"
    )


def answered(mark: str, stdout: bytes, stderr: bytes) -> Answer | None:
    """-> what a `marked` script answered; None where it was cut off before its end.

    >>> answered("x", b"Welcome!\\nx-out\\nhello\\n\\nx-end 3\\n", b"x-err\\noh\\n")
    Answer(code='3', stdout=b'hello\\n', stderr=b'oh\\n')
    >>> answered("x", b"x-out\\nhel", b"x-err\\n") is None
    True
    """
    if f"{mark}-out\r\n".encode() in stdout:
        # An old adb's terminal, which has one stream and its own ends of line.
        stdout = stdout.replace(b"\r\n", b"\n").replace(f"{mark}-err\n".encode(), b"")
    written, ended, code = stdout.partition(f"{mark}-out\n".encode())[2].rpartition(f"\n{mark}-end ".encode())
    if not ended or not code.endswith(b"\n"):
        return None
    return Answer(code.decode("ascii", "replace").strip(), written, stderr.partition(f"{mark}-err\n".encode())[2])


def one_line(text: bytes) -> str:
    """-> the words of `text`."""
    return " ".join(text.decode("utf-8", "replace").split())


def last_line(complaint: str) -> str:
    """-> the last line, which holds the reason, without the dot at its end."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "it said nothing"


def communicate(
    argv: Sequence[str], data: bytes | None, timeout_s: float, environment: Mapping[str, str] | None = None
) -> tuple[bytes, bytes]:
    """Runs a client program on `data`; None is no input -> what it wrote, what it complained of.

    Raises:
      TimeoutError: it took longer than that; it is ended here.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        # Ctrl-C at our terminal is for us: we end it in good order.
        start_new_session=True,
    )
    try:
        return process.communicate(data, timeout_s)
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    finally:
        process.kill()
        process.wait()
        # Not read to their end: an ssh connection's process holds the other ends while the command runs there.
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
