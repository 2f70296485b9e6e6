"""Schedules and adjustments follow the user guides of Application Auto Scaling and EventBridge."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from drdeploy.hosting.local.api_errors import make_validation_error
from drdeploy.hosting.local.autoscaling.activities import ActivityLog
from drdeploy.hosting.local.autoscaling.adjustments import (
    compute_step_scaling_capacity,
    compute_target_tracking_capacity,
)
from drdeploy.hosting.local.autoscaling.scaler import RegionScaler
from drdeploy.hosting.local.autoscaling.schedules import Schedule, ScheduleRefused


def runs(text, day, timezone=None, **bounds):
    """Return the hours and minutes, UTC, at which a schedule runs on a day."""
    schedule = Schedule.parse(text, timezone)
    midnight = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    found = []
    for minute in range(24 * 60):
        at = midnight + timedelta(minutes=minute)
        if schedule.is_due(at.timestamp() - 60, at.timestamp(), midnight.timestamp(), **bounds):
            found.append(f"{at:%H:%M}")
    return found


@pytest.mark.parametrize(
    ("schedule", "day", "timezone", "times"),
    [
        # The examples of the user guides; 2026-11-30 is a Monday.
        ("cron(0 10 * * ? *)", "2026-11-30", None, ["10:00"]),
        ("cron(30 6 ? * MON *)", "2026-11-30", None, ["06:30"]),
        ("cron(30 6 ? * MON *)", "2026-12-01", None, []),
        ("cron(0 18 ? * MON-FRI *)", "2026-12-05", None, []),
        ("cron(0/15 8 * * ? 2026)", "2026-11-30", None, ["08:00", "08:15", "08:30", "08:45"]),
        ("cron(0 8 L * ? *)", "2026-11-30", None, ["08:00"]),
        ("cron(0 8 1W * ? *)", "2026-08-03", None, ["08:00"]),  # 1 August 2026 is a Saturday
        ("cron(0 8 ? * 6#2 *)", "2026-11-13", None, ["08:00"]),
        ("cron(0 8 ? * FRIL *)", "2026-11-27", None, ["08:00"]),
        ("cron(0 8 ? NOV,DEC 2 *)", "2026-11-30", "Europe/Berlin", ["07:00"]),
        ("at(2026-11-30T09:30:00)", "2026-11-30", "America/New_York", ["14:30"]),
        ("rate(6 hours)", "2026-11-30", None, ["06:00", "12:00", "18:00"]),
    ],
)
def test_a_schedule_runs_when_it_says(schedule, day, timezone, times):
    assert runs(schedule, day, timezone) == times


def test_a_recurring_action_runs_from_its_start_to_its_end():
    start = datetime(2026, 11, 30, 9, 30, tzinfo=UTC).timestamp()
    end = datetime(2026, 11, 30, 12, 0, tzinfo=UTC).timestamp()
    bounds = {"start_s": start, "end_s": end}
    assert runs("cron(0 * * * ? *)", "2026-11-30", **bounds) == ["09:30", "10:00", "11:00", "12:00"]
    assert runs("rate(1 hour)", "2026-11-30", **bounds) == ["09:30", "10:30", "11:30"]


@pytest.mark.parametrize(
    ("text", "timezone", "reason"),
    [
        ("cron(0 10 * * ?)", None, "must have six fields"),
        ("cron(0 10 * * * *)", None, "must have ? in exactly one of the fields"),
        ("cron(60 10 * * ? *)", None, "60 is not allowed in the field minutes"),
        ("cron(0 8 0W * ? *)", None, "0W is not allowed in the field day of month"),
        ("cron(0 8 45W * ? *)", None, "45W is not allowed in the field day of month"),
        ("at(2026-02-30T00:00:00)", None, "a date that does not exist"),
        ("rate(0 hours)", None, "at least 1"),
        (f"rate({'9' * 400} days)", None, "Schedule must be at("),
        ("every day", None, "Schedule must be at("),
        ("rate(1 hour)", "Mars/Olympus", "Timezone Mars/Olympus is not a time zone"),
    ],
)
def test_a_schedule_that_cannot_be_read_is_refused(text, timezone, reason):
    with pytest.raises(ScheduleRefused) as caught:
        Schedule.parse(text, timezone)
    assert reason in str(caught.value)


def test_a_time_zone_keeps_its_local_time_over_a_change_of_clocks():
    schedule = Schedule.parse("cron(0 8 * * ? *)", "Europe/Berlin")
    for day in (24, 26):  # summer time ends on 25 October 2026
        at = datetime(2026, 10, day, 8, 0, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
        assert schedule.is_due(at - 1, at, 0.0)


@pytest.mark.parametrize(
    ("current", "metric", "target", "capacity"),
    [
        (1, 25.0, 10.0, 3),
        (3, 0.1, 0.3, 1),
        (4, 5.0, 10.0, 2),
        (2, 0.0, 10.0, 0),
        (0, 25.0, 10.0, 3),
    ],
)
def test_target_tracking_is_proportional(current, metric, target, capacity):
    assert compute_target_tracking_capacity(current, metric, target) == capacity


STEPS = [
    {"MetricIntervalUpperBound": -10.0, "ScalingAdjustment": -30},
    {"MetricIntervalLowerBound": -10.0, "MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -10},
    {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 10},
    {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 30},
]


@pytest.mark.parametrize(
    ("metric", "least", "capacity"),
    [
        # The table of the guide: a threshold of 50, and 10 instances.
        (60.0, None, 13),
        (59.0, None, 11),
        (41.0, None, 9),
        (40.0, None, 7),
        (59.0, 2, 12),
    ],
)
def test_steps_are_found_by_the_distance_to_the_threshold(metric, least, capacity):
    policy = {"AdjustmentType": "PercentChangeInCapacity", "StepAdjustments": STEPS}
    policy |= {"MinAdjustmentMagnitude": least} if least else {}
    assert compute_step_scaling_capacity(policy, 10, metric, 50.0) == capacity


class OneAlarm:
    """The alarms of a region that has one alarm, which calls for every policy."""

    def __init__(self, changed_s):
        self.alarm = SimpleNamespace(
            name="alarm", state_value="ALARM", threshold=5.0, drdeploy_changed_s=changed_s
        )

    def find_alarms_with_action(self, policy_arn):
        return [self.alarm]

    def read_evaluated_values(self, alarm, now_s):
        return [9.0]

    def add_scaling_to_history(self, alarm, policy_arn, problem, now_s):
        assert not problem


class CountedVariant:
    """A variant that takes any capacity at once."""

    is_in_service, name_of_capacity_unit, capacity = True, "desired instance count", 1

    def set_capacity(self, capacity):
        self.capacity = capacity

    def has_capacity(self):
        return True


PLACE = {"resource_id": "endpoint/e/variant/v", "scalable_dimension": "instances"}


def scaler_of(variant, activities, alarm, scheduled_actions=()):
    """Return a scaler whose only policy adds an instance when the alarm triggers it."""
    target = SimpleNamespace(**PLACE, arn="t", min_capacity=1, max_capacity=9, suspended_state=None)

    def update(low, high, suspended):
        target.min_capacity, target.max_capacity = low, high

    target.update = update
    step = {"ScalingAdjustment": 1, "MetricIntervalLowerBound": 0.0}
    rules = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [step], "Cooldown": 0}
    policy = SimpleNamespace(
        **PLACE,
        policy_arn="p",
        policy_name="p",
        policy_type="StepScaling",
        step_scaling_policy_configuration=rules,
    )
    return RegionScaler(
        SimpleNamespace(
            targets={"instances": {"e": target}},
            policies={"p": policy},
            scheduled_actions=scheduled_actions,
        ),
        alarm,
        activities,
        lambda *_: variant,
        has_lost_resource=lambda _: False,
        deregister=lambda _: None,
    )


def test_an_alarm_that_changes_during_a_round_of_scaling_acts_once():
    """Whoever calls SetAlarmState does so at any time; the round had begun a moment before."""
    variant = CountedVariant()
    scaler = scaler_of(variant, ActivityLog(), OneAlarm(changed_s=100.2))
    for now_s in (100.0, 100.25, 100.5):
        scaler.scale_due_targets(now_s)
    assert variant.capacity == 2


class SlowVariant(CountedVariant):
    """A variant whose instances are still starting; it takes at most a given number."""

    def __init__(self, most=9):
        self.most = most

    def set_capacity(self, capacity):
        if capacity > self.most:
            raise make_validation_error("No more instances.")
        self.capacity = capacity

    def has_capacity(self):
        return False


class HistoryAlarm(OneAlarm):
    """An alarm that keeps what the scaler writes to its history."""

    def __init__(self, changed_s):
        super().__init__(changed_s)
        self.history = []

    def add_scaling_to_history(self, alarm, policy_arn, problem, now_s):
        self.history.append(problem)


def list_statuses(activities):
    return [one.status for one in activities.list_activities_newest_first()]


def test_a_capacity_that_the_endpoint_refuses_does_not_override_the_activity_before():
    activities, alarm, variant = ActivityLog(), HistoryAlarm(changed_s=100.0), SlowVariant(most=2)
    scaler = scaler_of(variant, activities, alarm)
    scaler.scale_due_targets(101.0)
    scaler.scale_due_targets(200.0)
    assert list_statuses(activities) == ["Failed", "InProgress"]
    assert alarm.history == [
        "",
        "Failed to set desired instance count to 3. Reason: No more instances.",
    ]
    # Once the endpoint takes a capacity again, the new activity overrides the one in progress,
    # although the failed one is between them.
    variant.most = 9
    scaler.scale_due_targets(300.0)
    assert list_statuses(activities) == ["InProgress", "Failed", "Overridden"]


def test_new_bounds_do_not_override_the_activity_that_set_the_capacity():
    activities = ActivityLog()
    action = SimpleNamespace(
        **PLACE,
        schedule="at(1970-01-01T00:02:00)",
        timezone=None,
        creation_time=0.0,
        start_time=None,
        end_time=None,
        scalable_target_action={"MaxCapacity": 5},
        scheduled_action_name="morning",
    )
    scaler = scaler_of(SlowVariant(), activities, OneAlarm(changed_s=100.0), [action])
    scaler.scale_due_targets(101.0)
    scaler.scale_due_targets(121.0)
    assert list_statuses(activities) == ["Successful", "InProgress"]


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_target_is_deregistered_in_the_first_round_in_which_its_resource_is_gone(is_lost):
    """An endpoint that is being created, or another service's, has no variants here either."""
    target = SimpleNamespace(resource_id="endpoint/e/variant/v", scalable_dimension="d", arn="t")
    backend = SimpleNamespace(targets={"d": {"e": target}}, policies={}, scheduled_actions=[])
    deregistered = []
    scaler = RegionScaler(
        backend,
        OneAlarm(changed_s=0.0),
        ActivityLog(),
        lambda *_: None,
        has_lost_resource=lambda _: is_lost,
        deregister=deregistered.append,
    )
    scaler.scale_due_targets(100.0)
    assert deregistered == [target] * is_lost
