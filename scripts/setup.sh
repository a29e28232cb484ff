#!/usr/bin/env bash
# Installs what is missing to build and test candle-rocm, then lays upstream's files: scripts/upstream.sh sync.
#
#   scripts/setup.sh
#
# System packages come from apt-get (Debian, Ubuntu), through sudo unless run as root, and only those whose job nothing on
# this machine does yet. Rust comes from rustup, only when there is no cargo. The ROCm of an AMD card (driver, HIP
# runtime) is never installed, only used where it is.
set -euo pipefail

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"

case ${1:-} in
'') ;;
-h | --help) usage && exit ;;
*) usage >&2 && exit 2 ;;
esac

# Compilers for AMD targets: LLVM's version, and the package with the math bitcode (ocml.bc), whose LLVM must not be newer.
# `newest` is whatever apt offers. The first row that fits counts; candle-kernels needs clang 17 or newer.
#   distribution  LLVM    bitcode
compilers='
    debian:12     19      rocm-device-libs
    debian:13     19      rocm-device-libs-17
    ubuntu:24.04  newest  rocm-device-libs-17
    any           newest  newest
'
oldest_llvm=17
newest_llvm=22

distribution() { (. /etc/os-release 2>/dev/null && printf '%s:%s\n' "${ID:-}" "${VERSION_ID:-}"); }

offered() { [ -n "$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: *\([^(]*\)$/\1/p')" ]; }

first_offered() {
    local package
    for package in "$@"; do
        if offered "$package"; then
            printf '%s\n' "$package"
            return
        fi
    done
    return 1
}

