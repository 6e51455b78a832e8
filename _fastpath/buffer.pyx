"""The one owner of memory: see buffer.pxd for the contract."""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

from _fastpath.errors cimport R_BUFFER_FULL, raise_wire
from _fastpath.slice cimport slice_bytes, slice_of

cdef enum:
    FIRST_ROOM = 1024            # bytes of a first block: most heads and small frames fit


cdef void* need(void* p) except NULL:
    if p == NULL:
        raise MemoryError
    return p


@cython.final
cdef class Buffer:
    """A growable FIFO of bytes with a cap."""

    def __cinit__(self):
        self.block = NULL
        self.start = self.stop = self.room = self.cap = 0

    def __dealloc__(self):
        free(self.block)

    cdef uint8_t* reserve(self, size_t n) except NULL:
        cdef size_t waiting = self.stop - self.start
        cdef size_t room
        cdef uint8_t* block
        if n > self.cap or waiting > self.cap - n:
            raise_wire(-<int>R_BUFFER_FULL)
        if self.block != NULL and n <= self.room - self.stop:
            return self.block + self.stop
        # Moving is paid for by what was consumed: at least half of the block is free at the front.
        if self.block != NULL and n <= self.room - waiting and self.start >= self.room // 2:
            memmove(self.block, self.block + self.start, waiting)
        else:
            room = self.room if self.room else <size_t>FIRST_ROOM
            while room < waiting + n:
                room *= 2
            block = <uint8_t*>need(malloc(room))
            if waiting:
                memcpy(block, self.block + self.start, waiting)
            free(self.block)
            self.block, self.room = block, room
        self.start, self.stop = 0, waiting
        return self.block + waiting

    cdef int append(self, const uint8_t* p, size_t n) except -1:
        if n:
            memcpy(self.reserve(n), p, n)
            self.stop += n
        return 0

    cdef void commit(self, size_t n) noexcept:
        self.stop += n

    cdef Slice view(self) noexcept:
        return slice_of(self.block + self.start, self.stop - self.start)

    cdef void consume(self, size_t n) noexcept:
        self.start += n
        if self.start >= self.stop:
            self.clear()

    cdef size_t size(self) noexcept:
        return self.stop - self.start

    cdef void clear(self) noexcept:
        free(self.block)
        self.block = NULL
        self.start = self.stop = self.room = 0


cdef Buffer buffer_new(size_t cap):
    cdef Buffer b = Buffer.__new__(Buffer)
    b.cap = cap
    return b


# -- doors for Python ------------------------------------------------------------------------------

def new(size_t cap) -> Buffer:
    """Return an empty buffer that takes at most cap bytes."""
    return buffer_new(cap)


def append(Buffer buffer, bytes data) -> None:
    """Put data behind what waits; raise WireError buffer-full and take nothing over the cap."""
    buffer.append(data, len(data))


def reserve(Buffer buffer, size_t room, bytes data) -> None:
    """Reserve room, write data into it and commit that much."""
    cdef uint8_t* block = buffer.reserve(room)
    memcpy(block, <const uint8_t*>data, len(data))
    buffer.commit(len(data))


def take(Buffer buffer, size_t n) -> bytes:
    """Return and consume the first n bytes."""
    cdef bytes data = slice_bytes(slice_of(buffer.view().ptr, n))
    buffer.consume(n)
    return data


def waiting(Buffer buffer) -> bytes:
    """Return everything that waits."""
    return slice_bytes(buffer.view())


def size(Buffer buffer) -> int:
    """Return how many bytes wait."""
    return buffer.size()


def held(Buffer buffer) -> int:
    """Return the bytes of memory that it holds."""
    return buffer.room


def run_out_of_memory() -> None:
    """Raise MemoryError as a failing allocation does: a test's way to the one line that else only that reaches."""
    need(NULL)
