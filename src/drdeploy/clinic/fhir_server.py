"""Send bundles to a FHIR server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.clinic.http_exchange import send_http_request
from drdeploy.errors import ClinicError
from drdeploy.files import encode_json_document

if TYPE_CHECKING:
    from drdeploy.clinic.fhir import FhirResource


_OF_THE_BUNDLE = frozenset({400, 409, 412, 413, 415, 422})
"""Statuses with which a server refuses a bundle, although it accepts the sender."""


def store_bundle(url: str, bundle: FhirResource) -> str:
    """Send a bundle (a FHIR transaction) to a server's base address.

    Returns:
        A sentence that says why the server refuses the bundle; empty if it accepts the bundle.

    Raises:
        ClinicError: The server cannot be reached, or refuses this sender.
    """
    answer = send_http_request(
        "POST",
        url,
        server="FHIR server",
        headers={"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"},
        body=encode_json_document(bundle).encode(),
    )
    if answer.status in _OF_THE_BUNDLE:  # the body may quote the bundle
        return f"The FHIR server refuses a bundle with status {answer.status}."
    if not answer.is_success:
        raise ClinicError(
            f"The FHIR server refuses a bundle with status {answer.status}",
            where=url,
            remedy=(
                "Find the cause in the server's log, then send the bundle again; nothing is "
                "created twice"
            ),
        )
    return ""
