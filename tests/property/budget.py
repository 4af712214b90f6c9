"""How many examples a property test takes: few and always the same in the tests, many and new ones in the benchmark.

M4_EXAMPLES=4000 sets the number for all of them; `make bench` does so, and prints what each came to.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def many(usual: int) -> settings:
    """The settings of a property test that takes `usual` examples in the test run."""
    wanted = int(os.environ.get("M4_EXAMPLES", "0"))
    return settings(
        max_examples=wanted or usual,
        derandomize=not wanted,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
