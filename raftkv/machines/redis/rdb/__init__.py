"""Redis's own format of values, RDB version 10, as DUMP writes it and RESTORE reads it.

Each file knows one layer, the outer ones use the inner ones:

    payload                             a whole payload: type, value, version, checksum
    write, read                         values of each type
    fields                              lengths, strings, doubles
    listpack, ziplist, zipmap, intset   collections within one string
    lzf                                 compressed strings
    crc64                               the checksum

What is read comes from a client and may be anything. Whatever is not well-formed raises `Malformed`, and nothing else.
Readers look at each byte a fixed number of times and make nothing that is larger than what they have read, except
compressed strings (88 times as large at most), of which fields.py keeps an account.
"""

from __future__ import annotations


class Malformed(Exception):
    """The bytes are no value; the text says where and why, for tests and debugging: clients see Redis's text."""
