"""The handlers of all paths: one set for both profiles, free of any web framework.

===========================  ======================================================
``GET /ping``                200 once the model has loaded and predicted
``POST /invocations``        the grade of one image, or of several
``GET /execution-parameters``  what Batch Transform asks before it starts
``GET /metadata``            the model, its limits, the versions
``GET /metrics``             the container's counters for Prometheus
===========================  ======================================================

Handlers are made over a loaded model, so a server that answers ``/ping`` is ready.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.hosting.serving.answer import ContainerFacts, ModelFacts, csv_answer, json_answer
from drdeploy.hosting.serving.exchange import CSV, Request, Response, json_response
from drdeploy.hosting.serving.negotiation import choose_form
from drdeploy.hosting.serving.payload import images_of
from drdeploy.units import MIB
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.grader.inference import InferenceService
    from drdeploy.hosting.serving.counters import Counters
    from drdeploy.hosting.serving.settings import Settings


@dataclass(frozen=True)
class Handlers:
    """Answers the requests of each path with one loaded model.

    Attributes:
        service: The model.
        settings: The server's.
        counters: Shared by all processes of the container.
        workers: Worker processes of the container, this one included.
        concurrency: Invocations that each of them works on at once.
        clock: The one that dates requests, in seconds.
    """

    service: InferenceService
    settings: Settings
    counters: Counters
    workers: int
    concurrency: int
    clock: Callable[[], float] = time.perf_counter

    def ping(self, request: Request) -> Response:
        """Say that the server is ready."""
        del request
        return json_response({"status": "ready"})

    def invocations(self, request: Request) -> Response:
        """Grade the images of a request.

        Raises:
            RequestRefused: The request or an image of it cannot be used.
            PredictionFailed: The model's answer is not what it must be.
        """
        form = choose_form(request.headers.get("accept", ""))
        images = images_of(
            request.headers.get("content-type", ""),
            request.body,
            max_images=self.settings.max_images,
        )
        inferences = self.service.infer(images)
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
            body = csv_answer(inferences, self._manifest, has_header=form == "csv")
            notice = ("X-Drdeploy-Notice", RESEARCH_USE_NOTICE)
            return Response(body=body, content_type=CSV, headers=(notice,), facts=facts)
        answer = json_answer(
            inferences,
            manifest=self._manifest,
            model=self._model,
            container=ContainerFacts(self.settings.container_id, request.invocation),
            request_latency_s=self.clock() - request.received_at,
        )
        return json_response(answer, facts)

    def execution_parameters(self, request: Request) -> Response:
        """Say what Batch Transform may send: one whole photograph per request."""
        del request
        return json_response({
            "MaxConcurrentTransforms": self.workers * self.concurrency,
            "BatchStrategy": "SINGLE_RECORD",
            "MaxPayloadInMB": self.settings.max_payload_bytes // MIB,
        })  # fmt: skip

    def metadata(self, request: Request) -> Response:
        """Describe the model, the server's limits and the versions."""
        del request
        manifest = self._manifest
        return json_response({
            "model": self._model,
            "architecture": manifest.architecture,
            "classes": manifest.classes,
            "transform": manifest.transform,
            "gradability": manifest.gradability,
            "clinical": manifest.clinical,
            "quantization": manifest.quantization,
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

    def metrics(self, request: Request) -> Response:
        """Render the container's counters, whichever of its processes is asked."""
        del request
        from drdeploy.hosting.serving.metrics import CONTENT_TYPE, render

        model = self._model
        info = {
            "name": model.name,
            "digest": model.digest,
            "precision": model.precision,
            "runtime": model.runtime,
        }
        return Response(body=render(self.counters.snapshot(), info), content_type=CONTENT_TYPE)

    @property
    def _manifest(self) -> ModelManifest:
        return self.service.manifest

    @property
    def _model(self) -> ModelFacts:
        artifact = self.service.classifier.artifact
        return ModelFacts(
            name=artifact.manifest.name,
            digest=artifact.digest,
            precision=artifact.manifest.precision,
            weights=artifact.manifest.weights,
            runtime=self.service.classifier.runtime.name,
        )
