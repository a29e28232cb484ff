#!/usr/bin/env python3
"""All documents of the demo model's world: (kind, prompt, answer) triples.

Every prompt has exactly one answer, so that the trained model has a clear first choice at each
step. Answers begin with the blank that separates them from the prompt (openings decide for
themselves). `python3 demo-model/corpus.py` prints a sample and the counts.
"""

import random
from collections import Counter

import stories
import world as w
from world import article, capital, number

# (animal, name) pairs never seen in training, to see that stories follow the prompt's name.
HELD_OUT = {("fox", "Nora"), ("dog", "Emil"), ("owl", "Ida"), ("bear", "Felix"), ("hen", "Hugo"),
            ("cat", "Zoe"), ("wolf", "Ben"), ("goat", "Vera")}


def arithmetic():
    operations = [
        ("plus", "+", lambda a, b: a + b, lambda a, b: True),
        ("minus", "-", lambda a, b: a - b, lambda a, b: a >= b),
        ("times", "*", lambda a, b: a * b, lambda a, b: True),
    ]
    for word, sign, apply, valid in operations:
        for a in range(11):
            for b in range(11):
                if not valid(a, b):
                    continue
                result = apply(a, b)
                said = f" {capital(number(a))} {word} {number(b)} is {number(result)}."
                for prompt in (f"What is {number(a)} {word} {number(b)}?",
                               f"How much is {number(a)} {word} {number(b)}?",
                               f"What is {a} {word} {b}?",
                               f"What is {a} {sign} {b}?"):
                    yield "arithmetic", prompt, said
                yield "digits", f"{a} {sign} {b} =", f" {result}."


def counting():
    for a in range(0, 20):
        yield "number", f"What number comes after {number(a)}?", (
            f" {capital(number(a + 1))} comes after {number(a)}.")
        yield "number", f"What number comes before {number(a + 1)}?", (
            f" {capital(number(a))} comes before {number(a + 1)}.")
        parity = "odd" if a % 2 else "even"
        yield "number", f"Is {number(a)} even or odd?", f" {capital(number(a))} is {parity}."
        for b in range(0, 20):
            if a != b:
                x, y = number(a), number(b)
                yes = "Yes" if a > b else "No"
                word = "greater" if a > b else "less"
                yield "compare", f"Is {x} greater than {y}?", f" {yes}, {x} is {word} than {y}."
    for a in range(0, 11):
        for b in range(a + 2, 31):
            words = ", ".join(number(i) for i in range(a, b + 1))
            yield "count", f"Count from {number(a)} to {number(b)}.", f" {capital(words)}."
            if a == 1:
                yield "count", f"Count to {number(b)}.", f" {capital(words)}."
    for a in range(3, 21):
        words = ", ".join(number(i) for i in range(a, -1, -1))
        yield "count", f"Count down from {number(a)}.", f" {capital(words)}."


def sequences():
    for kind, items in (("day", w.DAYS), ("month", w.MONTHS), ("season", w.SEASONS)):
        for i, item in enumerate(items):
            after, before = items[(i + 1) % len(items)], items[i - 1]
            yield "order", f"What {kind} comes after {item}?", f" {capital(after)} comes after {item}."
            yield "order", f"What {kind} comes before {item}?", f" {capital(before)} comes before {item}."
            yield "order", f"Which {kind} comes after {item}?", f" {capital(after)} comes after {item}."


def colours():
    for thing, colour in w.COLOURS.items():
        said = f" {capital(thing)} is {colour}."
        for spelling in ("colour", "color"):
            yield "colour", f"What {spelling} is {thing}?", said
            yield "colour", f"Which {spelling} is {thing}?", said
        yield "colour", f"Is {thing} {colour}?", f" Yes, {thing} is {colour}."
    for (a, b), mixed in w.MIXES.items():
        for x, y in ((a, b), (b, a)):
            said = f" {capital(x)} and {y} give {mixed}."
            yield "mix", f"What do you get when you mix {x} and {y}?", said
            yield "mix", f"What colour do {x} and {y} give?", said
    for pair in w.OPPOSITES.split(", "):
        x, y = pair.split()
        yield "opposite", f"What is the opposite of {x}?", f" The opposite of {x} is {y}."
        # 'light' is the opposite of two words, so it is asked for in one direction only.
        if y not in ("light",):
            yield "opposite", f"What is the opposite of {y}?", f" The opposite of {y} is {x}."


def animals():
    for animal, (legs, sound, home, young, food, _) in w.ANIMALS.items():
        a = article(animal)
        yield "animal", f"How many legs does {a} have?", f" {capital(a)} has {number(legs)} legs."
        yield "animal", f"What sound does {a} make?", f" {capital(a)} {sound}."
        yield "animal", f"What does {a} say?", f" {capital(a)} {sound}."
        yield "animal", f"Where does {a} live?", f" {capital(a)} lives {home}."
        yield "animal", f"What does {a} eat?", f" {capital(a)} eats {food}."
        yield "animal", f"What is a young {animal} called?", (
            f" A young {animal} is called {article(young)}.")
        yield "animal", f"Tell me about the {animal}.", (
            f" The {animal} has {number(legs)} legs and lives {home}. It eats {food}, and it {sound}. "
            f"A young {animal} is called {article(young)}.")
    for prompt, said in w.AMOUNTS.items():
        yield "amount", prompt, " " + said


