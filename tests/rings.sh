#!/usr/bin/env bash
# `./run test`: runs the rings of tests in every build that they are meant for, and sums them up.
#   rings.sh [RING...]   unit contract lint system browser cost analysis | chaos clang asan tsan fuzz debian13 compose
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/common.sh

native=(unit contract lint system browser cost analysis)
passed=0
failed=0
skipped=0
bad=()

# The number in the first ATTRIBUTE="N" of CTest's report.
reported() {
    grep -o -m 1 "\\b$2=\"[0-9]*\"" "$1" | tr -cd '0-9'
}

# Names of the report's tests with that status.
with_status() {
    sed -n "s/.*<testcase name=\"\([^\"]*\)\".*status=\"$2\".*/\1/p" "$1"
}

# count STEP REPORT EXITCODE: adds one run of CTest. One that failed without a failed test counts as one.
count() {
    local step=$1 report=$2 code=$3 all not_ok not_run name
    all=$(reported "$report" tests) not_ok=$(reported "$report" failures)
    not_run=$(($(reported "$report" skipped) + $(reported "$report" disabled)))
    passed=$((passed + all - not_ok - not_run))
    failed=$((failed + not_ok))
    skipped=$((skipped + not_run))
    for name in $(with_status "$report" fail); do
        bad+=("failed: $step: $name")
    done
    for name in $(with_status "$report" notrun) $(with_status "$report" disabled); do
        bad+=("skipped: $step: $name")
    done
    [ "$code" = 0 ] || [ "$not_ok" -gt 0 ] || broken "$step: ctest ended with $code"
}

# What could not even begin counts as one failure.
broken() {
    failed=$((failed + 1))
    bad+=("failed: $1")
}

# rings STEP BUILD LABELS [COMMAND BEFORE CTEST...]: runs the tests with one of LABELS (a|b).
rings() {
    local step=$1 build=$2 labels=$3 code=0 report
    shift 3
    report=$PWD/build/$build/$step.xml
    rm -f "$report"
    say "== $step: $labels, in build/$build"
    "$@" ctest --test-dir "build/$build" -L "^($labels)$" -j "$(nproc)" --no-tests=error \
        --output-on-failure --output-junit "$report" || code=$?
    if [ -s "$report" ]; then
        count "$step" "$report" "$code"
    else
        broken "$step: ctest ended with $code and without a report"
    fi
}

# compile BUILD [cmake's arguments]: false, and counted, when that fails.
compile() {
    local build=$1
    say "== building build/$build"
    shift
    configure "$build" -DCN_TESTS=ON "$@" && cmake --build "build/$build" && return
    broken "$build: does not build"
    return 1
}

# ThreadSanitizer of older compilers wants its addresses where it expects them.
without_aslr() {
    if setarch "$(uname -m)" -R true 2>/dev/null; then
        setarch "$(uname -m)" -R "$@"
    else
        "$@"
    fi
}

run_native() {
    local labels
    labels=$(IFS='|' && echo "$*")
    compile release --preset release || return 0
    rings release release "$labels" env
}

run_clang() {
    compile clang --preset release -DCMAKE_C_COMPILER=clang || return 0
    rings clang clang 'unit|contract' env
}

# How many of our own lines the tests of this build have run. What is killed has not counted.
judge_coverage() {
    local least=90 report=$PWD/build/$1/coverage.txt
    if /usr/bin/gcovr --root . --filter node/ --filter include/ --sort-percentage --fail-under-line "$least" \
        "build/$1" >"$report"; then
        passed=$((passed + 1))
    else
        broken "coverage: under $least % of the lines, or not counted: $report"
    fi
    say "== coverage: $(grep '^TOTAL' "$report" || echo "no figures"); by file: $report"
}

run_asan() {
    compile asan --preset asan || return 0
    find build/asan -name '*.gcda' -delete
    rings asan asan 'unit|contract|system' env UBSAN_OPTIONS=print_stacktrace=1
    judge_coverage asan
}

run_tsan() {
    compile tsan --preset tsan || return 0
    rings tsan tsan 'unit|contract|threads' without_aslr env TSAN_OPTIONS=halt_on_error=1
}

# With a seed of its own each time, which is said here, since CTest shows nothing of tests that pass.
run_chaos() {
    local seed=${CHAOS_SEED:-$((RANDOM * 32768 + RANDOM))}
    compile release --preset release || return 0
    say "the seed of chaos.random: $seed (CHAOS_SEED=$seed repeats it)"
    rings chaos release chaos env CHAOS_SEED="$seed"
}

# Each fuzz target for a minute, two at a time.
run_fuzz() {
    say "== building build/fuzz"
    if configure fuzz --preset fuzz -DCN_TESTS=ON && cmake --build build/fuzz --target fuzzers; then
        rings fuzz fuzz fuzz env
    else
        broken "fuzz: does not build"
    fi
}

# These build for themselves; any configured build has their tests.
run_elsewhere() {
    configure release --preset release -DCN_TESTS=ON || { broken "$1: cmake"; return 0; }
    rings "$1" release "$1" env
}

# The rings asked for, each once, in the order that finds most soonest.
run_all() {
    local wanted=" $* " here=() ring
    for ring in "${native[@]}"; do
        [[ $wanted != *" $ring "* ]] || here+=("$ring")
    done
    [ ${#here[@]} = 0 ] || run_native "${here[@]}"
    for ring in chaos clang asan tsan fuzz; do
        [[ $wanted != *" $ring "* ]] || "run_$ring"
    done
    for ring in debian13 compose; do
        [[ $wanted != *" $ring "* ]] || run_elsewhere "$ring"
    done
}

# The last line is the plain one. Skipping is for a machine that lacks something; not for CI.
summary() {
    local line="$passed passed, $failed failed"
    [ ${#bad[@]} = 0 ] || printf '%s\n' "${bad[@]}"
    [ "$skipped" = 0 ] || [ "${CI-}" != true ] || echo "with CI=true a skipped test is a failure"
    [ "$skipped" = 0 ] || line+=", $skipped skipped"
    echo "$line"
}

main() {
    local every=("${native[@]}" chaos clang asan tsan fuzz debian13 compose) ring
    for ring in "$@"; do
        [[ " ${every[*]} " == *" $ring "* ]] || fail "no ring $ring; there are: ${every[*]}"
    done
    [ $# -gt 0 ] || set -- "${every[@]}"
    need build runtime cluster unit test compose
    run_all "$@"
    summary
    [ "$failed" = 0 ] && { [ "$skipped" = 0 ] || [ "${CI-}" != true ]; }
}

main "$@"
