"""The streams of one session by id, and which ids the other side ever used."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

cdef enum:
    FIRST_CELLS = 16                 # of a table; doubles when half full
    SEEN = 2048                      # ordinals remembered: how far SYNs of concurrent opens may overtake each other


@cython.final
cdef class Roster:
    """Finds a stream in a probe or two; its memory follows the most streams that were open at once."""

    def __cinit__(self):
        self.slots, self.free_slots = [], []
        self.table = bytearray(FIRST_CELLS * sizeof(Cell))
        self.cells = <Cell*><char*>self.table
        self.cells_mask = FIRST_CELLS - 1

    cdef int insert(self, Stream s) except -1:
        cdef uint32_t i, n
        cdef bytearray old = self.table              # stays until its cells have moved
        cdef Cell* cells = <Cell*><char*>old
        if self.free_slots:
            s.slot = self.free_slots.pop()
            self.slots[s.slot] = s
        else:
            s.slot = <uint32_t>len(self.slots)
            self.slots.append(s)
        n = self.cells_mask + 1
        if (self.live + 1) * 2 > n:
            self.table = bytearray(2 * n * sizeof(Cell))
            self.cells = <Cell*><char*>self.table
            self.cells_mask = 2 * n - 1
            for i in range(n):
                if cells[i].id:
                    self.put_cell(cells[i])
        self.put_cell(Cell(id=s.id, slot=s.slot))
        self.live += 1
        return 0

    cdef int remove(self, Stream s) except -1:
        self.empty_cell(s.id)
        self.slots[s.slot] = None
        self.free_slots.append(s.slot)
        self.live -= 1
        return 0

    cdef void put_cell(self, Cell cell) noexcept:
        cdef uint32_t i = ((cell.id >> 1) * <uint32_t>HASH) & self.cells_mask
        while self.cells[i].id:
            i = (i + 1) & self.cells_mask
        self.cells[i] = cell

    cdef void empty_cell(self, uint32_t id) noexcept:
        """Empty a cell and close the gap, so that no tombstone lengthens later searches."""
        cdef uint32_t mask = self.cells_mask
        cdef uint32_t i = ((id >> 1) * <uint32_t>HASH) & mask
        cdef uint32_t j, home
        while self.cells[i].id != id:
            i = (i + 1) & mask
        j = i
        while True:
            j = (j + 1) & mask
            if self.cells[j].id == 0:
                break
            home = ((self.cells[j].id >> 1) * <uint32_t>HASH) & mask
            if ((j - home) & mask) >= ((j - i) & mask):
                self.cells[i] = self.cells[j]
                i = j
        self.cells[i].id = 0

    cdef bint claim(self, uint64_t ordinal) noexcept:
        cdef uint64_t i
        if ordinal > self.seen_top:
            if ordinal - self.seen_top >= SEEN:
                memset(self.seen, 0, sizeof(self.seen))
            else:
                for i in range(self.seen_top + 1, ordinal):
                    self.seen[(i % SEEN) >> 6] &= ~(<uint64_t>1 << (i & 63))
            self.seen_top = ordinal
        elif self.seen_top - ordinal >= SEEN or self.seen[(ordinal % SEEN) >> 6] >> (ordinal & 63) & 1:
            return False
        self.seen[(ordinal % SEEN) >> 6] |= <uint64_t>1 << (ordinal & 63)
        return True
