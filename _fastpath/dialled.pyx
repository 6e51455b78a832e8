"""The connector's end of a link, and the pipe to dial it with."""

cimport cython

from _fastpath.endpoint cimport Pipe, TcpPipe, TlsPipe
from _fastpath.inbound cimport Inbound, inbound_new
from _fastpath.mux cimport ACCEPT_ANY
from _fastpath.stream cimport Stream
from _fastpath.contexts cimport TlsClientContext
from _fastpath.tls cimport tls_connect


@cython.final
cdef class DialledLink(Carrier):
    def __init__(self, loop, hooks):
        self.loop = loop
        self.hooks = hooks

    def begin(self, Pipe pipe not None):
        """Take over a pipe whose handshake is done."""
        self.start(pipe, True, ACCEPT_ANY)

    cdef int accept_stream(self, Stream s) except -1:
        inbound_new(self, s)
        return 0

    cdef int control_message(self, bytes message) except -1:
        self.hooks.message(self, message)
        return 0

    cdef int ended(self) except -1:
        hooks = self.hooks
        self.hooks = None
        if hooks is not None:
            hooks.lost(self, self.reason)
        return 0

    def stream_asked(self, Inbound inbound):
        self.hooks.stream(self, inbound)


def client_pipe(loop, TlsClientContext context=None, str server_name=""):
    """Return (protocol, future): a pipe to dial with, and the future for when it can be used."""
    cdef TcpPipe plain
    cdef TlsPipe secure
    ready = loop.create_future()
    if context is None:
        plain = TcpPipe.__new__(TcpPipe)
        plain.loop, plain.ready = loop, ready
        return plain, ready
    secure = TlsPipe.__new__(TlsPipe)
    secure.loop, secure.ready = loop, ready
    secure.tls = tls_connect(context, server_name.encode())
    return secure, ready
