# Hosting as others write it: generated names, several variants, scaling, a queue, and things that
# are no hosting at all.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "region" {
  type    = string
  default = "us-east-1"
}

provider "aws" {
  region = var.region
}

resource "aws_iam_role" "hosting" {
  name_prefix        = "hosting-"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [] })
}

resource "aws_sagemaker_model" "grader" {
  execution_role_arn = aws_iam_role.hosting.arn

  primary_container {
    image          = "drdeploy:lean"
    model_data_url = "s3://models/model.tar.gz"
  }
}

# Two variants, one of them scaled, and a shadow; the names are known after apply.
resource "aws_sagemaker_endpoint_configuration" "split" {
  name_prefix = "split-"

  production_variants {
    variant_name           = "small"
    model_name             = aws_sagemaker_model.grader.name
    instance_type          = "ml.c5.large"
    initial_instance_count = 2
    initial_variant_weight = 3
  }

  production_variants {
    variant_name           = "large"
    model_name             = aws_sagemaker_model.grader.name
    instance_type          = "ml.m5.xlarge"
    initial_instance_count = 1
    initial_variant_weight = 1
  }

  shadow_production_variants {
    variant_name           = "next"
    model_name             = aws_sagemaker_model.grader.name
    instance_type          = "ml.g4dn.xlarge"
    initial_instance_count = 1
    initial_variant_weight = 1
  }
}

resource "aws_sagemaker_endpoint" "split" {
  name                 = "split"
  endpoint_config_name = aws_sagemaker_endpoint_configuration.split.name
}

resource "aws_appautoscaling_target" "large" {
  service_namespace  = "sagemaker"
  resource_id        = "endpoint/${aws_sagemaker_endpoint.split.name}/variant/large"
  scalable_dimension = "sagemaker:variant:DesiredInstanceCount"
  min_capacity       = 1
  max_capacity       = 4
}

resource "aws_appautoscaling_scheduled_action" "night" {
  name               = "night"
  schedule           = "cron(0 20 * * ? *)"
  service_namespace  = "sagemaker"
  resource_id        = aws_appautoscaling_target.large.resource_id
  scalable_dimension = aws_appautoscaling_target.large.scalable_dimension

  scalable_target_action {
    min_capacity = 0
    max_capacity = 1
  }
}

resource "aws_sagemaker_endpoint_configuration" "serverless" {
  name = "serverless"

  production_variants {
    variant_name = "AllTraffic"
    model_name   = aws_sagemaker_model.grader.name

    serverless_config {
      memory_size_in_mb       = 2048
      max_concurrency         = 10
      provisioned_concurrency = 2
    }
  }
}

resource "aws_sagemaker_endpoint" "serverless" {
  for_each             = toset(["day", "night"])
  name                 = each.key
  endpoint_config_name = aws_sagemaker_endpoint_configuration.serverless.name
}

resource "aws_sagemaker_endpoint_configuration" "queue" {
  name = "queue"

  production_variants {
    variant_name           = "AllTraffic"
    model_name             = aws_sagemaker_model.grader.name
    instance_type          = "ml.m5.xlarge"
    initial_instance_count = 1
  }

  async_inference_config {
    output_config {
      s3_output_path = "s3://models/answers"
    }
  }
}

resource "aws_sagemaker_endpoint" "queue" {
  name                 = "queue"
  endpoint_config_name = aws_sagemaker_endpoint_configuration.queue.name
}

resource "aws_sagemaker_endpoint" "elsewhere" {
  name                 = "elsewhere"
  endpoint_config_name = "made-by-hand"
}

resource "aws_cloudwatch_metric_alarm" "band" {
  alarm_name          = "fast"
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 1
  metric_name         = "ModelLatency"
  namespace           = "AWS/SageMaker"
  period              = 10
  statistic           = "Average"
  threshold           = 1
}

resource "terraform_data" "note" {
  input = "nothing of AWS"
}
