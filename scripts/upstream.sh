#!/usr/bin/env bash
# Lays the pinned upstream crates beside our files and keeps our edits to them as patches without context.
#
#   upstream.sh sync                 download the pinned crates, lay their files, apply patches/series
#   upstream.sh status               exit 1 and name the files whose edits no patch records
#   upstream.sh diff                 our edits to upstream's files, with context, for a reader
#   upstream.sh refresh              write the edits back into the patches that name their files
#   upstream.sh assign PATCH FILE... have PATCH (say candle-core/device.patch) record the edits to FILE from now on
#   upstream.sh export DIR           a git repository: pristine upstream, then our work, one commit per topic; beside it
#                                    DIR.patches/, the same for `git am`, with the cover letter
#
# Upstream's files are git-ignored by an allow-list; nothing but this script touches them. State lies in
# .upstream/: pristine/ (the crates as published) and laid/ (pristine + patches, as last laid).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
crates=(candle-core candle-nn candle-kernels candle-transformers candle-examples)
state=.upstream
pristine=$state/pristine
laid=$state/laid
series=patches/series

fail() {
    printf 'upstream.sh: %s\n' "$*" >&2
    exit 1
}

# Files of a tree, relative to it, sorted.
files_of() { (cd "$1" && find . -type f -printf '%P\n' | LC_ALL=C sort); }

# Names of the patches in the order of the series.
patches() { sed -n 's/^ *patch  *\([^ ]*\).*/\1/p' "$series"; }

# Files that a patch edits, as paths from the root.
files_in_patch() { sed -n 's,^+++ b/,,p' "patches/$1" | sed 's/\t.*//'; }

# Outside of any repository `git apply` is a plain patch program that never guesses a position.
apply_patch() { # TREE PATCH
    (cd "$1" && GIT_CEILING_DIRECTORIES=$(dirname "$PWD") git apply -p1 --unidiff-zero --whitespace=nowarn "$root/patches/$2") ||
        fail "patches/$2 does not apply to the pinned release"
}

stamp_of_inputs() {
    { cat upstream/Cargo.toml upstream/Cargo.lock "$series" "${BASH_SOURCE[0]}" && patches | while read -r p; do cat "patches/$p"; done; } | sha256sum | cut -d' ' -f1
}

fetch_pristine() {
    local key have="$pristine/.key"
    key=$({ cat upstream/Cargo.lock && printf '%s\n' "${crates[@]}"; } | sha256sum | cut -d' ' -f1)
    [ "$(cat "$have" 2>/dev/null || true)" = "$key" ] && return
    # Cargo wants a library target to resolve a manifest; upstream/ has none of its own.
    local pin
    pin=$(mktemp -d)
    cp upstream/Cargo.toml upstream/Cargo.lock "$pin"
    : >"$pin/nothing.rs"
    cargo fetch --quiet --locked --manifest-path "$pin/Cargo.toml" || fail "cargo could not download the pinned crates"
    local manifests
    manifests=$(cargo metadata --quiet --locked --offline --format-version 1 --manifest-path "$pin/Cargo.toml" |
        grep -o '"manifest_path":"[^"]*"' | cut -d'"' -f4 | sort -u)
    rm -rf "$pin" "$pristine"
    local crate manifest
    for crate in "${crates[@]}"; do
        manifest=$(grep "/$crate-[0-9.]*/Cargo.toml$" <<<"$manifests") || fail "cargo metadata does not name $crate"
        mkdir -p "$pristine/$crate"
        (cd "$(dirname "$manifest")" && tar cf - --exclude=.cargo-ok --exclude=.cargo_vcs_info.json --exclude=Cargo.lock --exclude=Cargo.toml.orig .) |
            tar xf - -C "$pristine/$crate"
    done
    printf '%s\n' "$key" >"$have"
}

# Laid files that differ from what was laid last: edits that no patch records.
unrecorded() {
    [ -d "$laid" ] || return 0
    files_of "$laid" | while read -r f; do
        [ -e "$f" ] && ! cmp -s "$f" "$laid/$f" && printf '%s\n' "$f"
    done || true
}

