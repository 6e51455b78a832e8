"""The worker's core: swaps snapshots, looks after time-outs and open streams, counts, drains."""

cimport cython
from libc.stdint cimport uint64_t

from _fastpath.accept cimport PlainServerPipe, TlsServerPipe, end_handshakes
from _fastpath.accesslog cimport LOG_HOST, LOG_PATH, AccessLog
from _fastpath.buffer cimport Buffer, buffer_new
from _fastpath.checkpoint cimport LISTEN_PLAIN, LISTEN_REDIRECT, LISTEN_TLS, Checkpoint, Live
from _fastpath.contexts cimport TlsContexts
from _fastpath.downstream cimport D_HEAD, D_RELAY, D_UPGRADED, PIECE, Core, Downstream
from _fastpath.endpoint cimport now_us
from _fastpath.errors cimport *
from _fastpath.exchange cimport STEP_RELAY, Exchange
from _fastpath.limits cimport MAX_HEAD, SWEEP_TURN, SWEEP_WHOLE
from _fastpath.revocations cimport Revocations
from _fastpath.slice cimport Slice, of_bytes, slice_of
from _fastpath.snapshot cimport Snapshot
from _fastpath.tls cimport tls_accept
from _fastpath.token cimport TokenCache
from _fastpath.upgrade cimport cut
from _fastpath.upstream cimport Upstreams
from _fastpath.watch cimport rejudge, still_allowed

import logging

from _fastpath.facts import FactSet as PythonFactSet

log = logging.getLogger("sekisho.worker")

cdef enum:
    TICK = 500               # milliseconds between two looks at time-outs and open streams
    QUIET = 2000000          # microseconds without a request after which idle buffers are given back

KINDS = {"tls": LISTEN_TLS, "plain": LISTEN_PLAIN, "redirect": LISTEN_REDIRECT}