# Packages with a compiler for AMD targets, for this distribution.
compiler_packages() {
    local row llvm bitcode package here
    here=$(distribution)
    row=$(awk -v here="$here" '$1 == here || $1 == "any" { print; exit }' <<<"$compilers")
    read -r _ llvm bitcode <<<"$row"
    if [ "$llvm" = newest ]; then
        package=$(first_offered $(seq -f 'clang-%g' $newest_llvm -1 $oldest_llvm)) ||
            fail "$here offers no clang $oldest_llvm or newer: install ROCm, or a clang from another source and name it in CANDLE_HIP_CLANG"
        llvm=${package#clang-}
    fi
    if [ "$bitcode" = newest ]; then
        bitcode=$(first_offered $(seq -f 'rocm-device-libs-%g' "$llvm" -1 $oldest_llvm) rocm-device-libs) ||
            fail "$here offers no rocm-device-libs: install ROCm, or name a file ocml.bc in CANDLE_HIP_OCML"
    fi
    printf '%s\n' "clang-$llvm" "lld-$llvm" "llvm-$llvm" "$bitcode"
}

# What is needed: a check that passes when something on this machine does the job, and the packages that would.
have_c_compiler() { command -v cc >/dev/null; }
have_make() { command -v make >/dev/null; }
have_git() { command -v git >/dev/null; }
have_curl() { command -v curl >/dev/null; }
have_certificates() { [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ]; }
have_pkg_config() { command -v pkg-config >/dev/null; }
have_openssl() { command -v pkg-config >/dev/null && pkg-config --exists openssl; }
have_shellcheck() { command -v shellcheck >/dev/null; }
# AMD's pseudocode comes in a wheel from PyPI.
have_pip() { python3 -m pip --version >/dev/null 2>&1; }

have_amd_compiler() {
    [ -z "${CANDLE_HIP_CLANG:-}" ] || return 0
    local rocm=${ROCM_PATH:-/opt/rocm} version
    [ ! -x "$rocm/llvm/bin/clang++" ] || return 0
    for version in $(seq $newest_llvm -1 $oldest_llvm); do
        command -v "clang-$version" >/dev/null && [ -x "/usr/lib/llvm-$version/bin/ld.lld" ] && return
    done
    return 1
}
have_bitcode() {
    [ -z "${CANDLE_HIP_OCML:-}" ] || return 0
    local file
    for file in "${ROCM_PATH:-/opt/rocm}"/amdgcn/bitcode/ocml.bc /usr/lib/*/amdgcn/bitcode/ocml.bc \
        /usr/lib/llvm-*/lib/clang/*/amdgcn/bitcode/ocml.bc; do
        [ ! -e "$file" ] || return 0
    done
    return 1
}
# The emulator reads kernels with libLLVM's disassembler.
have_libllvm() {
    [ -z "${HIP_EMULATOR_LLVM:-}" ] || return 0
    local version file
    for version in $(seq $oldest_llvm $newest_llvm); do
        for file in /usr/lib/llvm-"$version"/lib/libLLVM*.so* /usr/lib/*/libLLVM*"$version"*; do
            [ ! -e "$file" ] || return 0
        done
    done
    [ -e "${ROCM_PATH:-/opt/rocm}/llvm/lib/libLLVM.so" ]
}

needs='
    c_compiler   build-essential
    make         build-essential
    git          git
    curl         curl
    certificates ca-certificates
    pkg_config   pkg-config
    openssl      libssl-dev
    shellcheck   shellcheck
    pip          python3-pip
    amd_compiler COMPILER
    bitcode      COMPILER
    libllvm      COMPILER
'

missing() {
    local need package
    while read -r need package; do
        [ -z "$need" ] || "have_$need" || printf '%s\n' "$package"
    done <<<"$needs" | sort -u
}

apt() { # ARGUMENTS
    local as_root=() log
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    log=$(mktemp)
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        fail "apt-get $* failed"
    fi
    rm -f "$log"
}

install_packages() {
    local packages
    mapfile -t packages < <(missing)
    [ ${#packages[@]} != 0 ] || return 0
    command -v apt-get >/dev/null ||
        fail "missing: ${packages[*]} (Debian's names; COMPILER is clang $oldest_llvm or newer with lld, libLLVM and ocml.bc); there is no apt-get here, please install them"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "missing: ${packages[*]}; run as root, or install sudo"
    apt update
    if [[ " ${packages[*]} " == *" COMPILER "* ]]; then
        local compiler
        compiler=$(compiler_packages)
        mapfile -t packages < <(printf '%s\n' "${packages[@]}" "$compiler" | grep -vx COMPILER | sort -u)
    fi
    say "setup: apt-get install ${packages[*]}"
    apt install -y --no-install-recommends "${packages[@]}"
    mapfile -t packages < <(missing)
    [ ${#packages[@]} = 0 ] || fail "installed, yet still missing: ${packages[*]}"
}

install_rust() {
    if ! command -v cargo >/dev/null; then
        local folder from
        folder=$(mktemp -d)
        from=https://static.rust-lang.org/rustup/dist/$(uname -m)-unknown-linux-gnu
        say "setup: no cargo here; installing Rust with rustup ($from)"
        (cd "$folder" && curl --proto '=https' --tlsv1.2 -sSf -O "$from/rustup-init" -O "$from/rustup-init.sha256") ||
            fail "cannot download rustup: install Rust by hand (https://rustup.rs)"
        (cd "$folder" && printf '%s  rustup-init\n' "$(cut -d' ' -f1 rustup-init.sha256)" | sha256sum --quiet --check) ||
            fail "rustup was damaged on its way: try again, or install Rust by hand (https://rustup.rs)"
        chmod +x "$folder/rustup-init"
        "$folder/rustup-init" -y --quiet --profile minimal --component rustfmt --component clippy --no-modify-path ||
            fail "rustup failed: install Rust by hand (https://rustup.rs)"
        rm -rf "$folder"
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    local have want
    have=$(rustc --version | cut -d' ' -f2)
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    [ "$(printf '%s\n' "$have" "$want" | sort -V | head -n 1)" = "$want" ] ||
        fail "rustc $have is older than $want: run 'rustup update', or install Rust with rustup (https://rustup.rs)"
}

install_packages
install_rust
scripts/upstream.sh sync
if amd_card && [ -z "$(hip_runtime)" ]; then
    say "setup: there is an AMD card (/dev/kfd), but no HIP runtime (libamdhip64): install ROCm to use it"
fi
