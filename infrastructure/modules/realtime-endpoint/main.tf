locals {
  variant        = "AllTraffic"
  instance_types = jsondecode(file("${path.module}/instance_types.json"))

  # The drivers of SageMaker's hosts with NVIDIA GPUs, and the drivers that CUDA needs. docs/gpu.md
  # names the sources. A driver that AWS does not document counts as new enough.
  hosts       = jsondecode(file("${path.module}/inference_amis.json"))
  gpu_family  = try(regex("^ml\\.((?:g[0-9]|p[0-9])[a-z0-9-]*)\\.", var.instance_type)[0], null)
  host_driver = coalesce(var.inference_ami_version == null ? lookup(local.hosts.default_drivers, coalesce(local.gpu_family, "none"), null) : lookup(local.hosts.amis, coalesce(var.inference_ami_version, "none"), null), 9999)

  dimensions = {
    EndpointName = var.name
    VariantName  = local.variant
  }

  # The hardware encrypts the built-in disks of an instance, and SageMaker refuses a key for them.
  has_own_disks  = can(regex("^ml\\.([a-z]+[0-9]+[a-z]*d[a-z]*|g4dn|g5|g6e?|p4de?|p5e?n?|trn1n?|inf2)\\.", var.instance_type))
  volume_key_arn = local.has_own_disks ? null : var.kms_key_arn
  capture_key_id = var.data_capture == null ? null : try(coalesce(var.data_capture.kms_key_id, var.kms_key_arn), null)

  # SageMaker cannot change a configuration, so every change makes a new one, and the old one is
  # deleted only when the new one is in service. For a while both exist, so they need different
  # names. A name contains a digest of the settings. It also contains the time, because a failed
  # deployment may have left a configuration with the same settings.
  identity = substr(sha256(jsonencode([
    var.model_name,
    var.instance_type,
    var.initial_instance_count,
    var.data_capture,
    local.volume_key_arn,
    local.capture_key_id,
    var.startup_timeout_s,
    var.inference_ami_version,
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
  #checkov:skip=CKV_AWS_98:The account's own key is used if kms_key_arn is given, which every environment passes on; instance types with built-in disks refuse a key
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

  dynamic "data_capture_config" {
    for_each = var.data_capture == null ? [] : [var.data_capture]

    content {
      enable_capture              = true
      destination_s3_uri          = data_capture_config.value.destination_s3_uri
      initial_sampling_percentage = data_capture_config.value.sampling_percentage
      kms_key_id                  = local.capture_key_id

      capture_options {
        capture_mode = "Input"
      }

      capture_options {
        capture_mode = "Output"
      }
    }
  }

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [name] # the time is another in every plan, and must not replace anything by itself
  }
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  count               = var.has_guardrails ? 1 : 0
  alarm_name          = "${var.name}-errors"
  alarm_description   = "More than ${var.guardrails.max_error_percent} % of the requests to ${var.name} end in a 5XX"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.guardrails.max_error_percent
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  tags                = var.tags

  metric_query {
    id          = "share"
    expression  = "100 * errors / invocations"
    label       = "5XX, percent"
    return_data = true
  }

  metric_query {
    id = "errors"

    metric {
      namespace   = "AWS/SageMaker"
      metric_name = "Invocation5XXErrors"
      period      = 60
      stat        = "Sum"
      dimensions  = local.dimensions
    }
  }

  metric_query {
    id = "invocations"

    metric {
      namespace   = "AWS/SageMaker"
      metric_name = "Invocations"
      period      = 60
      stat        = "Sum"
      dimensions  = local.dimensions
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  count               = var.has_guardrails ? 1 : 0
  alarm_name          = "${var.name}-latency"
  alarm_description   = "The model of ${var.name} takes more than ${var.guardrails.max_latency_ms} ms on average"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.guardrails.max_latency_ms * 1000 # CloudWatch counts microseconds
  namespace           = "AWS/SageMaker"
  metric_name         = "ModelLatency"
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  dimensions          = local.dimensions
  tags                = var.tags
}

resource "aws_sagemaker_endpoint" "this" {
  name                 = var.name
  endpoint_config_name = aws_sagemaker_endpoint_configuration.this.name
  tags                 = var.tags

  dynamic "deployment_config" {
    for_each = var.has_guardrails ? [var.guardrails] : []

    content {
      blue_green_update_policy {
        termination_wait_in_seconds = var.guardrails.termination_wait_s
        # SageMaker rolls a deployment back after this time, four hours. With linear traffic, the
        # variables allow longer waits: (100 / step_percent - 1) * wait_s.
        maximum_execution_timeout_in_seconds = 14400

        traffic_routing_configuration {
          type                     = upper(replace(var.guardrails.traffic, "-", "_"))
          wait_interval_in_seconds = var.guardrails.wait_s

          dynamic "canary_size" {
            for_each = var.guardrails.traffic == "canary" ? [var.guardrails.step_percent] : []

            content {
              type  = "CAPACITY_PERCENT"
              value = canary_size.value
            }
          }

          dynamic "linear_step_size" {
            for_each = var.guardrails.traffic == "linear" ? [var.guardrails.step_percent] : []

            content {
              type  = "CAPACITY_PERCENT"
              value = linear_step_size.value
            }
          }
        }
      }

      auto_rollback_configuration {
        alarms {
          alarm_name = aws_cloudwatch_metric_alarm.errors[0].alarm_name
        }

        alarms {
          alarm_name = aws_cloudwatch_metric_alarm.latency[0].alarm_name
        }
      }
    }
  }

  depends_on = [aws_cloudwatch_log_group.this]
}

# Scaling changes the endpoint's instance count, but never its configuration. A plan that is made
# after the endpoint was scaled out therefore does not scale it in again. A new configuration starts
# with initial_instance_count, which must lie between the two capacities; scaling continues from
# there.
resource "aws_appautoscaling_target" "this" {
  count              = var.autoscaling == null ? 0 : 1
  service_namespace  = "sagemaker"
  resource_id        = "endpoint/${aws_sagemaker_endpoint.this.name}/variant/${local.variant}"
  scalable_dimension = "sagemaker:variant:DesiredInstanceCount"
  min_capacity       = var.autoscaling.min_capacity
  max_capacity       = var.autoscaling.max_capacity
  tags               = var.tags
}

resource "aws_appautoscaling_policy" "this" {
  count              = var.autoscaling == null ? 0 : 1
  name               = "${var.name}-invocations"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  resource_id        = aws_appautoscaling_target.this[0].resource_id
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.autoscaling.target_invocations_per_minute
    scale_in_cooldown  = var.autoscaling.scale_in_cooldown_s
    scale_out_cooldown = var.autoscaling.scale_out_cooldown_s

    predefined_metric_specification {
      predefined_metric_type = "SageMakerVariantInvocationsPerInstance"
    }
  }
}
