"""Decisions for Python. Nothing compiled calls this; see explain.pyi for its functions."""

from _fastpath.facts cimport Facts, FactSet


cdef class Asker:
    cdef Facts f             # borrows from the two below
    cdef FactSet person
    cdef bytes token
