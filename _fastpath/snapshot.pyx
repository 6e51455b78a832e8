"""The snapshot's reader: checks every byte that a later look-up follows, then hands out pointers.

Layout: Header, then the sections it names (each 8-byte aligned):
    STRINGS    text of hosts, paths and routes
    HOSTS      HostRow slots, a power of two
    PATHS      PathRow
    APPS       AppRow: where the fragment is, and its tables' numbers in IMPORTS
    FRAGMENTS  FragmentHead, its arrays and strings; offsets count from the fragment's first byte
    IMPORTS    uint32 numbers of tables
    TABLES     TableRow
    DATA       sets and address ranges
    ROUTES     RouteRow
    SETTINGS   one msgpack map

A fragment holds one application and depends on nothing else in the file, so that the compiler can keep it; what
applications share (lists, sets) are tables, present once."""

import hashlib
import mmap

import msgpack

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from _fastpath.limits cimport MAX_GROUP_DEPTH, MAX_INSTRUCTIONS, MAX_POLICIES, MAX_RULE_GROUPS
from _fastpath.route cimport Found, HostRow, PathRow, hosts_find, text_hash
from _fastpath.slice cimport slice_bytes, slice_eq, slice_of

cdef enum:
    FORMAT = 2                   # 2: FragmentHead.methods

cdef enum Section:
    STRINGS = 0
    HOSTS
    PATHS
    APPS
    FRAGMENTS
    IMPORTS
    TABLES
    DATA
    ROUTES
    SETTINGS
    SECTIONS

cdef struct Header:
    char magic[8]
    uint32_t format
    uint32_t size                # of this header
    uint64_t length              # of the whole file
    uint64_t version
    uint64_t key[2]
    uint8_t digest[32]           # SHA-256 of all bytes but these
    Span sections[10]

cdef struct Text:
    uint32_t offset
    uint32_t length

cdef struct AppRow:
    uint64_t offset              # in FRAGMENTS
    uint32_t length
    uint32_t imports             # first one
    uint32_t n_imports
    uint32_t reserved

cdef struct FragmentHead:
    uint32_t flags
    int32_t session_duration
    uint32_t n_tables
    uint32_t methods             # number of the set of provider ids, among the fragment's tables
    Text id
    Text name
    Text aud
    Text cookie
    Text origins                 # this and the next: first byte of an array, and how many
    Text instrs
    Text policies
    Text groups
    Text texts                   # Text[n_instrs]: what a plain instruction says, for people

cdef struct TableRow:
    uint32_t kind
    uint32_t slots               # TABLE_SET: slots; TABLE_RANGES: IPv4 ranges
    uint32_t count
    uint32_t n6
    uint64_t offset              # in DATA
    uint64_t length

cdef struct RouteRow:
    uint32_t kind
    uint32_t scheme
    uint32_t port
    uint32_t status
    uint32_t flags
    uint32_t reserved
    Text hostname
    Text tunnel
    Text tunnel_id
    Text host
    Text path
    Text host_header
    Text server_name

cdef const char* MAGIC = b"SEKISHOS"

# What the compiler needs to know of the layout: sizes, and where the digest is.
HEADER_SIZE = sizeof(Header)
DIGEST_AT = 48
FORMAT_VERSION = FORMAT
SECTION_NAMES = ("strings", "hosts", "paths", "apps", "fragments", "imports", "tables", "data", "routes", "settings")
SIZES = {
    "host": sizeof(HostRow), "path": sizeof(PathRow), "app": sizeof(AppRow), "fragment": sizeof(FragmentHead),
    "instr": sizeof(Instr), "block": sizeof(Block), "slot": sizeof(Slot), "range4": sizeof(Range4),
    "range6": sizeof(Range6), "table": sizeof(TableRow), "route": sizeof(RouteRow),
}


class SnapshotDamaged(ValueError):
    """The bytes are not a whole snapshot that this version reads. Nothing of it may be used."""


cdef inline bint inside(uint64_t offset, uint64_t length, uint64_t room) noexcept nogil:
    return offset <= room and length <= room - offset


cdef inline bint text_fits(Text t, uint64_t room) noexcept nogil:
    return inside(t.offset, t.length, room)


cdef inline bint array_fits(Text t, size_t size, uint64_t room) noexcept nogil:
    """An array of t.length members of this size at t.offset, aligned."""
    return t.offset % 8 == 0 and inside(t.offset, <uint64_t>t.length * size, room)


cdef inline Slice taken(const uint8_t* base, Text t) noexcept nogil:
    return slice_of(base + t.offset, t.length)


