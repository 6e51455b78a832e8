"""One request and its answer: what is known of them. The phases of its life are in judge, answers, rewrite and watch."""

cimport cython
from libc.stdint cimport uint64_t
from libc.string cimport memset

from _fastpath.accesslog cimport LogRecord
from _fastpath.checkpoint cimport Arrival, Checkpoint
from _fastpath.endpoint cimport now_us
from _fastpath.snapshot cimport Place

cdef const char* HEX_DIGITS = b"0123456789abcdef"


@cython.final
cdef class Exchange:
    @staticmethod
    cdef Exchange new(Checkpoint cp):
        cdef Exchange x = Exchange.__new__(Exchange)
        x.cp = cp
        return x

    cdef int start(self, Arrival arrival) except -1:
        """Forget the last request; this one has its id from here on."""
        cdef uint64_t ray = self.cp.next_ray()
        cdef int i
        self.live = self.judged = self.cp.live
        self.arrival = arrival
        memset(&self.place, 0, sizeof(Place))
        memset(&self.decision, 0, sizeof(self.decision))
        memset(&self.permit, 0, sizeof(self.permit))
        # everything but the text, which `used` bounds
        memset(&self.record, 0, sizeof(LogRecord) - sizeof(self.record.text))
        self.token = None
        self.service = None
        self.assertion = self.long_path = None
        self.fields = self.body = None
        self.reason = self.status = 0
        self.websocket = self.navigation = self.japanese = self.forged_cookie = False
        self.asked_upstream = self.heard_upstream = self.waiting_since = self.unsettled_since = 0
        self.began = now_us()
        self.record.request_id = ray
        self.record.rule = -1
        self.record.first = self.record.upstream = self.record.link_rtt = -1
        for i in range(16):
            self.ray[i] = HEX_DIGITS[(ray >> (60 - 4 * i)) & 15]
        return 0

    cdef int forget(self) except -1:
        """Hold nothing of a finished request: an unused exchange must not keep an old snapshot alive."""
        self.live = None
        self.judged = None
        self.arrival = None
        self.token = None
        self.service = None
        self.assertion = self.long_path = None
        self.fields = self.body = None
        return 0
