"""Our own answers, prepared in Exchange.status, .fields and .body. Each returns STEP_ANSWER and takes the Permit back."""

from _fastpath.exchange cimport Exchange
from _fastpath.head cimport Head


cdef int answer(Exchange x, int reason) except -1
cdef int answer_login(Exchange x, Head* h) except -1
cdef int answer_redirect(Exchange x, Head* h) except -1
