"""How this member's cluster began: its id and its first members, the same on every member for ever.

Both follow from the settings where a member is among the first. One that joined later (`cluster.join`), or whose data
came from a backup, cannot know them from there: they are kept in the file CLUSTER of its data directory. Who is a
member today stands in the log.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from raftkv.cluster.identity import cluster_id
from raftkv.errors import StorageCorrupt
from raftkv.settings import Settings
from raftkv.storage.directory import load_identity
from raftkv.storage.files import Files

FILE = "CLUSTER"


class Founding(msgspec.Struct, frozen=True):
    """`members`: id -> peer address. `name`: the setting cluster.name that the id was made from; empty: of others."""

    cluster_id: str
    members: dict[int, str]
    name: str = ""
    began_empty: int | None = None
    """The member that got here with an empty directory when the cluster was there already (`joining.py`). Should it be
    one of the first, come back after it lost its data, then it has no vote by that: the only founder of a cluster that
    has grown would elect itself, and acknowledge writes that nobody else has."""


def by_settings(settings: Settings) -> Founding:
    members = settings.cluster.members
    return Founding(cluster_id(settings.cluster.name, members), dict(members), settings.cluster.name)


def load(files: Files, data_dir: str) -> Founding | None:
    """What the data directory says; None: nothing. Raises StorageCorrupt."""
    if FILE not in files.list(data_dir):
        return None
    path = f"{data_dir}/{FILE}"
    try:
        return msgspec.json.decode(files.read_whole(path), type=Founding)
    except msgspec.DecodeError as error:
        raise StorageCorrupt(f"{path}: unreadable ({error}). What to do: copy it from another member.") from error


def store(files: Files, data_dir: str, founding: Founding) -> None:
    files.make_directory(data_dir)
    files.replace_whole(data_dir, FILE, msgspec.json.encode(founding) + b"\n")


def store_if_new(files: Files, data_dir: str, founding: Founding) -> None:
    """For a directory whose log was just opened for this cluster: it knows from now on, whatever the settings say."""
    if FILE not in files.list(data_dir):
        store(files, data_dir, founding)


def has_data(files: Files, data_dir: str) -> bool:
    """Whether a member has lived there, or knows where it belongs."""
    return FILE in files.list(data_dir) or load_identity(files, data_dir) is not None


def set_aside(files: Files, data_dir: str, kept_as: str) -> str | None:
    """Keep a member's data under another name; returns it, None when there is none. Raises OSError."""
    if not files.list(data_dir):
        return None
    kept = f"{data_dir.rstrip('/')}.{kept_as}"
    files.rename(data_dir.rstrip("/"), kept)
    return kept


def chosen(settings: Settings, found: Founding | None) -> Founding | None:
    """Which of the two holds; None: the members named by cluster.join are to be asked. Settings that name other first
    members than the directory hold, and are then refused by the log, which belongs to another cluster."""
    members: Mapping[int, str] = settings.cluster.members
    is_alone = list(members) == [settings.node.id]
    is_same = found is not None and found.name in ("", settings.cluster.name)
    if found is not None and is_same and (settings.cluster.join or is_alone or members == found.members):
        return found
    return None if settings.cluster.join else by_settings(settings)
