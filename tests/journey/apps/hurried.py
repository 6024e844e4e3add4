"""`ferryman` with some of its constants changed, so that a test need not wait half a minute.

python hurried.py '{"kept.DEAF": 3}' worker
"""

import importlib
import json
import sys

from ferryman.cli import main

if __name__ == "__main__":
    for name, value in json.loads(sys.argv[1]).items():
        module, _, constant = name.rpartition(".")
        found = importlib.import_module(f"ferryman_worker.{module}")
        assert hasattr(found, constant)
        setattr(found, constant, value)
    main(sys.argv[2:])
