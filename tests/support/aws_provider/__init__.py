"""A Terraform provider for tests: the AWS provider's own schema, on the local service alone.

Users have HashiCorp's provider, which needs a provider registry.  The tests need none: the same
``terraform`` applies the same files through this one, and checks them against the same names and
types.

1. :mod:`~aws_provider.schema` reads ``aws_schema.json``: facts of the provider
   hashicorp/aws, derived by ``scripts/derive_provider_schema.py``.
2. :mod:`~aws_provider.values` and :mod:`~aws_provider.wire` are the language that
   Terraform speaks with a provider: msgpack values in messages of protocol 6.
3. :mod:`~aws_provider.planning` predicts what a change will do: in place, or by replacing.
4. :mod:`~aws_provider.resources` creates, reads, changes and deletes, through boto3.
5. :mod:`~aws_provider.servicer` answers Terraform's calls, on the socket of
   :mod:`~aws_provider.server`.

Terraform comes by it in two ways.  :func:`install_provider` puts it into a filesystem mirror, from
which Terraform installs and starts it like any other: this is how the product's own commands are
tested, unmodified.  :func:`provider_of` serves it from a thread of the test: no process is started
for each command, and the calls can be watched.
"""

from aws_provider.plugin import install_provider
from aws_provider.provider import provider_of

__all__ = ["install_provider", "provider_of"]
