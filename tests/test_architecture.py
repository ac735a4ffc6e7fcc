"""The floors of the house, checked by reading every file's syntax tree; nothing is imported.

A rule is a function that yields (line, what was found), and its docstring is the sentence printed when it is
broken: it says why, so that whoever meets it knows what to do instead. Each rule is also shown a small file that
breaks it, because a checker that finds nothing proves nothing.
"""

from __future__ import annotations

import ast
import functools
import graphlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = sorted((ROOT / "raftkv").rglob("*.py"))
EVERYTHING = sorted(path for top in ("raftkv", "tests", "benchmarks") for path in (ROOT / top).rglob("*.py"))

FLOORS = {
    "errors": 0,
    "settings": 0,
    "config": 0,
    "raft": 1,
    "machines": 1,
    "wire": 2,
    "storage": 2,
    "replica": 3,
    "cluster": 3,
    "testing": 4,
    "client": 3,
    "server": 4,
    "cli": 5,
}
FILE_MODULES = {"fcntl", "io", "mmap", "shutil", "tempfile"}
FILE_CALLS = {
    "open", "fdopen", "pread", "preadv", "pwrite", "pwritev", "fsync", "fdatasync", "ftruncate",
    "truncate", "posix_fallocate", "rename", "replace", "unlink", "remove", "mkdir", "makedirs",
    "rmdir", "listdir", "scandir", "stat", "link", "symlink"
}  # fmt: skip
PATH_CALLS = {
    "read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "touch", "mkdir", "unlink",
    "rmdir", "exists", "glob", "rglob"
}  # fmt: skip
SKIPS = {
    "pytest.skip", "pytest.xfail", "pytest.importorskip", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"
}  # fmt: skip
WITHOUT_NODE = {"tests/integration/test_node_client.py"}
"""May be skipped: node is no part of raftkv's world, CI's machines have it, and others need not."""

SEEDED = {"raftkv/machines/interface.py", "raftkv/machines/redis/database.py"}
CLOCKS = {"time", "datetime", "random", "secrets", "uuid"}
IO_MODULES = {
    "asyncio", "multiprocessing", "os", "select", "selectors", "signal", "socket", "ssl", "subprocess",
    "threading"
}  # fmt: skip

Finding = tuple[int, str]
Rule = Callable[[str, ast.Module], Iterator[Finding]]


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported; `from a import b` counts as a.b: b may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every call whose function is written as a name: `os.open`, `open`, `x.y.z`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.lineno, ast.unparse(node.func)


def part_of(path: str) -> str:
    """raftkv/server/hub.py -> server; raftkv/replica.py -> replica; raftkv/__init__.py -> "" """
    inside = path.removeprefix("raftkv/").removesuffix(".py").split("/")[0]
    return "" if inside.startswith("__") else inside


def floors(path: str, tree: ast.Module) -> Iterator[Finding]:
    """A file may import its own part of raftkv and the floors below (ARCHITECTURE, section 2). Parts of one floor
    do not know each other: raft/ orders bytes without knowing what they mean, machines/ give them meaning without
    knowing who ordered them. What two of them need belongs on a floor below both, or above, where they are joined."""
    part = part_of(path)
    for line, name in imports(tree):
        other = name.partition(".")[2].partition(".")[0]
        if not name.startswith("raftkv.") or part in ("", other):
            continue
        if other not in FLOORS or part not in FLOORS:
            yield line, f"{part} imports {other}, and one of them has no floor: add it to FLOORS"
        elif FLOORS[other] >= FLOORS[part] > 0:
            yield line, f"{part}/ (floor {FLOORS[part]}) imports {name} (floor {FLOORS[other]})"


def trio_above(path: str, tree: ast.Module) -> Iterator[Finding]:
    """trio only in server/ and cli/, and in client/, which is no part of a member. Everything
    below is plain functions that a simulator can call from one thread
    in an order drawn from one seed; an await down there would take that away."""
    if part_of(path) not in ("server", "cli", "client"):
        yield from ((line, name) for line, name in imports(tree) if name.split(".")[0] == "trio")


