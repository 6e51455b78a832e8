"""The access log's ring and the thread that writes it.

The producer stores a record and moves `head`; the thread formats what lies between `tail` and `head` and moves `tail`.
Neither waits for the other. A disk that stalls stalls only the thread: the ring fills, and further records are counted
as dropped. Lines are whole: one write of whole lines to a file opened for append. A disk that takes only a part of a
write leaves the beginning of a line behind. It can't be cut away, because other workers append to the same file: it is
counted as lost, and whoever writes next, in this process or another, begins on a line of its own."""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy, memset, strlen
from libc.time cimport gmtime_r, time_t, tm

from _fastpath.errors cimport reason_name
from _fastpath.slice cimport Slice, slice_of

import os

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct timespec "struct timespec":
        long tv_sec
        long tv_nsec
    int pthread_create(pthread_t* t, void* attributes, void* (*run)(void*) noexcept nogil, void* arg)
    int pthread_timedjoin_np(pthread_t t, void** result, const timespec* until)
    int pthread_detach(pthread_t t)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int SIG_SETMASK
    int sigfillset(sigset_t* s)
    int pthread_sigmask(int how, const sigset_t* new, sigset_t* old)

cdef extern from "<time.h>" nogil:
    int CLOCK_REALTIME, CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* out)
    int nanosleep(const timespec* wait, timespec* left)

cdef extern from "<unistd.h>" nogil:
    ssize_t pread(int fd, void* p, size_t n, int64_t at)
    int close(int fd)

cdef extern from "<sys/uio.h>" nogil:
    ctypedef struct iovec "struct iovec":
        void* iov_base
        size_t iov_len
    ssize_t writev(int fd, const iovec* pieces, int n)

cdef extern from "<fcntl.h>" nogil:
    int O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_CLOEXEC
    int open(const char* path, int flags, int mode)

cdef extern from "<sys/file.h>" nogil:
    int LOCK_EX, LOCK_NB, LOCK_UN
    int flock(int fd, int operation)

cdef extern from "<sys/stat.h>" nogil:
    ctypedef struct stat_t "struct stat":
        unsigned int st_mode
        int64_t st_size
    int fstat(int fd, stat_t* out)
    bint S_ISREG(unsigned int mode)

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET6
    const char* inet_ntop(int family, const void* address, char* out, unsigned int room)

cdef extern from *:
    """
    #define ring_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
    #define ring_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
    """
    uint64_t ring_load(uint64_t* p) noexcept nogil
    void ring_store(uint64_t* p, uint64_t v) noexcept nogil

cdef enum:
    BLOCK = 65536            # bytes written at once
    LINE = 12288             # bytes that one record can become: 6 for each byte of text, and the numbers
    LOCK_TRIES = 50          # how often a file that another worker writes to is tried,
    LOCK_PAUSE = 2000000     # and nanoseconds between: 0.1 s in all,
    LOCK_REST = 5            # then seconds in which it is tried without waiting: who may read the file may lock it, too
    PIPE_CHUNK = 4096        # bytes that a pipe takes without mixing in another writer's
    PAUSE = 20000000         # nanoseconds that the thread sleeps when the ring is empty
    TELL_AGAIN = 50          # such sleeps until a line about missing records that was refused is tried again


cdef struct Stamp:           # the second that was formatted last
    time_t second
    uint8_t text[24]         # "2026-11-25T01:30:00"; empty at first


cdef struct Ring:
    LogRecord* slots
    uint64_t mask
    uint64_t head            # next to fill: the producer's
    uint64_t dropped         # records that found the ring full: the producer's
    uint8_t apart[64]        # the two sides' words don't share a cache line
    uint64_t tail            # next to write: the thread's
    uint64_t told_dropped    # of `dropped`, how many a line in the log has told about
    uint64_t told_lost       # of `lost`
    uint32_t hold            # sleeps until the next such line is tried
    int64_t patient          # monotonic second from which on a lock is waited for
    uint64_t written         # lines
    uint64_t lost            # lines that a failing disk took
    uint64_t stop            # 1: write what is there and end
    uint64_t reopen          # 1: open the file again
    int fd
    bint regular             # a file: large writes stay whole
    bint readable            # its end can be looked at
    bint torn                # where that can't be: our last write ended within a line
    char* path               # NULL: the descriptor was given, never reopened
    uint8_t* block
    size_t used              # bytes in block
    uint64_t lines           # lines in block
    Stamp stamp
    pthread_t thread


