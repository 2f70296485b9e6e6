locals {
  variant = "AllTraffic"

  # SageMaker cannot change a configuration, so every change makes a new one, and the old one is
  # deleted only when the new one is in service. For a while both exist, so they need different
  # names. A name contains a digest of the settings. It also contains the time, because a failed
  # deployment may have left a configuration with the same settings.
  identity = substr(sha256(jsonencode([
    var.model_name,
    var.memory_mb,
    var.max_concurrency,
    var.provisioned_concurrency,
  ])), 0, 6)
}

# SageMaker would create the log group itself. Its logs would then be kept forever, and destroying
# the endpoint would not delete them.
resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:The account's own key is used if kms_key_arn is given, which every environment passes on; the logs hold no photograph and no grade
  #checkov:skip=CKV_AWS_338:A year is far beyond a study; log_retention_days says how long
  name              = "/aws/sagemaker/Endpoints/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_sagemaker_endpoint_configuration" "this" {
  #checkov:skip=CKV_AWS_98:A serverless endpoint has no volume that a key could encrypt
  name = "${var.name}-${local.identity}-${formatdate("YYMMDDhhmmss", plantimestamp())}"
  tags = var.tags

  production_variants {
    variant_name = local.variant
    model_name   = var.model_name

    serverless_config {
      memory_size_in_mb       = var.memory_mb
      max_concurrency         = var.max_concurrency
      provisioned_concurrency = var.provisioned_concurrency
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

  depends_on = [aws_cloudwatch_log_group.this]
}

# Scaling changes the endpoint, but never its configuration. A plan that is made after the endpoint
# was scaled up therefore does not scale it down again.
locals {
  scaling   = var.provisioned_scaling
  schedules = try(local.scaling.schedules, {})
  target    = one(concat(aws_appautoscaling_target.tracked, aws_appautoscaling_target.scheduled))
}

resource "aws_appautoscaling_target" "tracked" {
  count              = local.scaling != null && length(local.schedules) == 0 ? 1 : 0
  service_namespace  = "sagemaker"
  resource_id        = "endpoint/${aws_sagemaker_endpoint.this.name}/variant/${local.variant}"
  scalable_dimension = "sagemaker:variant:DesiredProvisionedConcurrency"
  min_capacity       = local.scaling.min_capacity
  max_capacity       = local.scaling.max_capacity
  tags               = var.tags
}

# A schedule overwrites both capacities of its target, so Terraform sets them once and then ignores
# changes. ignore_changes cannot depend on a variable, so there are two resources.
resource "aws_appautoscaling_target" "scheduled" {
  count              = length(local.schedules) > 0 ? 1 : 0
  service_namespace  = "sagemaker"
  resource_id        = "endpoint/${aws_sagemaker_endpoint.this.name}/variant/${local.variant}"
  scalable_dimension = "sagemaker:variant:DesiredProvisionedConcurrency"
  min_capacity       = local.scaling.min_capacity
  max_capacity       = local.scaling.max_capacity
  tags               = var.tags

  lifecycle {
    ignore_changes = [min_capacity, max_capacity]
  }
}

resource "aws_appautoscaling_policy" "this" {
  count              = try(local.scaling.target_utilization, null) == null ? 0 : 1
  name               = "${var.name}-utilization"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = local.target.service_namespace
  resource_id        = local.target.resource_id
  scalable_dimension = local.target.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = local.scaling.target_utilization
    scale_in_cooldown  = 300
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "SageMakerVariantProvisionedConcurrencyUtilization"
    }
  }
}

resource "aws_appautoscaling_scheduled_action" "this" {
  for_each           = local.schedules
  name               = "${var.name}-${each.key}"
  schedule           = each.value.schedule
  timezone           = each.value.timezone
  service_namespace  = local.target.service_namespace
  resource_id        = local.target.resource_id
  scalable_dimension = local.target.scalable_dimension

  scalable_target_action {
    min_capacity = each.value.min_capacity
    max_capacity = each.value.max_capacity
  }
}
