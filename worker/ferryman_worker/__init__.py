"""The worker: claim -> run -> decide -> settle, in children of a supervisor.

`supervisor` forks and watches, `upkeep` beats and mends, `child` works. Start with `child`.
"""
