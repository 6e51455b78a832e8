"""What a worker knows: the snapshot in use, tokens seen, control's answers, the counters; and what a connection knows
of itself when it arrives."""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from _fastpath.buffer cimport Buffer, buffer_new
from _fastpath.endpoint cimport now_us
from _fastpath.limits cimport MAX_FIELDS, MAX_HEAD, MAX_HOST, MAX_TARGET
from _fastpath.servicetoken cimport ServiceTokens
from _fastpath.snapshot cimport Snapshot

import collections
import ipaddress
import os
import time

from _fastpath.address import pack_ip


@cython.final
cdef class Arrival:
    @staticmethod
    cdef Arrival new(int kind, object address, bytes sni, bint trusted, bint secure):
        cdef Arrival a = Arrival.__new__(Arrival)
        cdef bytes packed
        a.kind = kind
        a.trusted = trusted
        a.secure = secure
        a.sni = sni
        ip = ipaddress.ip_address(address.partition("%")[0])
        if ip.version == 6 and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped           # ::ffff:10.1.2.3 is 10.1.2.3 everywhere (C09)
        a.ip_text = str(ip).encode()
        packed = pack_ip(ip)
        memcpy(a.ip, <const char*>packed, 16)
        return a


cdef uint64_t seconds(object timeouts, str name, double default):
    value = timeouts.get(name)
    return <uint64_t>((default if value is None else float(value)) * 1e6)


@cython.final
cdef class Live:
    def __init__(self, Snapshot snapshot, list targets):
        settings = snapshot.settings
        self.snapshot = snapshot
        self.targets = targets
        self.auth_domain = settings["auth_domain"].encode()
        self.scheme = settings.get("public_scheme", "https").encode()
        self.suffix = settings.get("public_suffix", "").encode()
        hsts = settings.get("hsts", 0)
        self.hsts = b"Strict-Transport-Security: max-age=%d\r\n" % hsts if hsts and self.scheme == b"https" else b""
        self.pages = settings.get("pages", {})
        self.page_fields = settings.get("page_fields", "").encode()
        self.services = ServiceTokens(settings.get("service_tokens", {}))
        self.trusted = [ipaddress.ip_network(text) for text in settings.get("trusted_proxies", [])]
        timeouts = settings.get("timeouts", {})
        self.handshake_timeout = seconds(timeouts, "handshake", 10)
        self.head_timeout = seconds(timeouts, "head", 15)
        self.body_timeout = seconds(timeouts, "body_idle", 60)
        self.write_timeout = seconds(timeouts, "write", 60)
        self.keep_alive_timeout = seconds(timeouts, "keep_alive", 75)
        self.upstream_connect_timeout = seconds(timeouts, "upstream_connect", 10)
        self.upstream_head_timeout = seconds(timeouts, "upstream_head", 300)
        self.upstream_idle_timeout = seconds(timeouts, "upstream_idle", 60)
        self.upgrade_timeout = seconds(timeouts, "upgrade_idle", 3600)
        limits = settings.get("limits", {})
        self.connections_per_address = limits.get("connections_per_address", 1000)
        self.max_head = min(limits.get("head", MAX_HEAD), MAX_HEAD)
        self.max_fields = min(limits.get("fields", MAX_FIELDS), MAX_FIELDS)
        self.max_target = min(limits.get("target", MAX_TARGET), MAX_TARGET)

    def trusts(self, ip):
        """True when ip (ipaddress) is a trusted proxy."""
        return any(ip.version == network.version and ip in network for network in self.trusted)


cdef class Checkpoint:
    def __cinit__(self):
        cdef Buffer block
        hosts = buffer_new(4096)
        paths = buffer_new(65536)
        block = hosts
        self.host_block = block.reserve(MAX_HOST + 1)
        block = paths
        self.path_block = block.reserve(MAX_TARGET + 1)
        self.memory = (hosts, paths)
        self.verify_queue = collections.deque()
        self.facts = {}
        self.assertions = {}
        self.asked = set()
        self.waiting = []
        self.ray_key = int.from_bytes(os.urandom(8), "big")
        self.set_clock()

    def set_clock(self):
        """Take the wall clock again: records and token times are monotonic plus this offset."""
        self.wall_offset = time.time_ns() // 1000 - <int64_t>now_us()

    cdef bint ask_facts(self, bytes raw) except -1:
        """Put the question to control, once; its answer is for the snapshot of this moment."""
        if self.hooks is None:
            return False
        if raw not in self.asked:
            self.asked.add(raw)
            if not self.hooks.ask({"token": raw, "snapshot": self.live.snapshot.version}):
                self.asked.discard(raw)
                return False
        return True

    cdef int64_t wall_seconds(self) noexcept:
        return (<int64_t>now_us() + self.wall_offset) // 1000000

    cdef uint64_t next_ray(self) noexcept:
        # splitmix64 from a random start: unique in a worker, and says nothing about how many there were
        cdef uint64_t z
        self.ray_key += <uint64_t>0x9E3779B97F4A7C15u
        z = self.ray_key
        z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9u
        z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EBu
        return z ^ (z >> 31)
