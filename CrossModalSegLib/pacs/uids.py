"""UIDs that follow from what an object is made of: made twice, it is one object."""

import hashlib


def derived_uid(*parts: str) -> str:
    """A UID from the first 128 bits of a SHA-256 over ``parts``, below the root for UUIDs (DICOM PS3.5 B.2)."""
    digest = bytearray(hashlib.sha256("\0".join(parts).encode()).digest()[:16])
    digest[6] = (digest[6] & 0x0F) | 0x80  # a UUID of version 8: of the maker's own kind (RFC 9562)
    digest[8] = (digest[8] & 0x3F) | 0x80
    return f"2.25.{int.from_bytes(digest, 'big')}"