sync() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust (https://rustup.rs)"
    local stamp missing=0 f
    stamp=$(stamp_of_inputs)
    if [ "$(cat $state/stamp 2>/dev/null || true)" = "$stamp" ]; then
        while read -r f; do [ -e "$f" ] || missing=1; done < <(files_of "$laid")
        [ $missing = 1 ] || return 0
    fi
    fetch_pristine
    local new=$state/new
    rm -rf "$new"
    mkdir -p "$new"
    local crate patch
    for crate in "${crates[@]}"; do cp -r "$pristine/$crate" "$new/$crate"; done
    while read -r patch; do apply_patch "$new" "$patch"; done < <(patches)
    local lost=()
    while read -r f; do
        cmp -s "$f" "$new/$f" || lost+=("$f")
    done < <(unrecorded)
    [ ${#lost[@]} = 0 ] || fail "these edits are in no patch yet and would be lost; run 'upstream.sh refresh' first:
$(printf '  %s\n' "${lost[@]}")"
    local tracked
    tracked=$(git ls-files -- "${crates[@]}" 2>/dev/null || true)
    while read -r f; do
        grep -qxF "$f" <<<"$tracked" && fail "$f is tracked, yet upstream has a file of that path"
        # Unchanged files keep their time stamp, so cargo rebuilds nothing for them.
        cmp -s "$f" "$new/$f" || { mkdir -p "$(dirname "$f")" && cp "$new/$f" "$f"; }
    done < <(files_of "$new")
    if [ -d "$laid" ]; then
        while read -r f; do [ -e "$new/$f" ] || rm -f "$f"; done < <(files_of "$laid")
    fi
    rm -rf "$laid"
    mv "$new" "$laid"
    printf '%s\n' "$stamp" >$state/stamp
}

status() {
    [ -d "$laid" ] || fail "nothing is laid yet: run 'upstream.sh sync'"
    local lost
    lost=$(unrecorded)
    [ -z "$lost" ] || fail "edits that no patch records ('upstream.sh refresh' writes them back):
$lost"
    [ "$(cat $state/stamp)" = "$(stamp_of_inputs)" ] || fail "patches/ or upstream/ changed since the last sync: run 'upstream.sh sync'"
}

# Every laid file that differs from the published one.
edited() {
    files_of "$pristine" | while read -r f; do
        [ "$f" = .key ] || cmp -s "$f" "$pristine/$f" || printf '%s\n' "$f"
    done
}

# Diff of one file between the published crate and the work tree.
diff_file() { # CONTEXT FILE
    diff -U "$1" --label "a/$2" --label "b/$2" "$pristine/$2" "$2" || [ $? = 1 ]
}

show_diff() {
    edited | while read -r f; do diff_file 3 "$f"; done
}

# Writes PATCH anew: its reason (all lines before the first '---') stays, its files' edits follow.
write_patch() { # PATCH FILE...
    local patch=patches/$1 reason f
    shift
    reason=$(sed '/^--- /,$d' "$patch" 2>/dev/null || true)
    { [ -z "$reason" ] || printf '%s\n' "$reason"; for f in "$@"; do diff_file 0 "$f"; done; } >"$patch.new"
    mv "$patch.new" "$patch"
}

refresh() {
    [ -d "$laid" ] || fail "nothing is laid yet: run 'upstream.sh sync'"
    local patch orphans
    orphans=$(LC_ALL=C comm -23 <(edited | LC_ALL=C sort) \
        <(patches | while read -r patch; do files_in_patch "$patch"; done | LC_ALL=C sort))
    [ -z "$orphans" ] || fail "no patch names these edited files; 'upstream.sh assign PATCH FILE' does:
$orphans"
    while read -r patch; do
        local list
        mapfile -t list < <(files_in_patch "$patch" | LC_ALL=C sort -u)
        write_patch "$patch" "${list[@]}"
    done < <(patches)
    # What is on disk is now what the patches give.
    while read -r f; do cp "$f" "$laid/$f"; done < <(unrecorded)
    stamp_of_inputs >$state/stamp
}

assign() {
    [ $# -ge 2 ] || fail "usage: upstream.sh assign PATCH FILE..."
    local patch=$1 f list=()
    shift
    for f in "$@"; do [ -e "$pristine/$f" ] || fail "$f is not a file of upstream"; done
    mkdir -p "patches/$(dirname "$patch")"
    [ -e "patches/$patch" ] || : >"patches/$patch"
    patches | grep -qxF "$patch" || fail "name $patch in $series first"
    mapfile -t list < <({ files_in_patch "$patch"; printf '%s\n' "$@"; } | LC_ALL=C sort -u)
    write_patch "$patch" "${list[@]}"
}

# The workspace of the exported repository: whichever crates it holds so far.
export_manifest() { # DIR
    local member
    {
        printf '[workspace]\nresolver = "2"\nmembers = [\n'
        for member in "$1"/*/Cargo.toml; do printf '    "%s",\n' "$(basename "$(dirname "$member")")"; done
        printf ']\n\n'
        sed -n '/^\[workspace.package\]/,/^$/p' Cargo.toml
        printf '[patch.crates-io]\n'
        for member in "$1"/*/Cargo.toml; do
            member=$(basename "$(dirname "$member")")
            if grep -q "^$member = " Cargo.toml; then printf '%s = { path = "%s" }\n' "$member" "$member"; fi
        done
    } >"$1/Cargo.toml"
}

export_series() {
    [ $# = 1 ] || fail "usage: upstream.sh export DIR"
    local dir=$1 crate kind what subject='' reasons=''
    for what in "$dir" "$dir.patches"; do
        [ ! -e "$what" ] || [ -z "$(ls -A "$what")" ] || fail "$what is not empty"
    done
    status
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    git -C "$dir" init --quiet --initial-branch=main
    for crate in "${crates[@]}"; do cp -r "$pristine/$crate" "$dir/$crate"; done
    printf '/target\nCargo.lock\n' >"$dir/.gitignore"
    export_manifest "$dir"
    commit() { # SUBJECT BODY
        export_manifest "$dir"
        git -C "$dir" add -A
        ! git -C "$dir" diff --cached --quiet || fail "$series: nothing is left for '$1'"
        git -C "$dir" commit --quiet -m "$1" ${2:+-m "$2"}
    }
    git -C "$dir" add -A
    git -C "$dir" commit --quiet -m "candle as published: $(sed -n 's/.*candle-core = .*"=\(.*\)",.*/\1/p' upstream/Cargo.toml)"
    while read -r kind what; do
        case $kind in
        '' | '#'*) ;;
        commit)
            [ -z "$subject" ] || commit "$subject" "$reasons"
            subject=$what reasons=''
            ;;
        patch)
            (cd "$dir" && git apply -p1 --unidiff-zero --whitespace=nowarn "$root/patches/$what") || fail "patches/$what does not apply"
            reasons+="$(sed '/^--- /,$d' "patches/$what")"$'\n'
            ;;
        files)
            git ls-files -- "$what" | while read -r f; do
                mkdir -p "$dir/$(dirname "$f")"
                cp "$f" "$dir/$f"
            done
            ;;
        why) reasons+="$what"$'\n' ;;
        *) fail "$series: unknown line '$kind $what'" ;;
        esac
    done <"$series"
    [ -z "$subject" ] || commit "$subject" "$reasons"
    git -C "$dir" format-patch --quiet --output-directory "$dir.patches" "$(git -C "$dir" rev-list --max-parents=0 HEAD)"
    cp patches/cover-letter.md "$dir.patches/0000-cover-letter.md"
    git -C "$dir" log --oneline | cat
}

# One at a time: two that lay files at once take each other's away.
mkdir -p $state
exec 9>$state/lock
flock 9

case ${1:-} in
sync) sync ;;
status) status ;;
diff) show_diff ;;
refresh) refresh ;;
assign) shift && assign "$@" ;;
export) shift && export_series "$@" ;;
*) sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 2 ;;
esac
