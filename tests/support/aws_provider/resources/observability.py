"""Logs, alarms, dashboards, topics with their subscriptions, and budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_provider.resources.base import (
    TAGS,
    Resource,
    change_tags,
    found,
    name_of,
    pairs,
    unless_default,
)

if TYPE_CHECKING:
    from aws_provider.aws import Aws
    from aws_provider.values import State


class LogGroup(Resource):
    """The handler of ``aws_cloudwatch_log_group``."""

    in_place = TAGS | {"kms_key_id", "retention_in_days", "skip_destroy"}
    own_arguments = frozenset(
        {"kms_key_id", "name", "name_prefix", "retention_in_days", "skip_destroy", "tags"}
    )

    def create(self, aws: Aws, new: State) -> State:
        name = name_of(new)
        request = {"log_group_name": name, "kms_key_id": new.get("kms_key_id")}
        aws.call("logs", "create_log_group", {**request, "tags": new["tags_all"] or None})
        self._retain(aws, {**new, "name": name})
        arn = f"arn:aws:logs:{aws.region}:{aws.account}:log-group:{name}"
        return {
            "id": name,
            "name": name,
            "arn": arn,
            "name_prefix": "",
            "log_group_class": "STANDARD",
            "deletion_protection_enabled": False,
        }

    def read(self, aws: Aws, old: State) -> State | None:
        describe = aws.client("logs").describe_log_groups
        groups = describe(logGroupNamePrefix=old["id"])["logGroups"]
        (group,) = [one for one in groups if one["logGroupName"] == old["id"]] or [None]
        if group is None:
            return None
        return unless_default(old, "retention_in_days", group.get("retentionInDays", 0), 0)

    def update(self, aws: Aws, old: State, new: State) -> State:
        client, arn = aws.client("logs"), old["arn"]
        change_tags(
            old,
            new,
            lambda tags: client.tag_resource(resourceArn=arn, tags=tags),
            lambda keys: client.untag_resource(resourceArn=arn, tagKeys=keys),
        )
        self._retain(aws, new)
        before, after = old.get("kms_key_id"), new.get("kms_key_id")
        if after and after != before:
            client.associate_kms_key(logGroupName=old["id"], kmsKeyId=after)
        elif before and not after:
            client.disassociate_kms_key(logGroupName=old["id"])
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        if old.get("skip_destroy"):
            return
        found(lambda: aws.client("logs").delete_log_group(logGroupName=old["id"]))

    def _retain(self, aws: Aws, new: State) -> None:
        if new.get("retention_in_days"):
            aws.client("logs").put_retention_policy(
                logGroupName=new["name"], retentionInDays=int(new["retention_in_days"])
            )
        else:
            aws.client("logs").delete_retention_policy(logGroupName=new["name"])


class MetricAlarm(Resource):
    """The handler of ``aws_cloudwatch_metric_alarm``."""

    in_place = TAGS | {
        "actions_enabled",
        "alarm_actions",
        "alarm_description",
        "comparison_operator",
        "datapoints_to_alarm",
        "dimensions",
        "evaluation_periods",
        "extended_statistic",
        "insufficient_data_actions",
        "metric_query",
        "ok_actions",
        "period",
        "statistic",
        "threshold",
        "treat_missing_data",
    }
    operation = ("cloudwatch", "put_metric_alarm")
    own_arguments = frozenset({"metric_query", "tags"})

    def create(self, aws: Aws, new: State) -> State:
        self._put(aws, new)
        arn = f"arn:aws:cloudwatch:{aws.region}:{aws.account}:alarm:{new['alarm_name']}"
        return {"id": new["alarm_name"], "arn": arn, "evaluate_low_sample_count_percentiles": ""}

    def read(self, aws: Aws, old: State) -> State | None:
        answer = aws.client("cloudwatch").describe_alarms(AlarmNames=[old["id"]])
        return {} if answer["MetricAlarms"] else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        client, arn = aws.client("cloudwatch"), old["arn"]
        change_tags(
            old,
            new,
            lambda tags: client.tag_resource(ResourceARN=arn, Tags=pairs(tags)),
            lambda keys: client.untag_resource(ResourceARN=arn, TagKeys=keys),
        )
        self._put(aws, new)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        aws.client("cloudwatch").delete_alarms(AlarmNames=[old["id"]])

    def _put(self, aws: Aws, new: State) -> None:
        metrics = [_metric_data_query(query) for query in new.get("metric_query") or []]
        request = {**new, "metrics": metrics, "metric_query": None, "tags": new["tags_all"]}
        aws.call("cloudwatch", "put_metric_alarm", request)


def _metric_data_query(query: State) -> dict[str, Any]:
    """Return a ``metric_query`` block in the form of the API's ``MetricDataQuery``."""
    found_query = {name: value for name, value in query.items() if name != "metric"}
    # HashiCorp's provider always sends it; the API takes an absent one for true.
    found_query["return_data"] = bool(query.get("return_data"))
    for metric in query.get("metric") or []:
        found_query["metric_stat"] = {
            "metric": {
                "namespace": metric["namespace"],
                "metric_name": metric["metric_name"],
                "dimensions": metric["dimensions"],
            },
            "period": metric["period"],
            "stat": metric["stat"],
            "unit": metric["unit"],
        }
    return found_query