@cython.final
cdef class WorkerCore(Core):
    def __init__(self, loop, *, links=None, log=None, hooks=None, Revocations revocations=None,
                 uint64_t sweep_turn=SWEEP_TURN):
        cdef Checkpoint cp = Checkpoint.__new__(Checkpoint)
        cdef Buffer block = buffer_new(2 * PIECE + MAX_HEAD * 4)
        self.loop = loop
        self.checkpoint = cp
        cp.revocations = revocations if revocations is not None else Revocations()
        cp.log = log
        cp.hooks = hooks
        self.links = links
        self.upstreams = Upstreams(loop)
        self.connections = set()
        self.handshakes = set()
        self.addresses = {}
        self.spare = []
        self.unswept = []
        self.sweep_turn = sweep_turn
        self.out_room = PIECE + MAX_HEAD * 4
        self.out_block = block.reserve(self.out_room)
        self.memory = block

    # -- what control and the master tell us ------------------------------------------------------

    def set_snapshot(self, Snapshot snapshot):
        """Swap to another snapshot: new requests use it, those under way keep theirs, open streams are judged again."""
        cdef Checkpoint cp = self.checkpoint
        cdef Live live = Live(snapshot, self.upstreams.targets_of(snapshot))
        keys = snapshot.settings.get("keys", {})
        issuer = snapshot.settings.get("issuer", "")
        if cp.tokens is None:
            cp.tokens = TokenCache(cp.revocations)
        cp.tokens.configure(keys, issuer)
        self.proxied_demo = bool(snapshot.settings.get("demo"))
        cp.live = live
        self.upstreams.lead_to(live.targets)
        # what control said, or is about to say, was for the policies of before
        cp.facts.clear()
        cp.asked = {question for question in cp.asked if not isinstance(question, bytes)}

    def set_log(self, AccessLog log):
        """From the next line on; what the log of before has taken is its own to write."""
        self.checkpoint.log = log

    def set_tls(self, TlsContexts contexts):
        """Use these certificates for connections accepted from now on."""
        self.contexts = contexts

    def set_control(self, path):
        self.upstreams.set_control(path)

    def set_stale(self, stale):
        """No word from control for max_stale: identity decisions are answered with 503 until there is."""
        self.checkpoint.stale = stale

    def revoke(self, entries, full=False, seq=0):
        """Apply revocations, then end what they end."""
        self.checkpoint.revocations.apply(entries, full, seq)
        self.sweep()

    def answered(self, question, said):
        """Control's answer to hooks.ask(question): facts of a token, or a service's assertion; None = it can't say."""
        cdef Checkpoint cp = self.checkpoint
        if "service_token" in question:
            key = (question["service_token"].encode(), question["aud"].encode())
            cp.asked.discard(key)
            if said is not None and said.get("token"):
                token = said["token"]
                cp.assertions[key] = (token.encode() if isinstance(token, str) else token, said["expiry"])
        else:
            key = question["token"]
            if question["snapshot"] == cp.live.snapshot.version:     # else it has been asked again
                cp.asked.discard(key)
                facts = PythonFactSet.from_claims(said["facts"]) if said is not None and said.get("facts") else None
                cp.facts[key] = (facts, cp.wall_seconds() + (60 if facts is not None else 2))
        self.wake_all()

    def drain(self):
        """No new requests on old connections: what is idle closes now, what works closes when it is done."""
        cdef Downstream d
        self.draining = True
        for connection in list(self.connections):
            d = connection
            d.keep = False
            if d.state == D_HEAD and (d.pending is None or d.pending.size() == 0) and d.pipe is not None:
                d.pipe.close()

    def close_all(self):
        """The drain's time is over: cut what is left."""
        cdef Downstream d
        for connection in list(self.connections):
            d = connection
            if d.pipe is not None:
                d.pipe.abort(R_DRAINING)

    def live(self):
        """Return the number of open client connections."""
        return len(self.connections) + len(self.handshakes)

    def busy(self):
        """Return the number of client connections with a request or an upgraded stream under way."""
        cdef Downstream d
        n = 0
        for connection in self.connections:
            d = connection
            n += d.x is not None
        return n

    def acceptor(self, kind, proxy_protocol=False):
        """Return a protocol factory for loop.create_server: kind is "tls", "plain" or "redirect"."""
        cdef int number = KINDS[kind]
        proxied = bool(proxy_protocol)

        def plain():
            cdef PlainServerPipe pipe = PlainServerPipe.__new__(PlainServerPipe)
            pipe.core, pipe.kind, pipe.preface, pipe.loop = self, number, proxied, self.loop
            return pipe

        def secure():
            cdef TlsServerPipe pipe = TlsServerPipe.__new__(TlsServerPipe)
            pipe.core, pipe.preface, pipe.loop = self, proxied, self.loop
            pipe.tls = tls_accept(self.contexts)
            return pipe

        return secure if number == LISTEN_TLS else plain

    # -- time --------------------------------------------------------------------------------------

    def start(self):
        """Begin to look after time-outs, revocations and pools, twice a second, until stop()."""
        self.timer = self.loop.call_later(TICK * 0.001, self.tick)

    def stop(self):
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def tick(self):
        cdef Downstream d
        cdef uint64_t now = now_us()
        cdef Checkpoint cp = self.checkpoint
        self.timer = self.loop.call_later(TICK * 0.001, self.tick)
        cp.set_clock()
        try:
            end_handshakes(self, now)
            for connection in list(self.connections):
                d = connection
                if d.deadline and now >= d.deadline and d.pipe is not None:
                    self.guarded(d, now)
                elif d.state == D_HEAD and not d.quiet and d.deadline and d.pipe is not None and (
                        now + cp.live.keep_alive_timeout >= d.deadline + QUIET):
                    d.quiet = True
                    d.pipe.rest()
            self.sweep()
            if cp.live is not None:
                self.upstreams.tick(cp.live.upstream_idle_timeout)
            if len(cp.assertions) > 4096:
                cp.assertions.clear()
            if len(cp.facts) > 4096:
                cp.facts.clear()
            if len(self.spare) > 256:
                del self.spare[256:]
        except Exception:
            log.exception("a tick failed")

    cdef int guarded(self, Downstream d, uint64_t now) except -1:
        try:
            d.time_out(now)
        except Exception:
            log.exception("a time-out failed; its connection is closed")
            if d.pipe is not None:
                d.pipe.abort(R_INTERNAL)
        return 0

    def sweep(self):
        """End the open streams whose session ended, was revoked, or is no longer allowed by the policies; in slices of
        SWEEP_TURN when they are many, done within SWEEP_WHOLE."""
        if self.unswept:
            self.sweep_again = True          # who was looked at already is looked at again
            if now_us() - self.sweep_began >= <uint64_t>SWEEP_WHOLE * 1000:
                self.sweep_slice()           # its turns are late, or a failure ended them: all that is left, now
            return
        self.unswept = list(self.connections)
        self.sweep_began = now_us()
        self.sweep_slice()

    def sweep_slice(self):
        cdef Downstream d
        cdef int reason
        cdef uint64_t now = now_us()
        cdef uint64_t until = now + self.sweep_turn
        cdef bint patient = now - self.sweep_began < <uint64_t>SWEEP_WHOLE * 1000
        while self.unswept:
            d = self.unswept.pop()
            if d.x is None or d.step != STEP_RELAY or (d.state != D_RELAY and d.state != D_UPGRADED):
                continue
            try:
                reason = self.ends(d.x)
                if reason:
                    cut(d, reason)
            except Exception:                # one that fails must not keep the others from being looked at
                log.exception("a stream could not be judged again; it is closed")
                if d.pipe is not None:
                    d.pipe.abort(R_INTERNAL)
            if patient and now_us() >= until:
                break
        if not self.unswept and self.sweep_again:
            self.sweep_again = False
            self.unswept = list(self.connections)
            self.sweep_began = now
        if self.unswept:
            self.loop.call_soon(self.sweep_slice)

    cdef int ends(self, Exchange x) except -1:
        """Why an open stream must end, or 0. A new snapshot judges each stream once."""
        cdef Checkpoint cp = self.checkpoint
        cdef Slice path
        cdef int reason = still_allowed(x)
        if reason or x.judged is cp.live:
            return reason
        if x.long_path is not None:
            path = of_bytes(x.long_path)
        else:
            path = slice_of(x.record.text + x.record.at[<int>LOG_PATH], x.record.length[<int>LOG_PATH])
        reason = rejudge(
            x, cp.live, slice_of(x.record.text + x.record.at[<int>LOG_HOST], x.record.length[<int>LOG_HOST]), path)
        if reason == -2:                     # facts are asked for: the next look asks again
            return 0
        x.judged = cp.live
        return reason

    def counters(self):
        """Return the numbers that metrics are made of, since the start of this worker."""
        cdef Checkpoint cp = self.checkpoint
        counters = dict(cp.counters)
        counters["by_status"] = [cp.counters.by_status[i] for i in range(6)]
        counters["connections"] = self.live()
        counters["busy"] = self.busy()
        counters["tokens"] = cp.tokens.size if cp.tokens is not None else 0
        counters["token_hits"] = cp.tokens.hits if cp.tokens is not None else 0
        counters["token_verified"] = cp.tokens.verified if cp.tokens is not None else 0
        counters["token_refused"] = cp.tokens.refused if cp.tokens is not None else 0
        return counters