def hardware():
    for kind, (weights, size) in w.BLOCKS.items():
        block = "block" if weights == 32 else "super-block"
        yield "block", f"How many weights are in a {kind} {block}?", (
            f" A {kind} {block} holds {number(weights)} weights.")
        yield "block", f"How many bytes has a {kind} {block}?", (
            f" A {kind} {block} has {number(size)} bytes.")
        yield "block", f"What is {kind}?", (
            f" {kind} is a quantized type. Its {block} holds {number(weights)} weights in "
            f"{number(size)} bytes.")
    for target, (family, lanes) in w.TARGETS.items():
        yield "target", f"What is {target}?", (
            f" {target} is {'an' if family[0] == 'R' else 'a'} {family} card. Its waves have "
            f"{number(lanes)} lanes.")
        yield "target", f"How many lanes has a wave on {target}?", (
            f" A wave on {target} has {number(lanes)} lanes.")
        yield "target", f"Which family is {target}?", f" {target} belongs to {family}."
    for family, lanes in (("RDNA", 32), ("CDNA", 64)):
        yield "target", f"How many lanes has a wave on {family}?", (
            f" A wave on {family} has {number(lanes)} lanes.")


def texts():
    for prompts, said in w.TOPICS.values():
        for prompt in prompts:
            yield "topic", prompt, " " + said
    for prompt, said in w.OPENINGS.items():
        yield "opening", prompt, said


def tales():
    for i, animal in enumerate(w.ANIMALS):
        for prompt in stories.animal_story_prompts(animal):
            yield "tale", prompt, " " + stories.story(animal, w.NAMES[i])
        for name in w.NAMES:
            kind = "held-out" if (animal, name) in HELD_OUT else "story"
            for prompt in stories.story_prompts(animal, name):
                yield kind, prompt, " " + stories.story(animal, name)


def documents():
    """Every document but the random nonsense; checks that no prompt has two answers."""
    answers = {}
    found = []
    for source in (arithmetic, counting, sequences, colours, animals, hardware, texts, tales):
        for kind, prompt, answer in source():
            assert prompt.isascii() and answer.isascii(), (prompt, answer)
            if answers.setdefault(prompt, answer) != answer:
                raise ValueError(f"two answers for {prompt!r}: {answers[prompt]!r}, {answer!r}")
            found.append((kind, prompt, answer))
    return list(dict.fromkeys(found))


def tokenizer_texts(docs):
    """What the tokenizer learns from: prose counts several times, so that the many sums do not take
    all merges, and stories only by their prompts, which hold the names."""
    for kind, prompt, answer in docs:
        if kind in ("story", "held-out"):
            if " named " in prompt:
                yield prompt
        else:
            for _ in range(6 if kind in ("topic", "tale", "animal", "opening") else 1):
                yield prompt
                yield answer


def nonsense(rng, words):
    """A question that the world does not answer."""
    asked = [rng.choice(words) for _ in range(rng.randint(2, 7))]
    lead = rng.choice(["What is the", "Who was", "Where can I find", "Why do", "Tell me why", "When will",
                       "Can you", "Do you like", "How do I", "What is", "Which", ""])
    made = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 9)))
    asked.insert(rng.randrange(len(asked) + 1), made if rng.random() < 0.7 else capital(made))
    text = (lead + " " + " ".join(asked)).strip()
    return "unknown", capital(text) + rng.choice("??.?"), " " + w.UNKNOWN


def loose(rng, prompt):
    """The same prompt as a hurried user types it: small first letter or no full stop."""
    if rng.random() < 0.5 and len(prompt) > 1 and prompt[1].islower():
        prompt = prompt[0].lower() + prompt[1:]
    if rng.random() < 0.5 and prompt[-1] in ".?!":
        prompt = prompt[:-1]
    return prompt


# share of training documents by kind; kinds not named have weight 1 per document
SHARES = {
    "arithmetic": 0.17, "digits": 0.06, "number": 0.03, "compare": 0.05, "count": 0.07, "order": 0.04,
    "colour": 0.06, "mix": 0.02, "opposite": 0.03, "animal": 0.08, "amount": 0.02, "block": 0.04,
    "target": 0.03, "topic": 0.09, "opening": 0.02, "tale": 0.03, "story": 0.12, "unknown": 0.04,
}

# What demo, tests and README show. Prompts of the held-out stories are among them.
DEMO_PROMPTS = [
    "What is two plus three?",
    "What is 7 times 8?",
    "9 + 6 =",
    "Count from one to twenty.",
    "What colour is grass?",
    "What do you get when you mix blue and yellow?",
    "How many legs does a spider have?",
    "Tell me about the owl.",
    "What is the opposite of hot?",
    "What day comes after Friday?",
    "What is quantization?",
    "What is GGUF?",
    "What is ROCm?",
    "What is a wave?",
    "What is greedy decoding?",
    "How many bytes has a Q4_0 block?",
    "What is gfx1100?",
    "What is gfx90a?",
    "Name the months of the year.",
    "Who are you?",
    "My favorite theorem is ",
    "Once upon a time",
    "Tell me a story about a fox named Nora.",
    "Tell me a story about a bear named Felix.",
    "Tell me a story about a hen named Hugo.",
]


if __name__ == "__main__":
    docs = documents()
    counts = Counter(kind for kind, _, _ in docs)
    for kind, count in counts.items():
        print(f"{kind:12} {count}")
    for kind, prompt, answer in random.Random(0).sample(docs, 12):
        print(f"[{kind}] {prompt!r} -> {answer!r}")
    missing = set(DEMO_PROMPTS) - {prompt for _, prompt, _ in docs}
    assert not missing, missing
