locals {
  # SageMaker cannot change a model, so every change makes a new one, and the old one is deleted
  # only when no endpoint serves it any more. For a while both exist, so they need different names.
  # A name contains a digest of the settings. It also contains the time, because a failed deployment
  # may have left a model with the same settings.
  identity = substr(sha256(jsonencode([
    var.image_uri,
    var.model_data_url,
    var.environment,
    var.network_isolation,
    var.vpc_config,
  ])), 0, 6)
}

resource "aws_sagemaker_model" "this" {
  #checkov:skip=CKV_AWS_370:Isolation is a choice (network_isolation); serverless endpoints do not offer it
  name                     = "${var.name}-${local.identity}-${formatdate("YYMMDDhhmmss", plantimestamp())}"
  execution_role_arn       = var.execution_role_arn
  enable_network_isolation = var.network_isolation
  tags = merge(
    var.tags,
    {
      "drdeploy:model-data-sha256" = var.model_data_sha256
      "drdeploy:image-digest"      = element(split("@", var.image_uri), 1)
    },
    var.model_data_version_id == null ? {} : { "drdeploy:model-data-version" = var.model_data_version_id },
  )

  primary_container {
    image          = var.image_uri
    model_data_url = var.model_data_url
    environment    = var.environment
  }

  dynamic "vpc_config" {
    for_each = var.vpc_config == null ? [] : [var.vpc_config]

    content {
      subnets            = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [name] # the time is another in every plan, and must not replace anything by itself
  }
}
