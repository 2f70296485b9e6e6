"""The SageMaker-compatible service of this machine: the API on one loopback port.

A request's way: ``http_server`` reads it, ``front`` finds out which AWS service it is for.
``sagemaker`` goes to ``control_plane`` (models, endpoint configurations, endpoints; checked by
``shapes`` against botocore's model and by ``rules`` against what that model cannot say) or, for
``InvokeEndpoint``, to ``invocations``.  Everything else (S3, ECR, IAM, STS, CloudWatch) is moto
in this same process, behind ``simulated_aws``.

An endpoint's way: ``endpoints`` leads it through Creating, InService, Updating, Failed and
Deleting.  What it serves is a ``deployment``: image and artifact pinned (``pinning``) and one
pool of workers for each variant, ``serverless`` (from zero, on demand) or ``real_time`` (always
there).  A ``worker`` is a started instance that has answered ``GET /ping``; the instance itself
is the real server in a container (``containers``) or a process (``processes``, in a control
group from ``cgroups`` where one can be made), behind the one Protocol of ``backend``.

Network distance, AWS's placement of instances and the pull of images are not pretended.
"""