def sans_io(path: str, tree: ast.Module) -> Iterator[Finding]:
    """raft/, machines/ and replica.py do no I/O and know no threads or processes: they take inputs and return work.
    Same inputs, same outputs; let server/ do what they return."""
    if part_of(path) in ("raft", "machines", "replica"):
        yield from ((line, name) for line, name in imports(tree) if name.split(".")[0] in IO_MODULES)


def files_in_one_place(path: str, tree: ast.Module) -> Iterator[Finding]:
    """File calls only in storage/files.py (command line, settings and test tools excepted). One place makes it
    possible to put a failing, lying or slow disk underneath, and to see at a glance what is synced when."""
    if part_of(path) in ("cli", "config", "testing") or path == "raftkv/storage/files.py":
        return
    names = list(imports(tree))
    yield from ((line, name) for line, name in names if name.split(".")[0] in FILE_MODULES)
    yield from ((line, name) for line, name in names if name.startswith("os.") and name[3:] in FILE_CALLS)
    has_paths = any(name.startswith("pathlib") for _, name in names)
    for line, name in calls(tree):
        owner, _, method = name.rpartition(".")
        if name == "open" or (owner == "os" and method in FILE_CALLS) or (has_paths and method in PATH_CALLS):
            yield line, f"{name}()"


def clock_and_chance(path: str, tree: ast.Module) -> Iterator[Finding]:
    """The clock and chance only in server/driver.py (command line, client and test tools excepted). Everything else is
    given `now`, a seed or a random.Random: only so can a run be repeated, and only so do all members compute the same.
    (machines/interface.py makes one from an entry's seed, redis/database.py one for replies to reads.)"""
    if part_of(path) in ("cli", "client", "testing") or path == "raftkv/server/driver.py":
        return
    for line, name in imports(tree):
        # The type may be named by those who are handed a generator; making one (below) is the driver's.
        if name in ("os.urandom", "trio.current_time") or (
            name.split(".")[0] in CLOCKS and name not in ("random", "random.Random")
        ):
            yield line, name
    for line, name in calls(tree):
        makes_one = name == "Random" and path not in SEEDED
        if makes_one or name in ("os.urandom", "trio.current_time") or name.startswith("random."):
            yield line, f"{name}()"


def no_salted_hashes(path: str, tree: ast.Module) -> Iterator[Finding]:
    """hash() of text and bytes differs from process to process, so members would differ. Use zlib.crc32 or hashlib."""
    if part_of(path) in ("raft", "machines"):
        yield from ((line, "hash()") for line, name in calls(tree) if name == "hash")


def no_test_tools(path: str, tree: ast.Module) -> Iterator[Finding]:
    """The server does not import its test tools, nor the libraries of its tests and benchmarks: they are not installed
    with it."""
    for line, name in imports(tree):
        parts = name.split(".")
        if part_of(path) != "testing" and parts[:2] == ["raftkv", "testing"]:
            yield line, name
        if parts[0] in ("redis", "pytest", "hypothesis", "psutil", "tests", "benchmarks"):
            yield line, name


