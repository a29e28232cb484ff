# shellcheck shell=bash
# Sourced by setup.sh, demo.sh and test.sh: where things are, how they are built, and what this machine has.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

# rustup's own place, for shells that were started before it was installed.
command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$(basename "$0"): $*"
    exit 1
}

# The header comment of the calling script.
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }

# Every build with ROCm names the same packages and features, so that cargo compiles each crate once: demo and tests
# share all of it. (candle-kernels comes as a dependency: selected by itself it would want CUDA.)
# shellcheck disable=SC2034 # used by the scripts that source this file
rocm_build=(
    -p candle-core -p candle-nn -p candle-examples -p candle-hip -p hip-emulator
    --features "candle-core/rocm candle-nn/rocm candle-examples/rocm"
)

# The test programs of cargo's arguments, one per line: package-test and path. Packages have tests of the same name.
test_programs() {
    cargo test --no-run --message-format=json-render-diagnostics "$@" |
        sed -n 's|.*"package_id":"[^"]*/\([^"/#]*\)#[^"]*".*"target":{[^}]*"name":"\([^"]*\)".*"executable":"\([^"]*\)".*|\1-\2 \3|p'
}

# Targets that the emulator imitates and kernels are tuned for: each has code objects of its own in the default build.
# shellcheck disable=SC2034
emulated_targets=(gfx1100 gfx90a gfx942 gfx1030 gfx1201)

# Cards of the same families that take the generic code objects, one for each of those in the default build.
# shellcheck disable=SC2034
generic_cards=(gfx1031 gfx1103 gfx1200)

# Tests, by a part of their names, about the emulator's own variables and checks: left out on a real card.
# shellcheck disable=SC2034
emulator_only=(
    exhausted_memory nothing_is_left access_out_of_bounds a_code_object_for_another_target two_devices
    a_code_object_of_the_users_own exhaustion:: fork:: loss:: soak:: threads::share_a_device counters_are_as_pinned
)

# The emulator's library in the folder of a profile.
emulator_library() { # PROFILE_FOLDER
    printf '%s\n' "$target/$1/libhip_emulator.so"
}

# Path of the HIP runtime on this machine, or nothing; candle-hip looks in the same places.
hip_runtime() {
    local candidate
    for candidate in {"${ROCM_PATH:-/opt/rocm}","${HIP_PATH:-/opt/rocm}",/opt/rocm}/lib/libamdhip64.so{,.7,.6,.5}; do
        [ -e "$candidate" ] && printf '%s\n' "$candidate" && return
    done
    PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | sed -n '/libamdhip64\.so/s/.* => //p' | head -n 1 || true
}

# Whether the kernel's AMD driver shows a card that this user may open.
amd_card() { [ -r /dev/kfd ] && [ -w /dev/kfd ]; }
