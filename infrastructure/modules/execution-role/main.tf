data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region

  # The pattern PREFIX* would also match the logs of PREFIX2-...
  log_groups = [for name in [var.endpoint_name_prefix, "${var.endpoint_name_prefix}-*"] :
    "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/sagemaker/Endpoints/${name}"
  ]

  # After a bucket is deleted, any account can take its name. With this condition, no archive of
  # another account is served, and no photograph is captured into a bucket of another account.
  own_account = { "s3:ResourceAccount" = local.account }

  always = [
    {
      Sid       = "ReadArchives"
      Effect    = "Allow"
      Action    = ["s3:GetObject"]
      Resource  = [for arn in sort(var.bucket_arns) : "${arn}/${var.artifact_prefix}*"]
      Condition = { StringEquals = local.own_account }
    },
    {
      Sid      = "FindArchives"
      Effect   = "Allow"
      Action   = ["s3:ListBucket"]
      Resource = sort(var.bucket_arns)
      Condition = {
        StringEquals = local.own_account
        StringLike   = { "s3:prefix" = ["${var.artifact_prefix}*"] }
      }
    },
    {
      Sid      = "PullImages"
      Effect   = "Allow"
      Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource = sort(var.repository_arns)
    },
    {
      # The token is for the whole registry, so this action cannot be limited to a repository.
      Sid      = "LogInToTheRegistry"
      Effect   = "Allow"
      Action   = ["ecr:GetAuthorizationToken"]
      Resource = ["*"]
    },
    {
      Sid      = "WriteLogs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Resource = concat(local.log_groups, [for group in local.log_groups : "${group}:log-stream:*"])
    },
    {
      # Metrics have no ARN; only their namespace can be restricted.
      Sid      = "WriteMetrics"
      Effect   = "Allow"
      Action   = ["cloudwatch:PutMetricData"]
      Resource = ["*"]
      Condition = {
        StringEquals = { "cloudwatch:namespace" = ["AWS/SageMaker", "/aws/sagemaker/Endpoints"] }
      }
    },
  ]

  with_keys = length(var.kms_key_arns) == 0 ? [] : [{
    # Images and volumes are decrypted by grants, and logs by the key's own policy.
    Sid       = "UseKeysThroughS3"
    Effect    = "Allow"
    Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = sort(var.kms_key_arns)
    Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" } }
  }]

  with_capture = length(var.capture_arns) == 0 ? [] : [{
    Sid       = "WriteCapturedRequests"
    Effect    = "Allow"
    Action    = ["s3:PutObject"]
    Resource  = sort(var.capture_arns)
    Condition = { StringEquals = local.own_account }
  }]

  in_vpc = var.in_vpc ? [{
    # The actions that the developer guide lists.  They are checked before the network interface
    # exists, so no resource can be named.
    Sid    = "AttachToSubnets"
    Effect = "Allow"
    Action = [
      "ec2:CreateNetworkInterface",
      "ec2:CreateNetworkInterfacePermission",
      "ec2:DeleteNetworkInterface",
      "ec2:DeleteNetworkInterfacePermission",
      "ec2:DescribeDhcpOptions",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeVpcs",
    ]
    Resource = ["*"]
  }] : []
}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = "Assumed by SageMaker to serve the models of drdeploy"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      # No other account can make SageMaker use this role (the confused deputy). The ARN names no
      # model and no endpoint, because SageMaker sends it only in this form for inference (developer
      # guide).
      Sid       = "OnlySageMakerForThisAccount"
      Effect    = "Allow"
      Principal = { Service = "sagemaker.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:sagemaker:${local.region}:${local.account}:*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  #checkov:skip=CKV_AWS_355:GetAuthorizationToken and PutMetricData cannot be limited to a resource (PutMetricData is limited to two namespaces); EC2's actions are checked before the network interface exists, and allowed only with in_vpc
  #checkov:skip=CKV_AWS_290:Only PutMetricData writes with *, limited to two namespaces, and with in_vpc the actions that create SageMaker's network interfaces
  name = "serve-models"
  role = aws_iam_role.this.name
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.always, local.with_keys, local.with_capture, local.in_vpc)
  })
}
