#!/usr/bin/env bash
# The tests on rocm of a package of ours, from the build that all steps share: a build of the package alone would choose other
# features for what it depends on, and compile everything again.
#
#   scripts/tests/suite.sh PACKAGE TESTS [ARGUMENT...]
#
# TESTS is a pattern (bash's) of test programs' names, such as 'rocm_*'; the arguments go to each of them. All run, whatever
# becomes of one.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
cd "$root"
[ $# -ge 2 ] || { usage >&2 && exit 2; }
package=$1 pattern=$2
shift 2

list=$(test_programs "${rocm_build[@]}" --test 'rocm_*')
# As cargo starts them: in the package's folder.
cd "$root/$package"
ran=0 failed=()
while read -r name path; do
    # shellcheck disable=SC2053 # a pattern
    [[ $name == "$package-"* && ${name#"$package-"} == $pattern ]] || continue
    name=${name#"$package-"} ran=$((ran + 1))
    printf '\n%s\n' "$name"
    "$path" "$@" || failed+=("$name")
done <<<"$list"
[ $ran -gt 0 ] || fail "$package has no test program called '$pattern'"
[ ${#failed[@]} = 0 ] || fail "failed: ${failed[*]}"
