#!/usr/bin/env bash
# Validates every document that lab prints, and every plan, against the schemas in schemas/ with an independent
# validator (PyPI check-jsonschema). Usage: ci/validate_documents.sh LAB
set -euo pipefail
cd "$(dirname "$0")/.."
lab=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export LAB_STORE="$folder/lab.sqlite"

check-jsonschema --check-metaschema schemas/*.json
# Each plan against the schema that its first line names.
for plan in plans/*.toml docs/examples/*.toml; do
  schema=$(sed -n '1s|^#:schema .*/\(schemas/[a-z0-9.-]*\)$|\1|p' "$plan")
  check-jsonschema --schemafile "${schema:-schemas/plan.v1.json}" "$plan"
done

# On a machine that is busy enough every repetition is invalid (5): the documents must fit their schemas all the same.
"$lab" run plans/quickstart.toml --repeat 2 --profile --format json >"$folder/run.json" 2>"$folder/talk" || [ $? -eq 5 ]
"$lab" run plans/quickstart.toml --repeat 2 >"$folder/table" 2>"$folder/talk" || [ $? -eq 5 ]
"$lab" show @latest --format json >"$folder/show.json"
"$lab" export @latest --format json >"$folder/export.json"
"$lab" list --format json >"$folder/list.json"
# A session in which everything is invalid is refused as a baseline (2); then the name is unknown, too.
"$lab" baseline set main 2>"$folder/talk" || [ $? -eq 2 ]
"$lab" baseline list --format json >"$folder/baselines.json"
"$lab" baseline show main --format json >"$folder/baseline.json" 2>"$folder/talk" || [ $? -eq 2 ]
"$lab" history quickstart --format json >"$folder/history.json"
"$lab" store --limit 10GB --format json >"$folder/store.json"
"$lab" doctor --format json >"$folder/doctor.json"
"$lab" import device crates/lab-formats/tests/data/device >"$folder/talk" --store "$folder/devices.sqlite"
"$lab" devices --device device --format json --store "$folder/devices.sqlite" >"$folder/devices.json"
"$lab" gate --baseline @latest~1 --candidate @latest --format json >"$folder/gate.json" || [[ $? =~ ^(1|3|4)$ ]]
"$lab" ab docs/examples/scripted.toml --pairs 4 --format json >"$folder/experiment.json" 2>"$folder/talk" ||
  [[ $? =~ ^(1|3|4)$ ]]
"$lab" show @latest --format json >"$folder/side.json"
"$lab" calibrate docs/examples/scripted.toml --sessions 2 --repeat 3 --pairs 4 --format json >"$folder/calibration.json" 2>"$folder/talk"
"$lab" plan check plans/quickstart.toml --format json >"$folder/plan-check.json"
# Two sessions on a busy machine may well part by more than the tolerance, or not be judged: any answer will do, a failure
# will not.
"$lab" compare @latest~1 @latest --format json >"$folder/report.json" || [[ $? =~ ^(1|3|4)$ ]]
{ cat docs/examples/scripted.toml; printf '[instruments]\nsample_hz = 500\n'; } >"$folder/overhead.toml"
"$lab" overhead "$folder/overhead.toml" --blocks 101 --tokens 20 --format json >"$folder/overhead.json" 2>"$folder/talk" ||
  [[ $? =~ ^(1|3)$ ]]

"$lab" import workflow crates/lab-formats/tests/data/workflow-seed.json --plan plans/workflow.toml --format json \
  >"$folder/import.json" 2>"$folder/talk"
"$lab" check @latest --format json >"$folder/check.json"
"$lab" export @latest --format source >"$folder/source.json"
cmp "$folder/source.json" crates/lab-formats/tests/data/workflow-seed.json
"$lab" run docs/examples/scripted.toml --emit-metrics "$folder/metrics.json" >"$folder/table" 2>"$folder/talk" || [ $? -eq 5 ]

"$lab" measure --rows-from docs/examples/prices.csv --output-dir "$folder" --format json -- \
  python3 docs/examples/trend.py docs/examples/prices.csv >"$folder/summary.json" 2>"$folder/talk"
"$lab" run plans/smoke.toml --repeat 2 --format json >"$folder/smoke.json" 2>"$folder/talk"
"$lab" plan check plans/smoke.toml --format json >"$folder/command-check.json"

check-jsonschema --schemafile schemas/session.v1.json "$folder"/{run,show,export,side,import,smoke}.json
check-jsonschema --schemafile schemas/check.v1.json "$folder/check.json"
check-jsonschema --schemafile schemas/workflow.v1.json "$folder"/{source,metrics}.json
check-jsonschema --schemafile schemas/smoke.v1.json "$folder/summary.json"
check-jsonschema --schemafile schemas/command-check.v1.json "$folder/command-check.json"
check-jsonschema --schemafile schemas/report.v2.json "$folder"/experiment.json
check-jsonschema --schemafile schemas/gate.v1.json "$folder"/gate.json
check-jsonschema --schemafile schemas/calibration.v1.json "$folder"/calibration.json
check-jsonschema --schemafile schemas/list.v1.json "$folder/list.json"
check-jsonschema --schemafile schemas/baselines.v1.json "$folder/baselines.json"
[ ! -s "$folder/baseline.json" ] || check-jsonschema --schemafile schemas/baseline.v1.json "$folder/baseline.json"
check-jsonschema --schemafile schemas/history.v1.json "$folder/history.json"
check-jsonschema --schemafile schemas/store.v1.json "$folder/store.json"
check-jsonschema --schemafile schemas/devices.v1.json "$folder/devices.json"
check-jsonschema --schemafile schemas/doctor.v1.json "$folder/doctor.json"
check-jsonschema --schemafile schemas/plan-check.v1.json "$folder/plan-check.json"
check-jsonschema --schemafile schemas/report.v2.json "$folder/report.json"
check-jsonschema --schemafile schemas/overhead.v1.json "$folder/overhead.json"
