"""Which board an ``ssh://`` address means, and with which options OpenSSH's client is started."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from tta_lite.types import InputError

SCHEME = "ssh://"
# No word of an address may look like an option, or like anything that a shell or the configuration reads otherwise.
_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.+-]*)@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


@dataclasses.dataclass(frozen=True)
class SshTarget:
    """A board by its address.

    Attributes:
      host: a name, also one that ``~/.ssh/config`` explains, or a number.
      user: None is what the configuration says, or the user's name here.
      port: None is what the configuration says, or 22.
    """

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, address: str) -> SshTarget:
        """-> the target of ``ssh://[user@]host[:port]``.

        Raises:
          InputError: it is no such address.

        >>> SshTarget.parse("ssh://firefly@192.168.1.7:2222")
        SshTarget(host='192.168.1.7', user='firefly', port=2222)
        >>> SshTarget.parse("ssh://[fe80::1%eth0]").host
        'fe80::1%eth0'
        """
        rest = address.removeprefix(SCHEME)
        if ":" in rest.rpartition("@")[0]:
            # Not repeated here: it may end in a log.
            raise InputError(
                "An address holds no password: boards are reached by a key, which `ssh-copy-id` puts there. Expected "
                f"ssh://[user@]host[:port]. Received: ssh://...@{rest.rpartition('@')[2]!r}"
            )
        matched = _ADDRESS.fullmatch(rest)
        if not address.startswith(SCHEME) or not matched:
            raise InputError(f"Not the address of a board; expected ssh://[user@]host[:port]. Received: {address!r}")
        port = matched["port"]
        if port is not None and not 1 <= int(port) <= 65535:
            raise InputError(f"A port is 1 to 65535; expected ssh://[user@]host[:port]. Received: {address!r}")
        return cls(matched["host"].strip("[]"), matched["user"], None if port is None else int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{SCHEME}{f'{self.user}@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"

    def words(self) -> list[str]:
        """-> what names the board on the client's command line, after which options end.

        >>> SshTarget("board", "root", 2222).words()
        ['-l', 'root', '-p', '2222', '--', 'board']
        """
        user = ["-l", self.user] if self.user else []
        port = ["-p", str(self.port)] if self.port else []
        return [*user, *port, "--", self.host]

    def by_hand(self) -> str:
        """-> the command with which a user reaches the board by hand."""
        port = f"-p {self.port} " if self.port else ""
        return f"ssh {port}{f'{self.user}@' if self.user else ''}{self.host}"


def master_options(socket: str, *, connect_s: float, drop_s: float, extra: Sequence[str] = ()) -> list[str]:
    """-> the client's command for the connection that the rest goes over.

    The first value that OpenSSH meets counts, so these stand before `extra` and the user's configuration.

    Args:
      socket: where commands find the connection.
      connect_s: until when it must stand.
      drop_s: after how much silence it counts as lost.
      extra: more options of ``ssh``, as ``("-F", "my_config")``.
    """
    every_s = max(1, int(drop_s / 3))
    options = {
        # A host key is known and right, or there is no connection.
        "StrictHostKeyChecking": "yes",
        "NoHostAuthenticationForLocalhost": "no",
        "UpdateHostKeys": "no",
        # Nobody is there to type a password.
        "BatchMode": "yes",
        "ConnectTimeout": str(max(1, round(connect_s))),
        "ConnectionAttempts": "1",
        "ServerAliveInterval": str(every_s),
        "ServerAliveCountMax": str(max(1, int(drop_s / every_s))),
        "ControlMaster": "yes",
        "ControlPath": socket,
        "ControlPersist": "no",
        # What a user's configuration may add for people is nothing for programs.
        "RemoteCommand": "none",
        "RequestTTY": "no",
        "PermitLocalCommand": "no",
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "VisualHostKey": "no",
        "LogLevel": "INFO",
    }
    return ["ssh", *(word for name, value in options.items() for word in ("-o", f"{name}={value}")), *extra]


def session_words(socket: str, command: str) -> list[str]:
    """-> the command that runs another one over the connection of `socket`.

    Without that connection it fails: left to itself, the client would make a new one.
    """
    lone = ["-F", "none", "-o", "ControlMaster=no", "-o", "ProxyCommand=false", "-o", "BatchMode=yes", "-T"]
    return ["ssh", *lone, "-S", socket, "--", "board", command]
