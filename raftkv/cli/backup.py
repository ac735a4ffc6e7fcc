"""``raftkv backup``: a snapshot of a running member, copied into a file through its client port; and checking one.

The member takes a snapshot of a state that holds everything that was acknowledged before: it is first waited for until
it has applied what the leader had committed. The copy is written aside, synced, read again from its first to its last
byte, and only then gets its name: a file of that name is always a whole, sound backup.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from raftkv.cli.member_asking import leaders_view
from raftkv.cli.resp import Connection, Password, Refused, Unreachable, full_address
from raftkv.cli.status import fetch
from raftkv.cluster.offline import Backup, OnBytes, examine
from raftkv.errors import NotDone, StorageCorrupt, YourFault
from raftkv.raft.membership import decode_membership
from raftkv.storage.files import Files

EXAMPLES = """\
[bold]Examples[/bold]

raftkv backup :7002 monday.raftkv

raftkv backup --verify monday.raftkv

Ask a follower: it has the same, and less to do. raftkv restore makes a new cluster from the file.

Exit code of --verify: 0 sound, 1 damaged.
"""
READ_BYTES = 4 << 20
"""The most that a member gives at once."""

TIMEOUT_S = 10.0
CATCH_UP_S = 30.0
CATCH_UP_LOOK_S = 0.02


def backup(
    address: Annotated[str, typer.Argument(metavar="[HOST:PORT]", help="Client port of a member.")] = "",
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", dir_okay=False, help="Where to write it.")] = None,
    verify: Annotated[
        Path | None,
        typer.Option(
            "--verify", metavar="FILE", exists=True, dir_okay=False, help="Check this backup and describe it."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE when it is there.")] = False,
    password: Password = "",
) -> None:
    """Copy a consistent state of the cluster into a file, or check such a file."""
    if verify is not None:
        if address:
            raise typer.BadParameter("with --verify FILE there is nothing else to name")
        _show(_verified(verify))
        return
    if not address or file is None:
        raise typer.BadParameter("HOST:PORT and FILE are needed, or --verify FILE")
    member = full_address(address)
    if file.exists() and not force:
        raise YourFault(f"{file} is there already: name another file, or replace it with --force")
    try:
        _show(_make(member, password, str(file)))
    except Unreachable as error:
        raise NotDone(f"{error}; no backup was made") from error
    except StorageCorrupt as error:
        raise NotDone(f"what came is damaged, so no backup was made. {error}") from error
    except OSError as error:
        raise NotDone(f"{error.filename or file}: {error.strerror or error}; no backup was made") from error


def _verified(file: Path) -> Backup:
    try:
        return examined(str(file))
    except StorageCorrupt as error:
        Console(stderr=True).print(f"[red]{escape(str(error))}[/]", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error


def examined(path: str) -> Backup:
    """Reads all of a backup, with a progress bar. Raises StorageCorrupt."""
    with progress_bar("checking", Path(path).stat().st_size) as on_bytes:
        return examine(path, on_bytes)


def _make(address: str, password: str, path: str) -> Backup:
    with Connection(address, TIMEOUT_S, password, raw=True) as connection:
        _wait_until_current(address, password)
        with _spinner(f"member at {address} takes a snapshot"):
            index = connection.call_patiently(
                *("RAFT.SNAPSHOT", "NOW"), look=lambda: fetch(address, password, TIMEOUT_S)
            )
        listed = connection.call("RAFT.SNAPSHOT", "LIST")
        size = next((each[b"bytes"] for each in listed if each[b"index"] == index), None)
        if size is None:
            raise _replaced(index)
        return _copy(connection, index, size, path)


def _wait_until_current(address: str, password: str) -> None:
    """Until the member has what was acknowledged when the backup was asked for."""
    own = fetch(address, password, TIMEOUT_S)
    leader = leaders_view(own, password)
    if leader.get("role") != "leader":
        Console(stderr=True).print(
            f"[yellow]no leader answers: this is what the member at {escape(address)} has, and it may lack the newest"
            " writes[/]",
            soft_wrap=True,
            highlight=False,
        )
        return
    wanted, patient_until = leader["commit"], time.monotonic() + CATCH_UP_S
    with _spinner(f"member at {address} catches up"):
        while own["applied"] < wanted:
            if time.monotonic() > patient_until:
                raise NotDone(
                    f"{address} has applied entry {own['applied']}, and {wanted} is committed: it is too far behind"
                    " for a backup. Ask another member"
                )
            time.sleep(CATCH_UP_LOOK_S)
            own = fetch(address, password, TIMEOUT_S)


def _copy(connection: Connection, index: int, size: int, path: str) -> Backup:
    """Aside, synced, checked, and then under its name. Raises OSError, StorageCorrupt."""
    files, aside = Files(), f"{path}.part"
    try:
        fd = files.create(aside)
        try:
            files.truncate(fd, 0)
            with progress_bar("copying", size) as on_bytes:
                for offset, data in _chunks(connection, index, size):
                    files.pwritev(fd, [data], offset)
                    on_bytes(len(data))
            files.fdatasync(fd)
        finally:
            files.close(fd)
        found = examined(aside)
        files.rename(aside, path)
        files.fsync_directory(str(Path(path).absolute().parent))
        return Backup(path, found.size_bytes, found.meta, found.digest)
    except BaseException:
        with contextlib.suppress(OSError):
            files.unlink(aside)
        raise


def _chunks(connection: Connection, index: int, size: int) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < size:
        length = min(READ_BYTES, size - offset)
        try:
            data: bytes = connection.call("RAFT.SNAPSHOT", "READ", str(index), str(offset), str(length))
        except Refused as error:
            raise _replaced(index) from error
        if not data:
            raise _replaced(index)
        yield offset, data
        offset += len(data)


def _replaced(index: int) -> NotDone:
    return NotDone(
        f"the snapshot at entry {index} was replaced by newer ones while it was copied; no backup was made. Try again,"
        " or have the member keep more of them (snapshot.keep)"
    )


@contextlib.contextmanager
def progress_bar(what: str, size_bytes: int) -> Iterator[OnBytes]:
    """On a terminal only, and not in the output."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=size_bytes)
        yield lambda count: progress.advance(task, count)
        progress.update(task, completed=size_bytes)


@contextlib.contextmanager
def _spinner(text: str) -> Iterator[None]:
    console = Console(stderr=True)
    with console.status(escape(text)) if console.is_terminal else contextlib.nullcontext():
        yield


def _show(backup: Backup) -> None:
    meta = backup.meta
    taken = datetime.fromtimestamp(meta.time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    membership = decode_membership(meta.membership)
    members = ", ".join(f"{member}={membership.addresses.get(member, '?')}" for member in sorted(membership.members))
    rows: dict[str, Any] = {
        "file": f"{backup.path}, {backup.size_bytes} bytes",
        "entry": f"index {meta.index} of term {meta.term}",
        "taken": taken,
        "cluster": meta.cluster_id,
        "machine": f"{meta.machine} of version {meta.machine_version}",
        "members then": members,
    }
    console = Console(soft_wrap=True, highlight=False)
    table = Table(box=None, show_header=False, title="backup is sound", title_justify="left", title_style="green")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, escape(value))
    console.print(table)
