"""Turn a study into a plan, which lists the study's trials with their duration and cost."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING, Self, assert_never

from drdeploy.errors import InvalidInput, StudyError, UnknownPrice
from drdeploy.files import sha256_of_bytes
from drdeploy.hosting.deployment.variables import is_always_on
from drdeploy.hosting.images import IMAGE_NAMES, make_image_tag
from drdeploy.hosting.sagemaker import (
    AsynchronousConfig,
    BatchConfig,
    RealTimeConfig,
    ServerlessConfig,
    find_instance_resources,
)
from drdeploy.hosting.sagemaker.api_limits import INVOCATION_TIMEOUT_S, estimate_vcpu_from_memory
from drdeploy.study.design.scenarios import (
    Asynchronous,
    Batch,
    Cold,
    OpenLoop,
    RealTime,
    TrialScenario,
    Warm,
)
from drdeploy.units import GIB, SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.grader.artifacts import Precision
    from drdeploy.hosting.sagemaker import HostingConfig, PriceSheet
    from drdeploy.study.design.study import Block, ImageSpec, ModelSpec, Study

# These times are for the local service on two cores. Only the expected duration in a plan depends
# on them.
ASSUMED_HOSTING_S = 4.0
"""The assumed time to create and delete an endpoint."""
ASSUMED_COLD_S = {"lean": 1.5, "classic": 8.0}
ASSUMED_WARM_S = {"lean": 0.2, "classic": 0.4}
"""The assumed time of one warm invocation, for each server profile."""

DEPLOYMENT_ALLOWANCE_S = 1800.0
"""The time that the worst-case cost allows for creating and deleting a study's endpoints on AWS."""


@dataclass(frozen=True)
class Trial:
    """One model in one container image on one endpoint, in one scenario.

    Attributes:
        id: A name that is the same in every run, for example ``mobilenet-fp32-lean-1024mb-cold``.
        endpoint: The configuration of the endpoint. In a batch scenario, which has no endpoint, it
            is the configuration of the instances on which the transform jobs run.
        vcpu: The number of CPUs that the endpoint is assumed to have.
    """

    id: str
    study: str
    model_name: str
    model: ModelSpec
    precision: Precision
    image_name: str
    image: ImageSpec
    endpoint: HostingConfig
    scenario: TrialScenario
    vcpu: float

    @property
    def has_warm_up(self) -> bool:
        """Whether the trial begins with a warm-up request, which does not count.

        A trial of cold starts has no warm-up request, because the next request would then reach a
        warm container. A transform job needs none, because it always starts new containers.
        """
        return not isinstance(self.scenario, Cold | Batch)

    @property
    def has_endpoint_with_instances(self) -> bool:
        """Whether the endpoint has instances, which cost money even without requests.

        The answer is true for an asynchronous endpoint too, although it can scale to zero. It is
        false for a transform job, which has no endpoint.
        """
        match self.endpoint:
            case AsynchronousConfig():
                return True
            case BatchConfig():
                return False
            case _:
                return is_always_on(self.endpoint)

    @property
    def photographs_per_measurement(self) -> int:
        """The number of photographs in one measurement.

        In most scenarios, a measurement is one request with one photograph. In a batch scenario, a
        measurement is a transform job with all its photographs.
        """
        return self.scenario.photographs if isinstance(self.scenario, Batch) else 1

    @property
    def expected_invocation_count(self) -> int:
        """The number of requests if nothing fails, including the warm-up request.

        Each photograph of a transform job is one request to the job's container.
        """
        return self.scenario.n * self.photographs_per_measurement + self.has_warm_up

    @property
    def max_invocation_count(self) -> int:
        """The largest number of requests that the trial may send."""
        sent = self.scenario.n * self.photographs_per_measurement
        return sent * self.scenario.attempts_max + self.has_warm_up

    @property
    def expected_duration_s(self) -> float:
        """The expected duration in seconds.

        It is computed from assumed times to create the endpoint and to answer a request.
        """
        profile = self.image.profile
        cold = self.scenario.n if isinstance(self.scenario, Cold | Batch) else 1
        busy = cold * ASSUMED_COLD_S[profile]
        if isinstance(self.scenario, Warm | RealTime | Batch):
            photographs = self.scenario.n * self.photographs_per_measurement
            busy += photographs * ASSUMED_WARM_S[profile]
        return self.scenario.expected_schedule_s + busy + ASSUMED_HOSTING_S

    @property
    def fingerprint(self) -> str:
        """A digest of the model, container image, endpoint and scenario of the trial.

        If the existing rows of a trial have another fingerprint, a run refuses to add rows to them.
        """
        # Title, region and the other trials are left out: they do not affect a latency.
        model = self.model.model_dump(mode="json")
        if self.model.artifact is not None:
            # The folder depends on where the command runs. A run also compares the digests of
            # artifacts.
            model["artifact"] = self.model.artifact.name
        facts = {
            "model": model,
            "image": self.image.model_dump(mode="json"),
            "endpoint": self.endpoint.model_dump(mode="json"),
            "scenario": self.scenario.model_dump(mode="json"),
        }
        return sha256_of_bytes(json.dumps(facts, sort_keys=True).encode())[:16]

    @property
    def worst_case_duration_s(self) -> float:
        """The duration in seconds if every request takes the longest time that is allowed.

        A request may take 60 s, which is SageMaker's limit for endpoints. The same 60 s apply to
        each photograph of a transform job. The result of an asynchronous request may take as long
        as the scenario's ``timeout_s``.
        """
        if isinstance(self.scenario, Asynchronous):
            # All requests wait in the queue at the same time, so the longest wait counts only once
            # for each part of the trial.
            return 2 * self.scenario.timeout_s + self.scenario.expected_schedule_s
        schedules_s = self.scenario.attempts_max * self.scenario.expected_schedule_s
        return self.max_invocation_count * INVOCATION_TIMEOUT_S + schedules_s

    def hourly_cost_without_requests_usd(self, sheet: PriceSheet, region: str) -> float:
        """Return the hourly cost of the endpoint while no requests are sent.

        The cost is the highest possible: an asynchronous endpoint is assumed never to scale to
        zero.

        Raises:
            UnknownPrice: The price sheet has no price for the endpoint.
        """
        match self.endpoint:
            case ServerlessConfig(provisioned_concurrency=held):
                if held:
                    raise UnknownPrice(
                        f"No price is known for provisioned concurrency in {region}",
                        where="price sheet",
                        remedy="Run the other trials with --only, or remove "
                        "provisioned_concurrency from the study",
                    )
                return 0.0
            case RealTimeConfig(instance_type=instance_type, initial_instance_count=count):
                return count * sheet.instance_hour(instance_type, region).usd
            case AsynchronousConfig(instance_type=instance_type, initial_instance_count=count):
                return count * sheet.asynchronous_hour(instance_type, region).usd
            case BatchConfig(instance_type=instance_type, instance_count=count):
                return count * sheet.batch_hour(instance_type, region).usd
            case _:
                assert_never(self.endpoint)

    def worst_case_cost_usd(self, sheet: PriceSheet, region: str) -> float:
        """Return the cost on AWS if every request takes the longest time that is allowed.

        For a serverless endpoint, the cost includes the data: each photograph and each answer is
        assumed to be as large as is allowed.

        Raises:
            UnknownPrice: The price sheet lacks a price that the cost depends on.
        """
        hours = self.worst_case_duration_s / SECONDS_PER_HOUR
        always_on_usd = hours * self.hourly_cost_without_requests_usd(sheet, region)
        if not isinstance(self.endpoint, ServerlessConfig):
            return always_on_usd
        busy_s = self.max_invocation_count * INVOCATION_TIMEOUT_S
        # AWS bills requests and answers, and an answer may be as large as a request.
        both_ways = 2 * self.max_invocation_count * self.endpoint.payload_limit_bytes
        data_usd = both_ways / GIB * sheet.data_processed_gb(region).usd
        return busy_s * sheet.serverless_second(self.endpoint.memory_mb, region).usd + data_usd


