"""The snapshot: one immutable run of bytes that holds everything a worker decides from.

Written by edge.config.compile, read here. Nothing in the bytes is trusted: magic, format, length, SHA-256, and then every
offset, count, index and nesting is checked before the object exists; a reader below may follow them without looking.
Pointers (App, Route, their slices) stay valid while the Snapshot object lives: a request holds a reference.

All numbers are little-endian, all tables 8-byte aligned. Sections, in the header's order: see snapshot.pyx."""

from cpython.buffer cimport Py_buffer
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from _fastpath.route cimport Hosts
from _fastpath.slice cimport Slice


cdef enum AppFlag:
    APP_PASS_COOKIE = 1          # our cookies go to the origin too
    APP_ENCODED_SLASH = 2        # %2F in a path is let through. Call path_normal with encoded_slash=True, find(), and
                                 # refuse a normal path that holds "%2F" when this flag is absent.
    APP_SAMESITE_NONE = 4        # neither of the two: Lax
    APP_SAMESITE_STRICT = 8
    APP_SERVICE_401 = 16         # nobody signed in, and the client asks for no page: 401 instead of the sign-in redirect
    APP_OPTIONS_BYPASS = 32      # a CORS preflight (OPTIONS with Origin and Access-Control-Request-Method) goes through
    APP_HAS_ALLOW = 64           # has an allow policy: signing in can help
    APP_HAS_BYPASS = 128
    APP_HAS_SERVICE = 256        # has a non_identity policy
    APP_HTTP_ONLY = 512          # always set now


cdef enum RouteKind:
    ROUTE_NONE = 0
    ROUTE_TUNNEL = 1             # tunnel_id; empty while the tunnel does not exist
    ROUTE_SERVICE = 2            # dialled by the edge itself
    ROUTE_CONTROL = 3            # the auth domain: control's public.sock; no policy applies


cdef enum Scheme:                # of a ROUTE_SERVICE
    SCHEME_NONE = 0
    SCHEME_HTTP = 1
    SCHEME_HTTPS = 2
    SCHEME_UNIX = 3              # HTTP over a Unix socket
    SCHEME_UNIX_TLS = 4
    SCHEME_STATUS = 5            # http_status:NNN, answered by the worker
    SCHEME_HELLO = 6             # hello_world


cdef enum RouteFlag:
    ROUTE_NO_TLS_VERIFY = 1
    ROUTE_NO_CHUNKED = 2         # disable_chunked_encoding


cdef enum PolicyDecision:        # Cloudflare's names: allow, deny, bypass, non_identity
    POLICY_NONE = 0              # a rule group
    POLICY_ALLOW = 1
    POLICY_DENY = 2
    POLICY_BYPASS = 3
    POLICY_NON_IDENTITY = 4


cdef enum Op:                    # what an instruction asks; one row each in policy.pyx's table
    OP_NONE = 0                  # never written; damage
    OP_EVERYONE = 1
    OP_EMAIL = 2
    OP_EMAIL_DOMAIN = 3
    OP_IP = 4
    OP_LOGIN_METHOD = 5
    OP_IDP_GROUP = 6
    OP_CLAIM = 7
    OP_AUTH_METHOD = 8
    OP_SERVICE_TOKEN = 9
    OP_ANY_SERVICE_TOKEN = 10
    OP_GROUP = 11                # a rule group
    OP_COUNT = 12


cdef enum InstrFlag:
    INSTR_ONE = 1                # one value, in the instruction itself; else `set`


cdef enum:
    NO_INDEX = 0xFFFFFFFF        # "no set", "no group"


cdef struct Instr:               # one cache line, 64 bytes
    uint8_t op
    uint8_t flags
    uint16_t reserved
    int32_t rule                 # number of the (first) rule it stands for, as written, from 0
    uint32_t table               # index of the application's tables, or NO_INDEX
    uint32_t group               # OP_GROUP: index of the application's groups, smaller than the group it stands in
    uint32_t text                # INSTR_ONE: the value (OP_IP: first and last address, 32 bytes); offset in the fragment
    uint32_t text_len
    uint64_t hash                # of that value
                                 # without INSTR_ONE these 16 bytes are a filter over the table's values: bit n of
                                 # the two words is set where a hash (an address) begins with the seven bits n
    uint32_t name                # OP_CLAIM: the claim's name
    uint32_t name_len
    uint64_t name_hash
    uint32_t idp                 # only for who signed in with this provider; length 0 = any
    uint32_t idp_len
    uint64_t idp_hash


cdef struct Block:               # a policy or a rule group, 64 bytes
    uint8_t decision             # PolicyDecision
    uint8_t depth                # groups: nesting below it, from 1
    uint16_t reserved
    int32_t number               # policies: place as written, from 0 (blocks stand in the order of evaluation)
    uint32_t name
    uint32_t name_len
    uint32_t ident               # id, or empty
    uint32_t ident_len
    uint32_t first               # instruction; merged: include, then require, then exclude
    uint32_t n_include
    uint32_t n_require
    uint32_t n_exclude
    uint32_t plain               # instruction; the same rules one by one as written, for explain
    uint32_t n_plain_include
    uint32_t n_plain_require
    uint32_t n_plain_exclude
    int32_t session_duration     # seconds; -1 = the application's
    uint32_t reserved2


