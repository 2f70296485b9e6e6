"""Turn a study into a plan: its trials as data, with their duration and their cost."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING, Self, assert_never

from drdeploy.errors import InvalidInput, StudyError, UnknownPrice
from drdeploy.files import sha256_of
from drdeploy.hosting.deployment.variables import is_always_on
from drdeploy.hosting.images import IMAGE_NAMES, image_tag
from drdeploy.hosting.sagemaker import RealTimeConfig, ServerlessConfig, instance_resources
from drdeploy.hosting.sagemaker.quotas import INVOCATION_TIMEOUT_S, vcpu_of_memory
from drdeploy.study.design.scenarios import Cold, OpenLoop, RealTime, Scenario, Warm
from drdeploy.units import GIB, SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.grader.artifacts import Precision
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.design.study import Block, ImageSpec, ModelSpec, Study

# Only the expected duration that a plan shows depends on these, for the local service on two cores.
ASSUMED_HOSTING_S = 4.0
"""Time to create and delete an endpoint."""
ASSUMED_COLD_S = {"lean": 1.5, "classic": 8.0}
ASSUMED_WARM_S = {"lean": 0.2, "classic": 0.4}
"""Time of one invocation, by profile."""

DEPLOYMENT_ALLOWANCE_S = 1800.0
"""Time to create and delete a study's endpoints on AWS, in the worst case that is priced."""


@dataclass(frozen=True)
class Trial:
    """One model in one image on one endpoint, measured under one scenario.

    Attributes:
        id: The same in every run, for example ``mobilenet-fp32-lean-1024mb-cold``.
        vcpu: CPUs that the endpoint is taken to have.
    """

    id: str
    study: str
    model_name: str
    model: ModelSpec
    precision: Precision
    image_name: str
    image: ImageSpec
    endpoint: ServerlessConfig | RealTimeConfig
    scenario: Scenario
    vcpu: float

    @property
    def has_warm_up(self) -> bool:
        """Whether an uncounted request comes first.  It would spoil the first cold start."""
        return not isinstance(self.scenario, Cold)

    @property
    def invocations(self) -> int:
        """The number of requests if nothing goes wrong, with the uncounted one."""
        return self.scenario.n + self.has_warm_up

    @property
    def invocations_max(self) -> int:
        """The largest number of requests that may be sent."""
        attempts = self.scenario.attempts if isinstance(self.scenario, Cold) else 1
        return self.scenario.n * attempts + self.has_warm_up

    @property
    def expected_duration_s(self) -> float:
        """The pauses, plus assumed times for hosting and invocations."""
        profile = self.image.profile
        cold = self.scenario.n if isinstance(self.scenario, Cold) else 1
        busy = cold * ASSUMED_COLD_S[profile]
        if isinstance(self.scenario, Warm | RealTime):
            busy += self.scenario.n * ASSUMED_WARM_S[profile]
        return self.scenario.pauses_s + busy + ASSUMED_HOSTING_S

    @property
    def fingerprint(self) -> str:
        """A digest of everything in the study that the measurements depend on.

        A run that finds rows under another fingerprint of the same trial refuses to add to them.
        """
        # Title, region and the other trials are left out: they change no latency.
        facts = {
            "model": self.model.model_dump(mode="json"),
            "image": self.image.model_dump(mode="json"),
            "endpoint": self.endpoint.model_dump(mode="json"),
            "scenario": self.scenario.model_dump(mode="json"),
        }
        return sha256_of(json.dumps(facts, sort_keys=True).encode())[:16]

    @property
    def worst_case_duration_s(self) -> float:
        """The duration if every invocation takes SageMaker's limit of 60 s."""
        return self.invocations_max * INVOCATION_TIMEOUT_S + self.scenario.pauses_s

    def hourly_usd(self, sheet: PriceSheet, region: str) -> float:
        """Return what the endpoint costs each hour, without a request.

        Raises:
            UnknownPrice: The sheet has no price for it.
        """
        match self.endpoint:
            case ServerlessConfig() if self.endpoint.provisioned_concurrency:
                raise _unknown_provisioned(region)
            case ServerlessConfig():
                return 0.0
            case RealTimeConfig(instance_type=instance_type, initial_instance_count=count):
                return count * sheet.instance_hour(instance_type, region).usd
            case _:
                assert_never(self.endpoint)

    def worst_case_cost_usd(self, sheet: PriceSheet, region: str) -> float:
        """Return the cost on AWS if every invocation takes 60 s and carries the largest payload.

        Raises:
            UnknownPrice: The sheet has no price for something that is paid for.
        """
        busy_s = self.invocations_max * INVOCATION_TIMEOUT_S
        match self.endpoint:
            case ServerlessConfig() if self.endpoint.provisioned_concurrency:
                raise _unknown_provisioned(region)
            case ServerlessConfig(memory_mb=memory_mb):
                # AWS bills what goes in and what comes out, and an answer may be as large.
                both_ways = 2 * self.invocations_max * self.endpoint.payload_limit_bytes
                data_usd = both_ways / GIB * sheet.data_processed_gb(region).usd
                return busy_s * sheet.serverless_second(memory_mb, region).usd + data_usd
            case RealTimeConfig():
                hours = self.worst_case_duration_s / SECONDS_PER_HOUR
                return hours * self.hourly_usd(sheet, region)
            case _:
                assert_never(self.endpoint)


