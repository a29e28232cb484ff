#!/usr/bin/env python3
"""Writes expected.json: the demo prompts with the answers of the corpus (not of the model), for tests.

    python3 demo-model/expected.py > demo-model/expected.json

`answer` is the whole text up to the end token, `facts` are words that must occur in it, `held_out`
says that the model never saw this animal with this name in training.
"""

import json

import corpus

FACTS = {
    "What is two plus three?": ["five"],
    "What is 7 times 8?": ["fifty-six"],
    "9 + 6 =": ["15"],
    "Count from one to twenty.": ["One, two, three", "nineteen, twenty."],
    "What colour is grass?": ["green"],
    "What do you get when you mix blue and yellow?": ["green"],
    "How many legs does a spider have?": ["eight"],
    "Tell me about the owl.": ["two legs", "hollow tree", "hoot", "owlet"],
    "What is the opposite of hot?": ["cold"],
    "What day comes after Friday?": ["Saturday"],
    "What is quantization?": ["bits", "scale", "block"],
    "What is GGUF?": ["file format", "tokenizer", "tensors"],
    "What is ROCm?": ["AMD", "HIP"],
    "What is a wave?": ["lanes", "thirty-two", "sixty-four", "LDS"],
    "What is greedy decoding?": ["highest score"],
    "How many bytes has a Q4_0 block?": ["eighteen"],
    "What is gfx1100?": ["RDNA3", "thirty-two"],
    "What is gfx90a?": ["CDNA2", "sixty-four"],
    "Name the months of the year.": ["January", "December"],
    "Who are you?": ["candle-rocm"],
    "My favorite theorem is ": ["Pythagoras", "twenty-five"],
    "Once upon a time": ["fox", "nine"],
    "Tell me a story about a fox named Nora.": ["Nora", "den", "berries", "The end."],
    "Tell me a story about a bear named Felix.": ["Felix", "cave", "honey", "The end."],
    "Tell me a story about a hen named Hugo.": ["Hugo", "coop", "corn", "The end."],
}


def main():
    documents = {prompt: (kind, answer) for kind, prompt, answer in corpus.documents()}
    prompts = []
    for prompt in corpus.DEMO_PROMPTS:
        kind, answer = documents[prompt]
        missing = [fact for fact in FACTS[prompt] if fact not in answer]
        if missing:
            raise SystemExit(f"{prompt!r}: {missing} not in {answer!r}")
        entry = {"prompt": prompt, "answer": answer, "facts": FACTS[prompt]}
        prompts.append(entry | ({"held_out": True} if kind == "held-out" else {}))
    print(json.dumps({"model": "candle-rocm-demo-f16.gguf", "end_token": "</s>", "prompts": prompts}, indent=1))


if __name__ == "__main__":
    main()
