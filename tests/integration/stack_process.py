"""An embedded stack with stand-ins for worker and API: `stack_process.py DATA_DIR`; prints the pids."""

import json
import sys
from pathlib import Path

from explaind_jobs.local_stack.stack import EmbeddedStack, StackCommands
from explaind_jobs.settings import JobsSettings

HERE = Path(__file__).parent
STAND_INS = StackCommands(
    api=[sys.executable, str(HERE / "stub_api.py")],
    worker=[sys.executable, str(HERE / "fake_worker.py"), "1"],
)

if __name__ == "__main__":
    with EmbeddedStack(JobsSettings(redis_url=None, data_dir=Path(sys.argv[1])), commands=STAND_INS) as stack:
        sys.stdout.write(json.dumps(stack.pids) + "\n")
        sys.stdout.flush()
        stack.wait()
