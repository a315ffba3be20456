"""What OpenSSH's client says when there is no connection, and what a user can do about it."""

from __future__ import annotations

import re

from tta_lite.measure.device.client import last_line
from tta_lite.measure.device.ssh_options import SshTarget

# Worth another attempt: a board that still starts, or a network that stumbled.
_PASSING = re.compile(
    r"connection refused|timed out|connection reset|connection closed|no route to host|network is unreachable"
    r"|host is down|temporary failure in name resolution|kex_exchange_identification",
    re.IGNORECASE,
)
_UNKNOWN_KEY = re.compile(r"No (\S+) host key is known for (.+?) and you have requested strict checking")
_CHANGED_KEY = "REMOTE HOST IDENTIFICATION HAS CHANGED"
_REFUSED_KEY = re.compile(r"host key .*revoked|Host key verification failed", re.IGNORECASE)
_FINGERPRINT = re.compile(r"Server host key: (\S+ \S+)")
_SENT_FINGERPRINT = re.compile(r"The fingerprint for the (\S+) key sent by the remote host is\s+(\S+?)\.?\s")
_OFFENDING = re.compile(r"Offending \S+ key in (.+?):(\d+)")


def is_passing(complaint: str) -> bool:
    """May another attempt succeed?

    >>> is_passing("ssh: connect to host board port 22: Connection refused"), is_passing("Permission denied")
    (True, False)
    """
    return bool(_PASSING.search(complaint)) and not wants_fingerprint(complaint)


def wants_fingerprint(complaint: str) -> bool:
    """Was the board's key unknown, so that it helps to show which one it offered?"""
    return bool(_UNKNOWN_KEY.search(complaint))


def fingerprint(verbose: str) -> str | None:
    """-> the key that the board offered, from what ``ssh -v`` wrote.

    >>> fingerprint("debug1: Server host key: ssh-ed25519 SHA256:abc\\r\\n")
    'ssh-ed25519 SHA256:abc'
    """
    found = _FINGERPRINT.search(verbose)
    return found[1] if found else None


def explained(target: SshTarget, complaint: str, output: str, offered: str | None = None) -> str:
    """-> why there is no connection, and what to do.

    Args:
      target: the board.
      complaint: what the client wrote to its standard error.
      output: what came from the board instead of an answer.
      offered: the key that the board offered, where it is not known here.
    """
    by_hand = f"`{target.by_hand()}`"
    if unknown := _UNKNOWN_KEY.search(complaint):
        return (
            f"the board's host key is not known here, so that this may be any machine. It offers "
            f"{offered or unknown[1]}. Compare that with what the board itself says (`ssh-keygen -lf "
            f"/etc/ssh/ssh_host_ed25519_key.pub` at its console), then run {by_hand} once and answer yes. Where that "
            "does not ask, ~/.ssh/config turns the check off or sets UserKnownHostsFile=/dev/null for it."
        )
    if _CHANGED_KEY in complaint:
        sent = _SENT_FINGERPRINT.search(complaint + "\n")
        place = _OFFENDING.search(complaint)
        where = f" in {place[1]}, line {place[2]}" if place else ""
        return (
            f"the board's host key is not the one known here{where}: either it was installed anew, or another machine "
            f"answers in its place. It offers {' '.join(sent.groups()) if sent else 'another one'}. If the board's own "
            "console shows that key (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`), remove the old one with "
            f"`ssh-keygen -R '{known_name(target)}'` and run {by_hand} once."
        )
    if "Permission denied" in complaint:
        return (
            f"the board refuses us: {last_line(complaint)}. A key is needed that works without a password: try "
            f"{by_hand} -o BatchMode=yes; `ssh-copy-id` puts a key there, and `ssh-add` unlocks one."
        )
    if _REFUSED_KEY.search(complaint):
        return f"the board's host key is refused: {last_line(complaint)}. Try {by_hand}, which says more."
    if is_passing(complaint):
        return f"the board cannot be reached: {last_line(complaint)}. Is it on, and does {by_hand} reach it?"
    if complaint and not output:
        return f"the connection cannot be made: {last_line(complaint)}. Try {by_hand}."
    said = f" It said: {output[:200]!r}" if output else ""
    return f"the board did not answer as a POSIX shell does; {by_hand} sh -c true must work there.{said}"


def known_name(target: SshTarget) -> str:
    """-> how known_hosts calls the board.

    >>> known_name(SshTarget("board", port=2222))
    '[board]:2222'
    """
    return f"[{target.host}]:{target.port}" if target.port not in (None, 22) else target.host
