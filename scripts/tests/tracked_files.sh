#!/usr/bin/env bash
# Nothing of upstream is tracked, neither at its path nor elsewhere; every edit to its files is in a patch.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

pristine=.upstream/pristine
[ -d $pristine/candle-core ] || fail "no pristine crates: run scripts/upstream.sh sync"
paths=$(comm -12 <(git ls-files | LC_ALL=C sort) <(cd $pristine && find . -type f -printf '%P\n' | LC_ALL=C sort))
[ -z "$paths" ] || fail "FAILED - files of upstream are tracked: $paths"
passed 'no path of upstream is tracked'

# Licence texts are the same everywhere; empty files say nothing.
upstream=$(find $pristine -type f -size +0 ! -name 'LICENSE*' -exec sha256sum {} + | cut -d' ' -f1 | sort -u)
copies=$(git ls-files -z | xargs -0 -r sha256sum 2>/dev/null | grep -F -f <(printf '%s\n' "$upstream") || true)
[ -z "$copies" ] || fail "FAILED - copies of upstream's files are tracked:
$copies"
passed 'no content of upstream is tracked'

check 'every edit is in a patch' scripts/upstream.sh status
context=''
while read -r patch; do
    # Blank-led lines before the first header are the patch's reasons.
    if sed '1,/^--- /d' "$patch" | grep -qE '^ '; then context+=" $patch"; fi
done < <(find patches -name '*.patch')
[ -z "$context" ] || fail "FAILED - patches with lines of context:$context"
passed 'patches carry no context'
