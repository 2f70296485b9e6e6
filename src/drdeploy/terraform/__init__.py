"""Terraform onto the local service: a provider that carries the AWS provider's own schema.

Users with HashiCorp's registry at hand use HashiCorp's provider, with ``AWS_ENDPOINT_URL``
naming the local service.  Where the registry cannot be reached, this one stands in: the same
``terraform`` applies the same files, and checks them against the same names and types.

1. :mod:`~drdeploy.terraform.schema` reads ``aws_schema.json``: facts of the provider
   hashicorp/aws, derived by ``scripts/derive_provider_schema.py``.
2. :mod:`~drdeploy.terraform.values` and :mod:`~drdeploy.terraform.wire` are the language that
   Terraform speaks with a provider: msgpack values in messages of protocol 6.
3. :mod:`~drdeploy.terraform.planning` says what a change will do: in place, or by replacing.
4. :mod:`~drdeploy.terraform.resources` does it, through boto3.
5. :mod:`~drdeploy.terraform.provider` answers Terraform, from a thread of this process.

It speaks to a loopback address and to nothing else.
"""

from drdeploy.terraform.provider import provider_of

__all__ = ["provider_of"]
