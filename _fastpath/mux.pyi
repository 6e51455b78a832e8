from _fastpath.stream import StreamOwner

class Mux(StreamOwner):
    client: bool
    max_streams: int
    over: bool

def footprint() -> int: ...
def live() -> int: ...
