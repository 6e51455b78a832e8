"""Service tables: which service of a tunnel takes a host and a path (cloudflared's semantics)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from _fastpath.slice cimport Slice


cdef enum ServiceKind:
    SERVICE_NONE = 0         # nothing to relay to: Service.reason says why
    SERVICE_HTTP = 1         # http, https, ws, wss, unix, unix+tls: HTTP/1.1 over the stream
    SERVICE_STATUS = 2       # http_status:N: the worker answers Service.status itself, nothing is opened
    SERVICE_HELLO = 3        # hello_world: the worker answers a test page itself
    SERVICE_TCP = 4          # any other scheme: bytes for our client; a cookie is never accepted (design §4.4)


cdef class Entry:
    """One line of a service table, as the edge needs it."""
    cdef readonly uint32_t index
    cdef readonly bytes hostname                       # b"" = every host; may begin with b"*."
    cdef readonly bytes path                           # b"" = every path
    cdef readonly uint8_t kind
    cdef readonly uint16_t status
    cdef readonly bint disable_chunked
    cdef readonly bint match_sni
    cdef readonly bytes host_header
    cdef readonly bytes service                        # as announced, for display
    cdef uint64_t pool                                 # number of (link, table version, index)

    @staticmethod
    cdef Entry new(object values, int position)
    cdef bint takes(self, bytes host)                  # an entry without a hostname takes every host


cdef class Rules:
    """The entries of one table that may take one host, in order, ready to be asked for a path."""
    cdef list patterned                                # entries with a path, before `plain`
    cdef Entry plain                                   # the first entry without a path: takes what no pattern took
    cdef object patterns                               # re2.Set over `patterned`, or None
    cdef Entry match(self, Slice path)


cdef class Table:
    """One announced version of a service table; immutable."""
    cdef readonly uint32_t version
    cdef readonly list entries                         # of Entry, in the file's order
    cdef readonly tuple limit                          # hostnames that the credential is limited to; () = none
    cdef dict hosts                                    # host -> Rules
    cdef Entry match(self, Slice host, Slice path)     # None: no entry matches
    cdef Rules rules_of(self, bytes host)
