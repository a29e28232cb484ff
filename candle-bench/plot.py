#!/usr/bin/env python3
"""Draws the results of candle-bench: plot.py RESULTS.json [MORE.json …] OUT.png"""

import sys

import matplotlib
from results import load

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LANES = {
    "cuda": "tab:green",
    "cuda-old": "tab:olive",
    "rocm": "tab:red",
    "rocm-old": "tab:orange",
    "rocm-blas": "tab:purple",
    "ggml": "tab:blue",
    "ggml-serial": "tab:cyan",
}


def products(axes, rows, shape):
    """Share of the copy's bandwidth by type for 1 and 8 columns, T/s for 512; a bar for each lane."""
    for axis, columns, key, label, scale in (
        (axes[0], "x1", "share_of_copy", "1 column: % of the copy's bandwidth", 100),
        (axes[1], "x8", "share_of_copy", "8 columns: % of the copy's bandwidth", 100),
        (axes[2], "x512", "tera_per_second", "512 columns: tera-operations a second", 1),
    ):
        of = [r for r in rows if r["group"] == "product" and r["labels"][1:] == [shape, columns]]
        bars(axis, [(r["labels"][0], r) for r in of], lambda e: scale * e[key])
        axis.set_title(f"{shape}, {label}")


def bars(axis, labelled, value):
    lanes = [lane for lane in LANES if any(e["lane"] == lane for _, r in labelled for e in r["entries"])]
    width = 0.8 / max(len(lanes), 1)
    for i, lane in enumerate(lanes):
        points = [
            (x + i * width, value(e))
            for x, (_, r) in enumerate(labelled)
            for e in r["entries"]
            if e["lane"] == lane
        ]
        axis.bar([x for x, _ in points], [y for _, y in points], width, label=lane, color=LANES[lane])
    axis.set_xticks([x + 0.4 - width / 2 for x in range(len(labelled))], [label for label, _ in labelled], rotation=45)
    axis.grid(axis="y", alpha=0.3)
    if lanes:
        axis.legend(fontsize=8)


def models(axes, results):
    for axis, key, label in (
        (axes[0], "decode_tokens_per_second", "decode, tokens a second"),
        (axes[1], "prefill_tokens_per_second", "prefill, tokens a second"),
    ):
        bars(axis, [(f"{m['model']} {m['weights']}", m) for m in results], lambda e: e[key])
        axis.set_title(label)


def dequantization(axis, rows):
    of = [r for r in rows if r["group"] == "dequantize"]
    bars(axis, [(r["labels"][0], r) for r in of], lambda e: 100 * e["share_of_copy"])
    axis.set_title("dequantize to f32: % of the copy's bandwidth")


def dense(axes, rows):
    of = [r for r in rows if r["group"] == "gemm" and len(r["labels"]) == 3]
    for axis, dtype in zip(axes, ("f32", "f16", "bf16")):
        labelled = [(" ".join(r["labels"][1:]), r) for r in of if r["labels"][0] == dtype]
        bars(axis, labelled, lambda e: e["tera_per_second"])
        axis.tick_params(axis="x", labelsize=7)
        axis.set_title(f"dense products in {dtype}: tera-operations a second")


def main():
    *inputs, out = sys.argv[1:]
    results = load(inputs)
    rows = results["rows"]
    figure, axes = plt.subplots(4, 3, figsize=(20, 18))
    products(axes[0], rows, "4096x4096")
    products(axes[1], rows, "4096x14336")
    models(axes[2], results["models"])
    dequantization(axes[2][2], rows)
    dense(axes[3], rows)
    cards = {lane["card"] for lane in results["lanes"]}
    figure.suptitle("candle-bench: " + ", ".join(sorted(cards)))
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(out, dpi=80)


main()
