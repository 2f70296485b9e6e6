locals {
  # All that the container's behaviour depends on.  SageMaker never changes a model: a new
  # digest here is a new name, so that the new one can exist before the old one is deleted.
  identity = substr(sha256(jsonencode([
    var.image_uri,
    var.model_data_url,
    var.model_data_sha256,
    var.model_data_version_id,
    var.environment,
    var.network_isolation,
    var.vpc_config,
  ])), 0, 8)
}

resource "aws_sagemaker_model" "this" {
  #checkov:skip=CKV_AWS_370:Isolation is a choice (network_isolation); SageMaker offers it for real-time endpoints only
  name                     = "${var.name}-${local.identity}"
  execution_role_arn       = var.execution_role_arn
  enable_network_isolation = var.network_isolation
  tags = merge(var.tags, {
    "drdeploy:model-data-sha256" = var.model_data_sha256
    "drdeploy:image-digest"      = element(split("@", var.image_uri), 1)
  })

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
  }
}
