"""The actions that HashiCorp's AWS provider needs for each type of resource that the modules make.

The provider of these tests calls less than HashiCorp's, so what it calls is no proof.  These are
the calls of hashicorp/aws 6.x by the names of the service authorization reference: create, read,
update, delete and tags of ``internal/service/SERVICE/RESOURCE.go``, as far as the arguments of the
modules reach them.  Reading a bucket asks for every one of its settings.  Tags of buckets go
through S3 Control where that is allowed, else through the bucket's own tagging (pull request
45251), and the modules allow the latter.  No AWS account has confirmed the list.
"""

from __future__ import annotations

ACTIONS: dict[str, tuple[str, ...]] = {
    "aws_s3_bucket": (
        *("s3:CreateBucket", "s3:DeleteBucket", "s3:ListBucket", "s3:GetBucketTagging"),
        *("s3:PutBucketTagging", "s3:GetAccelerateConfiguration", "s3:GetBucketAcl"),
        *("s3:GetBucketCORS", "s3:GetBucketLogging", "s3:GetBucketObjectLockConfiguration"),
        *("s3:GetBucketPolicy", "s3:GetBucketRequestPayment", "s3:GetBucketVersioning"),
        *("s3:GetBucketWebsite", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration"),
        "s3:GetReplicationConfiguration",
    ),
    "aws_s3_bucket_versioning": ("s3:PutBucketVersioning", "s3:GetBucketVersioning"),
    "aws_s3_bucket_server_side_encryption_configuration": (
        *("s3:PutEncryptionConfiguration", "s3:GetEncryptionConfiguration"),
    ),
    "aws_s3_bucket_public_access_block": (
        *("s3:PutBucketPublicAccessBlock", "s3:GetBucketPublicAccessBlock"),
    ),
    "aws_s3_bucket_ownership_controls": (
        *("s3:PutBucketOwnershipControls", "s3:GetBucketOwnershipControls"),
    ),
    "aws_s3_bucket_lifecycle_configuration": (
        *("s3:PutLifecycleConfiguration", "s3:GetLifecycleConfiguration"),
    ),
    "aws_s3_bucket_policy": ("s3:PutBucketPolicy", "s3:GetBucketPolicy", "s3:DeleteBucketPolicy"),
    "aws_ecr_repository": (
        *("ecr:CreateRepository", "ecr:DescribeRepositories", "ecr:DeleteRepository"),
        *("ecr:PutImageTagMutability", "ecr:PutImageScanningConfiguration"),
        *("ecr:ListTagsForResource", "ecr:TagResource", "ecr:UntagResource"),
    ),
    "aws_ecr_lifecycle_policy": (
        *("ecr:PutLifecyclePolicy", "ecr:GetLifecyclePolicy", "ecr:DeleteLifecyclePolicy"),
    ),
    "aws_iam_role": (
        *("iam:CreateRole", "iam:GetRole", "iam:DeleteRole", "iam:TagRole", "iam:UntagRole"),
        *("iam:ListRolePolicies", "iam:ListAttachedRolePolicies", "iam:GetRolePolicy"),
        "iam:ListInstanceProfilesForRole",
    ),
    "aws_iam_role_policy": ("iam:PutRolePolicy", "iam:GetRolePolicy", "iam:DeleteRolePolicy"),
    "aws_sagemaker_model": (
        *("sagemaker:CreateModel", "sagemaker:DescribeModel", "sagemaker:DeleteModel"),
        *("sagemaker:AddTags", "sagemaker:DeleteTags", "sagemaker:ListTags", "iam:PassRole"),
    ),
    "aws_sagemaker_endpoint_configuration": (
        *("sagemaker:CreateEndpointConfig", "sagemaker:DescribeEndpointConfig"),
        *("sagemaker:DeleteEndpointConfig", "sagemaker:AddTags", "sagemaker:DeleteTags"),
        "sagemaker:ListTags",
    ),
    "aws_sagemaker_endpoint": (
        *("sagemaker:CreateEndpoint", "sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpoint"),
        *("sagemaker:DeleteEndpoint", "sagemaker:AddTags", "sagemaker:DeleteTags"),
        "sagemaker:ListTags",
    ),
    "aws_cloudwatch_log_group": (
        *("logs:CreateLogGroup", "logs:DescribeLogGroups", "logs:DeleteLogGroup"),
        *("logs:PutRetentionPolicy", "logs:ListTagsForResource", "logs:TagResource"),
        *("logs:UntagResource", "logs:AssociateKmsKey", "logs:DisassociateKmsKey"),
    ),
    "aws_cloudwatch_metric_alarm": (
        *("cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"),
        *("cloudwatch:ListTagsForResource", "cloudwatch:TagResource", "cloudwatch:UntagResource"),
    ),
    "aws_cloudwatch_dashboard": (
        *("cloudwatch:PutDashboard", "cloudwatch:GetDashboard", "cloudwatch:DeleteDashboards"),
    ),
    "aws_sns_topic": (
        *("sns:CreateTopic", "sns:GetTopicAttributes", "sns:SetTopicAttributes", "sns:DeleteTopic"),
        *("sns:ListTagsForResource", "sns:TagResource", "sns:UntagResource"),
    ),
    "aws_sns_topic_subscription": (
        *("sns:Subscribe", "sns:GetSubscriptionAttributes", "sns:Unsubscribe"),
    ),
    "aws_budgets_budget": (
        *("budgets:ModifyBudget", "budgets:ViewBudget", "budgets:ListTagsForResource"),
        *("budgets:TagResource", "budgets:UntagResource"),
    ),
    "aws_appautoscaling_target": (
        "application-autoscaling:RegisterScalableTarget",
        "application-autoscaling:DeregisterScalableTarget",
        "application-autoscaling:DescribeScalableTargets",
        "application-autoscaling:ListTagsForResource",
        "application-autoscaling:TagResource",
        "application-autoscaling:UntagResource",
    ),
    "aws_appautoscaling_policy": (
        "application-autoscaling:PutScalingPolicy",
        "application-autoscaling:DescribeScalingPolicies",
        "application-autoscaling:DeleteScalingPolicy",
    ),
    "aws_appautoscaling_scheduled_action": (
        "application-autoscaling:PutScheduledAction",
        "application-autoscaling:DescribeScheduledActions",
        "application-autoscaling:DeleteScheduledAction",
    ),
    "aws_scheduler_schedule": (
        *("scheduler:CreateSchedule", "scheduler:GetSchedule", "scheduler:UpdateSchedule"),
        *("scheduler:DeleteSchedule", "iam:PassRole"),
    ),
}
"""By type of resource; ``aws_ecrpublic_repository`` is in no environment."""

FOR_OTHERS: dict[str, tuple[str, ...]] = {
    # "IAM permissions for pushing an image" (ECR user guide); the engine and not boto3 calls them.
    "push of an image": (
        *("ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage"),
        *("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"),
        "ecr:PutImage",
        # Before it, drdeploy asks whether the registry holds the image already.
        "ecr:DescribeImages",
    ),
    # "Permissions to work with target services" (Application Auto Scaling user guide).
    "scaling in the caller's name": (
        *("sagemaker:UpdateEndpointWeightsAndCapacities", "sagemaker:DescribeEndpoint"),
        *("sagemaker:DescribeEndpointConfig", "cloudwatch:PutMetricAlarm"),
        *("cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms", "iam:CreateServiceLinkedRole"),
    ),
    # boto3 ends what it could not upload whole.
    "a broken upload": ("s3:AbortMultipartUpload",),
    # `study run` joins CloudWatch's metrics to its rows; `prices update` reads the price list.
    "measuring": ("cloudwatch:GetMetricStatistics", "pricing:GetProducts"),
    # Why an endpoint failed stands in its log.
    "a look into the log": ("logs:FilterLogEvents", "logs:GetLogEvents"),
    # `endpoint delete` also ends what was put into a bucket without versions.
    "emptying": ("s3:DeleteObject", "s3:DeleteObjectVersion", "ecr:BatchDeleteImage"),
}
"""What else a deployer's commands take, by what for."""