@dataclass(frozen=True)
class Plan:
    """The trials of a study, in the order in which they run."""

    study: Study
    trials: tuple[Trial, ...]

    @property
    def expected_duration_s(self) -> float:
        """The total duration of all trials, which run one after another, in seconds."""
        return sum(trial.expected_duration_s for trial in self.trials)

    @property
    def expected_invocation_count(self) -> int:
        """The total number of requests in all trials if nothing fails."""
        return sum(trial.expected_invocation_count for trial in self.trials)

    def worst_case_cost_usd(self, sheet: PriceSheet) -> float:
        """Return the cost of all trials on AWS, in the worst case.

        Raises:
            UnknownPrice: The price sheet lacks a price that the cost depends on.
        """
        region = self.study.region
        # Endpoints with instances are created together, and deleted together after the last trial
        # that uses any of them (study.running.provisioned). Each is paid for this whole time.
        always_on = [trial for trial in self.trials if trial.has_endpoint_with_instances]
        scaling_usd = sum(
            trial.worst_case_cost_usd(sheet, region)
            for trial in self.trials
            if not trial.has_endpoint_with_instances
        )
        hosts = {
            (one.model_name, one.precision, one.image_name, one.endpoint.label): one
            for one in always_on
        }
        hourly_usd = sum(
            one.hourly_cost_without_requests_usd(sheet, region) for one in hosts.values()
        )
        paid_s = sum(one.worst_case_duration_s for one in always_on) + DEPLOYMENT_ALLOWANCE_S
        return scaling_usd + hourly_usd * paid_s / SECONDS_PER_HOUR

    def worst_case_known_cost_usd(self, sheet: PriceSheet) -> tuple[float, tuple[str, ...]]:
        """Return the cost of the trials whose prices are known, and the ids of all other trials."""
        priced, unpriced = [], []
        for trial in self.trials:
            try:
                trial.worst_case_cost_usd(sheet, self.study.region)
            except UnknownPrice:
                unpriced.append(trial.id)
            else:
                priced.append(trial)
        known = replace(self, trials=tuple(priced))
        return known.worst_case_cost_usd(sheet), tuple(unpriced)

    def select_trials_by_id(self, pattern: str | None) -> Self:
        """Return the plan with only the trials whose id matches a pattern.

        Args:
            pattern: A pattern with ``*``, ``?`` or ``[`` must match the whole id. Any other string
                must occur somewhere in the id. None selects all trials.

        Raises:
            StudyError: No trial matches.
        """
        if pattern is None:
            return self
        whole = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
        chosen = tuple(trial for trial in self.trials if fnmatchcase(trial.id, whole))
        if not chosen:
            ids = ", ".join(trial.id for trial in self.trials)
            raise StudyError(
                f"No trial matches {pattern!r}", where="--only", remedy=f"The trials are {ids}"
            )
        return replace(self, trials=chosen)

    @property
    def notes_on_foreign_images(self) -> tuple[str, ...]:
        """One note for each container image that drdeploy does not build.

        Such an image must exist before the study is run.
        """
        images = {trial.image_name: trial.image for trial in self.trials}
        trials = Counter(trial.image_name for trial in self.trials)
        ours = {make_image_tag(name) for name in IMAGE_NAMES}
        return tuple(
            f"image '{name}' is not built by drdeploy. With a container engine, the tag "
            f"'{image.tag}' must exist for the {trials[name]} trials of this image. Without a "
            f"container engine, the trials run as processes of the '{image.profile}' profile, and "
            "the image's size has no effect"
            for name, image in images.items()
            if image.tag not in ours
        )


