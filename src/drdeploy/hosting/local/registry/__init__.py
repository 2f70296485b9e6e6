"""A registry of container images on the service's own port, in place of ECR's registry.

``routes`` answers requests below ``/v2/``, as in the OCI distribution specification 1.1. ``blobs``
stores layers and image configurations as files that are named by digest. ``manifests`` keeps
manifests in the ECR repositories of moto, so that the registry and the API of ECR agree. As a
result, ``DescribeImages`` lists pushed images, an image deleted through ECR cannot be pulled, and
immutable tags cannot be moved.

Images have the same names as on AWS, ``ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@sha256:…``
(``ecr_uri``), so models do not depend on the service's port. Clients learn the registry's address
as on AWS: from the member ``proxyEndpoint`` in the answer to ``GetAuthorizationToken``
(``ecr_login``). ``server_profiles`` finds the server profile of this project's images.
"""
