"""Read the options that say where photographs and results are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from drdeploy.clinic.background_work import Destinations


def read_destinations(
    stow: str | None, send: str | None, post: str | None, *, may_be_plain: bool
) -> Destinations:
    """Check the addresses to which photographs and results are sent, and return them.

    Args:
        stow: Base address of an archive's DICOMweb service.
        send: The AE title and the address of an archive that receives files by C-STORE.
        post: Base address of a FHIR server.
        may_be_plain: Whether patients' data may cross a network without TLS.

    Raises:
        InvalidInput: An address is not valid, or patients' data would cross the network without
            encryption.
    """
    from drdeploy.clinic.background_work import Destinations
    from drdeploy.clinic.dicom_receiver import is_loopback
    from drdeploy.clinic.dicom_sender import ArchivePeer
    from drdeploy.clinic.http_exchange import check_server_url

    for option, url in (("--stow", stow), ("--post", post)):
        if url is not None:
            check_server_url(url, option=option)
    if send is not None:
        peer = ArchivePeer.parse_ae_title_and_address(send, option="--send")
        if not may_be_plain and not is_loopback(peer.host):
            raise InvalidInput(
                "Results with patients' names would cross the network without encryption",
                where=f"--send {send}",
                remedy="Use --stow with https, or give --plain if the network is separate and you "
                "accept the risk",
            )
    return Destinations(stow or "", send or "", post or "")