cdef bint set_sound(const Table* t) noexcept nogil:
    """Every string inside its run, and at least one free slot, or a look-up would not end early."""
    cdef uint32_t i, n = 0, length
    if t.strings_len < 4 or <uint64_t>t.strings_len >> 32:
        return False
    for i in range(t.mask + 1):
        if t.slots[i].text == 0:
            continue
        n += 1
        if t.slots[i].rule < 0 or not inside(t.slots[i].text, 4, t.strings_len):
            return False
        memcpy(&length, t.strings + t.slots[i].text, 4)
        if not inside(<uint64_t>t.slots[i].text + 4, length, t.strings_len):
            return False
    return n == t.count and n <= t.mask


cdef inline bint above6(const uint64_t* a, const uint64_t* b) noexcept nogil:
    return a[0] > b[0] or (a[0] == b[0] and a[1] > b[1])


cdef bint ranges_sound(const Table* t) noexcept nogil:
    cdef uint32_t i
    for i in range(t.n4):
        if t.ranges4[i].first > t.ranges4[i].last or t.ranges4[i].rule < 0:
            return False
        if i and t.ranges4[i].first <= t.ranges4[i - 1].last:
            return False
    for i in range(t.n6):
        if above6(t.ranges6[i].first, t.ranges6[i].last) or t.ranges6[i].rule < 0:
            return False
        if i and not above6(t.ranges6[i].first, t.ranges6[i - 1].last):
            return False
    return True


cdef bint table_load(const TableRow* row, const uint8_t* data, uint64_t room, Table* out) noexcept nogil:
    cdef uint64_t used
    memset(out, 0, sizeof(Table))
    if row.offset % 8 or not inside(row.offset, row.length, room):
        return False
    out.kind = <uint8_t>row.kind
    out.count = row.count
    if row.kind == TABLE_SET:
        used = <uint64_t>row.slots * sizeof(Slot)
        if row.slots == 0 or row.slots & (row.slots - 1) or used > row.length:
            return False
        out.mask = row.slots - 1
        out.slots = <const Slot*>(data + row.offset)
        out.strings = data + row.offset + used
        out.strings_len = row.length - used
        return set_sound(out)
    if row.kind != TABLE_RANGES:
        return False
    used = <uint64_t>row.n6 * sizeof(Range6)
    if used + <uint64_t>row.slots * sizeof(Range4) != row.length:
        return False
    out.n6, out.n4 = row.n6, row.slots
    out.ranges6 = <const Range6*>(data + row.offset)
    out.ranges4 = <const Range4*>(data + row.offset + used)
    return ranges_sound(out)


cdef bint instr_sound(const Instr* i, const App* app, uint32_t groups_below, uint64_t room) noexcept nogil:
    """An op that this version doesn't know is let through: the evaluator denies on it, for this application alone."""
    cdef Text text
    if i.rule < 0:
        return False
    text.offset, text.length = i.text, i.text_len
    if i.flags & INSTR_ONE and not text_fits(text, room):
        return False
    text.offset, text.length = i.name, i.name_len
    if not text_fits(text, room):
        return False
    text.offset, text.length = i.idp, i.idp_len
    if not text_fits(text, room):
        return False
    if i.op == OP_GROUP:
        return i.group < groups_below
    if i.op == OP_NONE or i.op >= OP_COUNT or i.op == OP_EVERYONE or i.op == OP_ANY_SERVICE_TOKEN:
        return True
    if i.flags & INSTR_ONE:
        return i.op != OP_IP or i.text_len == 32
    if i.table >= app.n_tables:
        return False
    return app.tables[i.table].kind == (TABLE_RANGES if i.op == OP_IP else TABLE_SET)


