"""The streams of one session by id, and which ids the other side ever used (MUX.md §3)."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from _fastpath.stream cimport Stream


cdef enum:
    HASH = 73244475                  # odd, so that neighbouring ids never collide


cdef struct Cell:
    uint32_t id                  # of a stream; 0 = empty
    uint32_t slot


@cython.final
cdef class Roster:
    """Slots own the streams, the table finds them by id (open addressing, linear probing)."""
    cdef list slots                                       # Stream or None
    cdef list free_slots
    cdef bytearray table                                  # owns the memory behind `cells`
    cdef Cell* cells
    cdef uint32_t cells_mask
    cdef uint32_t live                                    # streams in it
    cdef uint64_t seen_top                                # highest ordinal the other side opened; 0 = none
    cdef uint64_t seen[32]                                # which of the last 2048 ordinals it used (J08)
    cdef int insert(self, Stream s) except -1
    cdef int remove(self, Stream s) except -1             # s must be in it
    cdef bint claim(self, uint64_t ordinal) noexcept      # note that it is used; False when it was, or is too old to tell
    cdef void put_cell(self, Cell cell) noexcept
    cdef void empty_cell(self, uint32_t id) noexcept

    cdef inline Stream find(self, uint32_t id):
        """The stream with that id; None: no such stream."""
        cdef uint32_t i = ((id >> 1) * <uint32_t>HASH) & self.cells_mask
        while self.cells[i].id != id:
            if self.cells[i].id == 0:
                return None
            i = (i + 1) & self.cells_mask
        return <Stream>self.slots[self.cells[i].slot]
