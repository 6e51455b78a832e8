"""One client connection, and the part of its worker's core that it uses. The phases of a request work on it, in this
order: serve (reads heads) - forward (to the origin) - deliver (the answer back) or upgrade (a two-way pump)."""

from libc.stdint cimport uint8_t, uint64_t

from _fastpath.body cimport Body
from _fastpath.buffer cimport Buffer
from _fastpath.checkpoint cimport Arrival, Checkpoint
from _fastpath.contexts cimport TlsContexts
from _fastpath.endpoint cimport Pipe
from _fastpath.exchange cimport Exchange
from _fastpath.head cimport Head
from _fastpath.out cimport Out
from _fastpath.relay cimport Frames
from _fastpath.tunnel cimport Links
from _fastpath.upstream cimport Upstream, Upstreams, UpstreamUser


cdef enum DownState:         # what a connection is doing; zero does nothing
    D_CLOSED = 0
    D_HEAD = 1               # waits for, or reads, a request head
    D_WAIT = 2               # judged: a signature check or facts are under way
    D_CONNECT = 3            # an upstream connection is being made
    D_RELAY = 4              # request and answer are flowing
    D_UPGRADED = 5           # two-way pump
    D_LINGER = 6             # answered and half-closed: what still comes is dropped, so that the answer is read


cdef enum:
    PIECE = 131072           # bytes gathered before they are sent


cdef class Core:
    """What the client connections of a worker share; worker.pyx makes the whole core of it."""
    cdef readonly object loop
    cdef readonly Checkpoint checkpoint
    cdef readonly Upstreams upstreams
    cdef readonly Links links
    cdef readonly TlsContexts contexts
    cdef readonly bint draining
    cdef readonly set connections         # Downstream
    cdef readonly set handshakes          # server pipes that are not open yet
    cdef dict addresses                   # client address -> connections
    cdef list spare                       # Exchange objects that nobody uses
    cdef bint verify_planned              # a turn of signature checks is on its way
    cdef bint proxied_demo
    cdef Head head                        # of the request being read
    cdef Head answer_head                 # of the answer being read
    cdef uint8_t* out_block               # heads and small bodies are written here, then sent in one piece
    cdef size_t out_room
    cdef Exchange take_exchange(self)
    cdef int run_waiting(self) except -1  # plan a turn of signature checks


cdef class Downstream(UpstreamUser):
    cdef Core core
    cdef Pipe pipe
    cdef Arrival arrival
    cdef Exchange x                       # None between requests
    cdef Buffer pending                   # arrived, not used yet
    cdef Buffer answer_in                 # part of an answer's head
    cdef Upstream up
    cdef Upstream bound                   # authenticated connection that belongs to this client alone (P10)
    cdef Body request_body
    cdef Body response_body
    cdef Frames frames
    cdef uint8_t state
    cdef uint8_t step                     # exchange.Step of the current request
    cdef bint keep                        # the connection may serve another request
    cdef bint request_done
    cdef bint request_chunked             # towards the origin
    cdef bint response_begun
    cdef bint response_done
    cdef bint response_chunked            # towards the client
    cdef bint excess                      # the origin sent more than its answer
    cdef bint reusable                    # the origin's connection, as its answer said
    cdef bint client_ended
    cdef bint retried
    cdef bint quiet                       # idle buffers have been given back
    cdef int informational
    cdef size_t lingered
    cdef uint64_t deadline                # monotonic microseconds, 0 = none
    cdef uint64_t head_since
    cdef bytes host_header                # of the service, or None

    cdef int run_pending(self) except -1                           # serve: go on with what waits in `pending`
    cdef int time_out(self, uint64_t now) except -1                # serve: the deadline has come
    cdef int wake(self) except -1
    cdef int hold(self, const uint8_t* p, size_t n) except -1
    cdef size_t answer_now(self, const uint8_t* p, size_t head, size_t n) except? 0
    cdef int write_answer(self) except -1
    cdef int drop_upstream(self, bint discard) except -1
    cdef int flush_up(self, Out* o) except -1
    cdef int flush_down(self, Out* o) except -1
    cdef int finish(self) except -1
    cdef int next_request(self) except -1
    cdef int part(self) except -1
    cdef int linger(self) except -1
    cdef int write_log(self) except -1


cdef inline uint64_t later(uint64_t now, uint64_t duration) noexcept nogil:
    return now + duration if duration else 0


cdef inline Out out_of(Core core) noexcept:
    cdef Out o
    o.ptr = core.out_block
    o.len = 0
    o.room = core.out_room
    o.over = False
    return o
