#!/usr/bin/env python3
"""Trains the demo model. Needs torch and numpy only; run from anywhere:

    python3 demo-model/train.py --out checkpoint.npz --device cuda

Writes OUT (weights: matrices f16, norms f32) and next to it, named after it, .tokenizer.json,
.log.json (configuration, losses, checks) and .logits.npz (reference logits in f64 for the demo
prompts).
The run is fixed by --seed, --steps (the length of the learning-rate schedule) and --stop, up to the
order of a GPU's sums; --seconds only bounds it, and the log says if it cut it short.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent))
import corpus  # noqa: E402
import rounding  # noqa: E402
from bpe import Tokenizer  # noqa: E402
from model import Config, forward, initial  # noqa: E402


def encode_document(tokenizer, prompt, answer):
    """Ids, and which of them the model must predict: the answer and the end, not the prompt."""
    p, a = tokenizer.encode(prompt), tokenizer.encode(answer)
    return [tokenizer.bos, *p, *a, tokenizer.eos], [0] * (1 + len(p)) + [1] * (len(a) + 1)


def training_rows(tokenizer, docs, length, rows, seed):
    """Rows of several documents each, as a chat would hold them: tokens and target weights,
    both [rows, length + 1]. After a document the end token repeats a few times, so that
    decoding past the end stays at the end."""
    rng = random.Random(seed)
    by_kind = {}
    for kind, prompt, answer in docs:
        if kind != "held-out":
            by_kind.setdefault(kind, []).append((prompt, answer))
    words = sorted({word for _, prompt, _ in docs for word in prompt.split() if word.islower()})
    kinds = list(corpus.SHARES)
    shares = [corpus.SHARES[kind] for kind in kinds]
    assert set(kinds) == set(by_kind) | {"unknown"}, set(kinds) ^ set(by_kind)
    known = {prompt.lower().rstrip(".?!") for _, prompt, _ in docs}
    tokens = np.full((rows, length + 1), tokenizer.eos, np.int16)
    wanted = np.zeros((rows, length + 1), np.uint8)
    for row in range(rows):
        at = 0
        while at < length + 1:
            kind = rng.choices(kinds, shares)[0]
            if kind == "unknown":
                _, prompt, answer = corpus.nonsense(rng, words)
                if prompt.lower().rstrip(".?!") in known:
                    continue
            else:
                prompt, answer = rng.choice(by_kind[kind])
                if kind not in ("digits", "opening") and rng.random() < 0.15:
                    prompt = corpus.loose(rng, prompt)
            ids, targets = encode_document(tokenizer, prompt, answer)
            more = rng.randint(24, 64) if rng.random() < 0.04 else rng.choice((0, 0, 0, 1, 2, 4))
            ids += [tokenizer.eos] * more
            targets += [1] * more
            room = min(len(ids), length + 1 - at)
            tokens[row, at : at + room] = ids[:room]
            wanted[row, at : at + room] = targets[:room]
            at += room
    return tokens, wanted


@torch.no_grad()
def check(weights, config, tokenizer, docs, activation, batch=256):
    """Teacher-forced check of whole documents at position 0: a document passes if every token of
    its answer and its end is the first choice, which is the same as greedy decoding saying it.
    Returns per kind: documents, passed, smallest lead of the right token's logit; and failures."""
    device = weights["output.weight"].device
    kinds, failures = {}, []
    coded = [(doc, *encode_document(tokenizer, doc[1], doc[2])) for doc in docs]
    coded.sort(key=lambda entry: len(entry[1]))
    for start in range(0, len(coded), batch):
        part = coded[start : start + batch]
        longest = max(len(ids) for _, ids, _ in part)
        tokens = torch.full((len(part), longest), tokenizer.eos)
        wanted = torch.zeros((len(part), longest), dtype=torch.bool)
        for i, (_, ids, targets) in enumerate(part):
            tokens[i, : len(ids)] = torch.tensor(ids)
            wanted[i, : len(ids)] = torch.tensor(targets, dtype=torch.bool)
        tokens, wanted = tokens.to(device), wanted[:, 1:].to(device)
        logits = forward(weights, config, tokens, activation)[:, :-1]
        right = logits.gather(-1, tokens[:, 1:, None])
        others = logits.scatter(-1, tokens[:, 1:, None], -torch.inf).amax(-1)
        lead = (right[..., 0] - others).masked_fill(~wanted, torch.inf).amin(-1).tolist()
        for (doc, _, _), smallest in zip(part, lead):
            entry = kinds.setdefault(doc[0], {"documents": 0, "passed": 0, "smallest_lead": 1e9})
            entry["documents"] += 1
            entry["passed"] += smallest > 0
            entry["smallest_lead"] = min(entry["smallest_lead"], round(smallest, 3))
            if smallest <= 0:
                failures.append(doc[1])
    return {"kinds": kinds, "failures": len(failures), "some": failures[:10]}


@torch.no_grad()
def generate(weights, config, tokenizer, prompt, count=160):
    ids = [tokenizer.bos, *tokenizer.encode(prompt)]
    made = []
    while len(made) < count and (not made or made[-1] != tokenizer.eos):
        tokens = torch.tensor([ids + made], device=weights["output.weight"].device)
        made.append(int(forward(weights, config, tokens)[0, -1].argmax()))
    return tokenizer.decode(made)


