data "aws_region" "current" {}

locals {
  variant    = "AllTraffic"
  watched    = var.create_alarms ? var.endpoints : {}
  serverless = { for key, one in local.watched : key => one if one.kind == "serverless" }
  actions    = aws_sns_topic.this[*].arn

  # Metrics of every endpoint as the rows of one widget.
  panels = [
    { title = "Model latency, p95 (microseconds)", metric = "ModelLatency", stat = "p95", kinds = ["serverless", "realtime"] },
    { title = "Overhead of SageMaker, p95 (microseconds)", metric = "OverheadLatency", stat = "p95", kinds = ["serverless", "realtime"] },
    { title = "Cold starts: setup time, mean (microseconds)", metric = "ModelSetupTime", stat = "Average", kinds = ["serverless"] },
    { title = "Invocations", metric = "Invocations", stat = "Sum", kinds = ["serverless", "realtime"] },
    { title = "Errors of the container (5XX)", metric = "Invocation5XXErrors", stat = "Sum", kinds = ["serverless", "realtime"] },
    { title = "Refused and mistaken requests (4XX)", metric = "Invocation4XXErrors", stat = "Sum", kinds = ["serverless", "realtime"] },
    # What costs: time in use where it is paid per use, memory in use to choose a smaller size.
    { title = "Paid time: model latency in all (microseconds)", metric = "ModelLatency", stat = "Sum", kinds = ["serverless"] },
    { title = "Memory in use (percent)", metric = "MemoryUtilization", stat = "Maximum", kinds = ["serverless", "realtime"] },
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
        [panel.metric == "MemoryUtilization" && one.kind == "realtime" ? "/aws/sagemaker/Endpoints" : "AWS/SageMaker", panel.metric, "EndpointName", one.endpoint_name, "VariantName", local.variant, { label = key }]
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
  #checkov:skip=CKV_AWS_26:CloudWatch cannot publish to a topic under the key that AWS manages (alias/aws/sns); a key of one's own is used where kms_key_arn is given
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

resource "aws_cloudwatch_metric_alarm" "latency" {
  for_each            = local.watched
  alarm_name          = "${each.value.endpoint_name}-slow"
  alarm_description   = "95 % of the answers of ${each.value.endpoint_name} take up to more than ${var.max_latency_ms} ms in the model"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.max_latency_ms * 1000 # CloudWatch counts microseconds
  namespace           = "AWS/SageMaker"
  metric_name         = "ModelLatency"
  extended_statistic  = "p95"
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
  tags                = var.tags

  dimensions = {
    EndpointName = each.value.endpoint_name
    VariantName  = local.variant
  }
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  for_each            = local.watched
  alarm_name          = "${each.value.endpoint_name}-failing"
  alarm_description   = "More than ${var.max_errors} requests to ${each.value.endpoint_name} ended in a 5XX within five minutes"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.max_errors
  namespace           = "AWS/SageMaker"
  metric_name         = "Invocation5XXErrors"
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
  tags                = var.tags

  dimensions = {
    EndpointName = each.value.endpoint_name
    VariantName  = local.variant
  }
}

resource "aws_cloudwatch_metric_alarm" "setup" {
  for_each            = local.serverless
  alarm_name          = "${each.value.endpoint_name}-cold"
  alarm_description   = "A container of ${each.value.endpoint_name} took more than ${var.max_setup_ms} ms to start"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.max_setup_ms * 1000 # CloudWatch counts microseconds
  namespace           = "AWS/SageMaker"
  metric_name         = "ModelSetupTime"
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
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
