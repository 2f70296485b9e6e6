"""Decide how to host a diabetic-retinopathy grader: measure it, price it, choose.

The functions and classes named below are the library.  Each is imported when it is first used,
so that ``import drdeploy`` costs a few milliseconds, and a name whose packages are not installed
raises :class:`MissingExtra`, which says what to install.

A grader is made, hosted and studied.  The code has four wings on one foundation, and an import
only points down (``make layers`` checks it)::

    cli                 one thin file per noun and verb
    study               measure ways of hosting, and decide between them
    hosting             serve it: the server, its images, SageMaker here and on AWS, deployment
    grader              make it: photograph -> input -> model -> grade; train, evaluate, quantize
    statistics, pages   estimates with intervals; templates and pictures in one style
    errors              every error a user can meet

Results are for research use.  This is not a medical device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from drdeploy.version import VERSION

if TYPE_CHECKING:
    from drdeploy.errors import DrdeployError, MissingExtra
    from drdeploy.grader.artifacts.artifact import ModelArtifact
    from drdeploy.grader.artifacts.opening import open_artifact
    from drdeploy.grader.box import box_artifact
    from drdeploy.grader.evaluation.evaluate import evaluate
    from drdeploy.grader.evaluation.graders import GraderEvaluation
    from drdeploy.grader.fundus.limits import ImageLimits
    from drdeploy.grader.grading.grade import Grade
    from drdeploy.grader.grading.prediction import Prediction
    from drdeploy.grader.inference import Inference, InferenceService
    from drdeploy.grader.quantization.quantize import QuantizationOutcome, quantize
    from drdeploy.hosting.conformance.check import ConformanceReport, check_conformance
    from drdeploy.hosting.local.service import LocalService
    from drdeploy.hosting.sagemaker.client import Hosting
    from drdeploy.hosting.sagemaker.configs import RealTimeConfig, ServerlessConfig
    from drdeploy.hosting.sagemaker.endpoint_definition import EndpointDefinition
    from drdeploy.hosting.sagemaker.invocation import Invocation
    from drdeploy.hosting.sagemaker.price_sheet import PriceSheet
    from drdeploy.study.api import load_measurements, recommend, run_study
    from drdeploy.study.design.study import Study
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.recommendation.decision import Decision
    from drdeploy.study.recommendation.requirements import Assumptions, Requirements
    from drdeploy.study.recommendation.traffic.arrivals import Traffic
    from drdeploy.study.recommendation.traffic.shape import Shape
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
    "Shape",
    "Study",
    "Traffic",
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
    "drdeploy.grader.artifacts.artifact": ("ModelArtifact",),
    "drdeploy.grader.artifacts.opening": ("open_artifact",),
    "drdeploy.grader.box": ("box_artifact",),
    "drdeploy.grader.evaluation.evaluate": ("evaluate",),
    "drdeploy.grader.evaluation.graders": ("GraderEvaluation",),
    "drdeploy.grader.fundus.limits": ("ImageLimits",),
    "drdeploy.grader.grading.grade": ("Grade",),
    "drdeploy.grader.grading.prediction": ("Prediction",),
    "drdeploy.grader.inference": ("Inference", "InferenceService"),
    "drdeploy.grader.quantization.quantize": ("QuantizationOutcome", "quantize"),
    "drdeploy.hosting.conformance.check": ("ConformanceReport", "check_conformance"),
    "drdeploy.hosting.local.service": ("LocalService",),
    "drdeploy.hosting.sagemaker.client": ("Hosting",),
    "drdeploy.hosting.sagemaker.configs": ("RealTimeConfig", "ServerlessConfig"),
    "drdeploy.hosting.sagemaker.endpoint_definition": ("EndpointDefinition",),
    "drdeploy.hosting.sagemaker.invocation": ("Invocation",),
    "drdeploy.hosting.sagemaker.price_sheet": ("PriceSheet",),
    "drdeploy.study.api": ("load_measurements", "recommend", "run_study"),
    "drdeploy.study.design.study": ("Study",),
    "drdeploy.study.measurements.load": ("Measurements",),
    "drdeploy.study.recommendation.decision": ("Decision",),
    "drdeploy.study.recommendation.requirements": ("Assumptions", "Requirements"),
    "drdeploy.study.recommendation.traffic.arrivals": ("Traffic",),
    "drdeploy.study.recommendation.traffic.shape": ("Shape",),
    "drdeploy.study.running.runner": ("RunOutcome",),
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from drdeploy.errors import requires_extra

    extra = "cloud" if home.startswith("drdeploy.hosting.") else "study"
    with requires_extra(extra, f"drdeploy.{name}"):
        value = getattr(import_module(home), name)
    globals()[name] = value  # from now on without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
