data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  variant   = "AllTraffic"
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region

  # Results and failures share one folder, so that one rule of the bucket deletes both.
  folder          = "asynchronous/"
  results_uri     = "s3://${module.results.bucket_name}/${local.folder}results"
  failures_uri    = "s3://${module.results.bucket_name}/${local.folder}failed"
  input_objects   = length(var.input_arns) > 0 ? sort(var.input_arns) : ["${module.results.bucket_arn}/${local.folder}inputs/*"]
  endpoint_metric = { EndpointName = var.name }

  # The drivers of hosts with GPUs. Both kinds of endpoints with instances use this table.
  hosts       = jsondecode(file("${path.module}/../realtime-endpoint/inference_amis.json"))
  gpu_family  = try(regex("^ml\\.((?:g[0-9]|p[0-9])[a-z0-9-]*)\\.", var.instance_type)[0], null)
  host_driver = coalesce(var.inference_ami_version == null ? lookup(local.hosts.default_drivers, coalesce(local.gpu_family, "none"), null) : lookup(local.hosts.amis, coalesce(var.inference_ami_version, "none"), null), 9999)

  # The hardware encrypts the built-in disks of an instance, and SageMaker refuses a key for them.
  has_own_disks  = can(regex("^ml\\.([a-z]+[0-9]+[a-z]*d[a-z]*|g4dn|g5|g6e?|p4de?|p5e?n?|trn1n?|inf2)\\.", var.instance_type))
  volume_key_arn = local.has_own_disks ? null : var.kms_key_arn

  # SageMaker cannot change a configuration, so every change makes a new one, and the old one is
  # deleted only when the new one is in service. Both therefore need different names.
  identity = substr(sha256(jsonencode([
    var.model_name,
    var.instance_type,
    var.initial_instance_count,
    var.max_concurrent_invocations_per_instance,
    var.include_responses,
    local.volume_key_arn,
    var.startup_timeout_s,
    var.bucket_name,
    var.inference_ami_version,
  ])), 0, 6)
}

module "results" {
  source = "../artifact-store"

  bucket_name            = var.bucket_name
  force_destroy          = var.force_destroy
  capture_prefix         = local.folder
  capture_retention_days = var.retention_days
  kms_key_arn            = var.kms_key_arn
  tags                   = var.tags
}

resource "aws_sns_topic" "this" {
  #checkov:skip=CKV_AWS_26:The account's own key is used if kms_key_arn is given; the role may not use the key that AWS manages (alias/aws/sns)
  for_each          = toset(["completed", "failed"])
  name              = "${var.name}-${each.key}"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

# Permissions that asynchronous requests need in addition to those of modules/execution-role.
resource "aws_iam_role_policy" "this" {
  name = "${var.name}-asynchronous"
  role = var.execution_role_name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid       = "ReadInputs"
        Effect    = "Allow"
        Action    = ["s3:GetObject"]
        Resource  = local.input_objects
        Condition = { StringEquals = { "s3:ResourceAccount" = local.account } }
      },
      {
        Sid       = "WriteResults"
        Effect    = "Allow"
        Action    = ["s3:PutObject"]
        Resource  = ["${module.results.bucket_arn}/${local.folder}results/*", "${module.results.bucket_arn}/${local.folder}failed/*"]
        Condition = { StringEquals = { "s3:ResourceAccount" = local.account } }
      },
      {
        Sid      = "NotifyOfResults"
        Effect   = "Allow"
        Action   = ["sns:Publish"]
        Resource = [for name in ["completed", "failed"] : aws_sns_topic.this[name].arn]
      },
      ], var.kms_key_arn == null ? [] : [{
        Sid      = "UseTheKeyThroughS3AndSns"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = [var.kms_key_arn]
        Condition = {
          StringEquals = { "kms:ViaService" = ["s3.${local.region}.amazonaws.com", "sns.${local.region}.amazonaws.com"] }
        }
    }])
  })
}

