"""Asks SciPy what lab-compare computes itself, and prints the golden file crates/lab-compare/tests/data/scipy.json.

usage: statistics.py > crates/lab-compare/tests/data/scipy.json     (SciPy 1.17.1)
       statistics.py --check crates/lab-compare/tests/data/scipy.json
"""

import json
import math
import pathlib
import sys

import numpy as np
from scipy import stats
from scipy.stats import mstats

SAMPLES = {
    "ten with one far out": [0.011, -0.004, 0.019, 0.002, -0.012, 0.007, 0.53, 0.001, -0.008, 0.015],
    "seven": [0.061, 0.049, 0.072, 0.055, 0.05, 0.078, 0.04],
    "four": [3.25, 3.5, 3.0, 3.875],
    "twenty with ties": [1.0, 1.0, 1.5, 2.0, 2.0, 2.0, 2.5, 3.0, 3.0, 3.5, 4.0, 4.0, 4.0, 4.5, 5.0, 5.5, 6.0, 6.0, 7.0, 50.0],
}


def one_sample(values, aside):
    """The trimmed mean with the standard error of Tukey and McLaughlin, put together from SciPy's own parts."""
    n, share = len(values), aside / len(values)
    left = n - 2 * aside
    winsorised = np.asarray(mstats.winsorize(np.array(values), limits=(share, share)))
    squares = float(np.sum((winsorised - winsorised.mean()) ** 2))
    centre, error = float(stats.trim_mean(values, share)), (squares / (left * (left - 1))) ** 0.5
    low, high = stats.t.interval(0.95, left - 1, loc=centre, scale=error)
    return {"aside": aside, "values": values, "centre": centre, "error": error, "freedom": left - 1, "low": float(low), "high": float(high)}


def two_samples(ours, theirs, aside):
    """Welch's and Yuen's two-sample t. SciPy trims a share of each sample; both are chosen so that the numbers agree."""
    trim = aside / min(len(ours), len(theirs)) + 1e-9
    assert int(trim * len(ours)) == int(trim * len(theirs)) == aside
    found = stats.ttest_ind(theirs, ours, equal_var=False, trim=trim)
    interval = found.confidence_interval(0.95)
    return {
        "aside": aside,
        "ours": ours,
        "theirs": theirs,
        "freedom": float(found.df),
        "low": float(interval.low),
        "high": float(interval.high),
    }


def less_sure(values, widening, error, freedom):
    """A mean whose standard error is wider, with a further error: the difference from a second sample that has just that error."""
    own = np.array(values)
    own = own.mean() + widening * (own - own.mean())
    other = np.arange(freedom + 1) - freedom / 2
    other *= error * (freedom + 1) ** 0.5 / other.std(ddof=1)
    found = stats.ttest_ind(own, other, equal_var=False)
    interval = found.confidence_interval(0.95)
    return {
        "values": values,
        "widening": widening,
        "error": error,
        "error_freedom": freedom,
        "freedom": float(found.df),
        "low": float(interval.low),
        "high": float(interval.high),
    }


def fisher(slow_theirs, n_theirs, slow_ours, n_ours):
    table = [[slow_theirs, n_theirs - slow_theirs], [slow_ours, n_ours - slow_ours]]
    p = stats.fisher_exact(table, alternative="greater").pvalue
    return {"theirs": [slow_theirs, n_theirs], "ours": [slow_ours, n_ours], "chance": float(p)}


def clopper_pearson(k, n):
    interval = stats.binomtest(k, n).proportion_ci(confidence_level=0.90, method="exact")
    return {"k": k, "n": n, "low": float(interval.low), "high": float(interval.high)}


def main():
    ten, seven, four, twenty = SAMPLES.values()
    document = {
        "scipy": "1.17.1",
        "one_sample": [one_sample(values, aside) for values in SAMPLES.values() for aside in (0, 1, 2, 3) if len(values) >= 2 * aside + 2],
        "two_samples": [two_samples(ten, seven, 0), two_samples(ten, ten[::-1][:9], 1), two_samples(seven, four, 0), two_samples(twenty, [x * 1.1 for x in twenty], 3)],
        "less_sure": [less_sure(seven, 1.0, 0.02, 4), less_sure(ten, 1.25, 0.005, 11), less_sure(four, 2.0, 0.3, 1)],
        "quantiles": [{"confidence": c, "freedom": f, "t": float(stats.t.ppf((1 + c) / 2, f))} for c in (0.9, 0.95, 0.988) for f in (1, 2.5, 3, 9, 27.3, 111, 1000)],
        "fisher": [fisher(3, 20, 0, 20), fisher(2, 5, 1, 4), fisher(1, 36, 0, 36), fisher(7, 40, 2, 30), fisher(0, 8, 2, 8)],
        "clopper_pearson": [clopper_pearson(0, 60), clopper_pearson(3, 60), clopper_pearson(60, 60), clopper_pearson(187, 20000)],
    }
    if sys.argv[1:2] == ["--check"]:
        golden = json.loads(pathlib.Path(sys.argv[2]).read_text())
        if not agree(json.loads(json.dumps(document)), golden):
            sys.exit("SciPy says something else than the golden file")
        print("SciPy agrees with the golden file")
    else:
        print(json.dumps(document, indent=1))


def agree(one, other):
    """Whether two documents are the same but for the last digits of their numbers."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(agree(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(agree, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return one == other


main()
