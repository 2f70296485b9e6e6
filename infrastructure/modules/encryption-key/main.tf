# A key for what a deployment stores, and a policy that says who may use the key. The key does not
# encrypt built-in disks of instances. An administrator applies this module. IAM policies let the
# deployer and the execution role use the key (kms_key_arns).

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region
  regional  = "${local.region}:${local.account}"
  names     = [var.name_prefix, "${var.name_prefix}-*"]

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # This statement lets the account's IAM policies decide. Without it, nobody could change the
        # key any more.
        Sid       = "TheAccountDecidesByIam"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action    = ["kms:*"]
        Resource  = ["*"]
      },
      {
        Sid       = "LogsOfTheEndpoints"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.region}.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = ["*"]
        Condition = {
          ArnLike = { "kms:EncryptionContext:aws:logs:arn" = [for name in local.names : "arn:${local.partition}:logs:${local.regional}:log-group:/aws/sagemaker/Endpoints/${name}"] }
        }
      },
      {
        # CloudWatch encrypts the messages that it publishes to the topic.
        Sid       = "AlarmsOfTheEndpoints"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = ["*"]
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.account }
          ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:cloudwatch:${local.regional}:alarm:${var.name_prefix}-*" }
        }
      },
    ]
  })
}

resource "aws_kms_key" "this" {
  description             = "Encrypts what drdeploy stores for ${var.name_prefix}"
  deletion_window_in_days = var.deletion_window_days
  enable_key_rotation     = true
  policy                  = local.policy
  tags                    = var.tags
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name_prefix}"
  target_key_id = aws_kms_key.this.key_id
}
