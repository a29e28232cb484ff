#!/usr/bin/env bash
# Every Rust file of the workspace, laid and ours, is formatted as rustfmt does by default.
set -euo pipefail
# shellcheck source=scripts/tests/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"
check 'cargo fmt --check' cargo fmt --all --check -- --color never