@dataclass(frozen=True)
class Plan:
    """The trials of a study, in the order in which they run."""

    study: Study
    trials: tuple[Trial, ...]

    @property
    def expected_duration_s(self) -> float:
        """The duration of all trials, one after the other."""
        return sum(trial.expected_duration_s for trial in self.trials)

    @property
    def invocations(self) -> int:
        """The number of requests of all trials, if nothing goes wrong."""
        return sum(trial.invocations for trial in self.trials)

    def worst_case_cost_usd(self, sheet: PriceSheet) -> float:
        """Return the cost of all trials on AWS, in the worst case.

        Raises:
            UnknownPrice: The sheet has no price for something that is paid for.
        """
        region = self.study.region
        # Endpoints that are always on are created together and deleted after the last trial on
        # one of them (study.running.provisioned), so each is paid for all of that time.
        always_on = [trial for trial in self.trials if is_always_on(trial.endpoint)]
        scaling_usd = sum(
            trial.worst_case_cost_usd(sheet, region)
            for trial in self.trials
            if not is_always_on(trial.endpoint)
        )
        hosts = {
            (one.model_name, one.precision, one.image_name, one.endpoint.label): one
            for one in always_on
        }
        hourly_usd = sum(one.hourly_usd(sheet, region) for one in hosts.values())
        paid_s = sum(one.worst_case_duration_s for one in always_on) + DEPLOYMENT_ALLOWANCE_S
        return scaling_usd + hourly_usd * paid_s / SECONDS_PER_HOUR

    def only(self, pattern: str | None) -> Self:
        """Return a plan with the trials whose id matches a pattern.

        Args:
            pattern: With ``*`` or ``?`` it is matched with the whole id, otherwise with a part.

        Raises:
            StudyError: No trial matches.
        """
        if pattern is None:
            return self
        whole = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
        chosen = tuple(trial for trial in self.trials if fnmatchcase(trial.id, whole))
        if not chosen:
            ids = ", ".join(trial.id for trial in self.trials)
            raise StudyError(f"No trial matches {pattern!r}", remedy=f"There are {ids}")
        return replace(self, trials=chosen)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what this plan needs, for a reader who is about to run it."""
        images = {trial.image_name: trial.image for trial in self.trials}
        trials = Counter(trial.image_name for trial in self.trials)
        ours = {image_tag(name) for name in IMAGE_NAMES}
        return tuple(
            f"image {name} ({image.tag}) is not built here: with a container engine its "
            f"{trials[name]} trials need that tag to exist; without one they run as processes "
            f"of the {image.profile} profile, and image size plays no part"
            for name, image in images.items()
            if image.tag not in ours
        )


def make_plan(study: Study) -> Plan:
    """Return the trials that the blocks of a study stand for.

    Raises:
        StudyError: Two trials are the same, or a scenario does not fit its endpoint.
    """
    trials = tuple(trial for block in study.trials for trial in _combinations(study, block))
    for trial_id, count in Counter(trial.id for trial in trials).items():
        if count > 1:
            raise StudyError(
                f"Trial {trial_id} appears twice",
                where=study.name,
                remedy="Give one of the scenarios a name, or take it out of a block",
            )
    return Plan(study, trials)


def _combinations(study: Study, block: Block) -> Iterator[Trial]:
    lists = (block.models, block.precisions, block.images, block.endpoints, block.scenarios)
    for model, precision, image, endpoint, scenario in product(*lists):
        trial_id = f"{model}-{precision}-{image}-{endpoint.label}-{scenario.label}"
        _check_fit(trial_id, endpoint, scenario)
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
            vcpu=_vcpu_of(endpoint, trial_id),
        )


def _unknown_provisioned(region: str) -> UnknownPrice:
    return UnknownPrice(
        f"No price is known for provisioned concurrency in {region}", where="price sheet"
    )


def _vcpu_of(endpoint: ServerlessConfig | RealTimeConfig, trial_id: str) -> float:
    if isinstance(endpoint, ServerlessConfig):
        return round(vcpu_of_memory(endpoint.memory_mb), 4)
    try:
        return float(instance_resources(endpoint.instance_type).vcpu)
    except InvalidInput as err:
        raise StudyError(err.what, where=trial_id, remedy=err.remedy) from err


def _check_fit(
    trial_id: str, endpoint: ServerlessConfig | RealTimeConfig, scenario: Scenario
) -> None:
    is_serverless = isinstance(endpoint, ServerlessConfig)
    match scenario:
        case Warm() | Cold() if not is_serverless:
            problem = f"A {scenario.kind} scenario needs a serverless endpoint"
        case RealTime() if is_serverless:
            problem = "A real-time scenario needs an endpoint with an instance type"
        case Cold() if isinstance(endpoint, ServerlessConfig) and endpoint.provisioned_concurrency:
            problem = "An endpoint with provisioned concurrency never starts cold"
        case Warm() | Cold() | RealTime() | OpenLoop():
            return
        case _:
            assert_never(scenario)
    raise StudyError(problem, where=trial_id)
