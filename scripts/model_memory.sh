#!/usr/bin/env bash
# Computes what a model needs on a card, and prints it as the table in docs/using.md.
#
#   scripts/model_memory.sh
#
# Weights: parameters times the bits of their type (blocks of 32 or 256 with their scales). candle keeps the table of
# embeddings in f32 besides; a model whose output is that table again has it in the file once.
set -euo pipefail

# Shapes from the models' config.json on the hub: hidden size, layers, width of the feed-forward network, experts (0:
# none), heads, heads of keys and values, size of a head, vocabulary, whether the output is the embedding.
models='
Qwen3-0.6B     1024 28  3072   0 16 8 128 151936 yes
TinyLlama-1.1B 2048 22  5632   0 32 4  64  32000 no
Qwen3-4B       2560 36  9728   0 32 8 128 151936 yes
Llama-3-8B     4096 32 14336   0 32 8 128 128256 no
Qwen3-14B      5120 40 17408   0 40 8 128 151936 no
Qwen3-30B-A3B  2048 48   768 128 32 4 128 151936 no
Qwen3-32B      5120 64 25600   0 64 8 128 151936 no
Llama-3-70B    8192 80 28672   0 64 8 128 128256 no
'
awk '
BEGIN {
    # Q4_K_M: a sixth of the weights in Q6K, as in files on the hub.
    split("Q4_0 4.5 Q4_K_M 4.85 Q5K 5.5 Q6K 6.5625 Q8_0 8.5 F16 16", types, " ")
    head = "| model | parameters |"; line = "|---|---|"
    for (t = 1; t <= 11; t += 2) { head = head " " types[t] " |"; line = line "---|" }
    print head " embeddings in f32 | keys and values, 1,000 tokens | a prompt of 2,000 |"
    print line "---|---|---|"
}
NF == 10 {
    h = $2; layers = $3; ff = $4; experts = $5 ? $5 : 1; heads = $6; kv = $7; size = $8; vocabulary = $9
    layer = h * heads * size * 2 + h * kv * size * 2 + 3 * h * ff * experts
    table = vocabulary * h
    parameters = layers * layer + table * ($10 == "yes" ? 1 : 2)
    row = sprintf("| %s | %.1f e9 |", $1, parameters / 1e9)
    for (t = 2; t <= 12; t += 2) row = row sprintf(" %.1f |", parameters * types[t] / 8 / 2^30)
    # The cache has room for half as many positions again, in steps of 256 (candle-nn/src/fused/attention.rs).
    room = int((1000 * 1.5 + 255) / 256) * 256
    # The widest stretch of a layer: the residual, its norm, gate, up and their product; of a mixture 8 experts a token.
    prompt = 2000 * 4 * (2 * h + 3 * ff * ($5 ? 8 : 1))
    printf "%s %.1f | %.2f | %.1f |\n", row, table * 4 / 2^30, layers * 2 * kv * size * 4 * room / 2^30, prompt / 2^30
}' <<<"$models"
