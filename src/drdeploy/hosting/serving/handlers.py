"""The handlers of all paths, which both profiles use.

===========================  ======================================================
``GET /ping``                200 as soon as the model is loaded and has predicted once
``POST /invocations``        the grade of one image, or of several
``GET /execution-parameters``  the parameters that Batch Transform reads before it starts
``GET /metadata``            the model, the server's limits, the versions
``GET /metrics``             the container's counters for Prometheus
===========================  ======================================================

Handlers exist only after the model is loaded, so a server that answers ``/ping`` is ready.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import PayloadTooLarge
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.hosting.serving.answer import (
    ContainerFacts,
    ModelFacts,
    make_csv_answer,
    make_json_answer,
)
from drdeploy.hosting.serving.budgets import PLACE_BYTES
from drdeploy.hosting.serving.exchange import CSV, Request, Response, make_json_response
from drdeploy.hosting.serving.negotiation import choose_answer_form
from drdeploy.hosting.serving.payload import extract_images_from_body
from drdeploy.units import MB, MIB
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.grader.inference import InferenceService, OpenedImage
    from drdeploy.hosting.serving.budgets import Budgets
    from drdeploy.hosting.serving.counters import RequestCounters
    from drdeploy.hosting.serving.large_images import LargeImages
    from drdeploy.hosting.serving.negotiation import AnswerForm
    from drdeploy.hosting.serving.settings import Settings

TRANSFORM_PAYLOADS_MB_MAX = 100
"""The largest value of ``MaxPayloadInMB``, and of its product with ``MaxConcurrentTransforms`` (API
reference, ``CreateTransformJob``).
"""


@dataclass(frozen=True)
class PreparedInvocation:
    """An invocation whose body has been read, and the cost of decoding its images.

    Attributes:
        request: The request.
        form: The format of the answer: JSON or CSV.
        images: The images, whose headers have been read and checked.
        places: How much memory decoding takes, in places of ``PLACE_BYTES``. The images are decoded
            one after the other.
        is_large: Whether one of the images takes more than one place.
    """

    request: Request
    form: AnswerForm
    images: Sequence[OpenedImage]
    places: int
    is_large: bool


@dataclass(frozen=True)
class RequestHandlers:
    """Answers the requests to each path, with one loaded model.

    Attributes:
        service: The loaded model, which grades images.
        settings: The settings of the server.
        budgets: The limits on what a request may cost.
        counters: The counters that all processes of the container share.
        large_images: Makes requests with large images wait for each other.
        workers: How many worker processes the container has.
        concurrency: How many invocations each worker handles at once.
        clock: The clock, in seconds, by which ``Request.received_at`` was set.
    """

    service: InferenceService
    settings: Settings
    budgets: Budgets
    counters: RequestCounters
    large_images: LargeImages
    workers: int
    concurrency: int
    clock: Callable[[], float] = time.perf_counter

    def answer_ping(self, request: Request) -> Response:
        """Answer ``GET /ping``, by which SageMaker finds out that the server is ready."""
        del request
        return make_json_response({"status": "ready"})

    def prepare_invocation(self, request: Request) -> PreparedInvocation:
        """Extract the images from a request and read their headers, without decoding pixels.

        Raises:
            RequestRefused: The request or one of its images is invalid or costs too much.
        """
        form = choose_answer_form(request.headers.get("accept", ""))
        images = self.service.open_images(
            extract_images_from_body(
                request.headers.get("content-type", ""), request.body, self.budgets
            )
        )
        sizes = [image.header.decoding_memory_bytes for image in images]
        self._refuse_costly_images(sizes)
        return PreparedInvocation(
            request,
            form,
            images,
            places=_count_places_for_memory(sum(sizes)),
            is_large=max(sizes) > PLACE_BYTES,
        )

    def _refuse_costly_images(self, sizes: Sequence[int]) -> None:
        if _count_places_for_memory(max(sizes)) > self.budgets.image_places:
            raise PayloadTooLarge(
                f"To decode an image, {max(sizes) // MB} MB of memory are needed, but this "
                f"container allows at most {self.budgets.image_places * PLACE_BYTES // MB} MB",
                remedy="Send the image at a lower resolution or as a JPEG",
            )
        if _count_places_for_memory(sum(sizes)) > self.budgets.request_places:
            raise PayloadTooLarge(
                f"To decode all images, {sum(sizes) // MB} MB of memory are needed, but a "
                f"request may use at most {self.budgets.request_places * PLACE_BYTES // MB} MB",
                remedy="Send fewer images in a request",
            )

    def grade_prepared_images(self, prepared: PreparedInvocation) -> Response:
        """Grade the images in a request.

        Raises:
            RequestRefused: An image cannot be used.
            PredictionFailed: The model does not return valid probabilities.
        """
        request, form = prepared.request, prepared.form
        inferences = self.service.infer_opened(prepared.images)
        self.counters.count_images([
            (inference.decode_s, inference.transform_s, inference.predict_s)
            for inference in inferences
        ])  # fmt: skip
        facts = {
            "images": len(inferences),
            "payload_bytes": len(request.body),
            "decode_s": round(sum(inference.decode_s for inference in inferences), 6),
            "transform_s": round(sum(inference.transform_s for inference in inferences), 6),
            "predict_s": round(sum(inference.predict_s for inference in inferences), 6),
        }
        if form != "json":
            body = make_csv_answer(inferences, self._manifest, has_header=form == "csv")
            notice = ("X-Drdeploy-Notice", RESEARCH_USE_NOTICE)
            return Response(body=body, content_type=CSV, headers=(notice,), facts=facts)
        answer = make_json_answer(
            inferences,
            manifest=self._manifest,
            model=self._facts_about_model,
            container=ContainerFacts(self.settings.container_id, request.invocation),
            request_latency_s=self.clock() - request.received_at,
        )
        return make_json_response(answer, facts)

    def answer_execution_parameters(self, request: Request) -> Response:
        """Tell Batch Transform to send one whole photograph in each request."""
        del request
        payload_mb = self.settings.max_payload_bytes // MIB
        # SageMaker refuses a job in which the product of the two numbers exceeds its limit.
        most = max(1, TRANSFORM_PAYLOADS_MB_MAX // max(1, payload_mb))
        return make_json_response({
            "MaxConcurrentTransforms": min(self.workers * self.concurrency, most),
            "BatchStrategy": "SINGLE_RECORD",
            "MaxPayloadInMB": min(payload_mb, TRANSFORM_PAYLOADS_MB_MAX),
        })  # fmt: skip

    def answer_metadata(self, request: Request) -> Response:
        """Describe the model, the server's limits and the versions."""
        del request
        manifest = self._manifest
        return make_json_response({
            "model": self._facts_about_model,
            "architecture": manifest.architecture,
            "classes": manifest.classes,
            "transform": manifest.transform,
            "gradability": manifest.gradability,
            "familiarity": manifest.familiarity,
            "clinical": manifest.clinical,
            "quantization": manifest.quantization,
            "recalibration": manifest.recalibration,
            "prevalence": manifest.prevalence,
            "provenance": manifest.provenance,
            "runtime_version": self.service.classifier.runtime.version,
            "server_version": VERSION,
            "profile": self.settings.profile,
            "container": self.settings.container_id,
            "limits": {
                "max_payload_bytes": self.settings.max_payload_bytes,
                "max_images": self.settings.max_images,
                "concurrency": self.workers * self.concurrency,
                "queue_length": self.workers * self.settings.queue_length,
                "timeout_s": self.settings.timeout_s,
            },
        })  # fmt: skip

    def answer_metrics(self, request: Request) -> Response:
        """Answer with the counters of the container, which all its processes share."""
        del request
        from drdeploy.hosting.serving.metrics import CONTENT_TYPE, render_prometheus_metrics

        model = self._facts_about_model
        info = {
            "name": model.name,
            "digest": model.digest,
            "precision": model.precision,
            "runtime": model.runtime,
        }
        return Response(
            body=render_prometheus_metrics(self.counters.read_snapshot(), info),
            content_type=CONTENT_TYPE,
        )

    @property
    def _manifest(self) -> ModelManifest:
        return self.service.manifest

    @property
    def _facts_about_model(self) -> ModelFacts:
        artifact = self.service.classifier.artifact
        return ModelFacts(
            name=artifact.manifest.name,
            digest=artifact.digest,
            precision=artifact.manifest.precision,
            weights=artifact.manifest.weights,
            runtime=self.service.classifier.runtime.name,
        )


def _count_places_for_memory(memory_bytes: int) -> int:
    return max(1, -(-memory_bytes // PLACE_BYTES))
