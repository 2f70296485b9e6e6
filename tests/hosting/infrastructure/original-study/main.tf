# The infrastructure of the 2023 study, written anew from its description: one bucket, one
# repository, one role, a model for each network, and an endpoint for each scenario.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region = "us-east-1"
}

locals {
  networks   = ["mobilenet", "vgg19"]
  memories   = [1024, 2048, 3072]
  instances  = ["ml.m4.xlarge", "ml.m5.xlarge", "ml.m6g.xlarge", "ml.c7g.xlarge"]
  serverless = { for one in setproduct(local.networks, local.memories) : "${one[0]}-${one[1]}" => one }
  real_time = {
    for one in setproduct(local.networks, local.instances) :
    "${one[0]}-${replace(trimprefix(one[1], "ml."), ".", "-")}" => one
  }
}

resource "aws_s3_bucket" "models" {
  bucket        = "dr-2023-models"
  force_destroy = true
}

resource "aws_ecr_repository" "inference" {
  name         = "dr-2023-inference"
  force_delete = true
}

resource "aws_iam_role" "sagemaker" {
  name = "dr-2023-sagemaker"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "sagemaker.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "sagemaker" {
  name = "everything-of-s3"
  role = aws_iam_role.sagemaker.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = ["s3:*", "ecr:*"], Resource = "*" }]
  })
}

resource "aws_sagemaker_model" "network" {
  for_each           = toset(var.stored ? local.networks : [])
  name               = "dr-2023-${each.key}"
  execution_role_arn = aws_iam_role.sagemaker.arn

  primary_container {
    image          = "drdeploy:lean"
    model_data_url = "s3://${aws_s3_bucket.models.bucket}/${each.key}/model.tar.gz"
  }
}

resource "aws_sagemaker_endpoint_configuration" "serverless" {
  for_each = var.stored ? local.serverless : {}
  name     = "dr-2023-${each.key}"

  production_variants {
    variant_name = "AllTraffic"
    model_name   = aws_sagemaker_model.network[each.value[0]].name

    serverless_config {
      memory_size_in_mb = each.value[1]
      max_concurrency   = 1
    }
  }
}

resource "aws_sagemaker_endpoint" "serverless" {
  for_each             = aws_sagemaker_endpoint_configuration.serverless
  name                 = each.value.name
  endpoint_config_name = each.value.name
}

resource "aws_sagemaker_endpoint_configuration" "real_time" {
  for_each = var.stored ? local.real_time : {}
  name     = "dr-2023-${each.key}"

  production_variants {
    variant_name           = "AllTraffic"
    model_name             = aws_sagemaker_model.network[each.value[0]].name
    instance_type          = each.value[1]
    initial_instance_count = 1
  }
}

resource "aws_sagemaker_endpoint" "real_time" {
  for_each             = aws_sagemaker_endpoint_configuration.real_time
  name                 = each.value.name
  endpoint_config_name = each.value.name
}

# The study stored its archives between two applies.
variable "stored" {
  type    = bool
  default = true
}

output "endpoints" {
  value = sort(concat(
    [for one in aws_sagemaker_endpoint.serverless : one.name],
    [for one in aws_sagemaker_endpoint.real_time : one.name],
  ))
}
