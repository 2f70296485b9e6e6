"""Build all 27 networks with random weights, and compare their exports as SavedModel and ONNX.

This takes half an hour on two cores. The test suite does not do it, because it takes too long;
``make architectures`` runs this script. Give names of networks as arguments to export only these.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from drdeploy.errors import DrdeployError
from drdeploy.grader.artifacts import extract_archive, verify_archive
from drdeploy.grader.networks.architectures import ARCHITECTURES, Architecture, find_architecture
from drdeploy.grader.networks.export import TOLERANCE, build_and_export_model
from drdeploy.grader.networks.network import build_network
from drdeploy.grader.networks.sample import make_sample_batch
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime

HEADER = "architecture        parameters  SavedModel MB  ONNX MB  difference  grades  seconds"


def main(names: list[str]) -> int:
    """Print one line for each network, and return how many failed."""
    print_line(HEADER)
    # Each in a process of its own: TensorFlow keeps gigabytes of every network that it has built.
    command = [sys.executable, __file__, "--one"]
    failed = sum(
        subprocess.run([*command, name], check=False).returncode != 0
        for name in names or ARCHITECTURES
    )
    total = len(names or ARCHITECTURES)
    print_line(f"{total - failed} of {total} export to both formats")
    return failed


def export_one(name: str) -> bool:
    """Export one network, print its line, and return whether the export succeeded."""
    try:
        print_line(export_and_compare(find_architecture(name)))
    except DrdeployError as error:
        print_line(f"{name}: FAILED: {error}")
        return False
    return True


def export_and_compare(architecture: Architecture) -> str:
    """Export one network in both formats, and return its line of the table.

    Raises:
        DrdeployError: The network's number of parameters is not the one that ``architecture``
            states, or its SavedModel and its ONNX model predict different probabilities.
    """
    started = time.perf_counter()
    parameters = build_network(architecture).count_params()
    if parameters != architecture.parameter_count:
        raise DrdeployError(
            f"The network has {parameters:,} parameters, not {architecture.parameter_count:,}"
        )
    with tempfile.TemporaryDirectory(prefix="drdeploy-architectures-") as scratch:
        archives = build_and_export_model(architecture.name, Path(scratch))
        sizes_mb = {name: unpacked_mb(archive) for name, archive in archives.items()}
        answers = [
            load_model_in_runtime(extract_archive(archive, Path(scratch) / name)).predict(
                make_sample_batch(architecture.transform)
            )
            for name, archive in archives.items()
        ]
    difference = float(np.abs(answers[0] - answers[1]).max())
    if not difference <= TOLERANCE:
        raise DrdeployError(
            f"Probabilities of the SavedModel and the ONNX model differ by {difference:.2g}"
        )
    grades = len(set(answers[0].argmax(axis=1)))
    return (
        f"{architecture.name:18}  {parameters:>10,}  {sizes_mb['saved_model']:13.1f}"
        f"  {sizes_mb['onnx']:7.1f}  {difference:10.1e}  {grades:6}"
        f"  {time.perf_counter() - started:7.0f}"
    )


def unpacked_mb(archive: Path) -> float:
    """Return the size of an archive's files in MB, without compression."""
    return sum(file.size_bytes for file in verify_archive(archive).files) / 1e6


def print_line(line: str) -> None:
    """Print a line immediately, because the next network takes a minute."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--one", name]:
            sys.exit(not export_one(name))
        case names:
            sys.exit(main(names) > 0)