# -- records -----------------------------------------------------------------------------------------------------

cdef void log_clear(LogRecord* r) noexcept nogil:
    memset(r, 0, <size_t>(<uint8_t*>r.text - <uint8_t*>r))
    r.first = r.upstream = r.link_rtt = -1
    r.rule = -1


cdef void log_text(LogRecord* r, int field, Slice text) noexcept nogil:
    cdef size_t most = LOG_PATH_MAX if field == LOG_PATH else LOG_NAME_MAX
    cdef size_t n = text.len
    if field < 0 or field >= LOG_FIELDS:
        return
    if most > <size_t>(LOG_TEXT - r.used):
        most = LOG_TEXT - r.used
    if n > most:
        n = most
        # not in the middle of a UTF-8 sequence: its first byte goes too
        while n > 0 and text.ptr[n] & 0xc0 == 0x80:
            n -= 1
        r.cut |= <uint8_t>(1 << field)
    memcpy(r.text + r.used, text.ptr, n)
    r.at[field] = r.used
    r.length[field] = <uint16_t>n
    r.used += <uint16_t>n


# -- formatting: one record to one line; `out` has LINE bytes of room ---------------------------------------------

cdef const char* FIELDS[8]
cdef const char* VERDICTS[6]
FIELDS[:] = [b"method", b"host", b"path", b"person", b"application", b"policy", b"service_token", b"tunnel"]
VERDICTS[:] = [b"deny", b"allow", b"login", b"bypass", b"service", b"unavailable"]
cdef const char* HEX = b"0123456789abcdef"


cdef inline uint8_t* put(uint8_t* out, const char* text) noexcept nogil:
    cdef size_t n = strlen(text)
    memcpy(out, text, n)
    return out + n


cdef inline uint8_t* put_digits(uint8_t* out, uint64_t value, int width) noexcept nogil:
    """Exactly `width` decimal digits."""
    cdef int i
    for i in range(width - 1, -1, -1):
        out[i] = <uint8_t>(48 + value % 10)
        value //= 10
    return out + width


cdef uint8_t* put_number(uint8_t* out, uint64_t value) noexcept nogil:
    cdef int width = 1
    cdef uint64_t rest = value // 10
    while rest:
        width += 1
        rest //= 10
    return put_digits(out, value, width)


