"""Check that AWS's serverless benchmarking sample runs on the local service and writes a report.

The sample is not modified. It runs in a Python environment of its own in ``build/clients``. It
measures the fake server of this project's tests, so the numbers in its report mean nothing.

    git clone https://github.com/aws-samples/sagemaker-serverless-inference-benchmarking sample
    python scripts/run_aws_benchmark_sample.py sample
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / "build" / "clients" / "benchmarking-sample"
REQUIREMENTS = ("boto3<2", "pandas<2", "numpy<2", "seaborn<0.12", "matplotlib<3.9", "Jinja2<4")
"""The packages that the sample requires, without the releases that are too new for it."""

PROGRAM = """
import sys

from sm_serverless_benchmarking import benchmark
from sm_serverless_benchmarking.utils import convert_invoke_args_to_jsonl

folder = sys.argv[1]
arguments = [{"Body": "1,2,3", "ContentType": "text/csv"}] * 2
examples = convert_invoke_args_to_jsonl(arguments, output_path=folder)
benchmark.run_serverless_benchmarks(
    "sample",
    examples,
    memory_sizes=[1024, 2048],
    stability_benchmark_invocations=10,
    concurrency_benchmark_max_conc=[2, 4],  # with one, the sample stumbles over its own plot
    concurrency_benchmark_invocations=10,
    concurrency_num_clients_multiplier=[1, 2],
    result_save_path=folder,
)
"""


def main() -> int:
    """Run the sample and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="a checkout of the sample")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "aws-sample")
    arguments = parser.parse_args()
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    return run_sample(python, arguments.checkout / "src", arguments.output)


def run_sample(python: Path, source: Path, output: Path) -> int:
    """Run the sample in its environment and return its exit status."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from local_aws import FAKE_SERVER, Aws

    from drdeploy.hosting.local import LocalService, ServiceOptions

    options = ServiceOptions(trial_start=False)
    with LocalService(isolation="process", options=options, server_command=FAKE_SERVER) as service:
        Aws.at(service.url).model("sample")
        environment = os.environ | {
            "PYTHONPATH": str(source),
            "MPLBACKEND": "agg",
            "AWS_ENDPOINT_URL": service.url,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        done = subprocess.run(
            [python, "-c", PROGRAM, output], env=environment, cwd=output, check=False
        )
    report = output / "benchmarking_report" / "benchmarking_report.html"
    sys.stdout.write(f"report: {report}\n" if report.is_file() else "no report was written\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
