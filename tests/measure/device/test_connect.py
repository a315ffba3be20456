"""What `--connect` may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_lite.measure.device.adb import Adb
from tta_lite.measure.device.connect import open_transport
from tta_lite.measure.device.local import Local
from tta_lite.measure.device.ssh import Ssh
from tta_lite.measure.device.ssh_options import SshTarget, master_options
from tta_lite.types import InputError


@pytest.mark.parametrize(
    ("connect", "kind", "title"),
    [
        ("local", Local, "this machine"),
        ("ssh://board", Ssh, "ssh://board"),
        ("ssh://firefly@192.168.1.7:2222/", Ssh, "ssh://firefly@192.168.1.7:2222"),
        ("ssh://root@[fe80::1%eth0]:22", Ssh, "ssh://root@[fe80::1%eth0]:22"),
        ("adb:0123456789ABCDEF", Adb, "adb:0123456789ABCDEF"),
        ("adb:192.168.1.7:5555", Adb, "adb:192.168.1.7:5555"),
        ("adb:", Adb, "adb:"),
    ],
)
def test_each_form_gives_its_way(connect: str, kind: type, title: str) -> None:
    transport = open_transport(connect)
    assert isinstance(transport, kind)
    assert transport.title == title
    assert not transport.emulated


@pytest.mark.parametrize(
    "connect",
    [
        "",
        "board",
        "Local",
        "local ",
        "telnet://board",
        "root@board",
        "ssh:board",
        "ssh:/board",
        "http://board",
        "local\n",
    ],
)
def test_another_form_is_refused_with_those_that_there_are(connect: str) -> None:
    with pytest.raises(InputError, match="--connect takes local, ") as caught:
        open_transport(connect)
    assert all(form in str(caught.value) for form in ("ssh://[user@]host[:port]", "emulated", "adb:SERIAL"))
    assert repr(connect) in str(caught.value)


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "-oProxyCommand=touch x",
        "-oProxyCommand=x@board",
        "root@-oProxyCommand=x",
        "root@",
        "@board",
        "board:",
        "board:0",
        "board:65536",
        "board:22x",
        "board\n",
        "board\nHost *",
        "bo ard",
        "board;id",
        "$(id)@board",
        "`id`",
        "board/tmp",
        "[::1",
        "[-oProxyCommand]",
        "a@b@c",
        "%h",
        "board\0",
        "\uff42oard",
        "board:\uff12\uff12",
    ],
)
def test_an_address_that_could_be_read_otherwise_is_refused(rest: str) -> None:
    with pytest.raises(InputError, match=r"expected ssh://\[user@\]host\[:port\]"):
        open_transport(f"ssh://{rest}")


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="holds no password") as caught:
        open_transport("ssh://root:geheim@board")
    assert "geheim" not in str(caught.value)


# The characters that mean something, and some that do not.
@given(st.text(st.sampled_from("-@:[]%/.= \nab1\0\u0661"), max_size=12))
def test_whatever_comes_through_is_no_option(rest: str) -> None:
    try:
        target = SshTarget.parse(f"ssh://{rest}")
    except InputError:
        return
    words = target.words()
    assert words[words.index("--") + 1 :] == [target.host]
    assert not any(word.startswith("-") for word in (target.host, target.user or ""))
    assert SshTarget.parse(str(target)) == target


def test_nothing_that_is_added_loosens_the_check_of_the_host_key() -> None:
    words = master_options("s", connect_s=1, drop_s=15, extra=("-o", "StrictHostKeyChecking=no"))
    # The first one counts.
    assert words.index("StrictHostKeyChecking=yes") < words.index("StrictHostKeyChecking=no")