cdef uint8_t* put_hex(uint8_t* out, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(15, -1, -1):
        out[i] = HEX[value & 15]
        value >>= 4
    return out + 16


cdef int sequence(const uint8_t* p, size_t n) noexcept nogil:
    """Length of the printable UTF-8 sequence (RFC 3629) of two or more bytes at p; 0 when there is none."""
    cdef uint8_t c = p[0]
    cdef int size, i
    if c < 0xc2 or c > 0xf4:
        return 0
    size = 2 if c < 0xe0 else 3 if c < 0xf0 else 4
    if <size_t>size > n:
        return 0
    for i in range(1, size):
        if p[i] & 0xc0 != 0x80:
            return 0
    if ((c == 0xe0 and p[1] < 0xa0) or (c == 0xed and p[1] > 0x9f) or (c == 0xf0 and p[1] < 0x90)
            or (c == 0xf4 and p[1] > 0x8f)):
        return 0
    return size


cdef uint8_t* put_text(uint8_t* out, const uint8_t* p, size_t n) noexcept nogil:
    """A JSON string: control characters (C1 too) escaped, what is no UTF-8 replaced (Q16)."""
    cdef size_t i = 0
    cdef int size
    cdef uint8_t c
    out[0] = 34
    out += 1
    while i < n:
        c = p[i]
        if c == 34 or c == 92:
            out[0] = 92
            out[1] = c
            out += 2
        elif 32 <= c < 127:
            out[0] = c
            out += 1
        elif c < 128 or (c == 0xc2 and i + 1 < n and 0x80 <= p[i + 1] < 0xa0):
            if c >= 128:
                i += 1
                c = p[i]
            out = put(out, b"\\u00")
            out[0] = HEX[c >> 4]
            out[1] = HEX[c & 15]
            out += 2
        else:
            size = sequence(p + i, n - i)
            if size == 0:
                out = put(out, b"\\ufffd")
            else:
                memcpy(out, p + i, size)
                out += size
                i += size - 1
        i += 1
    out[0] = 34
    return out + 1


cdef uint8_t* put_time(uint8_t* out, int64_t wall, Stamp* stamp) noexcept nogil:
    """The time in UTC; everything down to the second is made once a second."""
    cdef time_t seconds = <time_t>(wall // 1000000)
    cdef tm parts
    cdef uint8_t* p = stamp.text
    if seconds != stamp.second or p[0] == 0:
        gmtime_r(&seconds, &parts)
        p = put_digits(p, parts.tm_year + 1900, 4)
        p = put_digits(put(p, b"-"), parts.tm_mon + 1, 2)
        p = put_digits(put(p, b"-"), parts.tm_mday, 2)
        p = put_digits(put(p, b"T"), parts.tm_hour, 2)
        p = put_digits(put(p, b":"), parts.tm_min, 2)
        p = put_digits(put(p, b":"), parts.tm_sec, 2)
        stamp.second = seconds
    out = put(out, b"\"time\":\"")
    memcpy(out, stamp.text, 19)
    out = put_digits(put(out + 19, b"."), <uint64_t>(wall % 1000000), 6)
    return put(out, b"Z\"")


cdef uint8_t* put_client(uint8_t* out, const uint8_t* address) noexcept nogil:
    cdef char text[64]
    cdef int i
    cdef bint v4 = address[10] == 0xff and address[11] == 0xff
    for i in range(10):
        if address[i]:
            v4 = False
    out = put(out, b",\"client\":\"")
    if v4:
        for i in range(12, 16):
            out = put_number(out, address[i])
            out = put(out, b"." if i < 15 else b"\"")
        return out
    inet_ntop(AF_INET6, address, text, sizeof(text))
    return put(put(out, text), b"\"")


cdef uint8_t* put_span(uint8_t* out, const char* name, int64_t value) noexcept nogil:
    """A member with a number; none when it is negative."""
    if value < 0:
        return out
    out = put(out, name)
    return put_number(out, <uint64_t>value)


cdef size_t format_record(const LogRecord* r, uint8_t* line, Stamp* stamp) noexcept nogil:
    cdef uint8_t* out = put(line, b"{")
    cdef int i
    cdef bint first = True
    out = put_time(out, r.wall, stamp)
    out = put(put_hex(put(out, b",\"id\":\""), r.request_id), b"\"")
    out = put_client(out, r.client)
    for i in range(<int>LOG_FIELDS):
        if r.length[i] > 0 or (r.cut >> i) & 1:
            out = put(out, b",\"")
            out = put(out, FIELDS[i])
            out = put(out, b"\":")
            out = put_text(out, r.text + r.at[i], r.length[i])
    out = put_span(out, b",\"status\":", r.status)
    out = put(out, b",\"decision\":\"")
    if r.flags & LOG_DECIDED:
        out = put(out, VERDICTS[r.verdict if r.verdict < 6 else 0])
    else:
        out = put(out, b"none")
    out = put(out, b"\"")
    if r.reason:
        out = put(out, b",\"reason\":\"")
        out = put(out, reason_name(r.reason))
        out = put(out, b"\"")
    out = put_span(out, b",\"rule\":", r.rule)
    out = put_span(out, b",\"bytes_in\":", <int64_t>r.bytes_in)
    out = put_span(out, b",\"bytes_out\":", <int64_t>r.bytes_out)
    out = put_span(out, b",\"first_us\":", r.first)
    out = put_span(out, b",\"total_us\":", r.total)
    if r.upstream >= 0:
        # up to the first byte of the answer: how long the body takes is the origin's and the client's affair
        out = put_span(out, b",\"edge_us\":", r.first - r.upstream if r.first > r.upstream else 0)
        out = put_span(out, b",\"upstream_us\":", r.upstream)
    out = put_span(out, b",\"link_rtt_us\":", r.link_rtt)
    out = put_span(out, b",\"snapshot\":", <int64_t>r.snapshot)
    if r.dropped:
        out = put_span(out, b",\"dropped_fields\":", r.dropped)
    if r.flags & LOG_TLS:
        out = put(out, b",\"tls\":true")
    if r.flags & LOG_UPGRADED:
        out = put(out, b",\"upgraded\":true")
    if r.flags & LOG_RETRIED:
        out = put(out, b",\"retried\":true")
    if r.flags & LOG_ABORTED:
        out = put(out, b",\"aborted\":true")
    if r.cut:
        out = put(out, b",\"cut\":[")
        for i in range(<int>LOG_FIELDS):
            if (r.cut >> i) & 1:
                out = put(out, b"\"" if first else b",\"")
                out = put(out, FIELDS[i])
                out = put(out, b"\"")
                first = False
        out = put(out, b"]")
    out = put(out, b"}\n")
    return <size_t>(out - line)


# -- the thread --------------------------------------------------------------------------------------------------

cdef void ring_open(Ring* ring) noexcept nogil:
    """Open the file by its path (again); keep the old descriptor when that fails."""
    cdef stat_t status
    cdef uint8_t last
    cdef int fd
    if ring.path != NULL:
        # to be read, too: only its last byte tells whether somebody left half a line
        fd = open(ring.path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
        if fd < 0:
            fd = open(ring.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
        if fd < 0:
            return
        if ring.fd >= 0:
            close(ring.fd)
        ring.fd = fd
        ring.torn = False
    ring.regular = fstat(ring.fd, &status) == 0 and S_ISREG(status.st_mode)
    ring.readable = ring.regular and ring.path != NULL and pread(ring.fd, &last, 1, 0) >= 0


cdef bint ring_lock(Ring* ring) noexcept nogil:
    """Keep other workers from writing to the same file; False where its end can't be looked at, and when one of them
    has kept it for LOCK_TRIES: it stopped within its write, or a reader of the log holds it. Nobody waits for them
    longer than that, nor more often than once in LOCK_REST."""
    cdef timespec wait, now
    cdef int tries
    if not ring.readable:
        return False
    clock_gettime(CLOCK_MONOTONIC, &now)
    wait.tv_sec, wait.tv_nsec = 0, LOCK_PAUSE
    tries = LOCK_TRIES if now.tv_sec >= ring.patient else 1
    while True:
        if flock(ring.fd, LOCK_EX | LOCK_NB) == 0:
            return True
        if errno != EAGAIN and errno != EINTR:       # a file system without locks
            return False
        tries -= 1
        if tries == 0:
            break
        nanosleep(&wait, NULL)
    if now.tv_sec >= ring.patient:
        ring.patient = now.tv_sec + LOCK_REST
    return False


cdef bint ring_torn(Ring* ring, bint locked) noexcept nogil:
    """Whether what comes next would be glued to half a line. Without the lock only we know of our own: the file's end
    may be within a line that another worker is writing just now."""
    cdef stat_t status
    cdef uint8_t last = 10
    if not locked:
        return ring.torn
    if fstat(ring.fd, &status) != 0 or status.st_size <= 0:
        return False
    return pread(ring.fd, &last, 1, status.st_size - 1) == 1 and last != 10


cdef uint64_t count_lines(const uint8_t* p, size_t n) noexcept nogil:
    cdef const uint8_t* end = p + n
    cdef uint64_t lines = 0
    while p < end:
        p = <const uint8_t*>memchr(p, 10, end - p)
        if p == NULL:
            break
        p += 1
        lines += 1
    return lines


cdef uint64_t ring_write(Ring* ring) noexcept nogil:
    """Write the block and empty it; return how many of its lines the file took whole."""
    cdef iovec pieces[2]
    cdef const uint8_t* rest
    cdef uint8_t line_end = 10
    cdef size_t at = 0
    cdef uint64_t written = 0
    cdef ssize_t r
    cdef int fresh                               # 1: a line end goes first
    cdef bint locked
    if ring.fd < 0:
        ring_open(ring)
    locked = ring_lock(ring)
    while ring.fd >= 0 and at < ring.used:
        fresh = 1 if ring_torn(ring, locked) else 0
        pieces[0].iov_base = &line_end
        pieces[0].iov_len = 1
        pieces[1].iov_base = ring.block + at
        pieces[1].iov_len = ring.used - at
        r = writev(ring.fd, &pieces[1 - fresh], 1 + fresh)
        if r < 0 and errno == EINTR:
            continue
        if r <= 0:
            break
        ring.torn = False
        r -= fresh
        written += count_lines(ring.block + at, r)
        at += r
        if r > 0 and ring.block[at - 1] != 10:
            # The rest of this line would come after whatever another worker has written meanwhile
            ring.torn = True
            rest = <const uint8_t*>memchr(ring.block + at, 10, ring.used - at)
            at = ring.used if rest == NULL else rest - ring.block + 1
    if locked:
        flock(ring.fd, LOCK_UN)
    ring.used = 0
    return written


cdef void ring_flush(Ring* ring) noexcept nogil:
    """Write the block. What a failing disk doesn't take is counted as lost, and so is a line that it took in part."""
    cdef uint64_t written
    if ring.used == 0:
        return
    written = ring_write(ring)
    ring_store(&ring.written, ring.written + written)
    ring_store(&ring.lost, ring.lost + ring.lines - written)
    ring.lines = 0


cdef void ring_line(Ring* ring, size_t n) noexcept nogil:
    """A line of n bytes was put at the block's end."""
    cdef size_t whole = ring.used
    if not ring.regular and whole > 0 and whole + n > PIPE_CHUNK:
        # to a pipe: what was there goes first, so that no write is torn apart
        memcpy(ring.block + BLOCK + LINE, ring.block + whole, n)
        ring_flush(ring)
        memcpy(ring.block, ring.block + BLOCK + LINE, n)
        whole = 0
    ring.used = whole + n
    ring.lines += 1
    if ring.used >= BLOCK:
        ring_flush(ring)


cdef void ring_tell(Ring* ring, bint last) noexcept nogil:
    """Write a line about records that went missing since the last such line; the block is empty before and after."""
    cdef uint64_t dropped = ring_load(&ring.dropped)
    cdef uint64_t lost = ring.lost
    cdef timespec now
    cdef uint8_t* out
    if dropped == ring.told_dropped and lost == ring.told_lost:
        return
    if ring.hold > 0 and not last:
        ring.hold -= 1
        return
    clock_gettime(CLOCK_REALTIME, &now)
    out = put(ring.block, b"{")
    out = put_time(out, <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000, &ring.stamp)
    if dropped != ring.told_dropped:
        out = put_span(out, b",\"dropped_records\":", <int64_t>(dropped - ring.told_dropped))
    if lost != ring.told_lost:
        out = put_span(out, b",\"lost_records\":", <int64_t>(lost - ring.told_lost))
    out = put(out, b"}\n")
    ring.used = <size_t>(out - ring.block)
    if ring_write(ring) == 0:
        ring.hold = TELL_AGAIN                   # and no record was lost: this was none
        return
    ring_store(&ring.written, ring.written + 1)
    ring.told_dropped = dropped
    ring.told_lost = lost


cdef void* ring_run(void* arg) noexcept nogil:
    cdef Ring* ring = <Ring*>arg
    cdef uint64_t head, tail = 0
    cdef timespec pause
    cdef bint last
    pause.tv_sec = 0
    pause.tv_nsec = PAUSE
    while True:
        last = ring_load(&ring.stop) != 0        # before head: what came before stop is written
        if ring_load(&ring.reopen):
            ring_store(&ring.reopen, 0)
            ring_open(ring)
        head = ring_load(&ring.head)
        while tail != head:
            ring_line(ring, format_record(&ring.slots[tail & ring.mask], ring.block + ring.used, &ring.stamp))
            tail += 1
            ring_store(&ring.tail, tail)
        ring_flush(ring)
        ring_tell(ring, last)
        if last:
            return NULL
        nanosleep(&pause, NULL)


cdef void ring_free(Ring* ring) noexcept nogil:
    if ring.path != NULL and ring.fd >= 0:
        close(ring.fd)
    free(ring.slots)
    free(ring.path)
    free(ring.block)
    free(ring)


# -- the log -----------------------------------------------------------------------------------------------------

@cython.final
cdef class AccessLog:
    def __cinit__(self, target, *, uint32_t slots=4096, bint required=True):
        """Log to a file (its path; opened for append, created 0640) or to an open descriptor.

        Raises OSError when the file can't be opened; where it isn't required, records are lost (and counted) until
        it can be. slots: a power of two."""
        cdef bytes path
        cdef sigset_t every, old
        cdef int rc
        if slots < 2 or slots & (slots - 1):
            raise ValueError("slots is a power of two")
        self.started = False
        self.counts = (0, 0, 0)
        self.ring = <Ring*>calloc(1, sizeof(Ring))
        if self.ring == NULL:
            raise MemoryError
        self.ring.fd = -1
        self.ring.mask = slots - 1
        self.ring.slots = <LogRecord*>calloc(slots, sizeof(LogRecord))
        self.ring.block = <uint8_t*>malloc(BLOCK + 2 * LINE)
        if self.ring.slots == NULL or self.ring.block == NULL:
            raise MemoryError
        if isinstance(target, int):
            self.ring.fd = target
        else:
            path = os.fsencode(target)
            self.ring.path = <char*>malloc(len(path) + 1)
            if self.ring.path == NULL:
                raise MemoryError
            memcpy(self.ring.path, <const char*>path, len(path) + 1)
        ring_open(self.ring)
        if self.ring.fd < 0 and required:
            raise OSError(errno, os.strerror(errno), target)
        sigfillset(&every)                       # signals are the main thread's
        pthread_sigmask(SIG_SETMASK, &every, &old)
        rc = pthread_create(&self.ring.thread, NULL, ring_run, self.ring)
        pthread_sigmask(SIG_SETMASK, &old, NULL)
        if rc != 0:
            raise OSError(rc, os.strerror(rc))
        self.started = True

    def __dealloc__(self):
        if self.ring == NULL:
            return
        if self.started:
            self.stop(2.0)
        else:
            ring_free(self.ring)
            self.ring = NULL

    cdef int push(self, const LogRecord* r) noexcept nogil:
        cdef Ring* ring = self.ring
        cdef uint64_t head
        if ring == NULL:
            return 0
        head = ring.head
        if head - ring_load(&ring.tail) > ring.mask:
            ring_store(&ring.dropped, ring.dropped + 1)
            return 0
        memcpy(&ring.slots[head & ring.mask], r, <size_t>(<const uint8_t*>r.text - <const uint8_t*>r) + r.used)
        ring_store(&ring.head, head + 1)
        return 1

    cdef bint stop(self, double timeout) noexcept:
        cdef timespec until
        cdef Ring* ring = self.ring
        cdef int rc
        self.ring = NULL
        ring_store(&ring.stop, 1)
        clock_gettime(CLOCK_REALTIME, &until)
        until.tv_sec += <long>timeout
        until.tv_nsec += <long>((timeout - <long>timeout) * 1e9)
        if until.tv_nsec >= 1000000000:
            until.tv_nsec -= 1000000000
            until.tv_sec += 1
        with nogil:
            rc = pthread_timedjoin_np(ring.thread, NULL, &until)
        if rc != 0:
            pthread_detach(ring.thread)          # it hangs in a write and still holds the ring
            return False
        self.counts = (ring.written, ring.dropped, ring.lost)
        ring_free(ring)
        return True

    def close(self, timeout: float = 2.0) -> bool:
        """Write everything and stop; False when the disk didn't take it within timeout seconds. Idempotent."""
        return self.stop(timeout) if self.ring != NULL else True

    def reopen(self) -> None:
        """Open the file again by its path (after it was renamed away), before the next line."""
        if self.ring != NULL:
            ring_store(&self.ring.reopen, 1)

    @property
    def written(self) -> int:
        """Lines written."""
        return ring_load(&self.ring.written) if self.ring != NULL else self.counts[0]

    @property
    def dropped(self) -> int:
        """Records that found the ring full."""
        return self.ring.dropped if self.ring != NULL else self.counts[1]

    @property
    def lost(self) -> int:
        """Lines that the disk refused."""
        return ring_load(&self.ring.lost) if self.ring != NULL else self.counts[2]

    def record(self, dict texts, *, client: bytes = bytes(16), **numbers) -> bool:
        """Push one record; False when it was dropped. The Python door of log_text and push."""
        cdef LogRecord r
        cdef bytes text
        log_clear(&r)
        for name, text in texts.items():
            log_text(&r, NAMES.index(name), slice_of(text, len(text)))
        memcpy(r.client, <const uint8_t*><const char*>client, 16)
        r.wall = numbers.pop("wall", 0)
        r.request_id = numbers.pop("request_id", 0)
        r.bytes_in = numbers.pop("bytes_in", 0)
        r.bytes_out = numbers.pop("bytes_out", 0)
        r.first = numbers.pop("first", -1)
        r.total = numbers.pop("total", 0)
        r.upstream = numbers.pop("upstream", -1)
        r.link_rtt = numbers.pop("link_rtt", -1)
        r.snapshot = numbers.pop("snapshot", 0)
        r.rule = numbers.pop("rule", -1)
        r.reason = numbers.pop("reason", 0)
        r.status = numbers.pop("status", 0)
        r.dropped = numbers.pop("dropped", 0)
        r.verdict = numbers.pop("verdict", 0)
        r.flags = numbers.pop("flags", 0)
        if numbers:
            raise TypeError(f"no such number in a record: {next(iter(numbers))}")
        return self.push(&r) == 1


NAMES = ("method", "host", "path", "person", "application", "policy", "service_token", "tunnel")
