"""`ferryman check`: whether what lies in Redis agrees with itself, and how to set it right.

`jobs`, `keyspace` and `counters` are the invariants, pure; `seen` and `passes` read a live system
and say what is a finding; `repair` mends. docs/check.md lists every kind.
"""

from ferryman.check.findings import KINDS, Finding
from ferryman.check.passes import Report, inspect
from ferryman.check.repair import repair

__all__ = ["KINDS", "Finding", "Report", "inspect", "repair"]
