"""Benchmarks: Ferryman, the bare loops of redis-py and fifteen rivals, on one machine.

`python -m bench --help`; what is measured and how stands in docs/benchmarks.md. Read on in
`contenders` (who), `tasks` (what), `runner` (in which order), `goals` and `page` (what it shows).
"""