cdef struct Slot:                # of a set, 16 bytes; text 0 = free
    uint64_t hash
    uint32_t text                # offset in the set's strings of: uint32 length, bytes
    int32_t rule


cdef struct Range4:
    uint32_t first
    uint32_t last
    int32_t rule


cdef struct Range6:
    uint64_t first[2]            # high, low
    uint64_t last[2]
    int32_t rule
    uint32_t reserved


cdef enum TableKind:
    TABLE_NONE = 0
    TABLE_SET = 1                # strings
    TABLE_RANGES = 2             # IP addresses: disjoint, sorted


cdef struct Table:               # made at load, pointers into the bytes
    uint8_t kind
    uint32_t mask                # TABLE_SET: slots - 1
    uint32_t count               # entries
    const Slot* slots
    const uint8_t* strings
    size_t strings_len
    const Range4* ranges4
    uint32_t n4
    const Range6* ranges6
    uint32_t n6


cdef struct App:
    uint32_t index
    uint32_t flags               # AppFlag
    Slice id                     # UUID text
    Slice name
    Slice aud                    # 64 hex digits
    Slice cookie                 # CF_Authorization, or CF_Authorization_<12 hex>
    Slice* origins               # allowed_origins: serialised, lower case, without a slash at the end
    uint32_t n_origins
    int32_t session_duration     # seconds
    const Table* methods         # ids of the identity providers whose sessions count here; never NULL
    # the program
    const uint8_t* base          # offsets of Instr and Block count from here
    const uint8_t* texts         # for explain: see Snapshot.text_of
    const Instr* instrs
    uint32_t n_instrs
    const Block* policies        # bypass and non_identity first, then allow and deny
    uint32_t n_policies
    const Block* groups
    uint32_t n_groups
    const Table** tables
    uint32_t n_tables


cdef struct Route:
    uint32_t index
    uint8_t kind                 # RouteKind
    uint8_t scheme               # Scheme
    uint16_t port                # of a service; the scheme's own when the file names none
    uint16_t status              # SCHEME_STATUS
    uint32_t flags               # RouteFlag
    Slice hostname               # the pattern, as in the file
    Slice tunnel                 # name
    Slice tunnel_id              # 36 ASCII bytes, or empty: no such tunnel yet
    Slice host                   # to dial: name or address (IPv6 without brackets)
    Slice path                   # of a Unix socket
    Slice host_header            # empty: the request's own
    Slice server_name            # for SNI and verification; empty: `host`
    # its PEM trust anchors, when the file names some: settings["route_anchors"][index] (bytes)


cdef struct Span:                # a section of the file
    uint64_t offset
    uint64_t length


cdef struct Place:
    const App* app               # NULL: no application covers this
    const Route* route           # NULL: no route
    bint host_known              # False: nobody has heard of this host (404)


cdef class Snapshot:
    cdef readonly uint64_t version
    cdef readonly dict settings  # decoded once; treat as read-only
    cdef readonly bytes digest   # SHA-256 as stored
    cdef uint64_t key[2]         # of text_hash, for sets and facts
    cdef Py_buffer view          # the bytes (bytes object or mmap); held until dealloc
    cdef bint held
    cdef Hosts hosts
    cdef App* apps
    cdef uint32_t n_apps
    cdef Route* routes
    cdef uint32_t n_routes
    cdef Table* tables
    cdef uint32_t n_tables
    cdef const Table** links     # every application's tables, one after the other
    cdef Slice* origins
    cdef int find(self, Slice host, Slice path, Place* out) noexcept nogil
        # host as host_normal, path as path_normal give them. Always fills out; returns out.host_known.
    cdef const App* app_by_aud(self, Slice aud) noexcept nogil      # NULL when none; O(n): not per request
    cdef Slice text_of(self, const App* app, uint32_t instr) noexcept nogil   # what a plain instruction says, for people
    cdef int load(self, object data) except -1
    cdef void* room(self, uint64_t count, size_t size) except NULL
    cdef uint32_t members(self, Span s, size_t size, str name) except? 0
    cdef int take_hosts(self, const uint8_t* base, const Span* s) except -1
    cdef bint take_tables(self, const uint8_t* base, const Span* s) noexcept nogil
    cdef bint take_apps(self, const uint8_t* base, const Span* s) noexcept nogil
    cdef bint take_routes(self, const uint8_t* base, const Span* s) noexcept nogil
    cdef int take_settings(self, object data) except -1


cdef dict application_dict(const App* app)
cdef dict route_dict(const Route* route)
