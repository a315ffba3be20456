#!/bin/sh
# Runs the network on this board and writes results.json. Needs no Python and no network. Flags are handed on to
# tta_runner, as ./run.sh --threads=2
set -u
cd "$(dirname "$0")" || exit 1
ROUNDS=${ROUNDS:-3}
COOL_DOWN=${COOL_DOWN:-5}
CORES=${CORES:-@CORES@}
PROFILE_RUNS=${PROFILE_RUNS:-10}
OUT=${OUT:-results.json}

ended() {
  rm -f run.json run.json.part "$OUT.part"
}
trap ended EXIT
trap 'exit 130' INT TERM HUP

full() {
  echo "error: $OUT cannot be written: is the disk full?" >&2
  exit 1
}

code=0
between=
emulated=false
[ -n "${EMULATOR:-}" ] && emulated=true
printf '{"format": 1, "emulated": %s, "kit": %s, "runs": [' "$emulated" "$(cat kit.json)" >"$OUT.part" || full
round=1
while [ "$round" -le "$ROUNDS" ]; do
  for cores in $CORES; do
    sleep "$COOL_DOWN" || exit 1
    # All cores are the system's to choose from; --cpus=4,5 can name some then.
    chosen="--cores=$cores"
    [ "$cores" = all ] && chosen=
    echo "round $round of $ROUNDS, $cores cores"
    ${EMULATOR:-} @RUNNER@ --library=./lib/libLiteRt.so --model=model.tflite --out=run.json $chosen \
      "--profile_runs=$PROFILE_RUNS" @GOLDEN@ "$@" 2>runner.log
    status=$?
    if [ "$status" -ne 0 ] && [ "$status" -ne 3 ]; then
      tail -n 3 runner.log >&2
      echo "error: the network did not run here; runner.log has all that was said" >&2
      exit 1
    fi
    [ "$status" -eq 3 ] && code=3
    printf '%s\n{"cores": "%s", "round": %s, "result": ' "$between" "$cores" "$round" >>"$OUT.part" &&
      cat run.json >>"$OUT.part" && printf '}' >>"$OUT.part" || full
    between=,
  done
  round=$((round + 1))
done
if [ -z "$between" ]; then
  echo "error: nothing was run. Expected: ROUNDS of 1 or more, and CORES. Received: $ROUNDS, $CORES" >&2
  exit 1
fi
printf ']}\n' >>"$OUT.part" && mv "$OUT.part" "$OUT" || full
if [ "$code" -eq 3 ]; then
  echo "THE OUTPUTS ARE NOT THOSE THAT WERE EXPECTED: see \"golden\" in $OUT" >&2
else
  echo "the outputs are those that were expected"
fi
echo "written: $OUT; on the other machine: tta-lite import-results $OUT"
exit "$code"
