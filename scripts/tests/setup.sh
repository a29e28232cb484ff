#!/usr/bin/env bash
# Setting up works, and works again without doing anything: the second time it asks no package server.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
check 'setup' scripts/setup.sh
again=$(scripts/setup.sh 2>&1)
[[ "$again" != *apt-get* && "$again" != *rustup* ]] || fail "FAILED - the second setup installs: $again"
passed 'setup again'
