"""Statistics and metric math have the values that CloudWatch's user guide gives them."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from botocore.exceptions import ClientError

NAMESPACE = "Test"
START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)  # a Monday
VALUES = [float(value) for value in range(1, 21)]
NAN = None
"""A period without a value."""


@pytest.fixture(scope="module")
def put(aws):
    """Puts one value a minute and returns the query of the metric."""
    made = iter(range(1000))

    def put_values(*values, query_id=None):
        name = f"m{next(made)}"
        data = [
            {"MetricName": name, "Timestamp": START + timedelta(minutes=minute), "Value": value}
            for minute, value in enumerate(values)
            if value is not None
        ]
        if data:
            aws.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        return query(query_id or name, name)

    return put_values


def query(query_id, metric, stat="Average", period=60, **more):
    named = {"Namespace": NAMESPACE, "MetricName": metric}
    return {"Id": query_id, "MetricStat": {"Metric": named, "Period": period, "Stat": stat}} | more


def ask(aws, *queries, minutes=4, **request):
    answer = aws.cloudwatch.get_metric_data(
        MetricDataQueries=list(queries),
        StartTime=START,
        EndTime=START + timedelta(minutes=minutes),
        ScanBy=request.pop("ScanBy", "TimestampAscending"),
        **request,
    )
    return answer["MetricDataResults"]


def compute(aws, expression, *queries, minutes=4):
    """Return the values of an expression, with None for a period without a value."""
    hidden = [one | {"ReturnData": False} for one in queries]
    results = ask(aws, *hidden, {"Id": "e", "Expression": expression}, minutes=minutes)
    moments = [START + timedelta(minutes=minute) for minute in range(minutes)]
    found = [dict(zip(one["Timestamps"], one["Values"], strict=True)) for one in results]
    return [[points.get(moment) for moment in moments] for points in found]


def compute_one(aws, expression, *queries, minutes=4):
    (values,) = compute(aws, expression, *queries, minutes=minutes)
    return values


def refusal(call):
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]


# -- statistics ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spread(aws):
    """A metric of one minute with the samples 20, 19, … 1."""
    data = [{"MetricName": "spread", "Timestamp": START, "Values": VALUES[::-1]}]
    aws.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
    return "spread"


@pytest.mark.parametrize(
    ("stat", "value"),
    [
        ("p0", 1), ("p50", 10), ("p95", 19), ("p99.9", 20), ("p100", 20),
        ("tm90", np.mean(VALUES[:18])), ("TM(10%:90%)", np.mean(VALUES[2:18])),
        ("TM(5:10)", 8), ("TM(:5)", 3), ("TM(50%:)", 15.5), ("TM(100:200)", None),
        ("IQM", np.mean(VALUES[5:15])),
        ("wm90", (sum(VALUES[:18]) + 2 * 18) / 20),
        ("WM(10%:90%)", (sum(VALUES[2:18]) + 2 * 3 + 2 * 18) / 20),
        ("WM(5:10)", (5 * 5 + 6 + 7 + 8 + 9 + 10 * 11) / 20),
        ("tc90", 18), ("TC(5:10)", 5), ("TC(:0.5)", 0),
        ("ts90", sum(VALUES[:18])), ("TS(80%:)", sum(VALUES[16:])),
        ("PR(:5)", 25), ("PR(5:10)", 25), ("PR(10:)", 50),
        ("SampleCount", 20), ("Sum", 210), ("Average", 10.5), ("Minimum", 1), ("Maximum", 20),
    ],
)  # fmt: skip
def test_every_statistic_has_its_value(aws, spread, stat, value):
    (result,) = ask(aws, query("a", spread, stat))
    assert result["Values"] == ([] if value is None else [pytest.approx(value)])


@pytest.mark.parametrize("stat", ["p95", "p50", "tm99", "TM(10%:90%)"])
def test_both_ways_of_asking_agree(aws, spread, stat):
    (result,) = ask(aws, query("a", spread, stat))
    answer = aws.cloudwatch.get_metric_statistics(
        Namespace=NAMESPACE, MetricName=spread, StartTime=START, Period=60,
        EndTime=START + timedelta(minutes=1), ExtendedStatistics=[stat],
    )  # fmt: skip
    assert [one["ExtendedStatistics"][stat] for one in answer["Datapoints"]] == result["Values"]


@pytest.mark.parametrize("share", [0.1, 33.3, 50, 95, 99.9])
def test_a_percentile_is_the_clients_own(aws, share):
    values = np.random.default_rng(7).gamma(2, 100, 137)
    metric = f"random{share}".replace(".", "-")
    data = [{"MetricName": metric, "Timestamp": START, "Values": list(values)}]
    aws.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
    (result,) = ask(aws, query("a", metric, f"p{share}"))
    assert result["Values"] == [np.percentile(values, share, method="inverted_cdf")]


def test_a_value_counts_as_often_as_it_was_published(aws):
    data = [{"MetricName": "counted", "Timestamp": START, "Values": [1, 9], "Counts": [9, 1]}]
    aws.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
    stats = ("p90", "p95", "Average", "tm90")
    results = ask(aws, *(query(f"a{place}", "counted", one) for place, one in enumerate(stats)))
    assert [one["Values"] for one in results] == [[1], [9], [1.8], [1]]


def test_a_statistic_set_has_no_percentile_unless_all_its_samples_are_equal(aws):
    mixed = {"SampleCount": 3, "Sum": 6, "Minimum": 1, "Maximum": 3}
    equal = {"SampleCount": 3, "Sum": 6, "Minimum": 2, "Maximum": 2}
    for name, given in (("mixed", mixed), ("equal", equal)):
        data = [{"MetricName": name, "Timestamp": START, "StatisticValues": given}]
        aws.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
    results = ask(
        aws, query("a", "mixed", "p50"), query("b", "equal", "p50"), query("c", "mixed", "Maximum")
    )
    assert [one["Values"] for one in results] == [[], [2], [3]]


@pytest.mark.parametrize(
    "stat",
    [
        "q95",
        "p101",
        "average",
        "TM(90%:10%)",
        "TM(10%:500)",
        "PR(10%:90%)",
        "pr90",
        "TM90",
        "TM(:)",
    ],
)
def test_a_statistic_that_does_not_exist_is_refused_by_name(aws, spread, stat):
    error = refusal(lambda: ask(aws, query("a", spread, stat)))
    assert error["Code"] == "ValidationError"
    assert stat in error["Message"]


# -- metric math ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("a + b", [15, 4, 6, 8]),
        ("a - b * 2", [0, -8, 6, 8]),
        ("(a - b) * 2", [10, -8, 12, 16]),
        ("a / b", [2, 0, NAN, NAN]),
        ("100 / a", [10, NAN, 100 / 6, 12.5]),
        ("a ^ 2", [100, NAN, 36, 64]),
        ("-a", [-10, NAN, -6, -8]),
        ("-2 ^ 2 * a", [-40, NAN, -24, -32]),
        ("a - MIN(a)", [4, NAN, 0, 2]),
        ("a / MAX(a)", [1, NAN, 0.6, 0.8]),
        ("a * 0 + AVG(a)", [8, NAN, 8, 8]),
        ("SUM(a) / DATAPOINT_COUNT(a) + a * 0", [8, NAN, 8, 8]),
        ("TIME_SERIES(STDDEV([a][0]))", None),
        ("TIME_SERIES(SUM(b))", [9, 9, 9, 9]),
        ("a > b", [1, 0, 1, 1]),
        ("a <= 6", [0, NAN, 1, 0]),
        ("a == 6 || a == 8", [0, NAN, 1, 1]),
        ("a > 5 AND a < 9", [0, NAN, 1, 1]),
        ("a != 6 && b > 3", [1, 0, 0, 0]),
        ("IF(a > 7, a)", [10, NAN, NAN, 8]),
        ("IF(a < 7, 1, 0)", [0, NAN, 1, 0]),
        ("IF(a, b, 7)", [5, NAN, 0, 0]),
        ("IF(b, 7, a)", [7, 7, NAN, NAN]),
        ("IF(2 > 1, a, b)", [10, NAN, 6, 8]),
        ("FILL(a, 0)", [10, 0, 6, 8]),
        ("FILL(a, REPEAT)", [10, 10, 6, 8]),
        ("FILL(a, LINEAR)", [10, 8, 6, 8]),
        ("FILL(a, b)", [10, 4, 6, 8]),
        ("FILL(b, LINEAR)", [5, 4, NAN, NAN]),
        ("FILL(a, MIN(a))", [10, 6, 6, 8]),
        ("RUNNING_SUM(a)", [10, NAN, 16, 24]),
        ("DIFF(a)", [NAN, NAN, -4, 2]),
        ("DIFF_TIME(a)", [NAN, NAN, 120, 60]),
        ("RATE(a)", [NAN, NAN, -4 / 120, 2 / 60]),
        ("ABS(-a)", [10, NAN, 6, 8]),
        ("CEIL(a / 4)", [3, NAN, 2, 2]),
        ("FLOOR(a / 4)", [2, NAN, 1, 2]),
        ("LOG10(a * 10) + LOG(1) * a", [2, NAN, np.log10(60), np.log10(80)]),
        ("a / PERIOD(a)", [10 / 60, NAN, 0.1, 8 / 60]),
        ("SUM([a, b])", [15, 4, 6, 8]),
        ("AVG(METRICS())", [7.5, 2, 3, 4]),
        ("MAX([a, b])", [10, 4, 6, 8]),
        ("DATAPOINT_COUNT([a, b])", [2, 1, 1, 1]),
        ('SUM(METRICS("a"))', [10, NAN, 6, 8]),
        ("a / METRIC_COUNT(METRICS())", [5, NAN, 3, 4]),
        ("FIRST(SORT(METRICS(), SUM, ASC))", [5, 4, NAN, NAN]),
        ("LAST(SORT([a, b], MAX, DESC))", [5, 4, NAN, NAN]),
        ("SUM(SLICE(SORT([a, b], AVG, DESC, 2), 1))", [5, 4, NAN, NAN]),
        ("SUM(SLICE([a, b], 0, 1))", [10, NAN, 6, 8]),
        ("MINUTE(a)", [0, 1, 2, 3]),
        ("HOUR(a) * 100 + DAY(a)", [1001] * 4),
        ("YEAR(a) - MONTH(a) * DATE(a)", [2021] * 4),
        ("EPOCH(a) - EPOCH(b)", [0] * 4),
        ("TIME_SERIES(3)", [3, 3, 3, 3]),
    ],
)  # fmt: skip
def test_metric_math(aws, put, expression, values):
    a, b = put(10, NAN, 6, 8, query_id="a"), put(5, 4, NAN, NAN, query_id="b")
    if values is None:
        error = refusal(lambda: compute_one(aws, expression, a, b))
        assert "Error in expression 'e'" in error["Message"]
    else:
        assert compute_one(aws, expression, a, b) == [
            None if value is None else pytest.approx(value) for value in values
        ]


def test_the_tables_of_the_user_guide(aws, put):
    one, two = put(30, 20, 0, 0, query_id="a"), put(20, NAN, 20, NAN, query_id="b")
    assert compute_one(aws, "a < b", one, two) == [0, 0, 1, 0]
    assert compute_one(aws, "a > 15 AND b > 15", one, two) == [1, 0, 0, 0]
    condition = put(1, 1, 0, 0, NAN, query_id="a")
    chosen, other = put(30, NAN, 0, 0, 30, query_id="b"), put(0, 0, 20, NAN, 20, query_id="c")
    queries = (condition, chosen, other)
    assert compute_one(aws, "IF(a, b, c)", *queries, minutes=5) == [30, 0, 20, NAN, NAN]
    assert compute_one(aws, "IF(a, 5, c)", *queries, minutes=5) == [5, 5, 20, NAN, NAN]
    assert compute_one(aws, "IF(a, b, 5)", *queries, minutes=5) == [30, 0, 5, 5, NAN]


def test_an_array_is_several_results_with_one_id(aws, put):
    a, b = put(1, 2, query_id="a"), put(3, query_id="b")
    assert compute(aws, "METRICS() * 10", a, b, minutes=2) == [[10, 20], [30, NAN]]
    assert compute(aws, "REMOVE_EMPTY([a, c])", a, put(query_id="c"), minutes=2) == [[1, 2]]


def test_an_expression_uses_another(aws, put):
    a = put(1, 2, query_id="a")
    results = ask(
        aws, a, {"Id": "f", "Expression": "e * 2"}, {"Id": "e", "Expression": "a + 1"}, minutes=2
    )
    assert [(one["Id"], one["Values"]) for one in results] == [
        ("a", [1, 2]), ("f", [4, 6]), ("e", [2, 3]),
    ]  # fmt: skip


def test_search_finds_metrics_by_schema_and_terms(aws):
    for index, kind in enumerate(("blue", "green")):
        for name in ("CallsMade", "CallsLost"):
            dimensions = [{"Name": "Kind", "Value": kind}]
            data = [
                {"MetricName": name, "Dimensions": dimensions, "Timestamp": START, "Value": index}
            ]
            aws.cloudwatch.put_metric_data(Namespace="Search", MetricData=data)

    def search(text):
        expression = f"SEARCH('{text}', 'Sum', 60)"
        return sorted(one["Label"] for one in ask(aws, {"Id": "e", "Expression": expression}))

    assert len(search("{Search,Kind} Calls")) == 4
    assert len(search("{Search,Kind} lost")) == 2
    assert search("{Search,Kind} lost NOT Kind=blue") == ["green CallsLost Sum"]
    assert search('{Search,Kind} MetricName="CallsMade" (blue OR red)') == ["blue CallsMade Sum"]
    assert search("{Search,Kind,Other} Calls") == []
    assert search("{Search} Calls") == []


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("ANOMALY_DETECTION_BAND(a)", "ANOMALY_DETECTION_BAND"),
        ("SERVICE_QUOTA(a)", "SERVICE_QUOTA"),
        ("INSIGHT_RULE_METRIC('r', 'Sum')", "INSIGHT_RULE_METRIC"),
        ('SELECT AVG(x) FROM "AWS/SageMaker"', "SELECT"),
        ("MEDIAN(a)", "MEDIAN"),
        ("sum(a)", "sum"),
        ("a +", "end"),
        ("a b", "b"),
        ("(a", ")"),
        ("a $ 2", "$"),
        ("nothing + 1", "nothing"),
        ("e + 1", "refers to itself"),
        ("AVG(a)", "number"),
        ("RATE(a, 2)", "arguments"),
        ("(" * 60 + "a" + ")" * 60, "nested"),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(aws, put, expression, part):
    error = refusal(lambda: compute(aws, expression, put(1, query_id="a")))
    assert error["Code"] == "ValidationError"
    assert error["Message"].startswith("Error in expression 'e'")
    assert part in error["Message"]


# -- requests ------------------------------------------------------------------------------


def test_newest_first_is_the_default_and_pages_follow_one_another(aws, put):
    metric = put(1, 2, 3, query_id="a")
    (newest,) = ask(aws, metric, ScanBy="TimestampDescending")
    assert newest["Values"] == [3, 2, 1]
    pages = aws.cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[metric], StartTime=START, EndTime=START + timedelta(minutes=4),
        MaxDatapoints=2,
    )  # fmt: skip
    found = [page["MetricDataResults"][0] for page in pages]
    assert [one["Values"] for one in found] == [[3, 2], [1]]
    assert [one["StatusCode"] for one in found] == ["PartialData", "Complete"]


@pytest.mark.parametrize("most", [0, 100_801])
def test_a_page_has_1_to_100800_datapoints(aws, put, most):
    error = refusal(
        lambda: aws.cloudwatch.get_metric_data(
            MetricDataQueries=[put(1, query_id="a")],
            StartTime=START,
            EndTime=START + timedelta(minutes=4),
            MaxDatapoints=most,
        )
    )
    assert (error["Code"], error["Message"]) == (
        "ValidationError",
        "MaxDatapoints must be 1 to 100800.",
    )


def test_a_metric_is_its_name_and_exactly_its_dimensions(aws):
    dimensions = [{"Name": "A", "Value": "1"}, {"Name": "B", "Value": "2"}]
    data = [
        {"MetricName": "exact", "Timestamp": START, "Value": 1, "Dimensions": dimensions},
        {"MetricName": "exact", "Timestamp": START, "Value": 5, "Dimensions": dimensions[:1]},
        {"MetricName": "exact", "Timestamp": START, "Value": 7},
    ]
    aws.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)

    def total(dimensions):
        one = query("a", "exact", "Sum")
        one["MetricStat"]["Metric"]["Dimensions"] = dimensions
        return ask(aws, one)[0]["Values"]

    assert total(dimensions[::-1]) == [1]
    assert total(dimensions[:1]) == [5]
    assert total([]) == [7]
    listed = aws.cloudwatch.list_metrics(MetricName="exact", Dimensions=[{"Name": "A"}])
    assert len(listed["Metrics"]) == 2


def test_units_are_kept_apart(aws):
    data = [
        {"MetricName": "units", "Timestamp": START, "Value": value, "Unit": unit}
        for value, unit in ((1, "Seconds"), (2, "Seconds"), (5, "Count"))
    ]
    aws.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
    request = {
        "Namespace": NAMESPACE, "MetricName": "units", "StartTime": START, "Period": 60,
        "EndTime": START + timedelta(minutes=1), "Statistics": ["Sum"],
    }  # fmt: skip
    points = aws.cloudwatch.get_metric_statistics(**request)["Datapoints"]
    assert {one["Unit"]: one["Sum"] for one in points} == {"Seconds": 3, "Count": 5}
    points = aws.cloudwatch.get_metric_statistics(**request, Unit="Count")["Datapoints"]
    assert [one["Sum"] for one in points] == [5]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"Period": 7}, "Period"),
        ({"Period": 90}, "Period"),
        ({"Period": 1, "EndTime": START + timedelta(hours=1)}, "1440"),
        ({"EndTime": START}, "StartTime"),
        ({"ExtendedStatistics": ["q"]}, "q"),
    ],
)
def test_a_request_that_cloudwatch_refuses_is_refused(aws, change, part):
    request = {
        "Namespace": NAMESPACE, "MetricName": "none", "StartTime": START, "Period": 60,
        "EndTime": START + timedelta(minutes=1), "Statistics": ["Sum"],
    } | change  # fmt: skip
    assert part in refusal(lambda: aws.cloudwatch.get_metric_statistics(**request))["Message"]


@pytest.mark.parametrize(
    ("operation", "name", "request_"),
    [
        (
            "put_anomaly_detector",
            "PutAnomalyDetector",
            {"Namespace": "n", "MetricName": "m", "Stat": "Average"},
        ),
        ("get_metric_widget_image", "GetMetricWidgetImage", {"MetricWidget": "{}"}),
    ],
)
def test_an_operation_that_is_not_served_is_refused_by_name(aws, operation, name, request_):
    error = refusal(lambda: getattr(aws.cloudwatch, operation)(**request_))
    assert name in error["Message"]


@pytest.mark.parametrize(
    "datum",
    [
        {"Value": 1, "Values": [1]},
        {},
        {"Values": [1, 2], "Counts": [1]},
        {"Value": float("nan")},
        {"Value": float("inf")},
        {"Value": 2.0**361},
        {"Values": [1, -(2.0**361)]},
    ],
)
def test_a_datum_without_one_value_is_refused_and_nothing_of_the_request_kept(aws, datum):
    good = {"MetricName": "kept", "Timestamp": START, "Value": 1}
    refusal(
        lambda: aws.cloudwatch.put_metric_data(
            Namespace=NAMESPACE, MetricData=[good, {"MetricName": "kept"} | datum]
        )
    )
    assert not aws.cloudwatch.list_metrics(MetricName="kept")["Metrics"]


def test_nested_expressions_take_no_longer_than_there_are(aws):
    chain = [{"Id": f"e{at}", "Expression": f"e{at + 1} + e{at + 1}"} for at in range(60)]
    last = {"Id": "e60", "Expression": "TIME_SERIES(1)"}
    end = datetime.now(UTC)
    asked = {"StartTime": end - timedelta(minutes=3), "EndTime": end}
    found = aws.cloudwatch.get_metric_data(MetricDataQueries=[*chain, last], **asked)
    first = next(one for one in found["MetricDataResults"] if one["Id"] == "e0")
    assert set(first["Values"]) == {2.0**60}


def test_an_expression_over_a_century_of_seconds_is_refused(aws):
    query = {"Id": "e1", "Expression": "TIME_SERIES(1)", "Period": 1}
    asked = {"StartTime": datetime(1970, 1, 1, tzinfo=UTC), "EndTime": datetime.now(UTC)}
    with pytest.raises(ClientError, match="more than 100800 periods"):
        aws.cloudwatch.get_metric_data(MetricDataQueries=[query], **asked)
