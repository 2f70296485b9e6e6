"""The published ways in which somebody with some rights in AWS makes more of them.

Facts, each with whoever described it:

- ``rhino``: Rhino Security Labs, "AWS IAM Privilege Escalation - Methods and Mitigation" (2018) and
  its second part (2021): the 21 methods, and SageMaker, CodeStar, Lambda layers.
- ``pmapper``: the edges that NCC Group's Principal Mapper follows from one identity to another.
- ``bishopfox``: Bishop Fox's IAM Vulnerable (2021), which deploys 31 paths to try.
- ``pathfinding``: Datadog's pathfinding.cloud, a catalogue of such paths.
- ``boundaries``: AWS, "Permissions boundaries for IAM entities", on what a delegated administrator
  must not be able to do; and ways around a boundary that follow from it.

A path is a list of calls, all of which it takes.  ``ROLE`` is a role that is worth having.
"""

from __future__ import annotations

from dataclasses import dataclass

ROLE, USER, GROUP, POLICY = "<role>", "<user>", "<group>", "<policy>"


@dataclass(frozen=True)
class EscalationPath:
    """One way to more rights.

    Attributes:
        name: What is done.
        source: Who published it.
        steps: Action and resource of each call; what is in angle brackets is put in.
    """

    name: str
    source: str
    steps: tuple[tuple[str, str], ...]


def _path(name: str, source: str, *steps: str | tuple[str, str]) -> EscalationPath:
    pairs = tuple(one if isinstance(one, tuple) else (one, "*") for one in steps)
    return EscalationPath(name, source, pairs)


def _pass_to(service: str) -> tuple[str, str]:
    """A role is handed to a service; the caller puts ``iam:PassedToService`` in."""
    return (f"iam:PassRole>{service}", ROLE)


