"""The compiled policy program, asked at sign-in: the same bytes that workers decide from."""

from typing import Any

from _fastpath.explain import explain, may_allow
from _fastpath.snapshot import Snapshot
from edge.identity.world import Facts, Judgement


class SnapshotJudge:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def decide(self, host: str, path: str, facts: Facts) -> Judgement:
        told: dict[str, Any] = explain(self._snapshot, host, path, dict(facts))
        return Judgement(
            verdict=str(told["verdict"]),
            reason=str(told["reason"]),
            policy=str(told["policy_name"] or ""),
            session_duration=told["session_duration"],
            aud=str(told["application"]["aud"]) if told["application"] else "",
        )

    def may_allow(self, host: str, path: str, facts: Facts) -> bool:
        return may_allow(self._snapshot, host, path, dict(facts))
