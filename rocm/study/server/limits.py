"""Rates of requests: counted in memory, by a hash that changes every day; no address is stored.

Limits of an address suit a classroom behind one router; the narrow ones are for one rater.
"""

import hashlib
import ipaddress
import secrets
import time
from collections import Counter as Counts
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from rocm.study.server.refusal import Refusal

MOST_REMEMBERED = 20_000
SALT_LIVES_S = 86_400


@dataclass(frozen=True)
class Limit:
    """At most `burst` requests at once, and `per_s` of them a second over time."""

    burst: float
    per_s: float


@dataclass(frozen=True)
class Limits:
    """Limits of requests and joins per address, of calls and answers (votes, skips) per rater.

    `named_joins` are of invited raters and logins, `joins` of all others.
    """

    requests: Limit = Limit(3000, 100)
    joins: Limit = Limit(5, 1 / 30)
    named_joins: Limit = Limit(60, 0.1)
    calls: Limit = Limit(60, 5)
    answers: Limit = Limit(30, 0.5)


def visitor(address: str) -> str:
    """The address, or the 64-bit network of an IPv6 household; other texts as they are."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and not parsed.ipv4_mapped:
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


class Counter:
    """Counts requests, and refuses those beyond the limits."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic):
        """Count from nothing; `clock` gives seconds."""
        self._limits, self._clock, self._lock = limits, clock, Lock()
        # Kinds apart: tokens made up by the thousand must not push out the count of an address.
        self._left: dict[str, OrderedDict[bytes, tuple[float, float]]] = defaultdict(OrderedDict)
        self._answers: dict[str, Counts[bytes]] = defaultdict(Counts)
        self._told: dict[str, int] = {}
        self._salt, self._salted_at = secrets.token_bytes(32), clock()

    def answered(self, study_id: str, address: str) -> dict[str, int] | None:
        """Count an answer of an address; numbers to be kept, whenever there are a fifth more."""
        with self._lock:
            counts = self._answers[study_id]
            counts[self._hashed(address, self._clock())] += 1
            total, told = counts.total(), self._told.get(study_id, 0)
            if total < max(told + 10, told * 1.2) or len(counts) > MOST_REMEMBERED:
                return None
            self._told[study_id] = total
            return {"answers": total, "addresses": len(counts), "busiest": max(counts.values())}

    def check(self, kind: str, caller: str) -> None:
        """Count a request of `kind`, a field of `Limits`; Refusal 429 if there are too many."""
        limit: Limit = getattr(self._limits, kind)
        with self._lock:
            now = self._clock()
            key = self._hashed(caller, now)
            known = self._left[kind]
            left, seen = known.pop(key, (limit.burst, now))
            left = min(limit.burst, left + (now - seen) * limit.per_s)
            known[key] = (left - 1 if left >= 1 else left, now)
            if len(known) > MOST_REMEMBERED:
                known.popitem(last=False)
        if left < 1:
            words = "Too many requests in a short time. Wait a few seconds, then try again."
            raise Refusal(429, "too_many", words)

    def _hashed(self, caller: str, now: float) -> bytes:
        if now - self._salted_at > SALT_LIVES_S:
            self._salt, self._salted_at = secrets.token_bytes(32), now
            self._left.clear()
            self._answers.clear()
            self._told.clear()
        return hashlib.blake2s(caller.encode(), key=self._salt, digest_size=16).digest()
