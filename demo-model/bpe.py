"""A small byte-level BPE tokenizer: training, encoding, decoding, and storing as JSON.

It follows the conventions that GGUF names `gpt2` (model) and `qwen2` (pre-tokenizer), so that readers
of GGUF rebuild it from the token and merge lists: bytes are written as printable characters by
GPT-2's table, text is cut by Qwen2's expression before merging, and merges apply in rank order.
On ASCII text, the only text of the demo's world, the expression's Unicode classes are the
ASCII ones below. Other bytes are encoded byte by byte.
"""

import json
import re
from collections import Counter

BOS, EOS = "<s>", "</s>"
PIECES = re.compile(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
    r"|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_characters():
    """GPT-2's table: printable Latin-1 bytes stand for themselves, the others follow from 256 up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return table


TO_CHAR = byte_characters()
TO_BYTE = {char: byte for byte, char in TO_CHAR.items()}


def pieces(text):
    for match in PIECES.finditer(text):
        yield "".join(TO_CHAR[byte] for byte in match.group().encode())


def merge_pair(symbols, pair):
    merged, i = [], 0
    while i < len(symbols):
        if i + 1 < len(symbols) and (symbols[i], symbols[i + 1]) == pair:
            merged.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return merged


class Tokenizer:
    def __init__(self, tokens, merges):
        self.tokens = tokens
        self.merges = [tuple(m) for m in merges]
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.rank = {pair: i for i, pair in enumerate(self.merges)}
        self.bos, self.eos = self.ids[BOS], self.ids[EOS]
        self.cache = {}

    @classmethod
    def train(cls, texts, size):
        """Merges the most frequent pair (ties: the smaller pair) until `size` tokens exist."""
        counts = Counter(piece for text in texts for piece in pieces(text))
        words = [(list(piece), count) for piece, count in sorted(counts.items())]
        tokens = [BOS, EOS] + [TO_CHAR[byte] for byte in range(256)]
        merges = []
        while len(tokens) < size:
            pairs = Counter()
            for symbols, count in words:
                for pair in zip(symbols, symbols[1:]):
                    pairs[pair] += count
            if not pairs:
                raise ValueError(f"the text allows only {len(tokens)} of {size} tokens")
            best = min(pairs, key=lambda pair: (-pairs[pair], pair))
            words = [(merge_pair(symbols, best), count) for symbols, count in words]
            merges.append(best)
            tokens.append(best[0] + best[1])
        if len(set(tokens)) != len(tokens):
            raise ValueError("two merges made the same token")
        return cls(tokens, merges)

    def encode_piece(self, piece):
        symbols = list(piece)
        while len(symbols) > 1:
            best = min(zip(symbols, symbols[1:]), key=lambda pair: self.rank.get(pair, len(self.rank)))
            if best not in self.rank:
                break
            symbols = merge_pair(symbols, best)
        return [self.ids[symbol] for symbol in symbols]

    def encode(self, text):
        """Token ids without BOS and EOS."""
        ids = []
        for piece in pieces(text):
            if piece not in self.cache:
                self.cache[piece] = self.encode_piece(piece)
            ids += self.cache[piece]
        return ids

    def decode(self, ids):
        text = "".join(self.tokens[i] for i in ids if i not in (self.bos, self.eos))
        return bytes(TO_BYTE[char] for char in text).decode(errors="replace")

    def to_json(self):
        return json.dumps({"tokens": self.tokens, "merges": self.merges}, indent=0)

    @classmethod
    def from_json(cls, text):
        stored = json.loads(text)
        return cls(stored["tokens"], stored["merges"])
