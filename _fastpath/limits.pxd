"""Every bound of the compiled data path: name, unit, and what happens when it is passed.

Each comment has the shape `unit; consequence`: docs/limits.md is written from this
file (python -m tests.kit.limits_document). Rooms add theirs under their own heading. `cpdef` makes the
same numbers importable from Python (`from _fastpath.limits import MAX_HEAD`)."""

cpdef enum:
    # -- HTTP heads (http1) --
    MAX_HEAD = 65536                    # bytes, start line and fields; over it: 431 head-too-large
                                        # and close (502 for an origin's)
    MAX_LINE = 32768                    # bytes, one line of a head; over it: 431 line-too-long and
                                        # close (502 for an origin's)
    MAX_FIELDS = 100                    # fields of one head; over it: 431 fields-too-many and close
                                        # (502 for an origin's)
    MAX_TARGET = 8192                   # bytes, request target; over it: 414 target-too-long and
                                        # close
    MAX_METHOD = 32                     # bytes, method; over it: 400 method-invalid and close
    MAX_HOST = 255                      # bytes, Host value or authority, port included; over it:
                                        # 400 host-invalid and close
    MAX_LEADING_EMPTY_LINES = 1         # empty lines before a request line; over it: 400
                                        # request-line-invalid and close
    MAX_LENGTH_DIGITS = 18              # digits of Content-Length, so that no sum of two overflows;
                                        # over it: 400 length-invalid and close
    MAX_OPTIONS = 32                    # options in the Connection fields of one head, empty ones
                                        # included; over it: 400 field-value-invalid and close

    # -- HTTP bodies (body) --
    MAX_CHUNK_DIGITS = 16               # hexadecimal digits of a chunk size, leading zeros
                                        # included; over it: 400 chunk-size-invalid and close
    MAX_CHUNK_EXTENSION = 16384         # bytes of chunk extensions in one body; over it: 400
                                        # chunk-overhead and close
    MAX_TRAILER = 16384                 # bytes of one trailer section; over it: 431
                                        # trailer-too-large and close
    MAX_TRAILER_FIELDS = 100            # fields of one trailer section; over it: 431
                                        # trailer-too-large and close

    # -- One exchange --
    MAX_INFORMATIONAL = 16              # 1xx responses before the final one; over it: 502
                                        # origin-response-invalid
    MAX_PIPELINE = 65536                # bytes read ahead of the request being answered; over it:
                                        # reading pauses until it is answered
    MAX_DRAIN = 65536                   # bytes of an unread request body that are read and dropped
                                        # after an early answer; over it: close
    MAX_TLS_UNASKED = 65536             # bytes that libssl answers by itself on one open connection
                                        # (KeyUpdate); over it: the connection fails
    MAX_FACTS = 2048                    # bytes of policy facts in one token; over it: `partial`
                                        # names the kinds left out, the worker asks control
    MAX_TOKEN = 16384                   # bytes of one token; over it: token-malformed
    MAX_TOKENS = 32768                  # verified tokens that a worker remembers; over it: the one
                                        # unused for longest is verified again when it comes back
    MAX_REFUSALS = 4096                 # refused tokens that a worker remembers; over it: an older
                                        # one is verified again when it comes back

    # -- Buffers between downstream and upstream --
    READ_BUFFER = 262144                # bytes, the read buffer shared by all connections of a
                                        # loop; never grows
    HIGH_WATER = 65536                  # bytes queued towards one side; above it: the other side's
                                        # reading pauses
    LOW_WATER = 16384                   # bytes queued towards one side; below it: the other side's
                                        # reading resumes

    # -- Time-outs: what they are when the configuration names none --
    TIMEOUT_HANDSHAKE = 10000           # milliseconds, accept to end of TLS handshake; over it:
                                        # close
    TIMEOUT_HEAD = 15000                # milliseconds, first byte to last byte of a request head;
                                        # over it: 408 head-timeout and close
    TIMEOUT_BODY = 60000                # milliseconds without a byte of a request body that is
                                        # awaited; over it: 408 body-timeout and close
    TIMEOUT_WRITE = 60000               # milliseconds without the client taking a byte; over it:
                                        # close (client-stalled)
    TIMEOUT_KEEP_ALIVE = 75000          # milliseconds between two requests; over it: close
    TIMEOUT_UPSTREAM_CONNECT = 10000    # milliseconds to connect to an origin, TLS included; over
                                        # it: 504 origin-connect-timeout
    TIMEOUT_UPSTREAM_HEAD = 300000      # milliseconds from the end of the request to the response
                                        # head; over it: 504 origin-head-timeout
    TIMEOUT_UPSTREAM_IDLE = 60000       # milliseconds that a pooled upstream connection waits
                                        # unused; over it: close
    TIMEOUT_UPGRADE_IDLE = 3600000      # milliseconds without a byte either way after an upgrade;
                                        # over it: close (upgrade-idle)

    # -- Transports and pools (endpoint, upstream, downstream) --
    READ_BUDGET = 4                     # full read buffers taken from one socket in a row; over it: the
                                        # other sockets of the loop come first
    MAX_IDLE_PER_TARGET = 256           # idle upstream connections kept for one origin; over it: close
    TRUST_AGE = 3600000                 # milliseconds that trust anchors which were read serve new
                                        # upstream connections; over it: they are read again first
    TRUST_RETRY = 60000                 # milliseconds that the old ones stay when that fails; over it:
                                        # it is tried again
    MAX_LINGER = 1048576                # bytes read and dropped after an early answer before the
                                        # connection is cut; over it: close
    TIMEOUT_LINGER = 3000               # milliseconds that a client has to read an early answer; over
                                        # it: close
    MAX_VERIFY_QUEUE = 1000             # requests waiting for a signature check in one worker; over it:
                                        # 503 verify-queue-full
    MAX_VERIFY_TURN = 1000              # microseconds of signature checks in one loop turn; over it:
                                        # the rest waits for the next turn
    SWEEP_TURN = 2000                   # microseconds of judging open streams in one loop turn; over it: the
                                        # rest waits for the next turn
    SWEEP_WHOLE = 250                   # milliseconds that judging all open streams may take in turns; over
                                        # it: the rest is judged at once
    TIMEOUT_FACTS = 5000                # milliseconds that a request waits for facts from control; over
                                        # it: 503 facts-unavailable

    # -- Policies (snapshot, policy): a snapshot beyond these is refused when it is compiled --
    MAX_POLICIES = 1024                 # policies of one application; over it: configuration error
    MAX_INSTRUCTIONS = 65536            # rules of one application, merged and plain, groups
                                        # included; over it: configuration error
    MAX_RULE_GROUPS = 256               # rule groups that one application uses, nested ones
                                        # included; over it: configuration error
    MAX_GROUP_DEPTH = 16                # rule groups inside each other; over it: configuration error
    MAX_PATH_PATTERN = 512              # bytes of an application's path; over it: configuration error

    # -- The mux (frame, stream, mux; MUX.md) --
    INITIAL_WINDOW = 262144             # bytes each way of a new stream (yamux); data over it: session
                                        # error link-protocol
    MAX_WINDOW = 8388608                # bytes, what a receive window may grow to; at it: it stays
    MAX_LINK_GROWTH = 67108864          # bytes by which all windows of a link may exceed the initial
                                        # one; at it: none grows
    MAX_STREAMS = 4096                  # streams open on one link; over it: ours wait for another link
                                        # (503 tunnel-streams), theirs get RST
    MAX_BACKLOG = 256                   # streams of the other side that nobody accepted yet; over it:
                                        # RST. Ours without ACK; over it: SYN waits
    MAX_CONTROL = 65536                 # bytes of GoAway, ping and RST frames waiting to be sent; over
                                        # it: session error link-protocol
    LINK_HELD = 67108864                # bytes received on all streams of a link that nobody has used yet;
                                        # above it: no window grows, and none is granted beyond HELD_WINDOW
    LINK_HELD_MAX = 268435456           # the same; above it: the stream that holds most, and more than
                                        # HELD_WINDOW, is reset, buffer-full
    HELD_WINDOW = 32768                 # bytes that a stream may hold however much the link holds
    MUX_QUANTUM = 16384                 # bytes that one stream sends before the next has its turn
    STREAM_HIGH_WATER = 131072          # bytes queued on one stream; above it: full()
    STREAM_LOW_WATER = 16384            # bytes queued on one stream; below it: on_writable
    LINK_HIGH_WATER = 16777216          # bytes queued on all streams of a link; above it: a stream is
                                        # full() at STREAM_LOW_WATER
    MAX_STREAM_QUEUE = 4194304          # bytes queued on one stream; over it: full() was not obeyed,
                                        # buffer-full
    RAPID_RESETS = 1000                 # streams that the other side may reset before our ACK left; over
                                        # it: session error link-protocol
    RAPID_RESETS_PER_SECOND = 100       # by which that budget is refilled
    PING_ANSWERS = 64                   # pings answered at once; over it: ignored and counted
    PING_ANSWERS_PER_SECOND = 20        # by which that budget is refilled
    PING_IDLE = 5000                    # milliseconds without a byte from the other side; over it: ping,
                                        # and again each time it passes
    PEER_DEAD = 14500                   # milliseconds without a byte from the other side; over it:
                                        # link-timeout
    PING_UNANSWERED = 60000             # milliseconds that an answer to a ping may take while other
                                        # bytes come; over it: link-timeout
    HALF_CLOSED = 300000                # milliseconds without data on a half-closed stream; over it: RST,
                                        # stream-timeout
    RESET_HELD = 30000                  # milliseconds that RST waits for the ACK of a stream that we
                                        # opened; over it: it is sent
    # -- Links and service tables (carrier, tunnel) --
    MAX_CONTROL_MESSAGE = 1048576       # bytes of one control-stream message; over it: link-protocol,
                                        # the link is closed
    MAX_STREAM_HEADER = 4096            # bytes of one stream header or refusal; over it: link-protocol,
                                        # the link is closed
    MAX_HELD = 33554432                 # bytes that one paused stream may hold, above every receive
                                        # window; over it: buffer-full, the link is closed
    MAX_RELAYED_REST = 256              # idle streams that a worker keeps for one link of another worker;
                                        # over it: the one idle for longest is closed
    FLUSH_BLOCK = 65536                 # bytes of frames put together for one write; over it: another
                                        # write in the same turn
    LINK_NOTSENT = 131072               # bytes of a link's socket that the kernel has not sent yet; over
                                        # it: frames wait in the mux, where they are scheduled
    LINK_CLOSE = 2000                   # milliseconds that a link which is being closed has to send what is
                                        # queued; over it: it is cut
    LINK_TICK = 500                     # milliseconds between two looks of a link at the clock; over it:
                                        # a time-out is noticed that much later
    PING_TICKS = 20                     # ticks between two pings that measure a link; past them: a ping
    MAX_TABLE_ENTRIES = 1000            # entries of one service table; over it: table refused
    MAX_TABLE_PATHS = 64                # entries with a path in one service table; over it: table refused
    MAX_HOSTS_CACHED = 1024             # hosts whose rules one table keeps ready; over it: all are built
                                        # again when asked for
    TABLE_KEPT = 60000                  # milliseconds that a replaced service table is still served; over
                                        # it: tunnel-table-unknown
