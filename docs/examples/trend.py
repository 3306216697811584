"""Fits a line to the closing prices of a fixture, by gradient descent, and reports how many rows it used.

The work is the same every time: a smoke test of a model run, for `plans/smoke.toml` and docs/modeling.md.
"""

import csv
import os
import sys

EPOCHS = 20_000


def load(path):
    with open(path, newline="", encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    days = [float(row["day"]) / len(rows) for row in rows]
    return days, [float(row["close"]) for row in rows]


def fit(days, prices):
    slope, level = 0.0, 0.0
    for _ in range(EPOCHS):
        errors = [slope * day + level - price for day, price in zip(days, prices)]
        slope -= 0.5 * sum(error * day for error, day in zip(errors, days)) / len(days)
        level -= 0.5 * sum(errors) / len(days)
    return slope, level


def main():
    days, prices = load(sys.argv[1])
    slope, level = fit(days, prices)
    report = os.environ.get("LAB_ROWS_FILE")
    if report:
        with open(report, "a", encoding="ascii") as file:
            print(len(days), file=file)
    print(f"price = {level:.2f} + {slope:.2f} * share of the period")


main()
