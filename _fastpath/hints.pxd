"""Small judgements about a head that need nothing else."""

from _fastpath.head cimport Head


cdef bint is_navigation(Head* h) noexcept nogil        # a browser that wants a page for a person
cdef bint prefers_japanese(Head* h) noexcept nogil
cdef bint has_preflight(Head* h) noexcept nogil        # carries Access-Control-Request-Method
cdef bint may_repeat(int method) noexcept nogil        # a request that may be sent once more
cdef bint asks_for_binding(Head* h) noexcept nogil     # its credentials authenticate the connection (NTLM, Negotiate)
cdef bint binds_connection(Head* h) noexcept nogil     # an answer that asks for such
