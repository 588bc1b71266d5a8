"""Names of files and folders that follow from UIDs, which come from outside."""

import hashlib


def file_key(uid: str) -> str:
    """32 hex digits: no UID can lead out of a folder, or say whose it is."""
    return hashlib.sha256(uid.encode()).hexdigest()[:32]
