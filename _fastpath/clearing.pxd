"""Set-Cookie values that take away a cookie of ours which a sibling site may have planted (K01)."""

cpdef enum:
    # -- Clearing a cookie that somebody planted --
    MAX_CLEARED_SEGMENTS = 8            # segments of the path whose prefixes are cleared; over it: the
                                        # longer ones stay, and the person gets a page instead of a loop
    MAX_CLEARED_PATH = 1024             # bytes of one such prefix; over it: the same
    MAX_CLEARED_LINES = 96              # Set-Cookie lines of one answer that clear; over it: the same
    MAX_CLEARED_BYTES = 12288           # bytes of them; over it: the same
    CLEARED_LIFE = 60                   # seconds in which the same browser, back with a doubtful cookie;
                                        # gets a page instead of a redirect

cpdef list clearings(bytes name, bytes host, bytes path)
    # What clears `name` for every path and domain from which a browser sends it to this host (lower case, no port) and
    # path (as the browser sent it, without query): "/" and the host's own first.
