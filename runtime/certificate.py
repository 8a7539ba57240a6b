"""A certificate and its key, as files that may be replaced while they are in use."""

from __future__ import annotations

import ssl
from pathlib import Path


class CertificateError(ValueError):
    """Files that are no certificate and its key; the text names them."""


class Certificate:
    """What a server shows of itself.

    Args:
        certificate: PEM, with those that it needs between it and its root.
        key: PEM, not encrypted.

    Attributes:
        context: of servers; new connections see what `renew` has read last.
        files: the two.
        pem: what they held then.

    Raises:
        CertificateError: they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.files = certificate, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 at least
        self.renew()

    def renew(self) -> None:
        """Reads the files anew; where they cannot be used, all stays as it was.

        Raises:
            CertificateError: see above.
        """
        try:
            for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):  # the first one is for trying
                context.load_cert_chain(*self.files, password="")  # nobody is asked for one
            self.pem = self.files[0].read_bytes(), self.files[1].read_bytes()
        except OSError as error:
            told = getattr(error, "reason", None) or error.strerror or error
            raise CertificateError(f"{' and '.join(map(str, self.files))}: no certificate and its key ({told})") from error
