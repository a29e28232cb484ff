#!/usr/bin/env bash
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
for script in scripts/*.sh scripts/tests/*.sh .ci/run; do
    check "shellcheck $script" shellcheck --external-sources "$script"
done