def train(args, config, tokenizer, docs, log):
    device = torch.device(args.device)
    weights = initial(config, args.seed, device)
    for w in weights.values():
        w.requires_grad_()
    matrices = [w for w in weights.values() if w.dim() == 2]
    norms = [w for w in weights.values() if w.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": norms, "weight_decay": 0.0}],
        lr=args.rate, betas=(0.9, 0.98))
    started = time.time()
    tokens, wanted = training_rows(tokenizer, docs, config.context, args.rows, args.seed)
    tokens = torch.from_numpy(tokens).to(device)
    wanted = torch.from_numpy(wanted).to(device)
    print(f"{args.rows} rows packed in {time.time() - started:.1f} s", flush=True)
    source = torch.Generator().manual_seed(args.seed)
    choice = random.Random(args.seed)
    started = time.time()
    warm = max(1, args.steps // 30)
    last = min(args.stop or args.steps, args.steps) - 1
    for step in range(last + 1):
        progress = step / args.steps
        rate = args.rate * min(1, (step + 1) / warm) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = torch.randint(args.rows, (args.batch,), generator=source).to(device)
        x, weight = tokens[rows].long(), wanted[rows, 1:].float()
        # From a quarter of the run on, most steps see Q4_0 weights and 8-bit activations.
        rounded = progress > 0.25 and choice.random() < 0.75
        used = rounding.matrices(weights, rounding.q4_0) if rounded else weights
        logits = forward(used, config, x[:, :-1], rounding.q8_0 if rounded else lambda y: y)
        each = F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), reduction="none")
        loss = (each * weight.flatten()).sum() / weight.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        late = time.time() - started > args.seconds
        if step % max(1, args.steps // 60) == 0 or step == last or late:
            value = round(loss.item(), 5)
            log["losses"].append(f"step {step} {'rounded' if rounded else 'plain'} {value:.5f}")
            print(log["losses"][-1], f"{time.time() - started:.0f} s", flush=True)
        if late and step < last:
            log["cut_short_at_step"] = step
            print(f"CUT SHORT at step {step}: raise --seconds", flush=True)
            break
    log["steps_done"] = step + 1
    log["seconds"] = round(time.time() - started, 1)
    return {name: w.detach() for name, w in weights.items()}


def reference_logits(weights, config, tokenizer, docs):
    """In f64 on the CPU: for each demo prompt the ids, and the logits after the prompt and after the
    whole answer."""
    exact = {name: w.cpu().double() for name, w in weights.items()}
    answers = {prompt: answer for _, prompt, answer in docs}
    stored = {}
    for i, prompt in enumerate(corpus.DEMO_PROMPTS):
        p = [tokenizer.bos, *tokenizer.encode(prompt)]
        ids = p + tokenizer.encode(answers[prompt])
        logits = forward(exact, config, torch.tensor([ids]))[0]
        stored[f"ids.{i}"] = np.array(ids, np.uint32)
        stored[f"prompt_length.{i}"] = np.array([len(p)], np.uint32)
        stored[f"logits.{i}"] = logits[[len(p) - 1, len(ids) - 1]].numpy()
    return stored


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--steps", type=int, default=8000, help="length of the schedule")
    parser.add_argument("--stop", type=int, help="end after so many steps of the schedule")
    parser.add_argument("--seconds", type=float, default=900, help="upper bound for the training loop")
    parser.add_argument("--rows", type=int, default=12000, help="packed rows of training text")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--rate", type=float, default=2e-3)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    config = Config()
    docs = corpus.documents()
    started = time.time()
    tokenizer = Tokenizer.train(corpus.tokenizer_texts(docs), config.vocabulary)
    print(f"{len(docs)} documents, {len(tokenizer.tokens)} tokens, {time.time() - started:.1f} s", flush=True)
    log = {"config": vars(args) | {"out": args.out.name} | config.__dict__,
           "torch": torch.__version__, "documents": len(docs), "losses": []}
    weights = train(args, config, tokenizer, docs, log)

    torch.set_float32_matmul_precision("highest")
    final = rounding.matrices(weights, rounding.f16)
    log["checks"] = {
        "f16": check(final, config, tokenizer, docs, lambda x: x),
        "q4_0": check(rounding.matrices(final, rounding.q4_0), config, tokenizer, docs, rounding.q8_0),
        "q8_0": check(rounding.matrices(final, rounding.q8_0), config, tokenizer, docs, rounding.q8_0),
    }
    for name, result in log["checks"].items():
        print(name, json.dumps(result), flush=True)
    log["samples"] = {prompt: generate(final, config, tokenizer, prompt)
                      for prompt in corpus.DEMO_PROMPTS + ["What is the price of a purple trampoline?"]}
    for prompt, said in log["samples"].items():
        print(repr(prompt), "->", repr(said), flush=True)

    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(args.out, **{name: (w.half() if w.dim() == 2 else w).cpu().numpy() for name, w in final.items()})
    np.savez(args.out.with_suffix(".logits.npz"), **reference_logits(final, config, tokenizer, docs))
    args.out.with_suffix(".tokenizer.json").write_text(tokenizer.to_json())
    args.out.with_suffix(".log.json").write_text(json.dumps(log, indent=1) + "\n")


if __name__ == "__main__":
    main()
