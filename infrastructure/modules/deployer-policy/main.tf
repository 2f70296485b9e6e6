# The permissions of whoever runs drdeploy and terraform, for the resources of one name prefix.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region
  regional  = "${local.region}:${local.account}"

  bucket   = "arn:${local.partition}:s3:::${var.name_prefix}-*"
  role     = "arn:${local.partition}:iam::${local.account}:role/${var.name_prefix}-*"
  hosting  = [for kind in ["model", "endpoint-config", "endpoint"] : "arn:${local.partition}:sagemaker:${local.regional}:${kind}/${var.name_prefix}*"]
  logs     = "arn:${local.partition}:logs:${local.regional}:log-group:/aws/sagemaker/Endpoints/${var.name_prefix}*"
  alarms   = "arn:${local.partition}:cloudwatch:${local.regional}:alarm:${var.name_prefix}*"
  topic    = "arn:${local.partition}:sns:${local.regional}:${var.name_prefix}*"
  registry = "arn:${local.partition}:ecr:${local.regional}:repository/${var.name_prefix}/*"

  statements = [
    {
      Sid    = "Hosting"
      Effect = "Allow"
      Action = [
        "sagemaker:AddTags", "sagemaker:CreateEndpoint", "sagemaker:CreateEndpointConfig", "sagemaker:CreateModel",
        "sagemaker:DeleteEndpoint", "sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel", "sagemaker:DeleteTags",
        "sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel",
        "sagemaker:InvokeEndpoint", "sagemaker:ListTags", "sagemaker:UpdateEndpoint",
        "sagemaker:UpdateEndpointWeightsAndCapacities",
      ]
      Resource = local.hosting
    },
    {
      # Listing and reading metrics take no narrower resource, and change nothing.
      Sid    = "Look"
      Effect = "Allow"
      Action = [
        "application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingPolicies",
        "application-autoscaling:DescribeScheduledActions", "application-autoscaling:ListTagsForResource",
        "cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData", "cloudwatch:GetMetricStatistics",
        "ecr:GetAuthorizationToken", "logs:DescribeLogGroups", "sagemaker:ListEndpointConfigs",
        "sagemaker:ListEndpoints", "sagemaker:ListModels", "sts:GetCallerIdentity",
      ]
      Resource = ["*"]
    },
    {
      Sid    = "Archives"
      Effect = "Allow"
      Action = [
        "s3:AbortMultipartUpload", "s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:DeleteObject",
        "s3:DeleteObjectVersion", "s3:GetAccelerateConfiguration", "s3:GetBucketAcl", "s3:GetBucketCORS",
        "s3:GetBucketLogging", "s3:GetBucketObjectLockConfiguration", "s3:GetBucketOwnershipControls",
        "s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock", "s3:GetBucketRequestPayment", "s3:GetBucketTagging",
        "s3:GetBucketVersioning", "s3:GetBucketWebsite", "s3:GetEncryptionConfiguration",
        "s3:GetLifecycleConfiguration", "s3:GetObject", "s3:GetObjectVersion", "s3:GetReplicationConfiguration",
        "s3:ListBucket", "s3:ListBucketVersions", "s3:PutBucketOwnershipControls", "s3:PutBucketPolicy",
        "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning",
        "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:PutObject",
      ]
      Resource = [local.bucket, "${local.bucket}/*"]
    },
    {
      Sid    = "Images"
      Effect = "Allow"
      Action = [
        "ecr:BatchCheckLayerAvailability", "ecr:BatchDeleteImage", "ecr:BatchGetImage", "ecr:CompleteLayerUpload",
        "ecr:CreateRepository", "ecr:DeleteLifecyclePolicy", "ecr:DeleteRepository", "ecr:DescribeImages",
        "ecr:DescribeRepositories", "ecr:GetDownloadUrlForLayer", "ecr:GetLifecyclePolicy",
        "ecr:InitiateLayerUpload", "ecr:ListImages", "ecr:ListTagsForResource", "ecr:PutImage",
        "ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability", "ecr:PutLifecyclePolicy",
        "ecr:TagResource", "ecr:UntagResource", "ecr:UploadLayerPart",
      ]
      Resource = [local.registry]
    },
    {
      Sid    = "ExecutionRole"
      Effect = "Allow"
      Action = [
        "iam:CreateRole", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:GetRole", "iam:GetRolePolicy",
        "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies",
        "iam:PutRolePolicy", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole",
      ]
      Resource = [local.role]
    },
    {
      Sid      = "HandTheRoleToSageMakerOnly"
      Effect   = "Allow"
      Action   = ["iam:PassRole"]
      Resource = [local.role]
      Condition = {
        StringEquals = { "iam:PassedToService" = "sagemaker.amazonaws.com" }
      }
    },
    {
      Sid    = "Logs"
      Effect = "Allow"
      Action = [
        "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:FilterLogEvents", "logs:GetLogEvents",
        "logs:ListTagsForResource", "logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource",
      ]
      Resource = [local.logs, "${local.logs}:*"]
    },
    {
      Sid    = "Alarms"
      Effect = "Allow"
      Action = [
        "cloudwatch:DeleteAlarms", "cloudwatch:ListTagsForResource", "cloudwatch:PutMetricAlarm",
        "cloudwatch:TagResource", "cloudwatch:UntagResource",
      ]
      # Target tracking creates alarms of its own, with the permissions of whoever registers it.
      Resource = [local.alarms, "arn:${local.partition}:cloudwatch:${local.regional}:alarm:TargetTracking-endpoint/${var.name_prefix}*"]
    },
    {
      Sid      = "Dashboards"
      Effect   = "Allow"
      Action   = ["cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:PutDashboard"]
      Resource = ["arn:${local.partition}:cloudwatch::${local.account}:dashboard/${var.name_prefix}*"]
    },
    {
      Sid    = "Scaling"
      Effect = "Allow"
      Action = [
        "application-autoscaling:DeleteScalingPolicy", "application-autoscaling:DeleteScheduledAction",
        "application-autoscaling:DeregisterScalableTarget", "application-autoscaling:PutScalingPolicy",
        "application-autoscaling:PutScheduledAction", "application-autoscaling:RegisterScalableTarget",
        "application-autoscaling:TagResource", "application-autoscaling:UntagResource",
      ]
      Resource = ["*"]
      Condition = {
        StringEqualsIfExists = { "application-autoscaling:service-namespace" = "sagemaker" }
      }
    },
    {
      # Needed once in an account: the role that application-autoscaling acts with.
      Sid      = "RoleOfAutoscaling"
      Effect   = "Allow"
      Action   = ["iam:CreateServiceLinkedRole"]
      Resource = ["arn:${local.partition}:iam::${local.account}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/*"]
      Condition = {
        StringEquals = { "iam:AWSServiceName" = "sagemaker.application-autoscaling.amazonaws.com" }
      }
    },
    {
      Sid    = "Notices"
      Effect = "Allow"
      Action = [
        "sns:CreateTopic", "sns:DeleteTopic", "sns:GetSubscriptionAttributes", "sns:GetTopicAttributes",
        "sns:ListTagsForResource", "sns:SetTopicAttributes", "sns:Subscribe", "sns:TagResource", "sns:Unsubscribe",
        "sns:UntagResource",
      ]
      Resource = [local.topic]
    },
    {
      Sid      = "Budget"
      Effect   = "Allow"
      Action   = ["budgets:ListTagsForResource", "budgets:ModifyBudget", "budgets:TagResource", "budgets:UntagResource", "budgets:ViewBudget"]
      Resource = ["arn:${local.partition}:budgets::${local.account}:budget/${var.name_prefix}*"]
    },
  ]

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = local.statements
  })
}

resource "aws_iam_policy" "this" {
  #checkov:skip=CKV_AWS_355:What stands with * are lists, metrics, a registry token and application-autoscaling (held to sagemaker); none knows a narrower resource
  #checkov:skip=CKV_AWS_290:What writes with * is application-autoscaling alone, which knows no narrower resource and is held to sagemaker
  #checkov:skip=CKV_AWS_289:The role that is managed is held to NAME_PREFIX-* and can be passed to SageMaker only
  #checkov:skip=CKV_AWS_286:Roles other than NAME_PREFIX-* cannot be written, and those can be passed to SageMaker only
  #checkov:skip=CKV_AWS_288:Reading the archives and logs of NAME_PREFIX is the purpose
  count       = var.create ? 1 : 0
  name        = "${var.name_prefix}-deployer"
  description = "Deploy, measure and delete the endpoints of ${var.name_prefix} with drdeploy"
  policy      = local.policy
  tags        = var.tags
}
