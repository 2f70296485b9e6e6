"""CloudWatch's operations: moto handles requests and responses, ``monitoring`` computes results.

moto supports neither percentiles nor metric math, never evaluates an alarm, and mixes up metrics
that differ only in their dimensions. The operations of this module replace moto's operations; moto
still stores alarms, dashboards and tags.
"""

from __future__ import annotations

import time
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api.alarms import AlarmBook
from drdeploy.hosting.local.monitoring.metric_queries import MetricReader
from drdeploy.hosting.local.monitoring.metric_store import MetricStore
from drdeploy.hosting.local.monitoring.monitoring_errors import MonitoringError

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def replace_operations_in_moto() -> None:
    """Make moto answer for CloudWatch with the operations of this module (once per process)."""
    from moto.cloudwatch.responses import CloudWatchResponse

    put_alarm_into_moto = _find_put_metric_alarm_of_moto()

    def put_metric_alarm(response: Any) -> dict[str, Any]:
        book, request, now_s = (
            _find_alarm_book_of_backend(response),
            dict(response.params),
            time.time(),
        )
        book.check_new_alarm(request, now_s)
        before = response.cloudwatch_backend.alarms.get(request["AlarmName"])
        response.params.pop("ExtendedStatistic", None)  # moto accepts percentiles only
        put_alarm_into_moto(response)
        book.complete_new_alarm(request, before, now_s)
        return {}

    operations: dict[str, Callable[[Any], dict[str, Any]]] = {
        "put_metric_alarm": put_metric_alarm,
        "describe_alarms": lambda response: _find_alarm_book_of_backend(response).describe_alarms(
            response.params
        ),
        "describe_alarms_for_metric": lambda response: _find_alarm_book_of_backend(
            response
        ).describe_alarms_for_metric(dict(response.params)),
        "describe_alarm_history": lambda response: _find_alarm_book_of_backend(
            response
        ).describe_alarm_history(response.params),
        "set_alarm_state": _set_alarm_state,
        "put_metric_data": _put_metric_data,
        "get_metric_data": lambda response: _make_metric_reader(response).get_metric_data(
            response.params
        ),
        "get_metric_statistics": lambda response: _make_metric_reader(
            response
        ).get_metric_statistics(response.params),
        "list_metrics": lambda response: _make_metric_reader(response).list_metrics(
            response.params
        ),
    }
    for name, operation in operations.items():
        setattr(CloudWatchResponse, name, _make_moto_operation(name, operation))


@cache
def _find_put_metric_alarm_of_moto() -> Callable[[Any], object]:
    """Return moto's own ``PutMetricAlarm``; call this before the module replaces that operation."""
    from moto.cloudwatch.responses import CloudWatchResponse

    return CloudWatchResponse.put_metric_alarm


def put_alarm(backend: Any, request: dict[str, Any]) -> Any:
    """Store in moto an alarm that the service itself has made, and return the stored alarm.

    Raises:
        MonitoringError: The alarm's metric cannot be evaluated.
    """
    book, now_s = find_alarm_book(backend), time.time()
    book.check_new_alarm(request, now_s)
    reader = SimpleNamespace(
        cloudwatch_backend=backend, _get_param=request.get, _get_bool_param=request.get
    )
    _find_put_metric_alarm_of_moto()(reader)
    book.complete_new_alarm(request, None, now_s)
    return backend.alarms[request["AlarmName"]]


def find_metric_store(backend: Any) -> MetricStore:
    """Return the metrics of a moto backend; moto has a backend for each account and region."""
    # setdefault is atomic: two threads get the same store.
    store: MetricStore = vars(backend).setdefault("drdeploy_metrics", MetricStore())
    return store


def find_alarm_book(backend: Any) -> AlarmBook:
    """Return the alarms of one of moto's backends."""
    store = find_metric_store(backend)
    book: AlarmBook = vars(backend).setdefault("drdeploy_alarms", AlarmBook(backend, store))
    return book


def _make_moto_operation(
    name: str, operation: Callable[[Any], dict[str, Any]]
) -> Callable[[Any], Any]:
    from moto.cloudwatch.exceptions import CloudWatchException
    from moto.core.responses import ActionResult

    def answer_moto_request(response: Any) -> Any:
        try:
            return ActionResult(operation(response))
        except MonitoringError as err:
            raise CloudWatchException(err.code, err.message) from err

    answer_moto_request.__name__ = name
    return answer_moto_request


def _find_alarm_book_of_backend(response: Any) -> AlarmBook:
    return find_alarm_book(response.cloudwatch_backend)


def _set_alarm_state(response: Any) -> dict[str, Any]:
    _find_alarm_book_of_backend(response).set_alarm_state(response.params, time.time())
    return {}


def _make_metric_reader(response: Any) -> MetricReader:
    return MetricReader(find_metric_store(response.cloudwatch_backend), time.time())


def _put_metric_data(response: Any) -> dict[str, Any]:
    find_metric_store(response.cloudwatch_backend).put_metric_data(
        response.params["Namespace"], response.params.get("MetricData") or [], time.time()
    )
    return {}
