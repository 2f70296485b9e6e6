# The upper limit for every role that a deployer creates, whatever policies the deployer writes into
# the role. The policies of a role allow less (modules/execution-role).

locals {
  boundary_name = "${var.name_prefix}-boundary-${local.region}"
  boundary_arn  = coalesce(var.permissions_boundary_arn, "arn:${local.partition}:iam::${local.account}:policy/${local.boundary_name}")

  own_account = { StringEquals = { "s3:ResourceAccount" = local.account } }

  bounds = concat(
    [
      {
        Sid       = "ReadArchives"
        Effect    = "Allow"
        Action    = ["s3:GetObject"]
        Resource  = [local.archives]
        Condition = local.own_account
      },
      {
        Sid       = "FindArchives"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [local.bucket]
        Condition = merge(local.own_account, { StringLike = { "s3:prefix" = ["artifacts/*"] } })
      },
      {
        Sid       = "WriteCapturedRequests"
        Effect    = "Allow"
        Action    = ["s3:PutObject"]
        Resource  = [local.captures]
        Condition = local.own_account
      },
      {
        Sid       = "ReadQueuedRequests"
        Effect    = "Allow"
        Action    = ["s3:GetObject"]
        Resource  = ["${local.queue}/inputs/*"]
        Condition = local.own_account
      },
      {
        Sid       = "WriteQueuedResults"
        Effect    = "Allow"
        Action    = ["s3:PutObject"]
        Resource  = ["${local.queue}/results/*", "${local.queue}/failed/*"]
        Condition = local.own_account
      },
      {
        Sid      = "NotifyOfResults"
        Effect   = "Allow"
        Action   = ["sns:Publish"]
        Resource = [local.topics]
      },
      {
        Sid      = "PullImages"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = [local.registry]
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
        Resource = concat(local.logs, [for group in local.logs : "${group}:log-stream:*"])
      },
      {
        # For keep-warm requests. A deployer may also send requests.
        Sid      = "SendRequests"
        Effect   = "Allow"
        Action   = ["sagemaker:InvokeEndpoint"]
        Resource = local.endpoints
      },
      {
        # For opening hours. A deployer may also create and delete endpoints.
        Sid      = "OpenAndCloseEndpoints"
        Effect   = "Allow"
        Action   = ["sagemaker:AddTags", "sagemaker:CreateEndpoint", "sagemaker:DeleteEndpoint"]
        Resource = concat(local.endpoints, [local.configs[1]])
      },
      {
        # Metrics have no ARN; only their namespace can be restricted.
        Sid       = "WriteMetrics"
        Effect    = "Allow"
        Action    = ["cloudwatch:PutMetricData"]
        Resource  = ["*"]
        Condition = { StringEquals = { "cloudwatch:namespace" = ["AWS/SageMaker", "/aws/sagemaker/Endpoints"] } }
      },
    ],
    length(var.kms_key_arns) == 0 ? [] : [
      {
        Sid       = "UseKeysThroughS3AndSns"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = sort(var.kms_key_arns)
        Condition = { StringEquals = { "kms:ViaService" = ["s3.${local.region}.amazonaws.com", "sns.${local.region}.amazonaws.com"] } }
      },
    ],
    length(var.kms_key_arns) == 0 ? [] : [
      {
        Sid       = "LendVolumeKeys"
        Effect    = "Allow"
        Action    = ["kms:CreateGrant"]
        Resource  = sort(var.kms_key_arns)
        Condition = { StringEquals = { "kms:ViaService" = "sagemaker.${local.region}.amazonaws.com" } }
      },
    ],
    var.allow_vpc ? [
      {
        # The actions that the developer guide lists.  They are checked before the network interface
        # exists, so no resource can be named.
        Sid    = "AttachToSubnets"
        Effect = "Allow"
        Action = [
          "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
          "ec2:DeleteNetworkInterfacePermission", "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs",
        ]
        Resource = ["*"]
      },
    ] : [],
  )

  boundary = jsonencode({
    Version   = "2012-10-17"
    Statement = local.bounds
  })
}

resource "aws_iam_policy" "boundary" {
  #checkov:skip=CKV_AWS_355:GetAuthorizationToken and PutMetricData cannot be limited to a resource (PutMetricData is limited to two namespaces); EC2's actions are checked before the network interface exists, and allowed only with allow_vpc
  #checkov:skip=CKV_AWS_290:Only PutMetricData writes with *, limited to two namespaces, and with allow_vpc the actions that create SageMaker's network interfaces
  count       = var.create && var.permissions_boundary_arn == null ? 1 : 0
  name        = local.boundary_name
  description = "The most that a role of the deployer of ${var.name_prefix} can ever do"
  policy      = local.boundary
  tags        = var.tags
}
