"""The one owner of memory: a growable FIFO of bytes with a cap (STYLE rule 5)."""

from libc.stdint cimport uint8_t

from _fastpath.slice cimport Slice


cdef class Buffer:
    """Bytes wait here in order. Empty = no memory held. A Slice taken from it dies at the next
    append, reserve, consume or clear."""
    cdef uint8_t* block          # owned; NULL while empty
    cdef size_t start            # first waiting byte
    cdef size_t stop             # one past the last
    cdef size_t room             # bytes of block
    cdef size_t cap              # most bytes that may wait; over it: WireError buffer-full, nothing taken

    # built by buffer_new(cap)
    cdef int append(self, const uint8_t* p, size_t n) except -1      # copies all n or raises and takes none
    cdef uint8_t* reserve(self, size_t n) except NULL                # n writable bytes after the last one
    cdef void commit(self, size_t n) noexcept                        # n of the reserved bytes now wait
    cdef Slice view(self) noexcept                                   # everything that waits, in one piece
    cdef void consume(self, size_t n) noexcept                       # drop the first n; frees the block when empty
    cdef size_t size(self) noexcept                                  # bytes waiting
    cdef void clear(self) noexcept


cdef Buffer buffer_new(size_t cap)
cdef void* need(void* p) except NULL                                 # p; MemoryError when an allocation gave NULL
