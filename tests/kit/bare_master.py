"""The real master over the bare control and worker: `python -m tests.kit.bare_master PLAN.json`."""

import os
import sys
from pathlib import Path

from edge.server.master import main
from edge.server.plan import PLAN_FD, Plan, plan_file

if __name__ == "__main__":
    os.environ[PLAN_FD] = str(plan_file(Plan.decode(Path(sys.argv[1]).read_bytes())))
    sys.exit(main(("tests.kit.bare_control", "tests.kit.bare_worker")))
