#!/usr/bin/env bash
# Installs redis-server, rabbitmq-server and chromium where they are missing, builds everything and runs every test. The last line is "N passed, N failed", summed
# over all runners; the exit code is 0 only when none failed. A runner that crashes, or reports nothing, counts as failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 MSBUILDDISABLENODEREUSE=1

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0
failed=0

finish() {
  echo "$passed passed, $failed failed"
  ((failed == 0))
  exit
}

# An xunit.v3 program runs itself and ends with "Total: 12, Errors: 0, Failed: 0, Skipped: 0, …".
run_xunit() {
  local name=$1 total errors failures skipped code
  echo
  echo "== $name"
  # With -longRunning it names tests that take their time while they run, and prints what tests that pass have to say: seeds, states, hits of faults.
  dotnet "tests/$name/bin/Release/net10.0/$name.dll" -noLogo -noColor -longRunning 240 2>&1 </dev/null | tee "$logs/$name"
  code=${PIPESTATUS[0]}
  if [[ $(grep -E 'Total: [0-9]+, Errors: ' "$logs/$name" | tail -n 1) =~ Total:\ ([0-9]+),\ Errors:\ ([0-9]+),\ Failed:\ ([0-9]+),\ Skipped:\ ([0-9]+) ]]; then
    total=${BASH_REMATCH[1]} errors=${BASH_REMATCH[2]} failures=${BASH_REMATCH[3]} skipped=${BASH_REMATCH[4]}
    ((failed += errors + failures, passed += total - failures - skipped))
    ((code != 0 && errors + failures == 0)) && ((failed += 1)) && echo "$name ended with exit code $code, though no test failed."
    ((total == 0)) && ((failed += 1)) && echo "$name ran no tests."
  else
    ((failed += 1))
    echo "$name reported nothing (exit code $code)."
  fi
}

# The dashboard's own tests of its pure parts, with Vitest; its types are checked on the way. "Tests 53 passed" is read from its JSON report.
run_vitest() {
  echo
  echo "== dashboards/web"
  if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null; then
    ((failed += 1))
    echo "The dashboard's tests need Node 20.19 or later on the PATH; found $(node --version 2>/dev/null || echo none)."
    return
  fi
  (
    cd dashboards/web || exit
    [[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci --no-audit --no-fund --loglevel=error || exit
    npm run --silent types && npx --no-install vitest run --reporter=default --reporter=json --outputFile="$logs/vitest.json"
  )
  if counts=$(node -p 'const r = require(process.argv[1]); `${r.numPassedTests} ${r.numFailedTests + r.numFailedTestSuites}`' "$logs/vitest.json" 2>/dev/null) && [[ $counts != "0 0" ]]; then
    ((passed += ${counts% *}, failed += ${counts#* }))
  else
    ((failed += 1))
    echo "The dashboard's tests reported nothing."
  fi
}

# Tests start private servers of their own; the programs must be there. Debian and Ubuntu call the packages so.
missing=()
for program in redis-server rabbitmq-server chromium; do
  command -v "$program" >/dev/null || [[ -x /usr/sbin/$program ]] || missing+=("$program")
done
if ((${#missing[@]} > 0)); then
  as_root=()
  ((EUID == 0)) || as_root=(sudo -n)
  echo "== installing ${missing[*]} (as ${as_root[*]:-root}, with apt-get)"
  # Installing must not start anything: the tests' own instances are all that runs.
  if ! { ((EUID == 0)) || sudo -n true 2>/dev/null; } || ! command -v apt-get >/dev/null ||
     ! "${as_root[@]}" sh -c '
       made=; [ -e /usr/sbin/policy-rc.d ] || { printf "#!/bin/sh\nexit 101\n" > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d && made=1; }
       export DEBIAN_FRONTEND=noninteractive
       { apt-get install -y -qq --no-install-recommends "$@" || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; }; }; code=$?
       [ -z "$made" ] || rm -f /usr/sbin/policy-rc.d
       exit $code' sh "${missing[@]}" >"$logs/install" 2>&1; then
    tail -n 20 "$logs/install" 2>/dev/null
    echo "The tests need ${missing[*]} and could not install it. As root: apt-get install ${missing[*]}. Or put the programs on the PATH."
    failed=1
    finish
  fi
fi
export PATH="$PATH:/usr/sbin:/usr/lib/rabbitmq/bin"

echo "== build"
if ! dotnet build Sagas.sln -c Release -v quiet -clp:NoSummary 2>&1; then
  failed=1
  finish
fi
run_xunit Sagas.Tests
run_vitest

echo
finish
