"""Strict mode: a machine that asks a clock, chance or its surroundings is stopped at the very call.

`watch` puts a guard around the four methods that must depend on their arguments and the state alone. While one of
them runs, Python's profiling hook (`sys.setprofile`) hears of every call, and the first forbidden one raises
`NonDeterministic` instead of being made. A machine that swallows the exception does not get away with it: the guard
raises it again when the method ends. A machine that is not watched is not touched, and pays nothing.

What is forbidden, and why not less: see `_BUILTINS` and `_of_python`. Some calls are harmless from certain places:
the clock and source files, when `logging` writes a line; `hash`, inside of a class's own `__hash__`; `hash` and `id`,
in the standard library (copy.deepcopy needs `id`). Not seen: the order of a set, what C code does within itself,
`repr` with an address, and snapshots. The conformance suite (`raftkv.testing.conformance`) finds those otherwise.
The cost is a call of Python for each call: about ten times the time. Meant for development and for one canary member.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import Any, Final, TypeVar

from raftkv.errors import NonDeterministic
from raftkv.machines.interface import StateMachine

GUARDED: Final = ("handle_write", "handle_read", "is_command", "handle_system_write")

_CLOCK: Final = "context.time_ms (in a read: context.now_ms)"
_CHANCE: Final = "context.random, which is the same on every member (a read must do without)"
_HASH: Final = "zlib.crc32 or hashlib: hash() of text differs between processes"
_IDENTITY: Final = "a counter in the state, or the object's key: id() is an address in memory"
_SURROUNDINGS: Final = "an argument of the machine (machine.options), the same on every member"
_OUTSIDE: Final = "an effect (context.add_effect): what is outside differs, and waiting stops the member"

_CLOCK_CALLS: Final = (
    *("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time"),
    *("process_time_ns", "thread_time", "thread_time_ns", "clock_gettime", "clock_gettime_ns", "localtime", "ctime"),
)
_BUILTINS: Final[dict[tuple[str, str], str]] = {
    **{("time", name): _CLOCK for name in _CLOCK_CALLS},
    ("time", "sleep"): _OUTSIDE,
    ("posix", "urandom"): _CHANCE,
    ("nt", "urandom"): _CHANCE,
    ("_uuid", "generate_time_safe"): _CHANCE,
    ("builtins", "hash"): _HASH,
    ("builtins", "id"): _IDENTITY,
    ("posix", "getpid"): _SURROUNDINGS,
    ("posix", "getcwd"): _SURROUNDINGS,
    **{(module, "open"): _OUTSIDE for module in ("io", "_io", "posix", "nt")},
}
"""(module, function) of functions written in C -> what to use instead."""

_DATES: Final = ("now", "utcnow", "today")
_Machine = TypeVar("_Machine", bound=StateMachine)


def watch(machine: _Machine) -> _Machine:
    """The same machine, watched from now on: its methods raise NonDeterministic at a forbidden call."""
    for name in GUARDED:
        guarded = _guarded(f"{type(machine).__name__}.{name}", getattr(machine, name))
        object.__setattr__(machine, name, guarded)  # declared machines take nothing else but state
    return machine


def _guarded(where: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def guarded(*arguments: Any, **named: Any) -> Any:
        found: list[NonDeterministic] = []

        def on_call(frame: FrameType, event: str, called: Any) -> None:
            told = _of_c(frame, called) if event == "c_call" else _of_python(frame) if event == "call" else None
            if told is not None and not found:
                found.append(NonDeterministic(where, *told))
                raise found[0]

        before = sys.getprofile()
        sys.setprofile(on_call)
        try:
            result = method(*arguments, **named)
        finally:
            sys.setprofile(before)
            if found:
                raise found[0]
        return result

    return guarded


def _of_c(frame: FrameType, called: Any) -> tuple[str, str] | None:
    """(the call, what to use instead) if `called`, which is written in C, must not be called from `frame`."""
    owner, name = getattr(called, "__self__", None), called.__name__
    if isinstance(owner, type):
        is_date = name in _DATES and owner.__module__ == "datetime"
        return (f"{owner.__name__}.{name}()", _CLOCK) if is_date else None
    if owner is not None and owner is getattr(sys.modules.get("random"), "_inst", None):
        return f"random.{name}() of the module's shared generator", _CHANCE
    instead = _BUILTINS.get((called.__module__ or "", name))
    if instead is None or _is_harmless(frame, instead):
        return None
    return f"{called.__module__}.{name}()", instead


def _is_harmless(frame: FrameType, instead: str) -> bool:
    if any(getattr(callback, "__code__", None) is frame.f_code for callback in gc.callbacks):
        return True  # the collector comes round at any moment, and somebody times it: no doing of the machine's
    caller = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if instead in (_HASH, _IDENTITY):
        return frame.f_code.co_name == "__hash__" or caller in sys.stdlib_module_names
    if instead == _OUTSIDE:
        return caller in ("tokenize", "linecache")  # a traceback on its way to the log shows its lines
    return instead in (_CLOCK, _SURROUNDINGS) and caller == "logging"


def _of_python(frame: FrameType) -> tuple[str, str] | None:
    """The same for a function written in Python, which has just been entered."""
    module, function = frame.f_globals.get("__name__"), frame.f_code.co_qualname
    if module == "os" and function.startswith("_Environ.__"):
        return "os.environ", _SURROUNDINGS
    if module == "socket" and function == "socket.__init__":
        return "socket.socket()", _OUTSIDE
    if module == "random" and function == "Random.__init__" and frame.f_locals.get("x") is None:
        is_import = frame.f_back is not None and frame.f_back.f_globals.get("__name__") == "random"
        return None if is_import else ("random.Random() without a seed", _CHANCE)
    return None
