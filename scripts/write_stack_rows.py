"""Write studies/study-stack-local: measurements of the 2023 study's software on one machine.

    drdeploy study run study-stack --images PHOTOGRAPHS_OF_224_PIXELS --out results/stack-1
    drdeploy study run study-stack --images PHOTOGRAPHS_OF_224_PIXELS --out results/stack-2
    python scripts/write_stack_rows.py results/stack-1 results/stack-2

Run the study several times on the same machine. For each trial, this script keeps the run with the
lowest median latency: other programs on the machine can make a request slower, but not faster.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from drdeploy.study.aws_latency.series import STACK_ROWS
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.measurements.measurement import REQUIRED
from drdeploy.study.measurements.results import ENVIRONMENT_FILE, MEASUREMENTS_FILE

KEPT_BESIDES = ("architecture", "image", "vcpu", "model_setup_s", "payload_bytes", "run_id")
KEPT_FACTS = (
    *("platform", "isolation", "cpu_model", "cpu_count", "machine", "kernel", "drdeploy"),
    *("started_at", "cpu_busy_percent_before", "cpu_busy_percent_after"),
)


def main() -> int:
    """Write the rows of the best runs, and print which run each trial comes from."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+")
    folders = parser.parse_args().results
    runs = [
        load_results_folder(folder).counted.assign(folder=str(one))
        for one, folder in enumerate(folders)
    ]
    counted = pd.concat(runs)
    medians = counted.groupby(["trial", "folder"])["total_latency_s"].median()
    best = dict(list(medians.groupby("trial").idxmin()))
    frames, facts = [], {}
    for at, folder in enumerate(folders):
        frame = pd.read_csv(folder / MEASUREMENTS_FILE, dtype=str, keep_default_na=False)
        mine = [trial for trial, chosen in best.items() if chosen == str(at)]
        frames.append(frame[frame["trial"].isin(mine)])
        facts |= json.loads((folder / ENVIRONMENT_FILE).read_text("utf-8"))
        sys.stdout.write(f"{folder}: {', '.join(mine) or 'nothing'}\n")
    rows = pd.concat(frames)
    kept = [name for name in (*REQUIRED, *KEPT_BESIDES) if name in rows]
    STACK_ROWS.mkdir(parents=True, exist_ok=True)
    rows[kept].to_csv(STACK_ROWS / MEASUREMENTS_FILE, index=False, lineterminator="\n")
    facts_of_runs = {
        run: {name: known[name] for name in KEPT_FACTS if name in known}
        for run, known in facts.items()
        if run in set(rows["run_id"])
    }
    (STACK_ROWS / ENVIRONMENT_FILE).write_text(json.dumps(facts_of_runs, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
