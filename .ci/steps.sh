# What .ci/run and .ci/night have in common; they source it.
#
#   prepare              finds or fetches what the steps need; sets deno and oldest
#   step NAME COMMAND…   runs it, and counts the tests that it tells of, or itself as one
#   skip NAME REASON     counts a step that cannot be run here
#   finish               prints what became of each step and the sums; fails when something failed,
#                        or when nothing was run
#
# When WANTED has names, or parts of names, only the steps with such a name are run, and the others
# are skipped; a name that no step has counts as a step that failed.
export NO_COLOR=1
LC_NUMERIC=C
TIMEFORMAT="%U %S"

passed=0
failed=0
skipped=0
runs=0
names=()
rows=()
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

is_wanted() {
  local part
  [ ${#WANTED[@]} -gt 0 ] || return 0
  for part in "${WANTED[@]}"; do [[ $1 != *"$part"* ]] || return 0; done
  return 1
}

step() {
  local name=$1 began=$SECONDS status=0 log=$scratch/log
  local ok="" bad="" ignored="" left user system outcome=ok
  shift
  if ! is_wanted "$name"; then
    skip "$name" "it is not asked for"
    return
  fi
  echo "== $name after $SECONDS s: $*"
  { time "$@" 2>&1 | tee "$log"; } 2>"$scratch/times" || status=$?
  read -r user system < <(tail -n 1 "$scratch/times")

  # A step may run tests several times.
  read -r ok bad ignored < <(sed -nE \
    's/^(ok|FAILED) \| ([0-9]+) passed[^|]*\| ([0-9]+) failed[^|]*(\| ([0-9]+) ignored)?.*/\2 \3 \5/p' \
    "$log" | awk '{ ok += $1; bad += $2; ignored += $3 } END { if (NR) print ok, bad, ignored + 0 }') ||
    true
  # Not everything runs tests; but where all are filtered out or ignored, nothing was shown.
  if [ -n "$ok" ] && [ "$((ok + bad))" -eq 0 ]; then status=1; fi
  ok=${ok:-$((status == 0))}
  bad=${bad:-0}
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  # In such a line benchmarks and tests say what they leave out here.
  left=$((${ignored:-0} + $(grep -c "^Skipped[ :]" "$log" || true)))

  [ "$bad" -eq 0 ] || outcome=FAILED
  runs=$((runs + 1))
  count "$name" "$outcome" "$ok" "$bad" "$left" "$((SECONDS - began))" "$user" "$system"
  echo "== $row"
}

skip() {
  echo "== Skipped $1: $2"
  count "$1" skipped 0 0 1 0 0 0
}

# count NAME OUTCOME PASSED FAILED SKIPPED SECONDS USER SYSTEM
count() {
  passed=$((passed + $3))
  failed=$((failed + $4))
  skipped=$((skipped + $5))
  names+=("$1")
  row=$(awk -v name="$1" -v outcome="$2" -v what="$3 passed, $4 failed, $5 skipped" \
    -v seconds="$6" -v cpu="$7 $8" 'BEGIN {
      split(cpu, part, " ")
      printf "%-40s %-7s %5d s %7.1f CPU s   %s", name, outcome, seconds, part[1] + part[2], what
    }')
  rows+=("$row")
}

# complain NAME PROBLEM: counts as failed what no step has found.
complain() {
  echo "== $1: $2"
  count "$1" FAILED 0 1 0 0 0 0
}

is_step() {
  local name
  for name in "${names[@]}"; do [[ $name != *"$1"* ]] || return 0; done
  return 1
}

finish() {
  local part
  [ ${#WANTED[@]} -eq 0 ] || for part in "${WANTED[@]}"; do
    is_step "$part" || complain "$part" "no step has such a name"
  done
  [ $((runs + failed)) -gt 0 ] || complain "all steps" "nothing was run"
  echo "== after $SECONDS s"
  printf "%s\n" "${rows[@]}"
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ]
}

# Debian packages with the programs of these names, each by itself, so that one that cannot be had
# leaves the others; what needs it is skipped.
need() {
  local package is_updated=""
  for package in "$@"; do
    ! command -v "$package" >/dev/null || continue
    if [ "$(id -u)" -eq 0 ]; then
      [ -n "$is_updated" ] || timeout 60 apt-get update >/dev/null 2>&1 || true
      is_updated=yes
      DEBIAN_FRONTEND=noninteractive timeout 120 \
        apt-get install --yes --no-install-recommends "$package" >/dev/null 2>&1 || true
    fi
    command -v "$package" >/dev/null || skip "what needs $package" "it cannot be installed here"
  done
}

# Other runtimes, in which the library is loaded; from npm, since Debian's are too old.
need_runtimes() {
  local variable package
  for package in node@22 node@24 bun@1; do
    variable=${package%@1} variable=${variable//@/_} variable=${variable^^}
    [ -z "${!variable:-}" ] || continue
    declare -gx "$variable=$(timeout 120 npx --yes --package="$package" \
      -c "command -v ${package%@*}" 2>/dev/null || true)"
    [ -n "${!variable}" ] || skip "what needs $package" "npm cannot install it here"
  done
}

prepare() {
  # A proxy may stand before the registry whose authority only the machine knows.
  export DENO_TLS_CA_STORE=${DENO_TLS_CA_STORE:-system,mozilla}
  if command -v deno >/dev/null; then deno=(deno); else deno=(npx --yes deno@2.9.6); fi
  "${deno[@]}" --version
  # The oldest Deno, where there is one: COMPILE_DENO, and the base of what it compiles.
  oldest=
  if base=$(../shared/compile-base) && [ -n "$base" ]; then
    eval "$base"
    oldest=$COMPILE_DENO
  fi
  no_oldest="../shared/compile-base gives none"
  # What the benchmarks compare with, the shells whose completions are tested, a browser, and proxies.
  need nats-server redis-server mosquitto zsh fish chromium nginx caddy
  need_runtimes
}
