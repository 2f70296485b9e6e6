"""Make a row of ``measurements.csv`` from what was observed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drdeploy.hosting.sagemaker import RealTimeConfig, ServerlessConfig
from drdeploy.study.measurements.measurement import Measurement
from drdeploy.study.running.sending import WARM_UP_SEQUENCE

if TYPE_CHECKING:
    from datetime import datetime

    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.study.design.plan import Trial
    from drdeploy.study.measurements.measurement import Platform
    from drdeploy.study.running.sending import ObservedInvocation


@dataclass(frozen=True)
class RowBuilder:
    """Builds the rows of one trial in one run, and holds what they have in common."""

    trial: Trial
    manifest: ModelManifest
    platform: Platform
    isolation: str
    run_id: str

    def row_of(self, observed: ObservedInvocation) -> Measurement:
        """Return the row of an invocation."""
        invocation, answer = observed.invocation, observed.answer
        return replace(
            self.row_of_failed_hosting("", observed.scheduled_at),
            sequence=observed.sequence,
            is_warmup=observed.is_warmup,
            start=observed.start,
            outcome=observed.outcome,
            status=invocation.status,
            error=invocation.error,
            started_at=invocation.started_at,
            total_latency_s=observed.total_latency_s,
            container_latency_s=answer.container_latency_s,
            prediction_s=answer.prediction_s,
            decode_s=answer.decode_s,
            transform_s=answer.transform_s,
            photograph=observed.photograph.name,
            payload_bytes=invocation.payload_bytes,
            label=answer.label,
            grade=answer.grade,
            model_digest=answer.model_digest,
            container_id=answer.container_id,
            container_invocation=answer.container_invocation,
        )

    def row_of_failed_hosting(self, error: str, now: datetime) -> Measurement:
        """Return a row that says why nothing was sent; it is marked as warm-up and never counts."""
        endpoint = self.trial.endpoint
        return Measurement(
            study=self.trial.study,
            trial=self.trial.id,
            platform=self.platform,
            isolation=self.isolation,
            model=self.trial.model_name,
            architecture=self.manifest.architecture,
            weights=self.manifest.weights,
            precision=self.manifest.precision,
            profile=self.trial.image.profile,
            image=self.trial.image.tag,
            endpoint_kind=endpoint.kind,
            memory_mb=endpoint.memory_mb if isinstance(endpoint, ServerlessConfig) else None,
            instance_type=endpoint.instance_type if isinstance(endpoint, RealTimeConfig) else "",
            vcpu=self.trial.vcpu,
            scenario=self.trial.scenario.kind,
            sequence=WARM_UP_SEQUENCE,
            is_warmup=True,
            outcome="unavailable",
            status=0,
            error=error,
            scheduled_at=now,
            started_at=now,
            total_latency_s=0.0,
            photograph="",
            payload_bytes=0,
            run_id=self.run_id,
        )
