"""Write docs/transfer-to-aws.md: the model that estimates latencies on AWS, and its errors.

Run this script again when the model or the rows in studies/study-stack-local have changed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.statistics.notation import format_number
from drdeploy.study.aws_latency.model import fit_transfer_model
from drdeploy.study.aws_latency.series import STACK_ROWS, STUDY_IMAGE_GB
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.recommendation.wording import format_seconds

if TYPE_CHECKING:
    from drdeploy.study.recommendation.aws_latency_estimates import TransferModel

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "transfer-to-aws.md"
TARGETS = {"warm": 0.15, "cold": 0.30}

HEAD = """\
<!-- Written by scripts/write_transfer_page.py; do not edit. -->

# From this machine to AWS

`drdeploy recommend` and `drdeploy report` estimate latencies on AWS from rows that were measured on
your machine. Both commands show the estimated latency and the measured latency. With
`--as-measured`, they estimate nothing and show only the measured latency. Latencies that were
measured on AWS are used as they are.

```sh
drdeploy recommend results/decision --requests 5000 --p95 2                 # as expected on AWS
drdeploy recommend results/decision --requests 5000 --p95 2 --as-measured   # as measured here
```

- The latency of a warm request is (time in the container on this machine x CPU ratio) + overhead of
  the platform. The CPU ratio says how many times as long the same work takes on AWS.

- The latency of a cold start is the sum of three times: the time to place the container; the time
  to pull the image (seconds per compressed GB x `--image-gb`); and the time to start the server and
  make the first prediction on this machine, multiplied by another CPU ratio.

The model of AWS latencies is fitted only to the rows that the 2023 study measured on SageMaker.
A series is all rows of one network on one configuration, either warm or cold. Each series of the
study is paired with a series of local rows, which one machine measured with the study's own
software (image `reduced`, profile `classic`).

The CPU ratios compare AWS with the one machine on which these local rows were measured. To get
ratios for your machine, measure the 2023 study's software on it, with photographs of 224 x 224
pixels, and pass the results with `--stack`.

If you have measured the same configurations in your own AWS account, pass these results with
`--account`. The series are of three kinds: warm requests to serverless endpoints, warm requests to
instances, and cold starts. If you pass at least three series of one kind, they replace the study's
series of this kind.

```sh
drdeploy study run study-stack --images photographs-224 --out results/stack
drdeploy recommend results/decision --requests 5000 --stack results/stack --account results/aws
```
"""

RESAMPLED = (
    "The intervals of the coefficients come from a bootstrap. It resamples the series (a series is "
    "all rows of one network on one configuration), and the rows of each series."
)
LEFT_OUT = (
    "To find the error on a series, the model of AWS latencies is fitted to all other series. From "
    "the local rows of the series that was left out, the model then estimates the latency of this "
    "series on AWS. The estimate is compared with the latency that the 2023 study measured."
)
INTERVALS = (
    "When `drdeploy` estimates a latency on AWS, it gives an interval. The interval is wide "
    "enough for errors like those in the table, and for the uncertainty of the coefficients."
)
KERNELS = (
    "The packaged local rows were measured with TensorFlow's own kernels "
    "(`TF_ENABLE_ONEDNN_OPTS=0`), as TensorFlow chooses them on most of the study's machines. "
    "With oneDNN's kernels, VGG19 is about twice as fast on the machine of these rows, but "
    "MobileNet is not faster. A CPU ratio that fits one of the networks would then not fit the "
    "other: with oneDNN's kernels, the median error of the warm series was 36%."
)
LARGEST_ERROR = (
    "The largest error is that of warm requests to VGG19 at 1024 MB. On the machine of the local "
    "rows, VGG19 takes 1.4 times as long with 1024 MB as with 2048 MB, but on AWS 2.7 times as "
    "long. The reason is not known. "
    "If you need a better estimate, measure at least three series in your own AWS account."
)


def main() -> int:
    """Write the page."""
    PAGE.write_text(write_page(fit_packaged_model()), "utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")
    return 0


def fit_packaged_model() -> TransferModel:
    """Return the model of AWS latency, fitted to the rows in the package."""
    model = fit_transfer_model(load_results_folder(STACK_ROWS), image_gb=STUDY_IMAGE_GB)
    if model is None:
        raise SystemExit("studies/study-stack-local has no rows that were measured on this machine")
    return model


def write_page(model: TransferModel) -> str:
    """Return the page as Markdown."""
    lines = [
        HEAD,
        "## The coefficients",
        "",
        RESAMPLED,
        "",
        "| coefficient | value | 95 % interval | measured | source |",
        "|---|---|---|---|---|",
        *(
            f"| {one.name} | {format_number(one.value)}{_name_unit(one.unit)} | "
            f"{format_number(one.low)} to {format_number(one.high)} | {one.date} | {one.source} |"
            for one in model.coefficients
        ),
        "",
        "## The error on each of the study's twenty series",
        "",
        LEFT_OUT,
        "",
        *(_describe_target(model, start) for start in TARGETS),
        "",
        "| series | measured here, in the container | estimated on AWS | measured on AWS | error |",
        "|---|---|---|---|---|",
        *(
            f"| {one.name} | {format_seconds(one.here_s)} | {format_seconds(one.expected_s)} | "
            f"{format_seconds(one.aws_s)} | {one.relative_prediction_error:+.0%} |"
            for one in model.left_out
        ),
        "",
        INTERVALS,
        "",
        "## Limits",
        "",
        "\n\n".join(f"- {sentence}" for sentence in (*model.notes, KERNELS, LARGEST_ERROR)),
    ]
    return "\n".join(lines) + "\n"


def _name_unit(unit: str) -> str:
    return "" if unit == "1" else f" {unit}"


def _describe_target(model: TransferModel, start: str) -> str:
    error, target = model.compute_median_error(start), TARGETS[start]
    met = "met" if error <= target else "missed"
    return (
        f"- {start}: the median error is {error:.1%}. This project's target, at most {target:.0%}, "
        f"is **{met}**."
    )


if __name__ == "__main__":
    sys.exit(main())
