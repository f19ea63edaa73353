"""Who may speak: proof of the cluster's secret, or a certificate that names the node.

The secret never crosses the wire. Each side proves that it knows it with an HMAC over both
greetings, which hold a fresh nonce from each, and over which side it is, so that a proof can be
neither replayed nor reflected (RFC 2104; challenge and response as in SCRAM, RFC 5802).
"""

from __future__ import annotations

import hmac
import ssl
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from cluster.errors import WireError


class TlsFiles(NamedTuple):
    """PEM files. Only what the authority signed may speak, and each certificate names its node."""

    certificate: str
    key: str
    authority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What a node demands of its peers, and shows them. With neither, it trusts its network."""

    secret: bytes | None = None
    server_tls: ssl.SSLContext | None = None  # Both or none: TLS between members is mutual.
    client_tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, *, secret: bytes | None, tls: TlsFiles | None) -> Self:
        """What a node's options ask for.

        Raises:
            OSError, ssl.SSLError: a file cannot be read.
        """
        if tls is None:
            return cls(secret=secret)
        return cls(
            secret=secret,
            server_tls=_context(ssl.PROTOCOL_TLS_SERVER, tls),
            client_tls=_context(ssl.PROTOCOL_TLS_CLIENT, tls),
        )

    def proof(self, side: bytes, dialler: bytes, acceptor: bytes) -> bytes:
        """Show to know the secret, as the dialling or the accepting *side* of two greetings."""
        if self.secret is None:
            return b""
        content = b"".join(
            len(part).to_bytes(4, "big") + part for part in (side, dialler, acceptor)
        )
        return hmac.digest(self.secret, content, "sha256")

    def check(self, proof: bytes, side: bytes, dialler: bytes, acceptor: bytes) -> None:
        """Check what the other *side* shows.

        Raises:
            WireError: it does not know the secret.
        """
        if self.secret is not None and not hmac.compare_digest(
            proof, self.proof(side, dialler, acceptor)
        ):
            raise WireError("the peer does not know this cluster's secret")

    def check_name(self, certificate: dict[str, Any] | None, node_id: str) -> None:
        """Check that a certificate speaks for *node_id*.

        Raises:
            WireError: it names somebody else.
        """
        if self.server_tls is None:
            return
        names = _names(certificate or {})
        if node_id not in names:
            raise WireError(f"the certificate names {', '.join(names) or 'nobody'}, not {node_id}")


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # Names are node ids, checked after the greeting.
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.authority)
    return context


def _names(certificate: dict[str, Any]) -> list[str]:
    """The DNS names of a certificate, or its common name where it has none (RFC 6125)."""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    if names:
        return names
    return [
        value
        for part in certificate.get("subject", ())
        for kind, value in part
        if kind == "commonName"
    ]
