#!/usr/bin/env bash
# What the documents point at exists: error texts of docs/troubleshooting.md in the sources, files behind links, the
# table of memory, every example in the table of examples; examples in the documentation of what the feature brings compile.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
# shellcheck source=scripts/gguf_examples.sh
source "$root/scripts/gguf_examples.sh"

# shellcheck disable=SC2016 # the backquotes are the document's
mapfile -t texts < <(sed -n 's/^### `\(.*\)`$/\1/p' docs/troubleshooting.md)
[ ${#texts[@]} -ge 20 ] || fail "FAILED - docs/troubleshooting.md has only ${#texts[@]} texts"
host=$(rustc -vV | sed -n 's/^host: //p')
models=$(cargo metadata --quiet --offline --filter-platform "$host" --format-version 1 |
    grep -o '"manifest_path":"[^"]*/candle-transformers[^"/]*/Cargo.toml"' | head -n 1 | cut -d'"' -f4) ||
    fail 'FAILED - cargo metadata does not name candle-transformers'
sources=(candle-core/src candle-nn/src candle-hip/src candle-kernels/src candle-kernels/build_rocm candle-examples/src "$(dirname "$models")/src")
for text in "${texts[@]}"; do
    # The system's own.
    [[ $text != 'No such file or directory' ]] || continue
    grep -rqF --include='*.rs' -- "$text" "${sources[@]}" || fail "FAILED - docs/troubleshooting.md: no source says: $text"
done
passed "${#texts[@]} error texts of docs/troubleshooting.md are in the sources"

count=0
for document in README.md docs/*.md; do
    while read -r link; do
        [ -e "$(dirname "$document")/$link" ] || fail "FAILED - $document links to $link, which does not exist"
        count=$((count + 1))
    done < <(grep -o '](\([^):#]*\)' "$document" | cut -c3- | grep -v '^$\|^https\?$' || true)
done
passed "$count links lead somewhere"

while read -r row; do
    grep -qxF -- "$row" docs/using.md || fail "FAILED - docs/using.md lacks this row of scripts/model_memory.sh: $row"
done < <(scripts/model_memory.sh)
passed "docs/using.md has the table of scripts/model_memory.sh"

# The table has a line for every example and a column for every target; what it claims, tests/examples.sh tests target by target.
page=docs/examples.md
columns="| example | architecture |$(printf ' %s |' "${emulated_targets[@]}")"
grep -qxF -- "$columns" $page || fail "FAILED - $page has other columns than: $columns"
claims=$(printf ' (ok|not run) \\|%.0s' "${emulated_targets[@]}")
for row in "${example_rows[@]}"; do
    line=$(grep -F -- "| $(example_cells "$row") |" $page) || fail "FAILED - $page has no line for: $row"
    [[ ${line#"| $(example_cells "$row") |"} =~ ^$claims$ ]] || fail "FAILED - $page: neither ok nor not run: $line"
    grep -qxF -- "$(example_heading "$row")" $page || fail "FAILED - $page has no transcript of: $row"
done
lines=$(grep -c '^| `' $page)
[ "$lines" = ${#example_rows[@]} ] || fail "FAILED - $page has $lines lines, the tests have ${#example_rows[@]}"
passed "$page has a line and a transcript for each of ${#example_rows[@]} examples, a column for each of ${#emulated_targets[@]} targets"

# Examples of candle-hip and candle-kernels are compiled by their own steps.
check 'examples in rustdoc' cargo test --quiet "${rocm_build[@]}" --doc rocm
