#!/usr/bin/env bash
# Margin-Coupled GRPO and its ablations (docs/mc-grpo.md), one run per seed, and the table of what each gains on held-out pairs.
#
#   scripts/ablate-mc-grpo.sh [CONFIG] [SEED...]      default: configs/nano-mc-grpo.toml, seeds 1 2 3
#
# ABLATIONS="full head-only" runs only these. Runs lie in RUN_DIR/ablations; what is finished is not run again.
set -euo pipefail
cd "$(dirname "$0")/.."
config=${1:-configs/nano-mc-grpo.toml}
seeds=("${@:2}")
[ ${#seeds[@]} -gt 0 ] || seeds=(1 2 3)
juror=${JUROR:-${CARGO_TARGET_DIR:-target}/release/juror}
[ -n "${JUROR:-}" ] || cargo build --release --locked --quiet -p juror-cli
runs=$(sed -n 's/^run_dir = "\(.*\)".*/\1/p' "$config")/ablations
mkdir -p "$runs"
for ablation in ${ABLATIONS:-full uncoupled no-antisymmetry no-reasoning head-only}; do
    case $ablation in
        full) edit=() ;;
        uncoupled) edit=(-e '/^\[coupling\]/a weights = "uniform"' -e '/^\[rewards\]/,/^\[/s/^margin = .*/margin = 0/') ;;
        no-antisymmetry) edit=(-e 's/^antisymmetry = .*/antisymmetry = 0/') ;;
        no-reasoning) edit=(-e 's/^regression = .*/regression = 0/' -e '/^\[rewards\]/,/^\[/s/^margin = .*/margin = 0/') ;;
        head-only) edit=(-e '/^\[coupling\]/a trained = "head"') ;;
        *) echo "unknown ablation $ablation" >&2; exit 2 ;;
    esac
    for seed in "${seeds[@]}"; do
        run=$runs/$ablation-$seed
        sed -e "s|^run_dir = .*|run_dir = \"$run\"|" -e "s/^seed = .*/seed = $seed/" "${edit[@]}" "$config" > "$run.toml"
        [ -e "$run/report.json" ] || "$juror" train mc-grpo --config "$run.toml" > "$run.log" 2>&1 || { cat "$run.log" >&2; exit 1; }
    done
done
echo "machine: $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1); commit $(git rev-parse --short HEAD)"
python3 - "$runs" <<'PY'
import collections, json, pathlib, sys

rows = [("margin_srcc", 0), ("margin_error", 1), ("order_gap", 2), ("question_srcc", 3), ("question_error", 4), ("preference", 6), ("attribution", 7)]
runs = collections.defaultdict(list)
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/report.json")):
    runs[path.parent.name.rsplit("-", 1)[0]].append(json.loads(path.read_text()))
print("\nGains on held-out pairs, mean over seeds (in brackets: seeds whose 95 % interval lies beyond 0, for better or worse).\n")
print("| run | seeds | " + " | ".join(name for name, _ in rows) + " |")
print("|---|---|" + "---|" * len(rows))
mean = lambda values: sum(values) / len(values)
reports = [report for all_of_it in runs.values() for report in all_of_it]
print(f"| (before) | {len(reports)} | " + " | ".join(f"{mean([r['before'][name] for r in reports]):.3f}" for name, _ in rows) + " |")
for name, reports in runs.items():
    cells = []
    for key, at in rows:
        beyond = sum(1 for r in reports if (ci := r["gains_ci95"][at]) and ci["lo"] * ci["hi"] > 0)
        cells.append(f"{mean([r['after'][key] - r['before'][key] for r in reports]):+.3f} ({beyond})")
    print(f"| {name} | {len(reports)} | " + " | ".join(cells) + " |")
print("\n95 % intervals, by seed:")
for name, reports in runs.items():
    for report in reports:
        say = lambda at: "{lo:+.3f} to {hi:+.3f}".format(**report["gains_ci95"][at])
        print(f"{name}: margin_srcc {say(0)}, attribution {say(7)}, question_srcc {say(3)}")
PY
