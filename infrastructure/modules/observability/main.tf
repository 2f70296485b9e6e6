data "aws_region" "current" {}

locals {
  variant = "AllTraffic"

  # CloudWatch counts latency and setup time in microseconds.
  alarms = {
    slow = {
      metric      = "ModelLatency"
      statistic   = "p95"
      threshold   = var.max_latency_ms * 1000
      kinds       = ["serverless", "realtime"]
      description = "The slowest 5 % of the requests take more than ${var.max_latency_ms} ms in the model of"
    }
    failing = {
      metric      = "Invocation5XXErrors"
      statistic   = "Sum"
      threshold   = var.max_errors
      kinds       = ["serverless", "realtime"]
      description = "More than ${var.max_errors} requests within five minutes ended in a 5XX at"
    }
    cold = {
      metric      = "ModelSetupTime"
      statistic   = "Maximum"
      threshold   = var.max_setup_ms * 1000
      kinds       = ["serverless"]
      description = "A container took more than ${var.max_setup_ms} ms to start for"
    }
  }

  # One alarm for each endpoint and each alarm above, if the endpoint's kind has the metric.
  watched = merge([for ending, alarm in local.alarms : {
    for key, one in var.endpoints : "${key}-${ending}" => merge(alarm, {
      name          = "${one.endpoint_name}-${ending}"
      description   = "${alarm.description} ${one.endpoint_name}"
      endpoint_name = one.endpoint_name
    }) if var.create_alarms && contains(alarm.kinds, one.kind)
  }]...)

  # Each panel is a widget of the dashboard, with one line for each endpoint.
  panels = [
    { title = "Model latency, p95 (microseconds)", metric = "ModelLatency", stat = "p95", kinds = ["serverless", "realtime", "asynchronous"] },
    { title = "Overhead of SageMaker, p95 (microseconds)", metric = "OverheadLatency", stat = "p95", kinds = ["serverless", "realtime", "asynchronous"] },
    { title = "Cold starts: setup time, mean (microseconds)", metric = "ModelSetupTime", stat = "Average", kinds = ["serverless"] },
    { title = "Invocations", metric = "Invocations", stat = "Sum", kinds = ["serverless", "realtime"] },
    { title = "Errors of the container (5XX)", metric = "Invocation5XXErrors", stat = "Sum", kinds = ["serverless", "realtime"] },
    { title = "Refused and invalid requests (4XX)", metric = "Invocation4XXErrors", stat = "Sum", kinds = ["serverless", "realtime"] },
    # These panels concern the cost. Serverless endpoints are paid for the time in use. If memory
    # stays unused, a smaller size is enough.
    { title = "Paid time: model latency in all (microseconds)", metric = "ModelLatency", stat = "Sum", kinds = ["serverless"] },
    { title = "Memory in use (percent)", metric = "MemoryUtilization", stat = "Maximum", kinds = ["serverless", "realtime", "asynchronous"] },
    { title = "Requests that wait or are processed", metric = "ApproximateBacklogSize", stat = "Maximum", kinds = ["asynchronous"] },
    { title = "Age of the oldest request (seconds)", metric = "ApproximateAgeOfOldestRequest", stat = "Maximum", kinds = ["asynchronous"] },
    { title = "Requests that failed", metric = "InvocationFailures", stat = "Sum", kinds = ["asynchronous"] },
  ]

  widgets = [for number, panel in local.panels : {
    type   = "metric"
    x      = 12 * (number % 2)
    y      = 6 * floor(number / 2)
    width  = 12
    height = 6
    properties = {
      title  = panel.title
      region = data.aws_region.current.region
      stat   = panel.stat
      period = 60
      metrics = [for key, one in var.endpoints :
        # The queue belongs to the endpoint, not to a variant.
        [for part in [
          panel.metric == "MemoryUtilization" && one.kind != "serverless" ? "/aws/sagemaker/Endpoints" : "AWS/SageMaker", panel.metric, "EndpointName", one.endpoint_name,
          startswith(panel.metric, "Approximate") ? null : "VariantName", startswith(panel.metric, "Approximate") ? null : local.variant, { label = key },
        ] : part if part != null]
        if contains(panel.kinds, one.kind)
      ]
    }
  }]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({ widgets = [for one in local.widgets : one if length(one.properties.metrics) > 0] })
}

resource "aws_sns_topic" "this" {
  #checkov:skip=CKV_AWS_26:The account's own key is used if kms_key_arn is given, which every environment passes on; CloudWatch cannot publish under the key that AWS manages (alias/aws/sns)
  count             = var.alarm_email == null ? 0 : 1
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

resource "aws_sns_topic_subscription" "this" {
  count     = var.alarm_email == null ? 0 : 1
  topic_arn = aws_sns_topic.this[0].arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.watched
  alarm_name          = each.value.name
  alarm_description   = each.value.description
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  namespace           = "AWS/SageMaker"
  metric_name         = each.value.metric
  statistic           = each.value.statistic == "p95" ? null : each.value.statistic
  extended_statistic  = each.value.statistic == "p95" ? each.value.statistic : null
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching" # an idle endpoint has no values, and nothing is wrong with it
  alarm_actions       = aws_sns_topic.this[*].arn
  tags                = var.tags

  dimensions = {
    EndpointName = each.value.endpoint_name
    VariantName  = local.variant
  }
}

resource "aws_budgets_budget" "this" {
  count        = var.monthly_budget_usd == null ? 0 : 1
  name         = var.name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = format("%.2f", var.monthly_budget_usd)
  limit_unit   = "USD"
  tags         = var.tags

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:%s$%s", var.budget_tag.key, var.budget_tag.value)]
  }

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type          = notification.key
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      comparison_operator        = "GREATER_THAN"
      subscriber_email_addresses = [var.alarm_email]
    }
  }
}
