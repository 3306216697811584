"""What measuring costs, printed. Figures of time are not asserted: machines are busy."""

import sys
import time

import pytest

from lab_measure import measure_run_context
from lab_measure.processes import Processes


def seconds_each(n, action):
    begun = time.perf_counter()
    for _ in range(n):
        action()
    return (time.perf_counter() - begun) / n


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")
def test_the_cost_of_a_run_is_printed_for_on_and_off(capsys):
    def carry_out(enabled):
        with measure_run_context(rows=1, enabled=enabled) as run:
            pass
        assert (run.summary is not None) is enabled

    on = seconds_each(50, lambda: carry_out(True))
    off = seconds_each(2_000, lambda: carry_out(False))
    look = seconds_each(200, Processes().resident)
    with capsys.disabled():
        print(
            f"\na run costs {on * 1e6:.0f} us where measuring is on (record written), {off * 1e6:.1f} us where it is off; "
            f"a look at one process costs {look * 1e6:.0f} us, {look * 10 * 100:.3f} % of a core at 0.1 s"
        )
