#!/usr/bin/env bash
# Writes docs/examples.md from what runs of scripts/tests/examples.sh have left: a table of examples by targets, and the
# transcripts of the first target.
#
#   scripts/tests/examples.sh TARGET        (for each target; then)
#   scripts/examples_page.sh
#
# A cell says "ok" when the example passed on that target with the present build, "FAILED" when it did not, and "not run" when
# there is no such result: results of another build do not count.
set -euo pipefail

# shellcheck source=scripts/gguf_examples.sh
source "$(dirname "${BASH_SOURCE[0]}")/gguf_examples.sh"
cd "$root"
[ $# = 0 ] || { usage >&2 && exit 2; }

digest=$(examples_digest)
arch=${emulated_targets[0]}

of_this_build() { # TARGET
    [ "$(head -n 1 "$example_results/$1" 2>/dev/null)" = "$digest" ]
}
cell() { # TARGET ROW
    if ! of_this_build "$1"; then
        echo 'not run'
    elif grep -qxF "ok $2" "$example_results/$1"; then
        echo ok
    elif grep -qxF "failed $2" "$example_results/$1"; then
        echo FAILED
    else
        echo 'not run'
    fi
}

of_this_build "$arch" || fail "no run of scripts/tests/examples.sh $arch with the present build: its transcripts are missing"
{
    cat <<EOF
# The GGUF examples

Written by \`scripts/examples_page.sh\` from runs of \`scripts/tests/examples.sh TARGET\`, all of one build. "ok": on that target,
emulated, the example says what it says on the CPU with weights in F16, runs with weights in Q4_K_M as well, and leaves
nothing allocated. The models are small and random, of two layers (\`cargo run --example small-gguf\`): their words make no sense.
In the transcripts the weights are Q4_K_M, the card is an emulated $arch, and times are left out.

| example | architecture |$(printf ' %s |' "${emulated_targets[@]}")
|---|---|$(printf -- '---|%.0s' "${emulated_targets[@]}")
EOF
    for row in "${example_rows[@]}"; do
        printf '| %s |' "$(example_cells "$row")"
        for column in "${emulated_targets[@]}"; do printf ' %s |' "$(cell "$column" "$row")"; done
        printf '\n'
    done
    cat "$example_results/$arch.md"
} >docs/examples.md.new
mv docs/examples.md.new docs/examples.md
sed -n '/^|/p' docs/examples.md
