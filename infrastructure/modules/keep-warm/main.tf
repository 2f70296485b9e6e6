data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region

  # A universal target takes JSON, so the photograph is base64 text. A server can read it as this
  # text, or as the decoded bytes.
  request = jsondecode(file("${path.module}/request.json"))

  schedules = merge([for endpoint in values(var.endpoints) : {
    for key, one in endpoint.schedules : "${endpoint.endpoint_name}-${key}" => merge(one, {
      endpoint_name = endpoint.endpoint_name
      body          = coalesce(endpoint.body, local.request.body)
      content_type  = coalesce(endpoint.content_type, local.request.content_type)
    })
  }]...)
}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = "Assumed by EventBridge Scheduler to send keep-warm requests"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      # No other account can make the scheduler use this role (the confused deputy).  The user guide
      # says that the source is the schedule's group, and not the schedule.
      Sid       = "OnlyTheSchedulerForThisAccount"
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = {
          "aws:SourceAccount" = local.account
          "aws:SourceArn"     = "arn:${local.partition}:scheduler:${local.region}:${local.account}:schedule-group/default"
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "keep-warm"
  role = aws_iam_role.this.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "SendRequests"
      Effect   = "Allow"
      Action   = ["sagemaker:InvokeEndpoint"]
      Resource = sort([for one in values(var.endpoints) : one.endpoint_arn])
    }]
  })
}

resource "aws_scheduler_schedule" "this" {
  #checkov:skip=CKV_AWS_297:A schedule holds the name of an endpoint and a made-up photograph; the service encrypts it with its own key
  for_each                     = local.schedules
  name                         = each.key
  description                  = "Keeps a container of ${each.value.endpoint_name} warm"
  group_name                   = "default"
  schedule_expression          = each.value.schedule
  schedule_expression_timezone = each.value.timezone

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "arn:${local.partition}:scheduler:::aws-sdk:sagemakerruntime:invokeEndpoint"
    role_arn = aws_iam_role.this.arn
    input = jsonencode({
      EndpointName = each.value.endpoint_name
      ContentType  = each.value.content_type
      Body         = each.value.body
    })

    # A request that fails is not sent again, because the next request follows within minutes.
    retry_policy {
      maximum_event_age_in_seconds = 60
      maximum_retry_attempts       = 0
    }
  }

  # The role must have its policy before the first request is due.
  depends_on = [aws_iam_role_policy.this]
}
