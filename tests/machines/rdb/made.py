"""Payloads made by hand: forms that today's Redis reads but no longer writes, and forms that nobody should write.

Written down from the format's description, with nothing of the code under test but the checksum, which test_crc64.py
and every DUMP of a real server vouch for.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from raftkv.machines.redis.rdb.crc64 import crc64


def payload(type_number: int, *parts: bytes, version: int = 10) -> bytes:
    return sealed(bytes([type_number]) + b"".join(parts) + struct.pack("<H", version))


def sealed(content: bytes) -> bytes:
    """With a fitting checksum."""
    return content + struct.pack("<Q", crc64(content))


def resealed(whole: bytes) -> bytes:
    """A payload that was tampered with, as if its maker had meant it so."""
    return sealed(whole[:-8])


def length(number: int) -> bytes:
    return struct.pack(">BI", 0x80, number)


def string(text: bytes) -> bytes:
    return length(len(text)) + text


def strings(*texts: bytes) -> bytes:
    return length(len(texts)) + b"".join(map(string, texts))


def ziplist(*elements: bytes) -> bytes:
    """Integers in their shortest form, as Redis 6 wrote them."""
    content, before, last = b"", 0, 10
    for element in elements:
        last = 10 + len(content)
        entry = _length_before(before) + _ziplist_form(element)
        before = len(entry)
        content += entry
    return struct.pack("<IIH", 11 + len(content), last, min(len(elements), 0xFFFF)) + content + b"\xff"


def _length_before(number: int) -> bytes:
    return bytes([number]) if number < 254 else struct.pack("<BI", 254, number)


_ZIPLIST_INTEGERS = ((1, 0xFE), (2, 0xC0), (3, 0xF0), (4, 0xD0), (8, 0xE0))


def _ziplist_form(element: bytes) -> bytes:
    if element.lstrip(b"-").isdigit() and b"%d" % int(element) == element:
        number = int(element)
        if 0 <= number <= 12:
            return bytes([0xF1 + number])
        for size, form in _ZIPLIST_INTEGERS:
            if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
                return bytes([form]) + number.to_bytes(size, "little", signed=True)
    if len(element) < 64:
        return bytes([len(element)]) + element
    if len(element) < 1 << 14:
        return struct.pack(">H", 0x4000 | len(element)) + element
    return struct.pack(">BI", 0x80, len(element)) + element


def listpack(*entries: bytes, count: int | None = None) -> bytes:
    """Of ready entries, with the length at their back."""
    content = b"".join(entries)
    return struct.pack("<IH", 7 + len(content), len(entries) if count is None else count) + content + b"\xff"


def zipmap(*pairs: tuple[bytes, bytes], unused: int = 0) -> bytes:
    """unused: bytes behind each value."""
    content = b"".join(
        _zipmap_length(field) + field + _zipmap_length(value) + bytes([unused]) + value + b"?" * unused
        for field, value in pairs
    )
    return bytes([min(len(pairs), 254)]) + content + b"\xff"


def _zipmap_length(text: bytes) -> bytes:
    return bytes([len(text)]) if len(text) < 254 else struct.pack("<BI", 254, len(text))


def ascii_scores(*pairs: tuple[bytes, bytes]) -> bytes:
    """(member, score)"""
    return length(len(pairs)) + b"".join(string(member) + bytes([len(score)]) + score for member, score in pairs)


WORDS: Sequence[bytes] = (
    *(b"%d" % number for number in (0, 12, 13, -1, 127, 128, -129, 32767, 32768, -8388608, 8388608, 2**31, -(2**63))),
    *(b"", b"word", b"01", b"-0", b"1.5", b"\x00\xff", b"x" * 63, b"y" * 64, b"z" * 300, b"w" * 20000),
)
"""Each once, of all forms."""

OLD_FORMS: dict[str, bytes] = {
    "a list of strings": payload(1, strings(*WORDS), version=1),
    "a set of strings": payload(2, strings(*WORDS), version=1),
    "a set of strings that are integers": payload(2, strings(b"5", b"-3", b"70000"), version=1),
    "a hash of strings": payload(4, length(2), *map(string, (b"f", b"1", b"g", b"word"))),
    "a hash with a long value": payload(4, length(2), *map(string, (b"f", b"x" * 65, b"g", b"word"))),
    "a hash with a value of 64 bytes": payload(4, length(1), string(b"f"), string(b"x" * 64)),
    "a set of strings that are 512 integers": payload(2, strings(*(b"%d" % number for number in range(512)))),
    "a set of strings that are 513 integers": payload(2, strings(*(b"%d" % number for number in range(513)))),
    "a sorted set with a name of 64 bytes": payload(3, ascii_scores((b"a" * 64, b"1"))),
    "a sorted set with scores as text": payload(3, ascii_scores((b"a", b"1.5"), (b"b", b"-7"), (b"c", b"3e+20"))),
    "infinite scores": payload(3, length(2), string(b"a"), b"\xfe", string(b"b"), b"\xff"),
    "scores as scanf reads them": payload(
        3, ascii_scores((b"a", b" 1.5e1x"), (b"b", b"0x10"), (b"c", b"-infinity"), (b"d", b"1e999"), (b"e", b"5\x006"))
    ),
    "scores in a listpack as strtod reads them": payload(
        17, string(listpack(b"\x81a\x02", b"\x85-1.5x\x06", b"\x81b\x02", b"\x82no\x03", b"\x81c\x02", b"\x83INF\x04"))
    ),
    "a sorted set with a long name": payload(3, ascii_scores((b"a" * 65, b"1.5"), (b"b", b"-7"))),
    "a small sorted set as if large": payload(5, length(1), string(b"a"), struct.pack("<d", -0.0)),
    "a zipmap": payload(9, string(zipmap((b"f", b"1"), (b"", b"x" * 60))), version=2),
    "a zipmap with unused bytes": payload(9, string(zipmap((b"f", b"1"), (b"g", b"word"), unused=3))),
    "a zipmap with long texts": payload(9, string(zipmap((b"f" * 300, b"1"), (b"g", b"w" * 254)))),
    "a list in one ziplist": payload(10, string(ziplist(*WORDS)), version=2),
    "a hash in a ziplist": payload(13, string(ziplist(b"f", b"1", b"g", b"x" * 300)), version=4),
    "a sorted set in a ziplist": payload(12, string(ziplist(b"a", b"1", b"b", b"2.5", b"c", b"1e+30")), version=4),
    "a list of ziplists": payload(
        14, length(3), string(ziplist(*WORDS)), string(ziplist()), string(ziplist(b"1", b"one")), version=7
    ),
    "a large hash in a ziplist": payload(13, string(ziplist(*(b"%d" % n for n in range(1100))))),
    "a large sorted set in a ziplist": payload(12, string(ziplist(*(b"%d" % n for n in range(300))))),
    "a large intset": payload(11, string(struct.pack("<II600h", 2, 600, *range(600)))),
    "a wide intset": payload(11, string(struct.pack("<II3q", 8, 3, -1, 0, 5))),
    "a plain node of a list": payload(18, length(2), length(1), string(b"alone"), length(1), string(b"12")),
    "a string that is an integer": payload(0, b"\xc1\x39\x30"),
    "a string with a footer in it": payload(0, b"\x0a"),
}
"""What Redis 7.0 reads."""

REFUSED: dict[str, bytes] = {
    "a type that is none": payload(8, string(b"x")),
    "a type that is newer": payload(20, string(b"x")),
    "a module's value": payload(7, string(b"x")),
    "nothing": sealed(b"\x0a\x00"),
    "a string that is cut off": payload(0, length(100), b"x"),
    "a string of all the memory there is": payload(0, b"\x81" + b"\xff" * 7 + b"\xf7"),
    "a length that is none": payload(0, b"\x82\x00"),
    "an unknown form of a string": payload(0, b"\xc4\x01\x01\x01\x01"),
    "an empty list": payload(1, length(0)),
    "an empty set": payload(2, length(0)),
    "an empty sorted set": payload(5, length(0)),
    "an empty hash": payload(4, length(0)),
    "an empty listpack": payload(16, string(b"\x07\x00\x00\x00\x00\x00\xff")),
    "a list of empty ziplists": payload(14, length(2), string(ziplist()), string(ziplist())),
    "a list of one empty ziplist": payload(10, string(ziplist())),
    "an empty plain node": payload(18, length(1), length(1), string(b"")),
    "a node of an unknown form": payload(18, length(1), length(3), string(b"x")),
    "an empty zipmap": payload(9, string(zipmap())),
    "an empty intset": payload(11, string(struct.pack("<II", 2, 0))),
    "an intset of an unknown width": payload(11, string(struct.pack("<II2h", 3, 2, 5, 6))),
    "a member twice in a set": payload(2, strings(b"a", b"b", b"a")),
    "a member twice in a set of integers": payload(2, strings(b"1", b"1")),
    "a field twice in a ziplist": payload(13, string(ziplist(b"f", b"1", b"f", b"2"))),
    "a field twice in a zipmap": payload(9, string(zipmap((b"f", b"1"), (b"f", b"2")))),
    "a name twice in a sorted set": payload(3, ascii_scores((b"a", b"1"), (b"a", b"2"))),
    "half a pair": payload(13, string(ziplist(b"f", b"1", b"g"))),
    "a score that is no number": payload(3, length(1), string(b"a"), b"\xfd"),
    "a binary score that is no number": payload(5, length(1), string(b"a"), struct.pack("<d", float("nan"))),
    "a score of letters": payload(3, ascii_scores((b"a", b"x1"))),
    "a score without text": payload(3, ascii_scores((b"a", b""))),
    "LZF of another length": payload(0, b"\xc3\x02\x05\x00a"),
    "LZF that reaches before the beginning": payload(0, b"\xc3\x04\x04\x00a\x20\x05"),
    "LZF that is cut off": payload(0, b"\xc3\x01\x01\x00"),
    "LZF that is cut off within a repeat": payload(0, b"\xc3\x04\x0c\x00a\xe0\x00"),
    "LZF that becomes larger than it may": payload(0, b"\xc3\x06\x08\x00a\xe0\xff\x00\x00"),
}
"""What Redis 7.0 calls bad."""

REFUSED_IF_CHECKED: dict[str, bytes] = {
    "an intset out of order": payload(11, string(struct.pack("<II2h", 2, 2, 5, 4))),
    "an intset with a member twice": payload(11, string(struct.pack("<II2h", 2, 2, 5, 5))),
    "a field twice": payload(4, length(2), *map(string, (b"f", b"1", b"f", b"2"))),
    "a listpack of another length": payload(16, string(listpack(b"\x01\x01", b"\x02\x01")[:-1] + b"\xff\xff")),
    "a listpack with another number of elements": payload(16, string(listpack(b"\x01\x01", b"\x02\x01", count=3))),
    "a listpack with a field twice": payload(16, string(listpack(*[b"\x01\x01"] * 4))),
    "a listpack with half a pair": payload(17, string(listpack(b"\x01\x01"))),
    "a listpack with an element that is cut off": payload(18, length(1), length(2), string(listpack(b"\x85ab"))),
    "a listpack with an element of unknown form": payload(18, length(1), length(2), string(listpack(b"\xf5\x01"))),
    "a listpack with a wrong length at the back": payload(18, length(1), length(2), string(listpack(b"\x82ab\x04"))),
    "a listpack that ends early": payload(18, length(1), length(2), string(listpack(b"\x01\x01", b"\xff", count=1))),
}
"""What Redis 7.0 calls bad with `sanitize-dump-payload yes`; else it may break later."""