def finished(path: str, tree: ast.Module) -> Iterator[Finding]:
    """What is merged is finished: no stub and no test that is skipped or expected to fail."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield node.lineno, node.id
        if isinstance(node, ast.Attribute) and ast.unparse(node) in SKIPS and path not in WITHOUT_NODE:
            yield node.lineno, ast.unparse(node)


def told(path: str, tree: ast.Module) -> Iterator[Finding]:
    """A file opens by telling how it works, so that help() and a newcomer have somewhere to start."""
    if tree.body and ast.get_docstring(tree) is None:
        yield 1, "no docstring"


PRODUCT_RULES: list[Rule] = [
    floors,
    trio_above,
    sans_io,
    files_in_one_place,
    clock_and_chance,
    no_salted_hashes,
    no_test_tools,
    told,
]
BREAKING = [
    (floors, "raftkv/raft/x.py", "from raftkv.machines import interface"),
    (floors, "raftkv/raft/x.py", "from raftkv import machines"),
    (floors, "raftkv/machines/x.py", "import raftkv.raft.messages"),
    (floors, "raftkv/wire/x.py", "from raftkv.replica import Replica"),
    (floors, "raftkv/config.py", "import raftkv.storage.files\nfrom raftkv.elsewhere import x"),
    (trio_above, "raftkv/replica.py", "def f():\n    import trio.lowlevel"),
    (sans_io, "raftkv/raft/x.py", "import threading"),
    (sans_io, "raftkv/machines/redis/x.py", "from os import environ"),
    (files_in_one_place, "raftkv/server/x.py", "open('x')"),
    (files_in_one_place, "raftkv/storage/wal.py", "import os\nos.fsync(3)"),
    (files_in_one_place, "raftkv/storage/wal.py", "from os import pwrite"),
    (files_in_one_place, "raftkv/server/x.py", "from pathlib import Path\nPath('x').read_text()"),
    (clock_and_chance, "raftkv/server/hub.py", "import time"),
    (clock_and_chance, "raftkv/replica.py", "from random import random"),
    (clock_and_chance, "raftkv/replica.py", "import random\nrandom.random()"),
    (clock_and_chance, "raftkv/replica.py", "from random import Random\nRandom(1)"),
    (clock_and_chance, "raftkv/server/peers.py", "import trio\ntrio.current_time()"),
    (no_salted_hashes, "raftkv/machines/x.py", "hash(b'key')"),
    (no_test_tools, "raftkv/server/x.py", "from raftkv.testing import network"),
    (no_test_tools, "raftkv/cli/x.py", "import redis"),
    (told, "raftkv/x.py", "x = 1"),
    (finished, "tests/test_x.py", "@pytest.mark.skip\ndef test_x(): ..."),
    (finished, "raftkv/x.py", "raise NotImplementedError"),
]


@pytest.mark.parametrize("rule", PRODUCT_RULES, ids=lambda rule: rule.__name__)
def test_the_product_keeps_the_rule(rule: Rule) -> None:
    check(rule, PRODUCT)


def test_any_module_can_be_imported_first() -> None:
    """In a circle of imports it depends on who asks first whether a name is there already."""
    sources = {dotted(path): parsed(path) for path in PRODUCT}
    graphlib.TopologicalSorter(import_graph(sources)).prepare()


def test_a_circle_through_a_package_is_found() -> None:
    """As it once was: a queue that needed one word of the commands, whose package needs the queue."""
    sources = {
        "raftkv.server.queue": "from raftkv.server.commands.rows import word",
        "raftkv.server.commands": "from raftkv.server.commands import execute",
        "raftkv.server.commands.rows": "",
        "raftkv.server.commands.execute": "from raftkv.server.queue import Queue",
    }
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(import_graph({name: ast.parse(text) for name, text in sources.items()})).prepare()


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def import_graph(sources: dict[str, ast.Module]) -> dict[str, set[str]]:
    """module -> modules that are imported, from beginning to end, before its own first line is through. A module's
    own packages are not among them: they have begun when it is asked for."""
    graph = {}
    for module, tree in sources.items():
        top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        parts = [name.split(".") for _, name in imports(top)]
        needed = {".".join(words[:length]) for words in parts for length in range(1, len(words) + 1)}
        graph[module] = {name for name in needed & sources.keys() if not f"{module}.".startswith(f"{name}.")}
    return graph


def test_everything_is_finished() -> None:
    check(finished, EVERYTHING)


def test_nothing_is_left_to_do() -> None:
    """Marks for later rot: file an issue instead, or do it now."""
    words = ("FIX" + "ME", "TO" + "DO", "XX" + "X")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in EVERYTHING
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if any(word in line.split() or f"{word}:" in line for word in words)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("rule", "path", "source"), BREAKING, ids=lambda value: getattr(value, "__name__", None))
def test_the_rule_finds_what_breaks_it(rule: Rule, path: str, source: str) -> None:
    assert list(rule(path, ast.parse(source)))


def test_every_rule_has_been_broken_once() -> None:
    assert {rule for rule, _, _ in BREAKING} == {*PRODUCT_RULES, finished}


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Once for all rules: they only look."""
    return ast.parse(path.read_text("utf-8"), str(path))


def check(rule: Rule, files: list[Path]) -> None:
    found = []
    for path in files:
        name = str(path.relative_to(ROOT))
        for line, what in rule(name, parsed(path)):
            found.append(f"{name}:{line}: {what}")
    assert not found, f"\n\n{rule.__doc__}\n\n" + "\n".join(found)
