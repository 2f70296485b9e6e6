"""Serve the grader: the server, its images, SageMaker, and deployment.

::

    serving/      the hosting contract: GET /ping, POST /invocations
    engine/       the one seam to the Docker API
    images/       build container images, weigh them, time a cold start
    conformance/  check any image against the whole hosting contract
    sagemaker/    what endpoints may be, prices, quotas, the one boto3 client
    local/        SageMaker on this machine, for unmodified boto3 clients
    deployment/   Terraform: push, upload, plan, price, approve, apply, verify, delete
"""
