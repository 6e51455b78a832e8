"""Service tables: which service of a tunnel takes a host and a path."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastpath.limits cimport MAX_HOSTS_CACHED, MAX_TABLE_ENTRIES, MAX_TABLE_PATHS
from _fastpath.slice cimport Slice, slice_bytes, slice_of

import re2

cdef uint64_t _pools = 0                   # of (link, table version, index) in this process
cdef frozenset HTTP_SCHEMES = frozenset((b"http", b"https", b"ws", b"wss", b"unix", b"unix+tls"))


class TableError(ValueError):
    """A service table that can't be used; says which entry and why. The connector's fault."""


@cython.final
cdef class Entry:
    @staticmethod
    cdef Entry new(object values, int position):
        cdef Entry e = Entry.__new__(Entry)
        global _pools
        options = values.get("options", {})
        if not isinstance(options, dict):
            raise TableError(f"entry {position}: options is not a map")
        e.index = field(values, "index", int, position, position)
        e.hostname = field(values, "hostname", str, position, "").encode().lower()
        e.path = field(values, "path", str, position, "").encode()
        e.service = field(values, "service", str, position, "").encode()
        e.host_header = field(options, "httpHostHeader", str, position, "").encode()
        e.disable_chunked = field(options, "disableChunkedEncoding", bool, position, False)
        e.match_sni = field(options, "matchSNItoHost", bool, position, False)
        # These are shown to people and written into logs: nothing that a terminal obeys gets in.
        for name, value, most in (("hostname", e.hostname, 253), ("service", e.service, 512),
                                  ("httpHostHeader", e.host_header, 255)):
            if len(value) > most or any(c <= 32 or c >= 127 for c in value):
                raise TableError(f"entry {position}: {name} has a byte that it can't have, or is over {most} long")
        if len(e.path) > 1024 or any(c < 32 or c == 127 for c in e.path):
            raise TableError(f"entry {position}: path has a control byte, or is over 1024 long")
        scheme, colon, rest = e.service.partition(b":")
        if e.service == b"hello_world":
            e.kind = SERVICE_HELLO
        elif scheme == b"http_status":
            if not (rest.isdigit() and len(rest) == 3 and 100 <= int(rest) <= 999):
                raise TableError(f"entry {position}: http_status takes 100 to 999")
            e.kind = SERVICE_STATUS
            e.status = int(rest)
        elif not colon:
            raise TableError(f"entry {position}: no such service: {e.service.decode()!r}")
        else:
            e.kind = SERVICE_HTTP if scheme in HTTP_SCHEMES else SERVICE_TCP
        _pools += 1
        e.pool = _pools
        return e

    cdef bint takes(self, bytes host):
        return not self.hostname or named(self.hostname, host)


cdef bint named(bytes pattern, bytes host):
    if pattern.startswith(b"*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


cdef bint within(tuple limit, bytes host):
    for pattern in limit:
        if named(pattern, host):
            return True
    return False


cdef object field(object values, str name, type kind, int position, object default):
    value = values.get(name, default)
    if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or not 0 <= value < 1 << 31)):
        raise TableError(f"entry {position}: {name} has the wrong type")
    return value


@cython.final
cdef class Rules:
    cdef Entry match(self, Slice path):
        if self.patterns is not None:
            found = self.patterns.Match(slice_bytes(path))
            if found:
                return self.patterned[min(found)]
        return self.plain


@cython.final
cdef class Table:
    def __init__(self, uint32_t version, entries, limit=()):
        """Build from a `table` message, or raise TableError; the old table then stays. With a limit no entry takes
        a host outside of it, whatever its own hostname is."""
        if len(entries) > MAX_TABLE_ENTRIES:
            raise TableError(f"more than {MAX_TABLE_ENTRIES} entries")
        self.version = version
        self.limit = tuple([str(name).lower().encode() for name in limit])
        self.hosts = {}
        self.entries = [Entry.new(values, position) for position, values in enumerate(entries)]
        if len({(<Entry>one).index for one in self.entries}) != len(self.entries):
            raise TableError("two entries have one index")
        paths = [(<Entry>one).path for one in self.entries if (<Entry>one).path]
        if len(paths) > MAX_TABLE_PATHS:
            raise TableError(f"more than {MAX_TABLE_PATHS} entries have a path")
        for path in paths:
            pattern_set([path])            # a bad pattern is said now, not at the first request

    cdef Entry match(self, Slice host, Slice path):
        cdef bytes name = slice_bytes(host)
        cdef Rules rules = self.hosts.get(name)
        if rules is None:
            if self.limit and not within(self.limit, name):
                return None                # not remembered: names of others would push out its own
            rules = self.rules_of(name)
        return rules.match(path)

    cdef Rules rules_of(self, bytes host):
        cdef Rules rules = Rules.__new__(Rules)
        cdef Entry entry
        rules.patterned = []
        for entry in self.entries:
            if entry.takes(host):
                if not entry.path:
                    rules.plain = entry
                    break
                rules.patterned.append(entry)
        if rules.patterned:
            rules.patterns = pattern_set([(<Entry>one).path for one in rules.patterned])
        if len(self.hosts) >= MAX_HOSTS_CACHED:
            self.hosts.clear()             # a wildcard route: any name may come
        self.hosts[host] = rules
        return rules

    def find(self, str host, str path):
        """Return the entry that takes a request, None when none does: what resolve() asks."""
        cdef bytes h = host.encode()
        cdef bytes p = path.encode()
        return self.match(slice_of(<const uint8_t*><const char*>h, len(h)),
                          slice_of(<const uint8_t*><const char*>p, len(p)))


def pattern_set(list patterns):
    """Return an unanchored re2.Set over `patterns` (bytes); raise TableError for one that re2 can't take."""
    options = re2.Options()
    options.log_errors = False
    found = re2.Set.SearchSet(options)
    for pattern in patterns:
        try:
            number = found.Add(pattern)
        except Exception:
            number = -1
        if number < 0:
            raise TableError(f"path pattern {pattern.decode(errors='replace')!r} is not understood")
    found.Compile()
    return found
