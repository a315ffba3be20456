"""What runs on the board besides the program: small scripts for any POSIX sh with coreutils, busybox or toybox.

The work folder holds a folder of our own, ``$own``, with one empty file for each running program, named
``<our number>=<what kill is given>``: an empty file can be made where a disk is full, and is never half written.
Each script ends by setting ``code``: an exit code, or ``gone`` where the work folder is no longer there.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tta_lite.measure.device.transport import OWN

# Makes the work folder and stays. Takes it away when its input ends, when it is asked to end, and when nothing was
# heard for `silence` seconds, because a connection that is silently cut never ends the input.
_KEEP = """
[ -t 0 ] && stty -echo
LC_ALL=C; export LC_ALL; umask 077
watch= nap=
sweep() {
  trap '' HUP INT TERM
  # A program that starts from now on finds no place for its number, and does not start.
  mv "$folder/$own" "$folder/.swept"
  for file in "$folder"/.swept/*=*; do kill -KILL "${file##*=}"; done
  # What left its group is known by where it works; a person who looks around there has a terminal.
  ls -l /proc/[0-9]*/cwd | while read -r line; do
    case $line in
      *" -> $folder" | *" -> $folder/"*)
        line=${line%%/cwd -> *}
        pid=${line##*/}
        read -r line < "/proc/$pid/stat" && set -- ${line##*) } && [ "$5" = 0 ] && kill -KILL "$pid" ;;
    esac
  done
  rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
  [ -z "$watch" ] || kill "$watch"
}
if ! folder=$(mktemp -d "${parent:-${TMPDIR:-/tmp}}/tta-XXXXXXXX" 2>&1); then
  printf '%s refused %s\\n' "$mark" "$folder"
  exit 0
fi
exec 2>/dev/null
folder=$(cd "$folder" && pwd -P)
trap 'sweep; exit 0' HUP INT TERM
mkdir "$folder/$own" && echo 'exit 0' > "$folder/$own/probe" && chmod 700 "$folder/$own/probe"
if [ -s "$folder/$own/probe" ] && ! "$folder/$own/probe"; then
  sweep
  printf '%s noexec %s\\n' "$mark" "${folder%/*}"
  exit 0
fi
rm -f "$folder/$own/probe"
(
  watch=
  trap '' HUP INT
  trap 'heard=yes' USR1
  trap 'kill "$nap"; exit 0' TERM
  while :; do
    heard=
    sleep "$silence" &
    nap=$!
    wait "$nap"
    [ -n "$heard" ] || break
    kill "$nap"
  done
  sweep
  kill -KILL $$
) </dev/null >/dev/null 2>&1 &
watch=$!
printf '%s ready %s\\n' "$mark" "$folder"
while read -r line; do kill -USR1 "$watch"; done
sweep
printf '%s swept\\n' "$mark"
exit 0
"""

_RUN = """
if [ -d "$folder/$own" ]; then
  lead= sign=
  if command -v setsid >/dev/null 2>&1; then lead=setsid sign=-; fi
  # The shell's own remark on a program that was killed is not the program's.
  exec 4>&2 2>/dev/null
  (
    cd "$folder" || exit 125
    exec $lead sh -c ': > "$1=$2$$" || exit 125; shift 2; exec "$@"' \\
      sh "$own/$number" "$sign" "$@" </dev/null 2>&4 4>&-
  )
  code=$?
  for file in "$folder/$own/$number="*; do
    case $file in *=-*) kill -KILL "${file##*=}" ;; esac
    rm -f "$file"
  done
  # Where this was taken away, the program was ended and did not end.
  [ -d "$folder/$own" ] || code=gone
  exec 2>&4 4>&-
else code=gone; fi
"""

_END = """
for file in "$folder/$own/$number="*; do kill -KILL "${file##*=}"; done 2>/dev/null
code=0
"""

_ROOM = """
LC_ALL=C; export LC_ALL
if cd "$folder/$own" && cd ..; then
  mkdir -p "./$inner"
  code=$?
  df -Pk . || df -k .
else code=gone; fi
"""

# Prints the size in bytes, the kind of checksum and the checksum.
_LOOK = """
LC_ALL=C; export LC_ALL
sum() {
  for tool in sha256sum 'busybox sha256sum' 'toybox sha256sum' cksum; do
    line=$($tool < "$1" 2>/dev/null) && [ -n "$line" ] && printf '%s %s\\n' "${tool##* }" "${line%% *}" && return
  done
}
code=gone
if cd "$folder/$own" && cd ..; then
  code=missing
  if [ -f "./$name" ]; then size=$(wc -c < "./$name") && printf '%s ' $size && sum "./$name"; code=$?; fi
fi
"""

_KEEP_FILE = """
LC_ALL=C; export LC_ALL
if cd "$folder/$own" && cd ..; then chmod "$mode" "$part" && mv -f "$part" "./$name"; code=$?; else code=gone; fi
"""

_READ = """
if cd "$folder/$own" && cd ..; then cat "./$name"; code=$?; else code=gone; fi
"""

_DROP = """
rm -f "$folder/$part"
code=0
"""


def keep(parent: str, mark: str, *, silence_s: int) -> str:
    """-> what makes the work folder in `parent` ("" is the board's ``$TMPDIR``, or /tmp) and guards it.

    It prints ``<mark> ready <folder>``, ``<mark> refused <why>`` or ``<mark> noexec <parent>``, then reads lines until
    its input ends. It is whole before any of it runs, because a shell may read a script and that input from one pipe.
    """
    return "{\n" + _script(_KEEP, parent=parent, mark=mark, silence=str(silence_s)) + "}\n"


def run(folder: str, number: str, argv: Sequence[str]) -> str:
    """-> what runs a program in the work folder, under `number`, and ends what it left."""
    return f"set -- {shlex.join(argv)}\n" + _script(_RUN, folder=folder, number=number)


def end(folder: str, number: str) -> str:
    """-> what ends the program that runs under `number`, with its group."""
    return _script(_END, folder=folder, number=number)


def room(folder: str, inner: str) -> str:
    """-> what makes a folder within the work folder, and prints the free room as ``df`` does, in KiB."""
    return _script(_ROOM, folder=folder, inner=inner)


def look(folder: str, name: str) -> str:
    """-> what prints ``<bytes> sha256sum|cksum <checksum>`` of a file; ``missing`` where there is none."""
    return _script(_LOOK, folder=folder, name=name)


def read(folder: str, name: str) -> str:
    """-> what prints a file."""
    return _script(_READ, folder=folder, name=name)


def keep_file(folder: str, part: str, name: str, *, executable: bool) -> str:
    """-> what gives a file that arrived whole its name."""
    return _script(_KEEP_FILE, folder=folder, part=part, name=name, mode="700" if executable else "600")


def drop(folder: str, part: str) -> str:
    """-> what removes a file that did not arrive whole."""
    return _script(_DROP, folder=folder, part=part)


def _script(text: str, **variables: str) -> str:
    # Values only ever enter as quoted assignments: the text itself is the same every time.
    given = "\n".join(f"{name}={shlex.quote(value)}" for name, value in {"own": OWN, **variables}.items())
    return given + "\n" + text
