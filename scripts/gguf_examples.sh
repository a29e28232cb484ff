# shellcheck shell=bash
# Sourced by others: the GGUF examples as tests/examples.sh runs them, and where a run leaves what it found for
# examples_page.sh. In $example_results lie, for each target, TARGET (the digest of what ran, then a line "ok ROW" or
# "failed ROW" a run) and TARGET.md (the transcripts).

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# Example, model and further options, FILES standing for the folder of the models.
# shellcheck disable=SC2034
example_rows=(
    'quantized llama'
    'quantized llama-moe'
    'quantized-gemma gemma3'
    'quantized-glm4 glm4'
    'quantized-lfm2 lfm2'
    'quantized-phi phi2 --which phi-2'
    'quantized-phi phi3 --which phi-3'
    'quantized-phi llama --which phi-3b'
    'quantized-qwen2-instruct qwen2'
    'quantized-qwen3 qwen3'
    'quantized-qwen3-moe qwen3-moe --dtype f32'
    'quantized-t5 t5 --config-file FILES/t5-config.json --tokenizer FILES/tokenizer.json'
)
# shellcheck disable=SC2034
example_results=$target/example-results

# The examples' names, each once.
example_names() { printf '%s\n' "${example_rows[@]}" | cut -d' ' -f1 | LC_ALL=C sort -u; }

# What runs: the examples as built, with the kernels inside, and the emulator. Two runs with the same digest are of one build.
examples_digest() {
    local programs
    mapfile -t programs < <(example_names)
    (cd "$target/debug" && sha256sum "${programs[@]/#/examples/}" libhip_emulator.so) | sha256sum | cut -d' ' -f1
}

# First two cells of a row's line in docs/examples.md, without the first bar.
example_cells() { # ROW
    local name model options
    read -r name model options <<<"$1"
    [[ $options != --which* ]] || name="$name $options"
    # shellcheck disable=SC2016 # the backquotes are the document's
    printf '`%s` | %s' "$name" "$model"
}

# Heading of a row's transcript.
example_heading() { # ROW
    local name model
    read -r name model _ <<<"$1"
    printf '## %s: %s' "$name" "$model"
}
