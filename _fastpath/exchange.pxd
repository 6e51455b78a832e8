"""One request and its answer, whatever transport and HTTP version they came by. A request's life, in reading order:

judge (where it goes, who asks, whether they may) - answers (when it goes no further) - rewrite (the heads that go on) -
watch (whether an open stream may stay). They are functions over the Exchange below; none of them knows a socket."""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from _fastpath.accesslog cimport LogRecord
from _fastpath.checkpoint cimport Arrival, Checkpoint, Live
from _fastpath.jwt cimport Token
from _fastpath.policy cimport Decision, Permit
from _fastpath.servicetoken cimport ServiceToken
from _fastpath.snapshot cimport Place


cdef enum Step:
    STEP_ANSWER = 0          # zero refuses: the answer is in Exchange.status, .fields and .body
    STEP_RELAY = 1           # to the origin: Exchange.permit is filled
    STEP_CONTROL = 2         # to the control process, which has its own checks
    STEP_WAIT = 3            # a signature check or facts are under way: judge again when woken


cdef class Exchange:
    """One request. A connection owns one and reuses it; start() forgets the last."""
    cdef Checkpoint cp
    cdef Live live
    cdef Live judged                      # what an open stream was last judged by
    cdef uint64_t unsettled_since         # the facts for judging it anew are asked for, microseconds; 0 = no
    cdef Arrival arrival
    cdef Place place
    cdef Decision decision
    cdef Permit permit
    cdef Token token
    cdef ServiceToken service
    cdef bytes assertion                  # what the origin gets as Cf-Access-Jwt-Assertion; None for bypass
    cdef LogRecord record
    cdef bytes long_path                  # the normal path where the record holds a part of it only; else None
    cdef uint64_t began                   # monotonic microseconds, head complete
    cdef uint64_t asked_upstream          # head written to the origin; 0 = never
    cdef uint64_t heard_upstream          # head of its answer parsed
    cdef uint64_t waiting_since
    cdef uint8_t method
    cdef uint8_t minor
    cdef bint websocket                   # asked for, and allowed to
    cdef bint navigation                  # a person's browser asks for a page
    cdef bint japanese
    cdef bint forged_cookie               # duplicate cookies of our name: clear them in the answer
    cdef uint8_t ip[16]
    cdef uint8_t ip_text[48]
    cdef size_t ip_len
    cdef bint ip_known
    cdef uint8_t ray[16]
    # an answer of our own
    cdef int reason
    cdef uint16_t status
    cdef bytes fields                     # whole lines, without framing
    cdef bytes body

    cdef int start(self, Arrival arrival) except -1
    cdef int forget(self) except -1

    @staticmethod
    cdef Exchange new(Checkpoint cp)