cdef bint block_sound(const Block* b, const App* app, uint32_t groups_below, uint64_t room) noexcept nogil:
    cdef Text text
    cdef uint32_t i
    cdef uint64_t merged = <uint64_t>b.n_include + b.n_require + b.n_exclude
    cdef uint64_t plain = <uint64_t>b.n_plain_include + b.n_plain_require + b.n_plain_exclude
    cdef int depth = 0
    text.offset, text.length = b.name, b.name_len
    if not text_fits(text, room):
        return False
    text.offset, text.length = b.ident, b.ident_len
    if not text_fits(text, room):
        return False
    if not inside(b.first, merged, app.n_instrs) or not inside(b.plain, plain, app.n_instrs):
        return False
    for i in range(<uint32_t>merged):
        if not instr_sound(&app.instrs[b.first + i], app, groups_below, room):
            return False
        # merged include rules stand in the order of their first rule: the evaluator stops early by that
        if 0 < i < b.n_include and app.instrs[b.first + i].rule < app.instrs[b.first + i - 1].rule:
            return False
        if app.instrs[b.first + i].op == OP_GROUP:
            depth = max(depth, <int>app.groups[app.instrs[b.first + i].group].depth)
    for i in range(<uint32_t>plain):
        if not instr_sound(&app.instrs[b.plain + i], app, groups_below, room):
            return False
    if app.groups <= b < app.groups + app.n_groups:
        return b.decision == POLICY_NONE and b.depth == depth + 1 and b.depth <= MAX_GROUP_DEPTH
    return POLICY_ALLOW <= b.decision <= POLICY_NON_IDENTITY and b.number >= 0


cdef bint fragment_load(const uint8_t* base, uint64_t room, App* app, Slice* origins) noexcept nogil:
    """Fill app from its fragment; app.tables and app.n_tables are set. False when anything is out of place."""
    cdef const FragmentHead* head = <const FragmentHead*>base
    cdef const Text* texts
    cdef uint32_t i
    cdef bint late = False, late_seen = False
    if room < sizeof(FragmentHead) or head.n_tables != app.n_tables:
        return False
    if not (text_fits(head.id, room) and text_fits(head.name, room) and text_fits(head.aud, room)
            and text_fits(head.cookie, room) and array_fits(head.origins, sizeof(Text), room)
            and array_fits(head.instrs, sizeof(Instr), room) and array_fits(head.policies, sizeof(Block), room)
            and array_fits(head.groups, sizeof(Block), room) and array_fits(head.texts, sizeof(Text), room)):
        return False
    if (head.aud.length != 64 or head.cookie.length == 0 or head.texts.length != head.instrs.length
            or head.instrs.length > MAX_INSTRUCTIONS or head.policies.length > MAX_POLICIES
            or head.groups.length > MAX_RULE_GROUPS
            or head.methods >= app.n_tables or app.tables[head.methods].kind != TABLE_SET):
        return False
    app.flags = head.flags
    app.session_duration = head.session_duration
    app.methods = app.tables[head.methods]
    app.id, app.name = taken(base, head.id), taken(base, head.name)
    app.aud, app.cookie = taken(base, head.aud), taken(base, head.cookie)
    app.base = base
    app.instrs, app.n_instrs = <const Instr*>(base + head.instrs.offset), head.instrs.length
    app.policies, app.n_policies = <const Block*>(base + head.policies.offset), head.policies.length
    app.groups, app.n_groups = <const Block*>(base + head.groups.offset), head.groups.length
    app.texts = base + head.texts.offset
    app.origins, app.n_origins = origins, head.origins.length
    texts = <const Text*>(base + head.origins.offset)
    for i in range(app.n_origins):
        if not text_fits(texts[i], room):
            return False
        origins[i] = taken(base, texts[i])
    texts = <const Text*>app.texts
    for i in range(app.n_instrs):
        if not text_fits(texts[i], room):
            return False
    for i in range(app.n_groups):
        if not block_sound(&app.groups[i], app, i, room):
            return False
    for i in range(app.n_policies):
        if not block_sound(&app.policies[i], app, app.n_groups, room):
            return False
        # bypass and non_identity come first: the evaluator goes through once
        late = app.policies[i].decision <= POLICY_DENY
        if late_seen and not late:
            return False
        late_seen = late_seen or late
    return True


cdef bint hosts_sound(const Hosts* h, uint32_t n_apps, uint32_t n_routes) noexcept nogil:
    cdef uint32_t i, j, used = 0
    cdef const HostRow* row
    cdef const PathRow* path
    for i in range(h.n_paths):
        path = &h.paths[i]
        if not inside(path.text, path.text_len, h.strings_len) or path.app >= n_apps:
            return False
    for i in range(h.mask + 1):
        row = &h.rows[i]
        if row.name_len == 0:
            continue
        used += 1
        if (not inside(row.name, row.name_len, h.strings_len) or row.route > n_routes
                or not inside(row.paths, row.n_paths, h.n_paths)
                or not inside(row.patterns, row.n_patterns, h.n_paths)):
            return False
        for j in range(row.n_paths):
            if h.paths[row.paths + j].parent > j:       # only lower rows: the walk upwards ends
                return False
    return used <= h.mask


