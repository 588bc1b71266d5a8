"""TLS for connections that ask for it (PS3.15 B.9 and later profiles: TLS 1.2 and above)."""

import ssl

from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.node.config import TlsConfig


def server_context(tls: TlsConfig) -> ssl.SSLContext | None:
    """For those who call us; they need a certificate of the ``authority``, where one is given. None: no TLS.

    Raises ConfigError ``tls``.
    """
    return _context(tls, ssl.PROTOCOL_TLS_SERVER) if tls.certificate else None


def client_context(tls: TlsConfig) -> ssl.SSLContext:
    """For peers whom we call: theirs is checked with ``authority``, or with the system's. Raises ConfigError
    ``tls``."""
    return _context(tls, ssl.PROTOCOL_TLS_CLIENT)


def _context(tls: TlsConfig, side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key or None)
        if tls.authority:
            context.load_verify_locations(tls.authority)
            context.verify_mode = ssl.CERT_REQUIRED
        elif side == ssl.PROTOCOL_TLS_CLIENT:
            context.load_default_certs()
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (tls.certificate, tls.key, tls.authority)))
        raise ConfigError("tls", f"{files}: {error}", "give files in PEM that belong together under [tls]") from error
    return context
