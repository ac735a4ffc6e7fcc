"""Who belongs together: the cluster's id, made from what all members must agree on.

Members that were started with different lists, or under another name, get different ids and refuse each other in
the handshake; and a data directory refuses to serve a cluster that it was not made for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def cluster_id(name: str, members: Mapping[int, str]) -> str:
    """16 hex digits, the same on every member of a cluster and on no member of another."""
    text = "\n".join([name, *(f"{member_id}={address}" for member_id, address in sorted(members.items()))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
