data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region

  target = "arn:${local.partition}:scheduler:::aws-sdk:sagemaker"
  keys   = sort(distinct(compact([for one in values(var.endpoints) : one.volume_key_arn])))

  # The scheduler creates the endpoint with the configuration and tags that Terraform would use, so
  # that a plan finds nothing to change while the endpoint is open.
  opening = { for key, one in var.endpoints : key => jsonencode(merge(
    { EndpointName = one.endpoint_name, EndpointConfigName = one.configuration_name },
    length(one.tags) == 0 ? {} : { Tags = [for name in sort(keys(one.tags)) : { Key = name, Value = one.tags[name] }] },
  )) }

  schedules = merge(flatten([for key, one in var.endpoints : [for name, hours in one.schedules : {
    "${one.endpoint_name}-${name}-opens" = {
      description = "Creates the endpoint ${one.endpoint_name}"
      schedule    = hours.opens
      timezone    = hours.timezone
      action      = "createEndpoint"
      input       = local.opening[key]
    }
    "${one.endpoint_name}-${name}-closes" = {
      description = "Deletes the endpoint ${one.endpoint_name}"
      schedule    = hours.closes
      timezone    = hours.timezone
      action      = "deleteEndpoint"
      input       = jsonencode({ EndpointName = one.endpoint_name })
    }
  }]])...)
}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = "Assumed by EventBridge Scheduler to create and delete endpoints by the clock"
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
  name = "opening-hours"
  role = aws_iam_role.this.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        # SageMaker checks both: the endpoint that is created, and the configuration that it gets.
        Sid      = "CreateEndpoints"
        Effect   = "Allow"
        Action   = ["sagemaker:CreateEndpoint"]
        Resource = sort(flatten([for one in values(var.endpoints) : [one.endpoint_arn, one.configuration_arn]]))
      },
      {
        Sid      = "DeleteAndTagEndpoints"
        Effect   = "Allow"
        Action   = ["sagemaker:AddTags", "sagemaker:DeleteEndpoint"]
        Resource = sort([for one in values(var.endpoints) : one.endpoint_arn])
      },
      ], length(local.keys) == 0 ? [] : [{
        # Volumes are decrypted with a grant, which the creator of the endpoint gives.
        Sid       = "LendVolumeKeys"
        Effect    = "Allow"
        Action    = ["kms:CreateGrant"]
        Resource  = local.keys
        Condition = { StringEquals = { "kms:ViaService" = "sagemaker.${local.region}.amazonaws.com" } }
    }])
  })
}

resource "aws_scheduler_schedule" "this" {
  #checkov:skip=CKV_AWS_297:A schedule holds the names of an endpoint and its configuration; the service encrypts it with its own key
  for_each                     = local.schedules
  name                         = each.key
  description                  = each.value.description
  group_name                   = "default"
  schedule_expression          = each.value.schedule
  schedule_expression_timezone = each.value.timezone

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "${local.target}:${each.value.action}"
    role_arn = aws_iam_role.this.arn
    input    = each.value.input

    # An endpoint that is still being created or updated cannot be deleted, and one that is still
    # being deleted cannot be created. Without further attempts, the endpoint would run, or be
    # missing, for a day.
    retry_policy {
      maximum_event_age_in_seconds = var.retry_s
      maximum_retry_attempts       = 185
    }
  }

  # The role must have its policy before the first endpoint is due.
  depends_on = [aws_iam_role_policy.this]
}
