"""An image registry on the service's own port, in place of ECR's registry.

A push arrives at ``/v2/`` (``routes``, after the OCI distribution specification 1.1).  Layers and
image configurations are files, named by digest (``blobs``).  Manifests are kept in moto's ECR
repositories (``manifests``), so that the registry and ECR's API agree: ``DescribeImages`` lists
what was pushed, an image deleted through ECR cannot be pulled, and a repository with immutable
tags refuses to move one.

Images have the names that they have on AWS, ``ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@sha256:…``
(``ecr_uri``), so that models do not depend on the service's port.  Where to push to,
``GetAuthorizationToken`` says in its ``proxyEndpoint``, as on AWS (``ecr_login``).
``server_profiles`` knows how this project's own images serve.
"""
