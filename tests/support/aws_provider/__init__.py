"""Terraform onto the local service: a provider that carries the AWS provider's own schema.

Users with HashiCorp's registry at hand use HashiCorp's provider, with ``AWS_ENDPOINT_URL``
naming the local service.  Where the registry cannot be reached, this one stands in: the same
``terraform`` applies the same files, and checks them against the same names and types.

1. :mod:`~aws_provider.schema` reads ``aws_schema.json``: facts of the provider
   hashicorp/aws, derived by ``scripts/derive_provider_schema.py``.
2. :mod:`~aws_provider.values` and :mod:`~aws_provider.wire` are the language that
   Terraform speaks with a provider: msgpack values in messages of protocol 6.
3. :mod:`~aws_provider.planning` says what a change will do: in place, or by replacing.
4. :mod:`~aws_provider.resources` does it, through boto3.
5. :mod:`~aws_provider.provider` answers Terraform, from a thread of this process.

It speaks to a loopback address and to nothing else.
"""

from aws_provider.provider import provider_of

__all__ = ["provider_of"]
