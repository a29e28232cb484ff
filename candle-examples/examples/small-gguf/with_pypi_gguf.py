"""Writes tests/rocm_architectures/pypi.gguf and pypi.json with the PyPI packages gguf and sentencepiece.

    python -m venv target/venv && target/venv/bin/pip install gguf==0.19.0 sentencepiece==0.2.3
    target/venv/bin/python candle-examples/examples/small-gguf/with_pypi_gguf.py

The file is a llama of one layer with its matrices in several types, a SentencePiece tokenizer, and tensors named
probe.* in the types that gguf can decode but not encode. For each tensor X there is expected.X: what gguf itself
decodes its first rows to. The JSON holds texts with the token ids that sentencepiece gives them.
"""

import io
import json
import pathlib

import gguf
import numpy as np
import sentencepiece
from gguf import GGMLQuantizationType as Type

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "rocm_architectures"
HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, VOCABULARY = 64, 64, 2, 1, 400
# Rows that are decoded for comparison.
EXPECTED = 32

TRAINING = """
A small model reads a small text and learns which letters follow each other. The river runs past the mill and the
meadow, the meadow past the wood. Numbers such as 1, 12 and 123 are there as well, and signs: (brackets), "quotes",
semicolons; question marks? The heron stands in the reeds and waits; nothing moves but the water. Where the path
meets the road a lantern hangs, and whoever comes there in the evening lights it. Bread, butter, salt and pepper.
The quick brown fox jumps over the lazy dog, as foxes do when nobody looks. Measure before claiming, they said, and
measured, and claimed less. Every word is written twice or thrice so that pairs of letters are seen often enough:
reading, writing, learning, waiting, standing, running, jumping, measuring, claiming, looking, hanging, lighting.
"""

TEXTS = [
    "", "a", " ", "  two  spaces ", "The river runs past the mill.", "Measure before claiming!",
    "12 + 123 = 135", "naïve façade – “quoted”", "日本語 and emoji 🙂", "tab\tand\nline",
    "unreadable: \x01\x7f", "ThereTheThenThe", "▁underscore", "e" * 17, "in the evening lights",
]


def tokenizer():
    model = io.BytesIO()
    lines = [line for line in TRAINING.replace("\n", " ").split(". ") if line.strip()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=VOCABULARY,
        byte_fallback=True, character_coverage=1.0, normalization_rule_name="identity",
        remove_extra_whitespaces=False, minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def add_tokenizer(writer, pieces):
    ids = range(pieces.vocab_size())
    kind = lambda i: 2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else 6 if pieces.is_byte(i) else 1
    writer.add_tokenizer_model("llama")
    writer.add_token_list([pieces.id_to_piece(i) for i in ids])
    writer.add_token_scores([pieces.get_score(i) for i in ids])
    writer.add_token_types([kind(i) for i in ids])
    writer.add_bos_token_id(pieces.bos_id())
    writer.add_eos_token_id(pieces.eos_id())
    writer.add_unk_token_id(pieces.unk_id())


def main():
    random = np.random.default_rng(7)
    writer = gguf.GGUFWriter(str(FOLDER / "pypi.gguf"), "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    pieces = tokenizer()
    add_tokenizer(writer, pieces)

    def add(name, data, dtype, shape=None):
        writer.add_tensor(name, data, raw_dtype=None if dtype == Type.F32 else dtype)
        if dtype != Type.F32:
            decoded = gguf.quants.dequantize(data[:EXPECTED], dtype)
            writer.add_tensor(f"expected.{name}", decoded.astype(np.float32))

    def matrix(name, rows, columns, dtype):
        values = random.standard_normal((rows, columns), np.float32) / np.float32(columns**0.5)
        add(name, gguf.quants.quantize(values, dtype), dtype)

    kv = KV_HEADS * HIDDEN // HEADS
    matrix("token_embd.weight", VOCABULARY, HIDDEN, Type.Q8_0)
    matrix("output.weight", VOCABULARY, HIDDEN, Type.Q5_0)
    matrix("blk.0.attn_q.weight", HIDDEN, HIDDEN, Type.Q4_0)
    matrix("blk.0.attn_k.weight", kv, HIDDEN, Type.Q4_1)
    matrix("blk.0.attn_v.weight", kv, HIDDEN, Type.Q5_1)
    matrix("blk.0.attn_output.weight", HIDDEN, HIDDEN, Type.F16)
    matrix("blk.0.ffn_gate.weight", FEED_FORWARD, HIDDEN, Type.Q8_0)
    matrix("blk.0.ffn_up.weight", FEED_FORWARD, HIDDEN, Type.BF16)
    matrix("blk.0.ffn_down.weight", HIDDEN, FEED_FORWARD, Type.Q4_0)
    for name in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"]:
        add(f"{name}.weight", (1 + 0.1 * random.standard_normal(HIDDEN)).astype(np.float32), Type.F32)

    # Any bytes are a block, as long as its f16 scales are numbers: (type, offsets of scales).
    for dtype, scales in [
        (Type.Q2_K, [80, 82]), (Type.Q3_K, [108]), (Type.Q4_K, [0, 2]), (Type.Q5_K, [0, 2]), (Type.Q6_K, [208]),
    ]:
        size = gguf.GGML_QUANT_SIZES[dtype][1]
        blocks = random.integers(0, 256, (3, size), np.uint8)
        for at in scales:
            scale = random.uniform(-0.1, 0.1, 3).astype(np.float16)
            blocks[:, at : at + 2] = scale.view(np.uint8).reshape(3, 2)
        add(f"probe.{dtype.name.lower()}", blocks, dtype)

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    cases = [{"text": text, "ids": pieces.encode(text), "decoded": pieces.decode(pieces.encode(text))} for text in TEXTS]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (FOLDER / "pypi.json").write_text(f"[\n{lines}\n]\n")


main()
