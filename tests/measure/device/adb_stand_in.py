"""Does what `adb` does to a device, to a folder of this machine: there is no device here.

What it says and which codes it ends with are those of adb 1.0.41 and of its source. In the folder ``$STAND_IN``,
`state` holds what state the device is in, and `old` is there where it behaves as a device before Android 7: one stream
with a terminal's ends of line, and no exit codes.
"""

import os
import shutil
import subprocess
import sys
import threading

STATES = {
    "unauthorized": "error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\n"
    "Try 'adb kill-server' if that seems wrong.\nOtherwise check for a confirmation dialog on your device.",
    "offline": "error: device offline",
    "none": "error: no devices/emulators found",
    "several": "error: more than one device/emulator",
    "permissions": "error: insufficient permissions for device: user in plugdev group; are your udev rules wrong?",
}


def shell(command: str, old: bool) -> int:
    device = subprocess.Popen(
        ["sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if old else subprocess.PIPE,
        start_new_session=True,
    )
    given, out, complaints = device.stdin, device.stdout, device.stderr
    assert given and out

    def pass_on(source: int, target: int) -> None:
        while piece := os.read(source, 65536):
            os.write(target, piece.replace(b"\n", b"\r\n") if old and target else piece)

    def give_input() -> None:
        pass_on(0, given.fileno())
        given.close()

    threading.Thread(target=give_input, daemon=True).start()
    outputs = [threading.Thread(target=pass_on, args=(out.fileno(), 1))]
    if complaints:
        outputs.append(threading.Thread(target=pass_on, args=(complaints.fileno(), 2)))
    for thread in outputs:
        thread.start()
    for thread in outputs:
        thread.join()
    code = device.wait()
    return 0 if old else code % 256


def main(words: list[str]) -> int:
    folder = os.environ["STAND_IN"]
    with open(os.path.join(folder, "state")) as file:
        state = file.read().strip()
    serial = words[1] if words[0] == "-s" else ""
    command, *rest = words[2:] if serial else words
    if command == "start-server":
        return 0
    if serial not in ("", "board"):
        print(f"error: device '{serial}' not found", file=sys.stderr)
        return 1
    if state != "device":
        print(STATES.get(state, state), file=sys.stderr if state in STATES else sys.stdout)
        return state in STATES
    if command == "get-state":
        print("device")
        return 0
    if command == "shell":
        return shell(" ".join(rest), os.path.exists(os.path.join(folder, "old")))
    assert command in ("push", "pull")
    try:
        shutil.copy(rest[0], rest[1])
    except OSError as error:
        print(f"adb: error: failed to copy '{rest[0]}' to '{rest[1]}': remote {error.strerror}", file=sys.stderr)
        return 1
    print(f"{rest[0]}: 1 file {command}ed. 0.1 MB/s (1 bytes in 0.001s)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
