data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region

  # Uploaded photographs and answers share one folder, so that one rule of the bucket deletes both.
  folder = "batch/"

  log_group   = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/sagemaker/TransformJobs"
  own_account = { "s3:ResourceAccount" = local.account }

  # The folder of the module's bucket, and the further folders that jobs read.
  inputs = concat(["${module.store.bucket_arn}/${local.folder}*"], sort(var.input_arns))

  # The further folders by bucket, as prefixes of keys: {"arn:aws:s3:::BUCKET" = ["FOLDER/*"]}.
  further_folders = { for arn in sort(var.input_arns) : split("/", arn)[0] => regex("/(.*)$", arn)[0]... }
}

module "store" {
  source = "../artifact-store"

  bucket_name            = var.bucket_name
  force_destroy          = var.force_destroy
  capture_prefix         = local.folder
  capture_retention_days = var.retention_days
  kms_key_arn            = var.kms_key_arn
  tags                   = var.tags
}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = "Assumed by SageMaker to run the transform jobs of drdeploy"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      # No other account can make SageMaker use this role (the confused deputy).
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
  #checkov:skip=CKV_AWS_355:GetAuthorizationToken and PutMetricData cannot be limited to a resource; PutMetricData is limited to one namespace
  #checkov:skip=CKV_AWS_290:Only PutMetricData writes with *, limited to one namespace
  name = "run-transform-jobs"
  role = aws_iam_role.this.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid       = "ReadArchivesAndPhotographs"
        Effect    = "Allow"
        Action    = ["s3:GetObject"]
        Resource  = concat(["${module.store.bucket_arn}/artifacts/*"], local.inputs)
        Condition = { StringEquals = local.own_account }
      },
      {
        Sid       = "WriteAnswers"
        Effect    = "Allow"
        Action    = ["s3:AbortMultipartUpload", "s3:PutObject"]
        Resource  = ["${module.store.bucket_arn}/${local.folder}*"]
        Condition = { StringEquals = local.own_account }
      },
      {
        Sid       = "ListPhotographs"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [module.store.bucket_arn]
        Condition = { StringEquals = local.own_account, StringLike = { "s3:prefix" = ["artifacts/*", "${local.folder}*"] } }
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
        Resource = [local.log_group, "${local.log_group}:log-stream:*"]
      },
      {
        # Metrics have no ARN; only their namespace can be restricted.
        Sid       = "WriteMetrics"
        Effect    = "Allow"
        Action    = ["cloudwatch:PutMetricData"]
        Resource  = ["*"]
        Condition = { StringEquals = { "cloudwatch:namespace" = ["/aws/sagemaker/TransformJobs"] } }
      },
      ], [for number, bucket in keys(local.further_folders) : {
        Sid       = "ListFurtherInputs${number}"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [bucket]
        Condition = { StringEquals = local.own_account, StringLike = { "s3:prefix" = local.further_folders[bucket] } }
        }], var.kms_key_arn == null ? [] : [{
        Sid       = "UseTheKeyThroughS3"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [var.kms_key_arn]
        Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" } }
    }])
  })
}
