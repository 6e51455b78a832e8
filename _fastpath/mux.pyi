from _fastpath.stream import StreamOwner

class MuxEvents: ...
class Mux(StreamOwner):
    client: bool
    max_streams: int
    live: int
    over: bool
    round_trip: int

def footprint() -> int: ...
def live() -> int: ...
