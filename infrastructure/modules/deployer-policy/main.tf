# The permissions of the user who runs drdeploy and terraform, for the resources of one name prefix
# in one region. boundary.tf limits the roles that this user creates.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region
  regional  = "${local.region}:${local.account}"

  # A name is the prefix itself, or begins with PREFIX-. The pattern PREFIX* would also match
  # PREFIX2-...
  bucket    = "arn:${local.partition}:s3:::${var.name_prefix}-*"
  archives  = "${local.bucket}/artifacts/*"
  captures  = "${local.bucket}/captured/*"
  queue     = "${local.bucket}/asynchronous"
  role      = "arn:${local.partition}:iam::${local.account}:role/${var.name_prefix}-execution-${local.region}"
  warmer    = "arn:${local.partition}:iam::${local.account}:role/${var.name_prefix}-keep-warm-${local.region}"
  opener    = "arn:${local.partition}:iam::${local.account}:role/${var.name_prefix}-opening-hours-${local.region}"
  own_roles = [local.role, local.warmer, local.opener]
  schedules = "arn:${local.partition}:scheduler:${local.regional}:schedule/default/${var.name_prefix}-*"
  endpoints = [for name in local.names : "arn:${local.partition}:sagemaker:${local.regional}:endpoint/${name}"]
  configs   = [for kind in ["model", "endpoint-config"] : "arn:${local.partition}:sagemaker:${local.regional}:${kind}/${var.name_prefix}-*"]
  logs      = [for name in local.names : "arn:${local.partition}:logs:${local.regional}:log-group:/aws/sagemaker/Endpoints/${name}"]
  alarms    = "arn:${local.partition}:cloudwatch:${local.regional}:alarm:${var.name_prefix}-*"
  tracking  = [for name in ["${var.name_prefix}/*", "${var.name_prefix}-*"] : "arn:${local.partition}:cloudwatch:${local.regional}:alarm:TargetTracking-endpoint/${name}"]
  scaling   = [for name in ["${var.name_prefix}/*", "${var.name_prefix}-*"] : "arn:${local.partition}:autoscaling:${local.regional}:scalingPolicy:*:resource/sagemaker/endpoint/${name}"]
  topic     = "arn:${local.partition}:sns:${local.regional}:${var.name_prefix}-alarms"
  topics    = "arn:${local.partition}:sns:${local.regional}:${var.name_prefix}-*"
  registry  = "arn:${local.partition}:ecr:${local.regional}:repository/${var.name_prefix}/*"
  targets   = "arn:${local.partition}:application-autoscaling:${local.regional}:scalable-target/*"

  names = [var.name_prefix, "${var.name_prefix}-*"]

  # Only buckets of this account, not buckets with the same names in other accounts. CreateBucket
  # may come without this key, because the bucket has no account yet.
  own_buckets = { StringEqualsIfExists = { "s3:ResourceAccount" = local.account } }

  hosting = [
    {
      Sid    = "Hosting"
      Effect = "Allow"
      Action = [
        "sagemaker:AddTags", "sagemaker:CreateEndpoint", "sagemaker:CreateEndpointConfig", "sagemaker:CreateModel",
        "sagemaker:DeleteEndpoint", "sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel", "sagemaker:DeleteTags",
        "sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel",
        "sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointAsync", "sagemaker:ListTags", "sagemaker:UpdateEndpoint",
        "sagemaker:UpdateEndpointWeightsAndCapacities",
      ]
      Resource = concat(local.endpoints, local.configs)
    },
    {
      # These actions cannot be limited to a resource. They only read or list.
      Sid    = "Look"
      Effect = "Allow"
      Action = [
        "application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingPolicies",
        "application-autoscaling:DescribeScheduledActions", "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricStatistics", "ecr:GetAuthorizationToken", "logs:DescribeLogGroups", "pricing:GetProducts",
        "sagemaker:ListEndpointConfigs", "sagemaker:ListEndpoints", "sagemaker:ListModels",
        "sns:GetSubscriptionAttributes", "sts:GetCallerIdentity",
      ]
      Resource = ["*"]
    },
  ]

  storage = [
    {
      Sid    = "Buckets"
      Effect = "Allow"
      Action = [
        "s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:GetAccelerateConfiguration",
        "s3:GetBucketAcl", "s3:GetBucketCORS", "s3:GetBucketLogging", "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketOwnershipControls", "s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock",
        "s3:GetBucketRequestPayment", "s3:GetBucketTagging", "s3:GetBucketVersioning", "s3:GetBucketWebsite",
        "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration",
        "s3:ListBucket", "s3:ListBucketVersions", "s3:PutBucketOwnershipControls", "s3:PutBucketPolicy",
        "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning",
        "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
      ]
      Resource  = [local.bucket]
      Condition = local.own_buckets
    },
    {
      # Only archives can be read. Captured photographs of patients can be deleted, but not read.
      Sid       = "Archives"
      Effect    = "Allow"
      Action    = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
      Resource  = [local.archives]
      Condition = local.own_buckets
    },
    {
      # Of asynchronous requests, only those that drdeploy itself sends, and failures, which hold no
      # photograph.
      Sid       = "OwnRequests"
      Effect    = "Allow"
      Action    = ["s3:GetObject", "s3:PutObject"]
      Resource  = ["${local.queue}/inputs/drdeploy/*", "${local.queue}/results/drdeploy/*", "${local.queue}/failed/*"]
      Condition = local.own_buckets
    },
    {
      Sid       = "EmptyBuckets"
      Effect    = "Allow"
      Action    = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
      Resource  = ["${local.bucket}/*"]
      Condition = local.own_buckets
    },
    {
      Sid    = "Images"
      Effect = "Allow"
      Action = [
        "ecr:BatchCheckLayerAvailability", "ecr:BatchDeleteImage", "ecr:BatchGetImage", "ecr:CompleteLayerUpload",
        "ecr:CreateRepository", "ecr:DeleteLifecyclePolicy", "ecr:DeleteRepository", "ecr:DescribeImages",
        "ecr:DescribeRepositories", "ecr:GetLifecyclePolicy", "ecr:InitiateLayerUpload", "ecr:ListImages",
        "ecr:ListTagsForResource", "ecr:PutImage", "ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability",
        "ecr:PutLifecyclePolicy", "ecr:TagResource", "ecr:UntagResource", "ecr:UploadLayerPart",
      ]
      Resource = [local.registry]
    },
  ]

  roles = [
    {
      # IAM refuses these actions for a role without the boundary, so no policy that a deployer
      # writes exceeds the boundary. iam:UpdateAssumeRolePolicy has no such condition, and is not
      # granted.
      Sid       = "RolesWithinTheBoundary"
      Effect    = "Allow"
      Action    = ["iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePolicy"]
      Resource  = local.own_roles
      Condition = { StringEquals = { "iam:PermissionsBoundary" = local.boundary_arn } }
    },
    {
      Sid    = "ExecutionRole"
      Effect = "Allow"
      Action = [
        "iam:DeleteRole", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies",
        "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies", "iam:TagRole", "iam:UntagRole",
      ]
      Resource = local.own_roles
    },
    {
      Sid       = "HandTheRoleToSageMakerOnly"
      Effect    = "Allow"
      Action    = ["iam:PassRole"]
      Resource  = [local.role]
      Condition = { StringEquals = { "iam:PassedToService" = "sagemaker.amazonaws.com" } }
    },
    {
      Sid       = "HandTheOthersToTheSchedulerOnly"
      Effect    = "Allow"
      Action    = ["iam:PassRole"]
      Resource  = [local.warmer, local.opener]
      Condition = { StringEquals = { "iam:PassedToService" = "scheduler.amazonaws.com" } }
    },
    {
      Sid      = "FindTheBoundary"
      Effect   = "Allow"
      Action   = ["iam:GetPolicy"]
      Resource = [local.boundary_arn]
    },
    {
      # Denied even if another policy of the deployer allows it.
      Sid      = "LeaveTheBoundaryAlone"
      Effect   = "Deny"
      Action   = ["iam:DeleteRolePermissionsBoundary", "iam:PutRolePermissionsBoundary"]
      Resource = local.own_roles
    },
    {
      Sid    = "LeaveThePoliciesAlone"
      Effect = "Deny"
      Action = [
        "iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:SetDefaultPolicyVersion",
      ]
      Resource = concat([local.boundary_arn], local.policy_arns)
    },
    {
      # Application Auto Scaling acts with this role, which is created once in an account.
      Sid       = "RoleOfAutoscaling"
      Effect    = "Allow"
      Action    = ["iam:CreateServiceLinkedRole"]
      Resource  = ["arn:${local.partition}:iam::${local.account}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/*"]
      Condition = { StringEquals = { "iam:AWSServiceName" = "sagemaker.application-autoscaling.amazonaws.com" } }
    },
  ]

  watching = [
    {
      Sid    = "Logs"
      Effect = "Allow"
      Action = [
        "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:FilterLogEvents", "logs:GetLogEvents",
        "logs:ListTagsForResource", "logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource",
      ]
      Resource = concat(local.logs, flatten([for group in local.logs : ["${group}:*", "${group}:log-stream:*"]]))
    },
    {
      # Alarms in general can stop EC2 instances and call Lambda functions. These alarms can only
      # send e-mails.
      Sid       = "AlarmsThatMail"
      Effect    = "Allow"
      Action    = ["cloudwatch:PutMetricAlarm"]
      Resource  = [local.alarms]
      Condition = { "ForAllValues:StringEquals" = { "cloudwatch:AlarmActions" = [local.topic] } }
    },
    {
      # Target tracking makes its own alarms, with the permissions of the user who registers it. An
      # asynchronous endpoint has an alarm that starts its first instance.
      Sid       = "AlarmsThatScale"
      Effect    = "Allow"
      Action    = ["cloudwatch:PutMetricAlarm"]
      Resource  = concat([local.alarms], local.tracking)
      Condition = { "ForAllValues:StringLike" = { "cloudwatch:AlarmActions" = local.scaling } }
    },
    {
      Sid    = "Alarms"
      Effect = "Allow"
      Action = [
        "cloudwatch:DeleteAlarms", "cloudwatch:ListTagsForResource", "cloudwatch:TagResource", "cloudwatch:UntagResource",
      ]
      Resource = concat([local.alarms], local.tracking)
    },
    {
      Sid      = "Dashboards"
      Effect   = "Allow"
      Action   = ["cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:PutDashboard"]
      Resource = ["arn:${local.partition}:cloudwatch::${local.account}:dashboard/${var.name_prefix}"]
    },
    {
      # The ARN of a target contains an identifier, but no name. Still, a target for another team's
      # endpoint cannot be registered, because that also needs
      # sagemaker:UpdateEndpointWeightsAndCapacities.
      Sid    = "Scaling"
      Effect = "Allow"
      Action = [
        "application-autoscaling:DeleteScalingPolicy", "application-autoscaling:DeleteScheduledAction",
        "application-autoscaling:DeregisterScalableTarget", "application-autoscaling:PutScalingPolicy",
        "application-autoscaling:PutScheduledAction", "application-autoscaling:RegisterScalableTarget",
      ]
      Resource  = [local.targets]
      Condition = { StringEquals = { "application-autoscaling:service-namespace" = "sagemaker" } }
    },
    {
      Sid    = "TagsOfScaling"
      Effect = "Allow"
      Action = [
        "application-autoscaling:ListTagsForResource", "application-autoscaling:TagResource",
        "application-autoscaling:UntagResource",
      ]
      Resource = [local.targets]
    },
    {
      Sid      = "Schedules"
      Effect   = "Allow"
      Action   = ["scheduler:CreateSchedule", "scheduler:DeleteSchedule", "scheduler:GetSchedule", "scheduler:UpdateSchedule"]
      Resource = [local.schedules]
    },
    {
      Sid    = "Notices"
      Effect = "Allow"
      Action = [
        "sns:CreateTopic", "sns:DeleteTopic", "sns:GetTopicAttributes", "sns:ListTagsForResource",
        "sns:SetTopicAttributes", "sns:TagResource", "sns:UntagResource",
      ]
      Resource = [local.topics]
    },
    {
      Sid       = "MailNotices"
      Effect    = "Allow"
      Action    = ["sns:Subscribe"]
      Resource  = [local.topic]
      Condition = { StringEquals = { "sns:Protocol" = "email" } }
    },
    {
      # SNS cannot limit this action to a resource. Anybody with this permission who knows a
      # subscription's ARN can end the subscription.
      Sid      = "EndNotices"
      Effect   = "Allow"
      Action   = ["sns:Unsubscribe"]
      Resource = ["*"]
    },
    {
      Sid      = "Budget"
      Effect   = "Allow"
      Action   = ["budgets:ListTagsForResource", "budgets:ModifyBudget", "budgets:TagResource", "budgets:UntagResource", "budgets:ViewBudget"]
      Resource = ["arn:${local.partition}:budgets::${local.account}:budget/${var.name_prefix}"]
    },
  ]

  with_keys = [
    {
      Sid       = "EncryptArchives"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = sort(var.kms_key_arns)
      Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" } }
    },
    {
      # Repositories and the instances of an endpoint decrypt with grants, which the creator of the
      # repository or endpoint gives.
      Sid       = "LendKeys"
      Effect    = "Allow"
      Action    = ["kms:CreateGrant"]
      Resource  = sort(var.kms_key_arns)
      Condition = { StringEquals = { "kms:ViaService" = ["ecr.${local.region}.amazonaws.com", "sagemaker.${local.region}.amazonaws.com"] } }
    },
    {
      # This action has no such condition. Each grant names who may retire it.
      Sid      = "TakeKeysBack"
      Effect   = "Allow"
      Action   = ["kms:RetireGrant"]
      Resource = sort(var.kms_key_arns)
    },
    {
      Sid      = "EncryptLogs"
      Effect   = "Allow"
      Action   = ["logs:AssociateKmsKey", "logs:DisassociateKmsKey"]
      Resource = local.logs
    },
    {
      Sid      = "FindKeys"
      Effect   = "Allow"
      Action   = ["kms:DescribeKey"]
      Resource = sort(var.kms_key_arns)
    },
  ]
  keys = [for statement in local.with_keys : statement if length(var.kms_key_arns) > 0]

  # A managed policy holds at most 6144 characters, and a user has at most ten policies (IAM and STS
  # quotas).
  policies = {
    hosting  = concat(local.hosting, local.roles, local.keys)
    storage  = local.storage
    watching = local.watching
  }
  policy_names = { for part in ["hosting", "storage", "watching"] : part => "${var.name_prefix}-deployer-${part}-${local.region}" }
  policy_arns  = [for name in values(local.policy_names) : "arn:${local.partition}:iam::${local.account}:policy/${name}"]
  policy       = { for part, statements in local.policies : part => jsonencode({ Version = "2012-10-17", Statement = statements }) }
}

resource "aws_iam_policy" "this" {
  #checkov:skip=CKV_AWS_355:Only lists, metrics, a registry token and the end of a subscription have *; none of these actions can be limited to a resource
  #checkov:skip=CKV_AWS_290:Only the end of a subscription (sns:Unsubscribe) writes with *; it cannot be limited to a resource
  #checkov:skip=CKV_AWS_288:Reading the archives and logs of NAME_PREFIX is the purpose
  for_each    = { for part, text in local.policy : part => text if var.create }
  name        = local.policy_names[each.key]
  description = "Deploy, measure and delete the endpoints of ${var.name_prefix} with drdeploy: ${each.key}"
  policy      = each.value
  tags        = var.tags
}
