"""Programs that measure, ``python -m benchmarks.NAME`` in the directory above; README.md holds what was seen.

Some use what the tests have: their model, their servers and their broken files.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