def make_plan(study: Study) -> Plan:
    """Return the plan with all trials that the ``[[trials]]`` blocks of a study's file describe.

    Raises:
        StudyError: Two trials have the same id, a scenario does not fit its endpoint, or an
            instance type is not known.
    """
    trials = tuple(trial for block in study.trials for trial in _make_trials_of_block(study, block))
    for trial_id, count in Counter(trial.id for trial in trials).items():
        if count > 1:
            raise StudyError(
                f"Two trials have the id '{trial_id}'",
                where=study.name,
                remedy=(
                    "Give the scenario of one of the two trials another name, or remove one "
                    "of the two trials from the study"
                ),
            )
    return Plan(study, trials)


def _make_trials_of_block(study: Study, block: Block) -> Iterator[Trial]:
    lists = (block.models, block.precisions, block.images, block.endpoints, block.scenarios)
    for model, precision, image, endpoint, scenario in product(*lists):
        trial_id = f"{model}-{precision}-{image}-{endpoint.label}-{scenario.label}"
        _check_scenario_fits_endpoint(trial_id, endpoint, scenario)
        yield Trial(
            id=trial_id,
            study=study.name,
            model_name=model,
            model=study.models[model],
            precision=precision,
            image_name=image,
            image=study.images[image],
            endpoint=endpoint,
            scenario=scenario,
            vcpu=_look_up_vcpu_of_endpoint(endpoint, trial_id),
        )


def _look_up_vcpu_of_endpoint(endpoint: HostingConfig, trial_id: str) -> float:
    if isinstance(endpoint, ServerlessConfig):
        return round(estimate_vcpu_from_memory(endpoint.memory_mb), 4)
    try:
        return float(find_instance_resources(endpoint.instance_type).vcpu)
    except InvalidInput as err:
        raise StudyError(err.what, where=trial_id, remedy=err.remedy) from err


def _check_scenario_fits_endpoint(
    trial_id: str, endpoint: HostingConfig, scenario: TrialScenario
) -> None:
    is_serverless = isinstance(endpoint, ServerlessConfig)
    match scenario:
        case Asynchronous() if not isinstance(endpoint, AsynchronousConfig):
            problem = "An asynchronous scenario needs an endpoint of the kind 'asynchronous'"
        case Batch() if not isinstance(endpoint, BatchConfig):
            problem = "A batch scenario needs an endpoint of the kind 'batch'"
        case Asynchronous() | Batch():
            return
        case Warm() | Cold() if not is_serverless:
            problem = f"A {scenario.kind} scenario needs a serverless endpoint"
        case _ if isinstance(endpoint, AsynchronousConfig | BatchConfig):
            problem = (
                f"An endpoint of the kind '{endpoint.kind}' can measure only a scenario of the "
                f"kind '{endpoint.kind}', not '{scenario.kind}'"
            )
        case RealTime() if is_serverless:
            problem = "A real-time scenario needs an endpoint with an instance type"
        case Cold() if isinstance(endpoint, ServerlessConfig) and endpoint.provisioned_concurrency:
            problem = "An endpoint with provisioned concurrency never starts cold"
        case Warm() | Cold() | RealTime() | OpenLoop():
            return
        case _:
            assert_never(scenario)
    raise StudyError(problem, where=trial_id)
