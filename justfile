# Tasks of this repository. `just` lists them.

# The recipes are plain cargo: `just` saves typing and is needed for nothing.

# Lists the tasks.
default:
    @just --list --unsorted

# Builds the release binary, built-in engine included.
build:
    cargo build --release

# Runs the main job on a model that is written here, without a download.
run-quickstart *ARGUMENTS="--repeat 5":
    cargo run --release -- run plans/quickstart.toml {{ ARGUMENTS }}

# Passes all tests, as CI does.
test:
    cargo test --release --workspace

# Passes the tests of everything but the built-in engine, without compiling candle.
test-fast:
    cargo test --workspace --exclude lab-candle --no-default-features

# Passes the tests of the Python package; needs pytest.
test-python:
    cd crates/lab-measure-py && python3 -B -m pytest

# Checks formatting and lints, warnings denied.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Writes the JSON Schemas of every format to schemas/.
schemas:
    cargo run --quiet --no-default-features -- schemas --output schemas

# Writes docs/metrics.md and docs/validity.md from the tables of metrics and rules.
tables-doc:
    cargo run --quiet --no-default-features -- metrics > docs/metrics.md.new
    mv docs/metrics.md.new docs/metrics.md
    cargo run --quiet --no-default-features -- rules > docs/validity.md.new
    mv docs/validity.md.new docs/validity.md

# Asks the pinned llama.cpp for the token goldens again and compares.
oracle +MODELS:
    ci/oracle/check.sh {{ MODELS }}

# Measures what lab itself costs: recording a token, decode speed against a bare loop, and `lab list` on 1,000 runs. Needs
# a quiet machine.
bench:
    cargo build --release
    cargo bench -p lab-candle --bench recording
    cargo build --release --examples -p lab-candle
    python3 ci/bench/overhead.py --pairs 10
    python3 ci/bench/store.py

# Measures what importing a million inferences of edge devices costs: time, peak memory, size of the store.
bench-devices *ARGUMENTS="":
    cargo build --release
    python3 ci/bench/devices.py {{ ARGUMENTS }}

# Measures what `lab measure` costs, on and off, against the bare command. Needs a quiet machine and a minute.
bench-measure *ARGUMENTS="--rounds 40":
    cargo build --release
    python3 ci/bench/measure.py target/release/lab {{ ARGUMENTS }}

# Proves that all instruments together cost less than half a percent of decode speed. Needs a quiet machine and minutes.
bench-overhead PLAN="plans/smollm2-q8.toml" *ARGUMENTS="--blocks 2401 --tokens 8":
    cargo run --release -- overhead {{ PLAN }} {{ ARGUMENTS }}

# Shows which repetitions a CPU hog in mid-session marks, and that no verdict is given on them. Needs a quiet machine.
hog:
    cargo build --release
    ci/bench/hog.sh target/release/lab

# Counts how often the rules of validity fire on a quiet machine.
quiet MINUTES="60":
    cargo build --release
    ci/bench/quiet.sh target/release/lab {{ MINUTES }}

# Simulates how often verdicts are wrong, and prints the tables of docs/comparison.md.
simulate:
    cargo test --release -p lab-compare --test statistics rates -- --nocapture --test-threads 1

# Runs `lab ab` on known changes and counts its verdicts. Resumable: FILE keeps what was run. Needs a quiet machine and hours.
trials FILE="results/trials.jsonl" *ARGUMENTS="":
    cargo build --release
    python3 ci/bench/trials.py target/release/lab plans/smollm2-q8.toml {{ FILE }} {{ ARGUMENTS }}

# Measures what other ways of comparing come to: hyperfine with Welch, means of 5, Mann-Whitney. Resumable, half an hour.
peers FILE="results/peers.jsonl" *ARGUMENTS="--trials results/trials-*.jsonl":
    cargo build --release
    python3 ci/bench/peers.py target/release/lab plans/smollm2-q8.toml {{ FILE }} {{ ARGUMENTS }}

# Holds what turns find against uninterrupted runs, on this build and one for newer processors. Resumable, twenty minutes.
lockstep FILE="results/lockstep.jsonl" *ARGUMENTS="":
    cargo build --release
    cargo build --release --target-dir target/newer --config 'target."cfg(target_os = \"linux\")".rustflags = ["-Ctarget-cpu=x86-64-v3"]'
    python3 ci/bench/lockstep.py target/release/lab target/newer/release/lab {{ FILE }} {{ ARGUMENTS }}

# Measures an engine against itself in several ways side by side: `layouts` of its memory, or `turns` of other lengths. Needs a quiet
# machine and ten to twenty minutes.
ways KIND="turns" *ARGUMENTS="":
    cargo build --release
    python3 ci/bench/ways.py target/release/lab plans/smollm2-q8.toml {{ KIND }} {{ ARGUMENTS }}

# Builds a commit and its parent, and asks whether it is faster or slower.
gate BASE="HEAD^" *ARGUMENTS="":
    ci/gate.sh {{ BASE }} {{ ARGUMENTS }}

# Checks licences, banned crates and sources of dependencies.
deny:
    cargo deny --locked check licenses bans sources

# Runs everything that must hold, as CI does; installs Python wheels into a temporary environment.
ci:
    .ci/run
