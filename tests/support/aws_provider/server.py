"""The gRPC server that answers Terraform on a Unix socket of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc

from aws_provider.wire import METHODS, PACKAGE, message

if TYPE_CHECKING:
    from aws_provider.servicer import Servicer

THREADS = 48
"""One waits for each endpoint that is being created."""


def provider_server(
    servicer: Servicer, socket: str, credentials: grpc.ServerCredentials | None = None
) -> grpc.Server:
    """A server of the provider's calls, not started yet.

    Args:
        servicer: Answers the calls.
        socket: Path of the Unix socket to listen on.
        credentials: For TLS; None serves without encryption.
    """
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_handlers(servicer),))
    if credentials is None:
        server.add_insecure_port(f"unix://{socket}")
    else:
        server.add_secure_port(f"unix://{socket}", credentials)
    return server


def _handlers(servicer: Servicer) -> Any:
    methods = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, name),
            request_deserializer=message(request).FromString,
            response_serializer=message(response).SerializeToString,
        )
        for name, (request, response) in METHODS.items()
    }
    return grpc.method_handlers_generic_handler(f"{PACKAGE}.Provider", methods)
