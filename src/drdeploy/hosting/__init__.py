"""Serve a grader: the model server, its container images, SageMaker, and deployment.

- ``serving`` answers GET /ping and POST /invocations, as SageMaker's hosting contract demands.
- ``container_engine`` is the client of the Docker API.
- ``images`` builds container images, measures their size, and times cold starts.
- ``conformance`` checks any image against the whole hosting contract.
- ``sagemaker`` describes valid endpoints, prices and quotas, and wraps the boto3 client.
- ``local`` simulates SageMaker on this machine, for unmodified boto3 clients.
- ``plan_pricing`` computes what the resources of a Terraform plan cost.
- ``deployment`` pushes images, uploads models, and makes and deletes resources with Terraform.
"""
