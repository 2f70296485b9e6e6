"""Fuzz one target in this process, guided by the branches that its inputs reach.

``python tests/fuzz/fuzz_one.py jpeg --seconds 10 --work build/fuzz`` needs atheris.  Findings are
written to ``build/fuzz/found/jpeg``, new inputs to ``build/fuzz/corpus/jpeg``.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]


class TooSlow(Exception):
    """An input took more CPU time than its target may."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=-1, help="inputs after which to end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    import atheris
    import targets
    from corpus import known_inputs

    name = options.target
    target = targets.TARGETS[name]
    corpus = options.work / "corpus" / name
    found = options.work / "found" / name
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=list(target.modules)):
        # The first call imports the parser, so that it must happen in here.
        for place, data in enumerate(known_inputs(name)):
            (corpus / f"known-{place}").write_bytes(data)
            targets.run(name, data)
    warnings.simplefilter("ignore")
    logging.disable()

    def parse(data: bytes) -> None:
        started = time.process_time()
        targets.run(name, data)
        spent_s = time.process_time() - started
        # CPU time, for the machine may be busy with other things.
        if spent_s > target.budget_s:
            raise TooSlow(f"{len(data)} bytes took {spent_s:.1f} s")

    arguments = [
        sys.argv[0],
        f"-max_total_time={options.seconds}",
        f"-runs={options.runs}",
        f"-max_len={target.max_bytes}",
        f"-rss_limit_mb={target.memory_mb}",
        f"-seed={options.seed}",
        "-timeout=30",  # in real time, for what never comes back
        "-print_final_stats=1",
        "-verbosity=1",
        f"-artifact_prefix={found}/",
        str(corpus),
    ]
    atheris.Setup(arguments, parse)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