cdef bint route_load(const RouteRow* row, const uint8_t* strings, uint64_t room, Route* out) noexcept nogil:
    if not (text_fits(row.hostname, room) and text_fits(row.tunnel, room) and text_fits(row.tunnel_id, room)
            and text_fits(row.host, room) and text_fits(row.path, room) and text_fits(row.host_header, room)
            and text_fits(row.server_name, room)):
        return False
    if not ROUTE_NONE < row.kind <= ROUTE_CONTROL or row.scheme > SCHEME_HELLO or row.port > 65535 or row.status > 999:
        return False
    out.kind, out.scheme = <uint8_t>row.kind, <uint8_t>row.scheme
    out.port, out.status, out.flags = <uint16_t>row.port, <uint16_t>row.status, row.flags
    out.hostname = taken(strings, row.hostname)
    out.tunnel, out.tunnel_id = taken(strings, row.tunnel), taken(strings, row.tunnel_id)
    out.host, out.path = taken(strings, row.host), taken(strings, row.path)
    out.host_header, out.server_name = taken(strings, row.host_header), taken(strings, row.server_name)
    return True


@cython.final
cdef class Snapshot:
    """Snapshot(data): check the bytes and take hold of them, or raise SnapshotDamaged.

    data: bytes or a read-only mmap. It may take some milliseconds for each MB: call it in a thread (hashing and checking
    release the interpreter lock)."""

    def __cinit__(self, data):
        self.held = False
        self.apps = NULL
        self.routes = NULL
        self.tables = NULL
        self.links = NULL
        self.origins = NULL
        self.n_apps = self.n_routes = self.n_tables = 0
        self.settings = {}
        PyObject_GetBuffer(data, &self.view, PyBUF_SIMPLE)
        self.held = True
        self.load(data)

    def __dealloc__(self):
        # The tables live exactly as long as the snapshot and never grow: a Buffer would add nothing (rule zero, rule 5).
        free(self.apps)
        free(self.routes)
        free(self.tables)
        free(self.links)
        free(self.origins)
        if self.held:
            PyBuffer_Release(&self.view)

    @staticmethod
    def open(path) -> Snapshot:
        """Map a file read-only and check it; raises SnapshotDamaged or OSError."""
        with open(path, "rb") as file:
            try:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:            # an empty file can't be mapped
                raise SnapshotDamaged("it is empty") from error
        return Snapshot(data)

    cdef int load(self, object data) except -1:
        cdef const uint8_t* base = <const uint8_t*>self.view.buf
        cdef uint64_t length = <uint64_t>self.view.len
        cdef const Header* h = <const Header*>base
        cdef const Span* s
        cdef bint sound
        if length < sizeof(Header):
            raise SnapshotDamaged("it is shorter than a header")
        if memcmp(h.magic, MAGIC, 8) != 0:
            raise SnapshotDamaged("it is not a snapshot")
        if h.format != FORMAT or h.size != sizeof(Header):
            raise SnapshotDamaged(f"its format is {h.format}, this version reads {FORMAT}")
        if h.length != length:
            raise SnapshotDamaged(f"it has {length} bytes of {h.length}")
        digest = hashlib.sha256(memoryview(data)[:DIGEST_AT])
        digest.update(memoryview(data)[DIGEST_AT + 32:])
        self.digest = digest.digest()
        if self.digest != h.digest[:32]:
            raise SnapshotDamaged("its bytes do not have its SHA-256")
        for i in range(<int>SECTIONS):
            if h.sections[i].offset % 8 or not inside(h.sections[i].offset, h.sections[i].length, length):
                raise SnapshotDamaged(f"section {SECTION_NAMES[i]} lies outside")
        s = h.sections
        self.version = h.version
        self.key[0], self.key[1] = h.key[0], h.key[1]
        self.n_apps = self.members(s[<int>APPS], sizeof(AppRow), "apps")
        self.n_routes = self.members(s[<int>ROUTES], sizeof(RouteRow), "routes")
        self.n_tables = self.members(s[<int>TABLES], sizeof(TableRow), "tables")
        self.take_hosts(base, s)
        self.apps = <App*>self.room(self.n_apps, sizeof(App))
        self.routes = <Route*>self.room(self.n_routes, sizeof(Route))
        self.tables = <Table*>self.room(self.n_tables, sizeof(Table))
        self.links = <const Table**>self.room(s[<int>IMPORTS].length // 4, sizeof(Table*))
        # an origin is a Text of 8 bytes somewhere in FRAGMENTS, counted for each application
        self.origins = <Slice*>self.room(s[<int>FRAGMENTS].length // sizeof(Text), sizeof(Slice))
        with nogil:
            sound = self.take_tables(base, s) and self.take_apps(base, s) and self.take_routes(base, s)
        if not sound:
            raise SnapshotDamaged("a table, application or route points outside or is out of order")
        self.take_settings(memoryview(data)[s[<int>SETTINGS].offset:s[<int>SETTINGS].offset + s[<int>SETTINGS].length])
        return 0

    cdef void* room(self, uint64_t count, size_t size) except NULL:
        cdef void* block = calloc(count if count else 1, size)
        if block == NULL:
            raise MemoryError()
        return block

    cdef uint32_t members(self, Span s, size_t size, str name) except? 0:
        if s.length % size or s.length // size > 0x7FFFFFFF:
            raise SnapshotDamaged(f"section {name} is not a whole number of rows")
        return <uint32_t>(s.length // size)

    cdef int take_hosts(self, const uint8_t* base, const Span* s) except -1:
        cdef uint32_t slots = self.members(s[<int>HOSTS], sizeof(HostRow), "hosts")
        cdef bint sound
        if slots == 0 or slots & (slots - 1):
            raise SnapshotDamaged("the host table is not a power of two")
        self.hosts.key[0], self.hosts.key[1] = self.key[0], self.key[1]
        self.hosts.rows = <const HostRow*>(base + s[<int>HOSTS].offset)
        self.hosts.mask = slots - 1
        self.hosts.paths = <const PathRow*>(base + s[<int>PATHS].offset)
        self.hosts.n_paths = self.members(s[<int>PATHS], sizeof(PathRow), "paths")
        self.hosts.strings = base + s[<int>STRINGS].offset
        self.hosts.strings_len = s[<int>STRINGS].length
        with nogil:
            sound = hosts_sound(&self.hosts, self.n_apps, self.n_routes)
        if not sound:
            raise SnapshotDamaged("a host or path points outside")
        return 0

    cdef bint take_tables(self, const uint8_t* base, const Span* s) noexcept nogil:
        cdef const TableRow* rows = <const TableRow*>(base + s[<int>TABLES].offset)
        cdef const uint8_t* data = base + s[<int>DATA].offset
        cdef uint32_t i
        for i in range(self.n_tables):
            if not table_load(&rows[i], data, s[<int>DATA].length, &self.tables[i]):
                return False
        return True

    cdef bint take_apps(self, const uint8_t* base, const Span* s) noexcept nogil:
        cdef const AppRow* rows = <const AppRow*>(base + s[<int>APPS].offset)
        cdef const uint8_t* fragments = base + s[<int>FRAGMENTS].offset
        cdef const uint32_t* imports = <const uint32_t*>(base + s[<int>IMPORTS].offset)
        cdef uint64_t n_imports = s[<int>IMPORTS].length // 4
        cdef uint64_t origins = 0, room = s[<int>FRAGMENTS].length // sizeof(Text)
        cdef uint32_t i, j
        cdef App* app
        cdef const FragmentHead* head
        for i in range(self.n_apps):
            app = &self.apps[i]
            app.index = i
            if (rows[i].offset % 8 or not inside(rows[i].offset, rows[i].length, s[<int>FRAGMENTS].length)
                    or rows[i].length < sizeof(FragmentHead)
                    or not inside(rows[i].imports, rows[i].n_imports, n_imports)):
                return False
            app.tables = self.links + rows[i].imports
            app.n_tables = rows[i].n_imports
            for j in range(app.n_tables):
                if imports[rows[i].imports + j] >= self.n_tables:
                    return False
                app.tables[j] = &self.tables[imports[rows[i].imports + j]]
            head = <const FragmentHead*>(fragments + rows[i].offset)
            if head.origins.length > room - origins:
                return False
            if not fragment_load(fragments + rows[i].offset, rows[i].length, app, self.origins + origins):
                return False
            origins += app.n_origins
        return True

    cdef bint take_routes(self, const uint8_t* base, const Span* s) noexcept nogil:
        cdef const RouteRow* rows = <const RouteRow*>(base + s[<int>ROUTES].offset)
        cdef uint32_t i
        for i in range(self.n_routes):
            self.routes[i].index = i
            if not route_load(&rows[i], self.hosts.strings, self.hosts.strings_len, &self.routes[i]):
                return False
        return True

    cdef int take_settings(self, object data) except -1:
        try:
            settings = msgpack.unpackb(data, strict_map_key=False)
        except Exception as error:               # msgpack's own errors have no common base
            raise SnapshotDamaged("its settings can't be read") from error
        if not isinstance(settings, dict):
            raise SnapshotDamaged("its settings are not a map")
        self.settings = settings
        return 0

    cdef int find(self, Slice host, Slice path, Place* out) noexcept nogil:
        cdef Found found
        hosts_find(&self.hosts, host, path, &found)
        out.host_known = found.host_known
        out.app = &self.apps[found.app - 1] if found.app else NULL
        out.route = &self.routes[found.route - 1] if found.route else NULL
        if out.route != NULL and out.route.kind == ROUTE_CONTROL:
            out.app = NULL           # a wildcard application doesn't reach the auth domain
        return out.host_known

    cdef const App* app_by_aud(self, Slice aud) noexcept nogil:
        cdef uint32_t i
        for i in range(self.n_apps):
            if slice_eq(self.apps[i].aud, aud):
                return &self.apps[i]
        return NULL

    cdef Slice text_of(self, const App* app, uint32_t instr) noexcept nogil:
        return taken(app.base, (<const Text*>app.texts)[instr])

    def applications(self) -> list:
        """Return every application in the order of its index: what a person or a test may want to see of it."""
        return [application_dict(&self.apps[i]) for i in range(self.n_apps)]

    def routes_list(self) -> list:
        """Return every route in the order of its index."""
        return [route_dict(&self.routes[i]) for i in range(self.n_routes)]

    def place(self, host: bytes, path: bytes) -> dict:
        """Return {"host_known", "application": dict | None, "route": dict | None} for a normalised host and path."""
        cdef Place place
        self.find(slice_of(<const uint8_t*>(<bytes>host), len(host)),
                  slice_of(<const uint8_t*>(<bytes>path), len(path)), &place)
        return {
            "host_known": bool(place.host_known),
            "application": application_dict(place.app) if place.app != NULL else None,
            "route": route_dict(place.route) if place.route != NULL else None,
        }


cdef str text(Slice s):
    return slice_bytes(s).decode()


cdef dict application_dict(const App* app):
    return {
        "index": app.index, "id": text(app.id), "name": text(app.name), "aud": text(app.aud),
        "cookie": text(app.cookie), "flags": app.flags, "session_duration": app.session_duration,
        "origins": [text(app.origins[i]) for i in range(app.n_origins)],
    }


cdef dict route_dict(const Route* route):
    return {
        "index": route.index, "kind": ("none", "tunnel", "service", "control")[route.kind],
        "hostname": text(route.hostname), "tunnel": text(route.tunnel), "tunnel_id": text(route.tunnel_id),
        "scheme": ("", "http", "https", "unix", "unix+tls", "http_status", "hello_world")[route.scheme],
        "host": text(route.host), "port": route.port, "path": text(route.path), "status": route.status,
        "host_header": text(route.host_header), "server_name": text(route.server_name), "flags": route.flags,
    }


def set_table(bytes key, list values, list rules) -> tuple:
    """Build a set: (bytes, slots, entries). values: bytes; rules: the number that a hit returns; of equal values the
    lowest number stays."""
    cdef uint64_t words[2]
    cdef uint64_t hash, slots = 2
    cdef uint64_t at, end = 4                    # offset 0 means a free slot
    cdef Slot* table
    cdef bytes value
    if len(key) != 16 or len(values) != len(rules):
        raise ValueError("the key has 16 bytes, and every value a rule")
    memcpy(words, <const uint8_t*>key, 16)
    lowest = {}
    for value, rule in zip(values, rules, strict=True):
        if rule < lowest.get(value, 0x7FFFFFFF):
            lowest[value] = rule
    while slots * 2 < <uint64_t>len(lowest) * 3 + 1:              # two thirds full at most
        slots *= 2
    data = bytearray(slots * sizeof(Slot))
    table = <Slot*>(<char*>data)
    strings = [b"\0\0\0\0"]
    for value, rule in lowest.items():
        hash = text_hash(words, <const uint8_t*>value, len(value))
        at = hash & (slots - 1)
        while table[at].text != 0:
            at = (at + 1) & (slots - 1)
        table[at].hash, table[at].text, table[at].rule = hash, <uint32_t>end, rule
        strings.append(len(value).to_bytes(4, "little"))
        strings.append(value)
        end += 4 + len(value)
        if end > 0xFFFFFFFF or slots > 0x80000000:
            raise ValueError("a set is limited to 4 GiB of text")
    return bytes(data) + b"".join(strings), slots, len(lowest)
