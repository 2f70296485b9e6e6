"""The image registry of this machine, in place of ECR's: OCI distribution on the service's port.

A push comes to ``/v2/`` on the loopback port (``routes``, after the OCI distribution
specification 1.1).  Layers and configurations lie in ``blobs``, by digest and on disk.  Manifests
lie where ECR's own API finds them, in moto's repositories (``catalogue``): what ``DescribeImages``
lists is what was pushed, an image that was deleted through ECR cannot be pulled, and a tag that a
repository keeps immutable is kept here too.

Images are called as on AWS, ``ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@sha256:…`` (``uri``), so
that nothing depends on the port.  Where to push, ``GetAuthorizationToken`` says in its
``proxyEndpoint``, here as there.
"""
