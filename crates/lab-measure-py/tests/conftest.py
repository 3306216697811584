"""Every test has a folder and an environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = str(Path(__file__).resolve().parents[1] / "src")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_MEASURE", "on")
    monkeypatch.delenv("CI", raising=False)
    return tmp_path


@pytest.fixture
def fresh_process():
    """Runs a program in a process without a past: `RUSAGE_CHILDREN` of the tests' own one remembers every test."""

    def carry_out(program):
        environment = {**os.environ, "PYTHONPATH": SOURCES}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return carry_out
