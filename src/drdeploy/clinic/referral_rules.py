"""Decide how urgently a patient should be referred, by the rules in a file that users may edit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from drdeploy.errors import InvalidInput
from drdeploy.files import read_toml_file
from drdeploy.grader.grading.grade import Grade

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drdeploy.grader.artifacts import ModelManifest, OperatingPoint
    from drdeploy.grader.grading import Prediction

ReferralOutcome = Literal["urgent", "refer", "repeat photographs", "no referral"]
OUTCOMES: tuple[ReferralOutcome, ...] = ("urgent", "refer", "repeat photographs", "no referral")
"""The possible outcomes for a patient, the most urgent first."""

DEFAULT_RULES = Path(__file__).with_name("default_rules.toml")


class ReferralRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule that flags a photograph.

    Attributes:
        outcome: The outcome of an eye if the rule flags one of its photographs.
        at_or_above: The grade from which an eye is ill enough for the rule. The rule looks at the
            probability that the eye has this grade or a worse one.
        operating_point: The grader's operating point. A photograph is flagged if the probability
            reaches the threshold of this point.
    """

    outcome: Literal["urgent", "refer"]
    at_or_above: Literal[2, 3]
    operating_point: Literal["high_sensitivity", "balanced"]


class EyeRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outcomes of eyes whose grade is missing or doubtful.

    Attributes:
        ungradable: Outcome of an eye without a gradable photograph.
        missing: Outcome of an eye without a photograph.
        unlike_training: The rule for an eye with a photograph that is unlike the training
            photographs. With ``refer`` or ``repeat photographs``, the eye gets this outcome or a
            more urgent one. With ``as graded``, the outcome does not depend on whether a photograph
            is unlike the training photographs.
    """

    ungradable: Literal["refer", "repeat photographs"]
    missing: Literal["refer", "repeat photographs", "no referral"]
    unlike_training: Literal["refer", "repeat photographs", "as graded"] = "as graded"

    @property
    def outcome_if_unlike_training(self) -> ReferralOutcome:
        """The least urgent outcome allowed if a photograph is unlike the training photographs."""
        return "no referral" if self.unlike_training == "as graded" else self.unlike_training


class MarkRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules that mark an eye whose grade is doubtful, so that somebody looks at the eye again.

    Attributes:
        low_certainty_below: An eye is marked if the probability of its grade is smaller than this.
        disagreement_from: An eye is marked if the grades of its photographs differ by at least this
            number of grades.
    """

    low_certainty_below: Annotated[float, msgspec.Meta(ge=0, le=1)]
    disagreement_from: Annotated[int, msgspec.Meta(ge=1)]


class ReferralRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rules from one file. The comments in ``default_rules.toml`` explain them."""

    rules: Annotated[tuple[ReferralRule, ...], msgspec.Meta(min_length=1)]
    eyes: EyeRules
    marks: MarkRules

    @classmethod
    def load(cls, file: Path = DEFAULT_RULES) -> ReferralRules:
        """Read a file of rules.

        Raises:
            InvalidInput: The file is unreadable, or has an unknown or missing entry.
        """
        try:
            return msgspec.convert(read_toml_file(file), cls)
        except OSError as err:
            raise InvalidInput(
                f"The rules cannot be read: {err.strerror or err}",
                where=str(file),
                remedy="Give a TOML file that you may read with --rules, or omit --rules",
            ) from err
        except (ValueError, msgspec.ValidationError) as err:
            raise InvalidInput(
                f"The rules file has an error: {err}",
                where=str(file),
                remedy=f"Copy {DEFAULT_RULES}, and edit the copy",
            ) from err

    def check_grader(self, manifest: ModelManifest) -> None:
        """Check that the grader has each operating point that a rule names.

        Raises:
            InvalidInput: The model does not grade retinopathy, or lacks an operating point.
        """
        for rule in self.rules:
            if not manifest.is_icdr or _find_operating_point(rule, manifest) is None:
                raise InvalidInput(
                    f"The grader has no operating point {rule.operating_point} at grade "
                    f"{rule.at_or_above}, but the rule with the outcome {rule.outcome!r} uses it",
                    where="--artifact, --rules",
                    remedy="Use the packaged grader, or name operating points of your grader in "
                    "the rules",
                )

    def list_operating_points(self, manifest: ModelManifest) -> tuple[OperatingPoint, ...]:
        """Return the grader's operating points that the rules use, in the order of the rules."""
        found = (_find_operating_point(rule, manifest) for rule in self.rules)
        return tuple(dict.fromkeys(point for point in found if point is not None))

    def decide_outcome_of_eye(
        self, predictions: Iterable[Prediction], manifest: ModelManifest
    ) -> ReferralOutcome:
        """Return the outcome of an eye that has at least one gradable photograph."""
        photographs = list(predictions)
        for rule in self.rules:
            point = _find_operating_point(rule, manifest)
            for prediction in photographs if point is not None else ():
                share = prediction.probability_at_or_above(Grade(rule.at_or_above))
                if point is not None and point.reaches_threshold(share):
                    return rule.outcome
        return "no referral"


def _find_operating_point(rule: ReferralRule, manifest: ModelManifest) -> OperatingPoint | None:
    points = () if manifest.clinical is None else manifest.clinical.operating_points
    return next(
        (
            point
            for point in points
            if (point.name, point.at_or_above) == (rule.operating_point, rule.at_or_above)
        ),
        None,
    )


def find_most_urgent_outcome(outcomes: Iterable[ReferralOutcome]) -> ReferralOutcome:
    """Return the most urgent of the outcomes."""
    return min(outcomes, key=OUTCOMES.index)