ESCALATION_PATHS = (
    # Rights that are written or attached.
    _path("create a policy version", "rhino 1", ("iam:CreatePolicyVersion", POLICY)),
    _path(
        "set another default version of a policy",
        "rhino 2",
        ("iam:SetDefaultPolicyVersion", POLICY),
    ),
    _path("attach a policy to a user", "rhino 7", ("iam:AttachUserPolicy", USER)),
    _path("attach a policy to a group", "rhino 8", ("iam:AttachGroupPolicy", GROUP)),
    _path("attach a policy to a role", "rhino 9", ("iam:AttachRolePolicy", ROLE)),
    _path("write a policy into a user", "rhino 10", ("iam:PutUserPolicy", USER)),
    _path("write a policy into a group", "rhino 11", ("iam:PutGroupPolicy", GROUP)),
    _path("write a policy into a role", "rhino 12", ("iam:PutRolePolicy", ROLE)),
    _path("join a group", "rhino 13", ("iam:AddUserToGroup", GROUP)),
    # Somebody else's credentials.
    _path("create access keys of another user", "rhino 4", ("iam:CreateAccessKey", USER)),
    _path("create a password of another user", "rhino 5", ("iam:CreateLoginProfile", USER)),
    _path("change the password of another user", "rhino 6", ("iam:UpdateLoginProfile", USER)),
    _path(
        "replace the second factor of another user",
        "pathfinding",
        *(("iam:DeactivateMFADevice", USER), ("iam:EnableMFADevice", USER)),
    ),
    _path(
        "create service-specific credentials of another user",
        "pathfinding",
        ("iam:CreateServiceSpecificCredential", USER),
    ),
    _path(
        "reset service-specific credentials of another user",
        "pathfinding",
        ("iam:ResetServiceSpecificCredential", USER),
    ),
    # Roles that are assumed.
    _path("change a role's trust policy", "rhino 14", ("iam:UpdateAssumeRolePolicy", ROLE)),
    _path("assume a role", "pmapper", ("sts:AssumeRole", ROLE)),
    _path("assume a role with SAML", "bishopfox", ("sts:AssumeRoleWithSAML", ROLE)),
    _path("make a federation token", "pathfinding", "sts:GetFederationToken"),
    _path("create a SAML provider", "pathfinding", "iam:CreateSAMLProvider"),
    _path("change a SAML provider", "pathfinding", "iam:UpdateSAMLProvider"),
    _path("create an OpenID Connect provider", "pathfinding", "iam:CreateOpenIDConnectProvider"),
    _path(
        "create a role without the boundary",
        "boundaries",
        *(("iam:CreateRole", ROLE), ("iam:PutRolePolicy", ROLE)),
    ),
    _path("remove a role's boundary", "boundaries", ("iam:DeleteRolePermissionsBoundary", ROLE)),
    _path("replace a role's boundary", "boundaries", ("iam:PutRolePermissionsBoundary", ROLE)),
    _path("remove a user's boundary", "boundaries", ("iam:DeleteUserPermissionsBoundary", USER)),
    _path("replace a user's boundary", "boundaries", ("iam:PutUserPermissionsBoundary", USER)),
    _path(
        "create a user without a boundary",
        "boundaries",
        *(("iam:CreateUser", USER), ("iam:CreateAccessKey", USER)),
    ),
    _path("delete the boundary", "boundaries", ("iam:DeletePolicy", POLICY)),
    _path("delete a version of the boundary", "boundaries", ("iam:DeletePolicyVersion", POLICY)),
    # A role that is handed to a service, which runs one's code with it.
    _path(
        "run an EC2 instance with a role",
        "rhino 3",
        _pass_to("ec2.amazonaws.com"),
        "ec2:RunInstances",
    ),
    _path(
        "exchange the profile of an EC2 instance",
        "pmapper",
        *("iam:AddRoleToInstanceProfile", "ec2:AssociateIamInstanceProfile"),
        _pass_to("ec2.amazonaws.com"),
    ),
    _path("change the user data of an EC2 instance", "pathfinding", "ec2:ModifyInstanceAttribute"),
    _path("start a session on an EC2 instance", "pmapper", "ssm:StartSession"),
    _path("send a command to an EC2 instance", "pmapper", "ssm:SendCommand"),
    _path(
        "send an SSH key to an EC2 instance", "pathfinding", "ec2-instance-connect:SendSSHPublicKey"
    ),
    _path(
        "request a spot instance with a role",
        "pathfinding",
        *(_pass_to("ec2.amazonaws.com"), "ec2:RequestSpotInstances"),
    ),
    _path(
        "create an Auto Scaling group with a role",
        "pmapper",
        *(_pass_to("ec2.amazonaws.com"), "autoscaling:CreateLaunchConfiguration"),
        "autoscaling:CreateAutoScalingGroup",
    ),
    _path(
        "create a Lambda function with a role and call it",
        "rhino 15",
        *(_pass_to("lambda.amazonaws.com"), "lambda:CreateFunction", "lambda:InvokeFunction"),
    ),
    _path(
        "create a Lambda function with a role and an event that calls it",
        "rhino 16",
        *(_pass_to("lambda.amazonaws.com"), "lambda:CreateFunction"),
        "lambda:CreateEventSourceMapping",
    ),
    _path(
        "create a Lambda function with a role and let others call it",
        "pathfinding",
        *(_pass_to("lambda.amazonaws.com"), "lambda:CreateFunction", "lambda:AddPermission"),
    ),
    _path("change the code of a Lambda function", "rhino 17", "lambda:UpdateFunctionCode"),
    _path(
        "change the layers of a Lambda function",
        "rhino, second part",
        "lambda:UpdateFunctionConfiguration",
    ),
    _path(
        "create a Glue development endpoint with a role",
        "rhino 18",
        *(_pass_to("glue.amazonaws.com"), "glue:CreateDevEndpoint"),
    ),
    _path("change a Glue development endpoint", "rhino 19", "glue:UpdateDevEndpoint"),
    _path(
        "create a Glue job with a role",
        "pathfinding",
        *(_pass_to("glue.amazonaws.com"), "glue:CreateJob", "glue:StartJobRun"),
    ),
    _path("change a Glue job", "pathfinding", "glue:UpdateJob"),
    _path(
        "create a CloudFormation stack with a role",
        "rhino 20",
        *(_pass_to("cloudformation.amazonaws.com"), "cloudformation:CreateStack"),
    ),
    _path("update a CloudFormation stack", "pmapper", "cloudformation:UpdateStack"),
    _path(
        "create a change set of a CloudFormation stack", "pmapper", "cloudformation:CreateChangeSet"
    ),
    _path("create a CloudFormation stack set", "pathfinding", "cloudformation:CreateStackSet"),
    _path(
        "create a data pipeline with a role",
        "rhino 21",
        *(_pass_to("datapipeline.amazonaws.com"), "datapipeline:CreatePipeline"),
        "datapipeline:PutPipelineDefinition",
    ),
    _path("create a CodeStar project", "rhino, second part", "codestar:CreateProject"),
    _path("join a CodeStar project", "rhino, second part", "codestar:AssociateTeamMember"),
    _path(
        "create a CodeBuild project with a role",
        "pmapper",
        *(_pass_to("codebuild.amazonaws.com"), "codebuild:CreateProject", "codebuild:StartBuild"),
    ),
    _path("change a CodeBuild project", "pmapper", "codebuild:UpdateProject"),
    _path("start a build with another buildspec", "pathfinding", "codebuild:StartBuild"),
    _path(
        "run an ECS task with a role",
        "pathfinding",
        *(_pass_to("ecs-tasks.amazonaws.com"), "ecs:RegisterTaskDefinition", "ecs:RunTask"),
    ),
    _path("execute a command in an ECS task", "pathfinding", "ecs:ExecuteCommand"),
    _path(
        "create an App Runner service with a role",
        "pathfinding",
        *(_pass_to("build.apprunner.amazonaws.com"), "apprunner:CreateService"),
    ),
    _path(
        "submit a Batch job with a role",
        "pathfinding",
        *(_pass_to("ecs-tasks.amazonaws.com"), "batch:RegisterJobDefinition", "batch:SubmitJob"),
    ),
    _path(
        "run an EMR cluster with a role",
        "pathfinding",
        *(_pass_to("elasticmapreduce.amazonaws.com"), "elasticmapreduce:RunJobFlow"),
    ),
    _path(
        "create a state machine with a role",
        "pathfinding",
        *(_pass_to("states.amazonaws.com"), "states:CreateStateMachine", "states:StartExecution"),
    ),
    _path(
        "create an EventBridge rule with a role",
        "pathfinding",
        *(_pass_to("events.amazonaws.com"), "events:PutRule", "events:PutTargets"),
    ),
    _path(
        "create a schedule with a role",
        "pathfinding",
        *(_pass_to("scheduler.amazonaws.com"), "scheduler:CreateSchedule"),
    ),
    _path(
        "start an SSM automation with a role",
        "pathfinding",
        *(_pass_to("ssm.amazonaws.com"), "ssm:StartAutomationExecution"),
    ),
    _path("create a Cloud9 environment", "bishopfox", "cloud9:CreateEnvironmentEC2"),
    _path(
        "create a Bedrock agent with a role",
        "pathfinding",
        *(_pass_to("bedrock.amazonaws.com"), "bedrock:CreateAgent"),
    ),
    # SageMaker's own, with the one service that a deployer may hand a role to.
    *(
        _path(what, source, _pass_to("sagemaker.amazonaws.com"), *actions)
        for what, source, *actions in (
            (
                *(
                    "create a notebook instance with a role",
                    "rhino, second part",
                    "sagemaker:CreateNotebookInstance",
                ),
                "sagemaker:CreatePresignedNotebookInstanceUrl",
            ),
            ("create a processing job with a role", "bishopfox", "sagemaker:CreateProcessingJob"),
            ("create a training job with a role", "bishopfox", "sagemaker:CreateTrainingJob"),
            (
                "create a tuning job with a role",
                "pathfinding",
                "sagemaker:CreateHyperParameterTuningJob",
            ),
            ("create an AutoML job with a role", "pathfinding", "sagemaker:CreateAutoMLJobV2"),
            ("create a SageMaker pipeline with a role", "pathfinding", "sagemaker:CreatePipeline"),
            ("create a Studio domain with a role", "pathfinding", "sagemaker:CreateDomain"),
            ("create a Studio user with a role", "pathfinding", "sagemaker:CreateUserProfile"),
        )
    ),
    _path(
        "open another's notebook instance",
        "rhino, second part",
        "sagemaker:CreatePresignedNotebookInstanceUrl",
    ),
    _path("change a notebook instance", "pathfinding", "sagemaker:UpdateNotebookInstance"),
    _path(
        "change a notebook's lifecycle configuration",
        "pathfinding",
        "sagemaker:UpdateNotebookInstanceLifecycleConfig",
    ),
    _path(
        "create a notebook's lifecycle configuration",
        "pathfinding",
        "sagemaker:CreateNotebookInstanceLifecycleConfig",
    ),
    _path("open another's Studio", "pathfinding", "sagemaker:CreatePresignedDomainUrl"),
    _path("start a session in SageMaker", "pathfinding", "sagemaker:StartSession"),
    # What a role with too many rights is read from.
    _path("read a secret", "pathfinding", "secretsmanager:GetSecretValue"),
    _path("read a parameter", "pathfinding", "ssm:GetParameter"),
    _path("change the policy of a key", "pathfinding", "kms:PutKeyPolicy"),
    _path("grant oneself a key", "pathfinding", "kms:CreateGrant"),
)
