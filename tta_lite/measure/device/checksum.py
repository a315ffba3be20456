"""Checksums as a board's own programs print them."""

from __future__ import annotations

import hashlib
import zlib

# Each byte with its bits in the opposite order.
_MIRROR = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def sha256sum(data: bytes) -> str:
    """-> what ``sha256sum`` prints first."""
    return hashlib.sha256(data).hexdigest()


def cksum(data: bytes) -> str:
    """-> what POSIX ``cksum`` prints first, for boards without ``sha256sum``.

    Its polynomial is zlib's, but it reads each byte from the other end, begins with 0, and takes in the length:
    https://pubs.opengroup.org/onlinepubs/9799919799/utilities/cksum.html

    >>> cksum(b"123456789")
    '930766865'
    """
    length = len(data).to_bytes((len(data).bit_length() + 7) // 8, "little")
    mirrored = zlib.crc32((data + length).translate(_MIRROR), 0xFFFFFFFF)
    return str(int(f"{mirrored:032b}"[::-1], 2))


# By the name of the program on the board.
CHECKSUMS = {"sha256sum": sha256sum, "cksum": cksum}
