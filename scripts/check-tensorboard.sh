#!/usr/bin/env bash
# Reads the TensorBoard event files of a training run with TensorBoard's own reader and holds every value against log.jsonl.
#
#   scripts/check-tensorboard.sh RUN
#
# TensorBoard (Apache-2.0) goes into runs/tensorboard, a virtual environment of its own; juror needs none of it.
set -euo pipefail
run=${1:?folder of a training run}
cd "$(dirname "$0")/.."
venv=runs/tensorboard
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet tensorboard 'setuptools<81'
fi
exec "$venv/bin/python" - "$run" <<'PYTHON'
import json, pathlib, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

checked = 0
for log in sorted(pathlib.Path(sys.argv[1]).rglob("log.jsonl")):
    lines = {}
    for line in log.read_text().splitlines():
        line = json.loads(line)
        # A resumed run did these steps again.
        lines = {step: l for step, l in lines.items() if step < line["step"]} | {line["step"]: line}
    events = EventAccumulator(str(log.parent), size_guidance={"scalars": 0})
    events.Reload()
    if not lines:
        continue
    tags = set(events.Tags()["scalars"])
    for tag in sorted(tags):
        of = lambda line: line[tag] if tag.endswith("_per_sec") else line["means"].get(tag)
        want = {step: of(line) for step, line in lines.items() if of(line) is not None}
        got = {event.step: event.value for event in events.Scalars(tag)}
        assert got.keys() == want.keys(), (log, tag, sorted(got), sorted(want))
        for step, value in want.items():
            assert abs(got[step] - value) <= 1e-5 * max(1, abs(value)), (log, tag, step, got[step], value)
            checked += 1
    missing = {name for line in lines.values() for name in line["means"]} - tags
    assert not missing, (log, missing)
    print(f"{log.parent}: {len(tags)} tags, {len(lines)} steps")
assert checked, "no event was found"
print(f"{checked} values agree")
PYTHON
