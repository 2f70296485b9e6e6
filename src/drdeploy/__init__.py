"""Find out how to host a diabetic-retinopathy grader: measure ways of hosting, price them, choose.

The names in ``__all__`` are the public functions and classes of the library. Each name is imported
when it is first used, so that ``import drdeploy`` takes only milliseconds. If a package that a name
needs is missing, :class:`MissingExtra` says what to install.

The code has these packages. ``make layers`` checks that each package imports only from packages
further down in this list:

- ``cli``: the commands. Each noun, such as ``study``, has a file, and so have some of its verbs.
- ``study``: measures ways of hosting, and decides between them.
- ``clinic``: grades patients' photographs, and says who should be seen first.
- ``hosting``: the model server, its container images, and SageMaker, on AWS or simulated.
- ``grader``: grades photographs, and trains, evaluates and quantizes graders.
- ``statistics``: estimates with intervals. ``pages``: HTML pages with pictures.
- ``errors``: the classes of all errors.

Results are for research use.  ``drdeploy`` is not a medical device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from drdeploy.version import VERSION

if TYPE_CHECKING:
    from drdeploy.errors import DrdeployError, MissingExtra
    from drdeploy.grader.artifacts import ModelArtifact, open_artifact
    from drdeploy.grader.box import box_artifact
    from drdeploy.grader.evaluation.evaluate import evaluate
    from drdeploy.grader.evaluation.graders import GraderEvaluation
    from drdeploy.grader.fundus.limits import ImageLimits
    from drdeploy.grader.grading import Grade, Prediction
    from drdeploy.grader.inference import Inference, InferenceService
    from drdeploy.grader.quantization.quantize import QuantizationOutcome, quantize
    from drdeploy.hosting.conformance.check import ConformanceReport, check_conformance
    from drdeploy.hosting.local.service import LocalService
    from drdeploy.hosting.sagemaker.client import Hosting
    from drdeploy.hosting.sagemaker.configs import (
        EndpointDefinition,
        RealTimeConfig,
        ServerlessConfig,
    )
    from drdeploy.hosting.sagemaker.invocation import Invocation
    from drdeploy.hosting.sagemaker.price_sheet import PriceSheet
    from drdeploy.study.api import load_measurements, recommend, run_study
    from drdeploy.study.design.study import Study
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.recommendation.decision import Decision
    from drdeploy.study.recommendation.requirements import Assumptions, Requirements
    from drdeploy.study.recommendation.traffic import Traffic, TrafficShape
    from drdeploy.study.running.runner import RunOutcome

__all__ = [
    "Assumptions",
    "ConformanceReport",
    "Decision",
    "DrdeployError",
    "EndpointDefinition",
    "Grade",
    "GraderEvaluation",
    "Hosting",
    "ImageLimits",
    "Inference",
    "InferenceService",
    "Invocation",
    "LocalService",
    "Measurements",
    "MissingExtra",
    "ModelArtifact",
    "Prediction",
    "PriceSheet",
    "QuantizationOutcome",
    "RealTimeConfig",
    "Requirements",
    "RunOutcome",
    "ServerlessConfig",
    "Study",
    "Traffic",
    "TrafficShape",
    "box_artifact",
    "check_conformance",
    "evaluate",
    "load_measurements",
    "open_artifact",
    "quantize",
    "recommend",
    "run_study",
]

__version__ = VERSION

_HOMES = {
    "drdeploy.errors": ("DrdeployError", "MissingExtra"),
    "drdeploy.grader.artifacts": ("ModelArtifact", "open_artifact"),
    "drdeploy.grader.box": ("box_artifact",),
    "drdeploy.grader.evaluation.evaluate": ("evaluate",),
    "drdeploy.grader.evaluation.graders": ("GraderEvaluation",),
    "drdeploy.grader.fundus.limits": ("ImageLimits",),
    "drdeploy.grader.grading": ("Grade", "Prediction"),
    "drdeploy.grader.inference": ("Inference", "InferenceService"),
    "drdeploy.grader.quantization.quantize": ("QuantizationOutcome", "quantize"),
    "drdeploy.hosting.conformance.check": ("ConformanceReport", "check_conformance"),
    "drdeploy.hosting.local.service": ("LocalService",),
    "drdeploy.hosting.sagemaker.client": ("Hosting",),
    "drdeploy.hosting.sagemaker.configs": (
        *("EndpointDefinition", "RealTimeConfig", "ServerlessConfig"),
    ),
    "drdeploy.hosting.sagemaker.invocation": ("Invocation",),
    "drdeploy.hosting.sagemaker.price_sheet": ("PriceSheet",),
    "drdeploy.study.api": ("load_measurements", "recommend", "run_study"),
    "drdeploy.study.design.study": ("Study",),
    "drdeploy.study.measurements.load": ("Measurements",),
    "drdeploy.study.recommendation.decision": ("Decision",),
    "drdeploy.study.recommendation.requirements": ("Assumptions", "Requirements"),
    "drdeploy.study.recommendation.traffic": ("TrafficShape", "Traffic"),
    "drdeploy.study.running.runner": ("RunOutcome",),
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from drdeploy.errors import turn_import_error_into_missing_extra

    extra = "cloud" if home.startswith("drdeploy.hosting.") else "study"
    with turn_import_error_into_missing_extra(extra, f"drdeploy.{name}"):
        value = getattr(import_module(home), name)
    globals()[name] = value  # the next use of the name does not call this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
