#!/usr/bin/env bash
# Runs every fuzzer of the module, each for an equal share of a time budget.
# usage: tests/fuzz.sh [TOTAL_SECONDS]
# A fuzzer that finds something leaves the input under testdata/fuzz/ of its
# package; the others still run, and the exit code is 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
total=${1:-600}

# file:func FuzzName(
fuzzers=$(grep -rEo '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' cmd internal rego tests | sort || true)
if [[ -z $fuzzers ]]; then
  echo "no fuzzer found" >&2
  exit 1
fi
count=$(wc -l <<<"$fuzzers")
each=$((total / count))
((each > 0)) || each=1
echo "$count fuzzers, $each s each"

failed=()
while IFS=: read -r file func; do
  name=${func#func }
  package=./$(dirname "$file")
  echo "--- $package $name"
  # By default Go spends up to a minute on making one interesting input smaller.
  go test -run='^$' -fuzz="^$name\$" -fuzztime="${each}s" -fuzzminimizetime=1s "$package" </dev/null || failed+=("$package $name")
done <<<"$fuzzers"

if ((${#failed[@]})); then
  printf 'FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