class Dashboard(Resource):
    """The handler of ``aws_cloudwatch_dashboard``."""

    in_place = frozenset({"dashboard_body"})
    own_arguments = frozenset({"dashboard_body", "dashboard_name"})

    def create(self, aws: Aws, new: State) -> State:
        name = new["dashboard_name"]
        aws.client("cloudwatch").put_dashboard(
            DashboardName=name, DashboardBody=new["dashboard_body"]
        )
        arn = f"arn:aws:cloudwatch::{aws.account}:dashboard/{name}"
        return {"id": name, "dashboard_arn": arn}

    def read(self, aws: Aws, old: State) -> State | None:
        get = aws.client("cloudwatch").get_dashboard
        return {} if found(lambda: get(DashboardName=old["id"])) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        del old
        self.create(aws, new)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        found(lambda: aws.client("cloudwatch").delete_dashboards(DashboardNames=[old["id"]]))


class Topic(Resource):
    """The handler of ``aws_sns_topic``."""

    in_place = TAGS
    own_arguments = frozenset({"kms_master_key_id", "name", "name_prefix", "tags"})

    def create(self, aws: Aws, new: State) -> State:
        name = name_of(new)
        attributes = {"KmsMasterKeyId": new["kms_master_key_id"]}
        created = aws.client("sns").create_topic(
            Name=name,
            Attributes={name: value for name, value in attributes.items() if value},
            Tags=pairs(new["tags_all"]),
        )
        arn = created["TopicArn"]
        get = aws.client("sns").get_topic_attributes
        policy = get(TopicArn=arn)["Attributes"].get("Policy", "")
        return {
            "id": arn,
            "arn": arn,
            "name": name,
            "owner": aws.account,
            "policy": policy,
            "name_prefix": "",
            "beginning_archive_time": "",
        }

    def read(self, aws: Aws, old: State) -> State | None:
        get = aws.client("sns").get_topic_attributes
        return {} if found(lambda: get(TopicArn=old["arn"])) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        client, arn = aws.client("sns"), old["arn"]
        change_tags(
            old,
            new,
            lambda tags: client.tag_resource(ResourceArn=arn, Tags=pairs(tags)),
            lambda keys: client.untag_resource(ResourceArn=arn, TagKeys=keys),
        )
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        found(lambda: aws.client("sns").delete_topic(TopicArn=old["arn"]))


class Subscription(Resource):
    """The handler of ``aws_sns_topic_subscription``."""

    own_arguments = frozenset({"endpoint", "protocol", "topic_arn"})

    def create(self, aws: Aws, new: State) -> State:
        created = aws.client("sns").subscribe(
            TopicArn=new["topic_arn"],
            Protocol=new["protocol"],
            Endpoint=new["endpoint"],
            ReturnSubscriptionArn=True,
        )
        arn = created["SubscriptionArn"]
        return {
            "id": arn,
            "arn": arn,
            "owner_id": aws.account,
            "confirmation_was_authenticated": False,
            "pending_confirmation": True,
            "filter_policy_scope": "",
        }

    def read(self, aws: Aws, old: State) -> State | None:
        get = aws.client("sns").get_subscription_attributes
        return {} if found(lambda: get(SubscriptionArn=old["arn"])) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        del aws, old, new
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        found(lambda: aws.client("sns").unsubscribe(SubscriptionArn=old["arn"]))


class Budget(Resource):
    """The handler of ``aws_budgets_budget``, with its notifications."""

    in_place = TAGS
    own_arguments = frozenset(
        {"budget_type", "limit_amount", "limit_unit", "name", "name_prefix", "tags", "time_unit"}
    )
    own_blocks = {  # noqa: RUF012  declared in the base class
        "cost_filter": frozenset({"name", "values"}),
        "notification": frozenset(
            {
                "comparison_operator",
                "notification_type",
                "subscriber_email_addresses",
                "threshold",
                "threshold_type",
            }
        ),
    }

    def create(self, aws: Aws, new: State) -> State:
        name = name_of(new)
        filters = {one["name"]: list(one["values"]) for one in new.get("cost_filter") or []}
        request: dict[str, Any] = {
            "AccountId": aws.account,
            "Budget": {
                "BudgetName": name,
                "BudgetType": new["budget_type"],
                "TimeUnit": new["time_unit"],
                "BudgetLimit": {"Amount": new["limit_amount"], "Unit": new["limit_unit"]},
                "CostFilters": filters,
            },
            "NotificationsWithSubscribers": [
                _notification(one) for one in new.get("notification") or []
            ],
        }
        aws.client("budgets").create_budget(**request)
        return {
            "id": f"{aws.account}:{name}",
            "name": name,
            "account_id": aws.account,
            "arn": f"arn:aws:budgets::{aws.account}:budget/{name}",
            "billing_view_arn": "",
            "name_prefix": "",
            "time_period_start": "",
        }

    def read(self, aws: Aws, old: State) -> State | None:
        describe = aws.client("budgets").describe_budget
        name = {"AccountId": old["account_id"], "BudgetName": old["name"]}
        return {} if found(lambda: describe(**name)) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        del aws, old, new
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        delete = aws.client("budgets").delete_budget
        found(lambda: delete(AccountId=old["account_id"], BudgetName=old["name"]))


def _notification(block: State) -> dict[str, Any]:
    emails = block.get("subscriber_email_addresses") or []
    return {
        "Notification": {
            "NotificationType": block["notification_type"],
            "ComparisonOperator": block["comparison_operator"],
            "Threshold": block["threshold"],
            "ThresholdType": block["threshold_type"],
        },
        "Subscribers": [{"SubscriptionType": "EMAIL", "Address": one} for one in emails],
    }


OBSERVABILITY: dict[str, Resource] = {
    "aws_cloudwatch_log_group": LogGroup(),
    "aws_cloudwatch_metric_alarm": MetricAlarm(),
    "aws_cloudwatch_dashboard": Dashboard(),
    "aws_sns_topic": Topic(),
    "aws_sns_topic_subscription": Subscription(),
    "aws_budgets_budget": Budget(),
}