# SageMaker would create the log group itself. Its logs would then be kept forever, and destroying
# the endpoint would not delete them.
resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:The account's own key is used if kms_key_arn is given; the logs hold no photograph and no grade
  #checkov:skip=CKV_AWS_338:A year is far beyond a study; log_retention_days says how long
  name              = "/aws/sagemaker/Endpoints/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_sagemaker_endpoint_configuration" "this" {
  #checkov:skip=CKV_AWS_98:The account's own key is used if kms_key_arn is given; instance types with built-in disks refuse a key
  name        = "${var.name}-${local.identity}-${formatdate("YYMMDDhhmmss", plantimestamp())}"
  kms_key_arn = local.volume_key_arn
  tags        = var.tags

  production_variants {
    variant_name           = local.variant
    model_name             = var.model_name
    instance_type          = var.instance_type
    initial_instance_count = var.initial_instance_count
    inference_ami_version  = var.inference_ami_version

    container_startup_health_check_timeout_in_seconds = var.startup_timeout_s
  }

  async_inference_config {
    output_config {
      s3_output_path  = local.results_uri
      s3_failure_path = local.failures_uri
      kms_key_id      = var.kms_key_arn

      notification_config {
        success_topic                 = aws_sns_topic.this["completed"].arn
        error_topic                   = aws_sns_topic.this["failed"].arn
        include_inference_response_in = var.include_responses ? ["SUCCESS_NOTIFICATION_TOPIC", "ERROR_NOTIFICATION_TOPIC"] : null
      }
    }

    dynamic "client_config" {
      for_each = var.max_concurrent_invocations_per_instance == null ? [] : [var.max_concurrent_invocations_per_instance]

      content {
        max_concurrent_invocations_per_instance = client_config.value
      }
    }
  }

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [name] # the time is another in every plan, and must not replace anything by itself
  }
}

resource "aws_sagemaker_endpoint" "this" {
  name                 = var.name
  endpoint_config_name = aws_sagemaker_endpoint_configuration.this.name
  tags                 = var.tags

  # SageMaker refuses an endpoint whose role may not write its results yet.
  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.this]
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "sagemaker"
  resource_id        = "endpoint/${aws_sagemaker_endpoint.this.name}/variant/${local.variant}"
  scalable_dimension = "sagemaker:variant:DesiredInstanceCount"
  min_capacity       = var.autoscaling.min_capacity
  max_capacity       = var.autoscaling.max_capacity
  tags               = var.tags
}

resource "aws_appautoscaling_policy" "backlog" {
  name               = "${var.name}-backlog"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  resource_id        = aws_appautoscaling_target.this.resource_id
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.autoscaling.target_backlog_per_instance
    scale_in_cooldown  = var.autoscaling.scale_in_cooldown_s
    scale_out_cooldown = var.autoscaling.scale_out_cooldown_s

    customized_metric_specification {
      metric_name = "ApproximateBacklogSizePerInstance"
      namespace   = "AWS/SageMaker"
      statistic   = "Average"

      dimensions {
        name  = "EndpointName"
        value = aws_sagemaker_endpoint.this.name
      }
    }
  }
}

# Without this policy, an endpoint that has no instances would wake only when the backlog exceeds
# the target (developer guide, "Autoscale an asynchronous endpoint").
resource "aws_appautoscaling_policy" "wake" {
  name               = "${var.name}-wake"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  resource_id        = aws_appautoscaling_target.this.resource_id
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension

  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    metric_aggregation_type = "Average"
    cooldown                = var.autoscaling.scale_out_cooldown_s

    step_adjustment {
      metric_interval_lower_bound = "0"
      scaling_adjustment          = 1
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "waiting_without_instances" {
  alarm_name          = "${var.name}-waiting-without-instances"
  alarm_description   = "Requests to ${var.name} wait, and there is no instance: the alarm starts one"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  namespace           = "AWS/SageMaker"
  metric_name         = "HasBacklogWithoutCapacity"
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 2
  datapoints_to_alarm = 2
  treat_missing_data  = "missing"
  alarm_actions       = [aws_appautoscaling_policy.wake.arn]
  dimensions          = local.endpoint_metric
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "age" {
  alarm_name          = "${var.name}-age"
  alarm_description   = "The oldest request to ${var.name} has waited longer than ${var.alarms.max_age_s} s"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarms.max_age_s
  namespace           = "AWS/SageMaker"
  metric_name         = "ApproximateAgeOfOldestRequest"
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns
  dimensions          = local.endpoint_metric
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "failures" {
  alarm_name          = "${var.name}-failures"
  alarm_description   = "More than ${var.alarms.max_failures} requests to ${var.name} failed within 5 minutes"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarms.max_failures
  namespace           = "AWS/SageMaker"
  metric_name         = "InvocationFailures"
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns
  dimensions          = merge(local.endpoint_metric, { VariantName = local.variant })
  tags                = var.tags
}
