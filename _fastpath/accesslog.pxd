"""The access log: one JSON line a request. The worker's thread fills slots of a ring; a thread of the log's own
formats and writes them. One producer, one consumer; a full ring drops and counts, and never waits."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from _fastpath.slice cimport Slice


cdef enum LogField:          # texts of a record
    LOG_METHOD = 0
    LOG_HOST
    LOG_PATH                 # never the query: it may hold secrets
    LOG_PERSON               # e-mail, or account
    LOG_APP                  # application's name
    LOG_POLICY               # name of the policy that decided
    LOG_SERVICE_TOKEN        # id of the service token
    LOG_TUNNEL               # tunnel id or upstream address
    LOG_FIELDS

cdef enum:
    LOG_TEXT = 1216          # bytes of text in a record; a text that doesn't fit is cut and marked
    LOG_PATH_MAX = 512       # bytes of LOG_PATH
    LOG_NAME_MAX = 254       # bytes of any other text

cdef enum LogFlag:
    LOG_UPGRADED = 1         # WebSocket or TCP
    LOG_RETRIED = 2
    LOG_ABORTED = 4          # ended before the answer was complete
    LOG_TLS = 8              # downstream came over TLS
    LOG_DECIDED = 16         # `verdict` is a decision; else nobody decided: control's own pages, redirects, rubbish

cdef struct LogRecord:       # log_clear, fill, push
    int64_t wall             # microseconds since 1970, when the head was complete
    uint64_t request_id
    uint64_t bytes_in        # body bytes from downstream
    uint64_t bytes_out       # body bytes to downstream
    int64_t first            # microseconds from the head to the first byte of the answer; -1 = none
    int64_t total            # microseconds from the head to the end
    int64_t upstream         # microseconds of `first` spent waiting for upstream's answer; -1 = no upstream
    int64_t link_rtt         # microseconds; -1 = no link
    uint64_t snapshot        # version that decided
    int32_t rule             # index in the policy, -1 = none
    uint32_t reason          # errors.Reason, 0 = none
    uint16_t status
    uint16_t dropped         # fields that were removed or normalised
    uint8_t verdict          # policy.Verdict
    uint8_t flags            # LogFlag
    uint8_t client[16]       # address, IPv4 mapped
    uint16_t at[8]           # [LogField] start in text
    uint16_t length[8]       # [LogField]
    uint8_t cut              # bit per LogField: text was cut
    uint16_t used            # bytes of text used
    uint8_t text[1216]

cdef struct Ring             # accesslog.pyx

cdef void log_clear(LogRecord* r) noexcept nogil
    # Everything zero or "none"; leaves the bytes of text alone.
cdef void log_text(LogRecord* r, int field, Slice text) noexcept nogil
    # Put one text in; cut to its limit, without splitting a UTF-8 sequence. Once per field.


cdef class AccessLog:
    cdef Ring* ring                                           # NULL once closed
    cdef bint started
    cdef tuple counts                                         # written, dropped, lost, as they were at the end
    cdef bint stop(self, double timeout) noexcept
    cdef int push(self, const LogRecord* r) noexcept nogil    # 1 taken, 0 dropped (and counted)
