#!/usr/bin/env python3
"""The tables of a page of docs/benchmarks, from the results of candle-bench.

    tables.py [--beside OTHERS.json] [--join JOINED.json] RESULTS.json [MORE.json …]

Runs are joined case by case. OTHERS.json holds another program's times for the warm products: {"name": …, "shape":
"4096x14336", "columns": [1, 8, 512], "us": {"q4_0": [14.6, 33.2, 320], …}}; results with a lane of that name need none and
take none. --join also writes the joined results.
"""

import argparse
import json

from results import entry, load, ordered


def line(*cells):
    print("| " + " | ".join(cells) + " |")


def head(*cells):
    print()
    line(*cells)
    print("|" + "---|" * len(cells))


def title(text):
    print(f"\n## {text}")


def ratio(row, one, other, key="device_us"):
    a, b = entry(row, one), entry(row, other)
    return a[key] / b[key] if a and b else None


def models(results):
    for model in ordered(m["model"] for m in results["models"]):
        of = [m for m in results["models"] if m["model"] == model]
        title(f"Whole models, {model}: prefill of {of[0]['prefill']} tokens, then {of[0]['decode']} decoded")
        head("weights", "", "load s (reading alone)", "prefill t/s", "/ cuda", "decode t/s", "/ cuda")
        for m in of:
            cuda = entry(m, "cuda")
            for e in m["entries"]:
                ratios = []
                for key in ("prefill_tokens_per_second", "decode_tokens_per_second"):
                    known = cuda and e is not cuda
                    ratios.append(f"**{e[key] / cuda[key]:.2f}**" if known else "")
                line(
                    m["weights"],
                    e["lane"],
                    f"{e['load_s']:.2f} ({m['read_s']:.2f})",
                    f"{e['prefill_tokens_per_second']:.0f}",
                    ratios[0],
                    f"{e['decode_tokens_per_second']:.1f}",
                    ratios[1],
                )
        counted = [(m["weights"], e) for m in of for e in m["entries"] if e.get("per_token")]
        if counted:
            head("per decoded token", "", *counted[0][1]["per_token"])
            for weights, e in counted:
                line(weights, e["lane"], *(f"{n:.2f}".removesuffix(".00") for n in e["per_token"].values()))


class Products:
    """The products of one shape: a line for each type, a column for each number of columns. The lanes are those that a row
    must have to count."""

    def __init__(self, results, shape, group="product", lanes=()):
        self.shape = shape
        rows = [r for r in results["rows"] if r["group"] == group and r["labels"][1] == shape]
        rows = [r for r in rows if all(entry(r, lane) for lane in lanes)]
        self.types = ordered(r["labels"][0] for r in rows)
        self.columns = ordered(r["labels"][2] for r in rows)
        self.rows = {(r["labels"][0], r["labels"][2]): r for r in rows}

    def table(self, cell):
        head(self.shape, *(c.removeprefix("x") for c in self.columns))
        for t in self.types:
            cells = [cell(self.rows[t, c]) if (t, c) in self.rows else None for c in self.columns]
            if any(cells):
                line(t, *(c or "–" for c in cells))


def beside_cuda(row):
    rocm, cuda = entry(row, "rocm"), entry(row, "cuda")
    if not cuda:
        return rocm and f"{rocm['device_us']:.1f}"
    return rocm and f"{rocm['device_us']:.1f} / {cuda['device_us']:.1f} = **{rocm['device_us'] / cuda['device_us']:.2f}**"


def shares(row):
    of = [entry(row, lane) for lane in ("rocm", "cuda")]
    return " / ".join(f"{100 * e['share_of_copy']:.0f} %" for e in of if e)


def number(value):
    return None if value is None else f"{value:.2f}"


def products(results, others):
    shapes = ordered(r["labels"][1] for r in results["rows"] if r["group"] == "product")
    tables = [Products(results, shape) for shape in shapes]
    if not tables:
        return
    title("Products: rocm's own kernels beside candle's CUDA backend, µs, rocm / cuda = ratio")
    for t in tables:
        t.table(beside_cuda)
    title("Products: share of the copy's bandwidth, rocm / cuda")
    for t in tables:
        t.columns, kept = [c for c in t.columns if c in ("x1", "x2", "x4", "x8")], t.columns
        t.table(shares)
        t.columns = kept
    title("Products with warm operands, µs")
    for t in tables:
        warm(t, others)
    beside_ggml(results)
    title("Products: own kernels beside translated ones (rocm / rocm-old)")
    for t in tables:
        t.table(lambda row: number(ratio(row, "rocm", "rocm-old")))
    title("Products: translation (rocm-old / cuda-old)")
    for t in tables:
        t.table(lambda row: number(ratio(row, "rocm-old", "cuda-old")))
    ratios = [ratio(row, "rocm-old", "cuda-old") for t in tables for row in t.rows.values()]
    ratios = [r for r in ratios if r]
    if ratios:
        outside = sum(not 0.9 <= r <= 1.1 for r in ratios)
        print(f"\n{len(ratios)} ratios, from {min(ratios):.2f} to {max(ratios):.2f}; {outside} outside of 0.9 to 1.1.")


def side_by_side(row, one, other):
    """Rotated operands, then warm ones."""
    (a, b), keys = (entry(row, lane) for lane in (one, other)), ("device_us", "warm_us")
    rotated, warmed = (f"{a[key]:.1f} / {b[key]:.1f} = " for key in keys)
    ratios = [ratio(row, one, other, key) for key in keys]
    return f"{rotated}**{ratios[0]:.2f}** ({warmed}{ratios[1]:.2f})"


def beside_ggml(results):
    """rocm's product kernels and ggml's, each without and with the conversion of the activations to int8; ggml's launched as
    ggml does, and one after the other like ours."""
    for group, what, other in (
        ("kernel", "the product's kernel alone, activations in int8 already", "ggml"),
        ("product", "with the activations' conversion to int8", "ggml"),
        ("kernel", "the product's kernel alone, launches one after the other on both sides", "ggml-serial"),
        ("product", "with the conversion, launches one after the other on both sides", "ggml-serial"),
    ):
        lanes = ("rocm", other)
        shapes = ordered(r["labels"][1] for r in results["rows"] if r["group"] == group)
        tables = [Products(results, shape, group, lanes) for shape in shapes]
        tables = [t for t in tables if t.rows]
        if not tables:
            continue
        title(f"Beside ggml, {what}: µs, rocm / {other} = ratio (warm)")
        for t in tables:
            t.table(lambda row: side_by_side(row, *lanes))
        extremes([row for t in tables for row in t.rows.values()], *lanes)


def extremes(rows, one, other):
    """The smallest and largest ratio for each number of columns, and the cases that are above 1."""
    head(f"{one} / {other}", "smallest", "largest", "warm: smallest", "largest")
    slower = []
    for columns in ordered(r["labels"][2] for r in rows):
        of = [r for r in rows if r["labels"][2] == columns]
        cells = []
        for key, note in (("device_us", ""), ("warm_us", ", warm")):
            ratios = sorted((ratio(r, one, other, key), " ".join(r["labels"][:2])) for r in of)
            cells += [f"{number(value)} ({case})" for value, case in (ratios[0], ratios[-1])]
            slower += [f"{case} {columns}{note} ({number(value)})" for value, case in ratios if value > 1]
        line(columns.removeprefix("x"), *cells)
    print(f"\n{2 * len(rows)} ratios; above 1: {', '.join(slower) or 'none'}.")


def warm(products_of, others):
    """All numbers of columns that another program has figures for, or 1, 8 and 512."""
    lanes = ["rocm", "cuda"]
    if any(entry(row, "ggml") for row in products_of.rows.values()):
        lanes.append("ggml")
    beside = others if others and others["shape"] == products_of.shape and others["name"] not in lanes else None
    wanted = [f"x{c}" for c in (beside["columns"] if beside else (1, 8, 512))]
    wanted = [c for c in wanted if c in products_of.columns]
    names = lanes + ([beside["name"]] if beside else [])
    head(products_of.shape, *(f"{c[1:]}: " + " / ".join(names) for c in wanted))
    for t in products_of.types:
        cells = []
        for i, c in enumerate(wanted):
            row = products_of.rows.get((t, c))
            of = [row and entry(row, lane) for lane in lanes]
            values = [f"{e['warm_us']:.1f}" if e else "–" for e in of]
            if beside:
                values.append(f"{beside['us'][t][i]:.1f}" if t in beside["us"] else "–")
            cells.append(" / ".join(values))
        line(t, *cells)


def others_by_lane(results, group, name, lanes, show):
    rows = [r for r in results["rows"] if r["group"] == group]
    if not rows:
        return
    title(name)
    lanes = [lane for lane in lanes if any(entry(r, lane) for r in rows)]
    compared = [lane for lane in lanes if lane != "cuda"] if "cuda" in lanes else []
    head(group, *(f"{lane} µs" for lane in lanes), *(f"{lane} / cuda" for lane in compared))
    for row in rows:
        cells = [show(entry(row, lane)) if entry(row, lane) else "–" for lane in lanes]
        line(" ".join(row["labels"]), *cells, *(number(ratio(row, lane, "cuda")) or "–" for lane in compared))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("results", nargs="+")
    arguments.add_argument("--beside", help="another program's times for warm products")
    arguments.add_argument("--join", help="a file for the joined results")
    a = arguments.parse_args()
    results = load(a.results)
    others = None
    if a.beside:
        with open(a.beside, encoding="utf-8") as file:
            others = json.load(file)
    if a.join:
        with open(a.join, "w", encoding="utf-8") as file:
            compact(results, file)
    for lane in results["lanes"]:
        print(f"- {lane['lane']}: {lane['card']}; copy {lane['copy_gigabytes_per_second']:.0f} GB/s read and written")
    for failure in results["failures"]:
        print(f"- not measured: {failure}")
    models(results)
    products(results, others)

    def of_copy(e):
        return f"{e['device_us']:.1f} ({e['warm_us']:.1f}), {100 * e['share_of_copy']:.0f} %"

    plain = ("cuda", "rocm")
    others_by_lane(results, "fused", "Between the products, f32: µs (warm), share of the copy's bandwidth", plain, of_copy)
    others_by_lane(results, "dequantize", "Dequantization to f32: µs (warm), share of the copy's bandwidth", plain, of_copy)
    others_by_lane(
        results,
        "gemm",
        "Dense products: µs (T/s)",
        (*plain, "rocm-blas"),
        lambda e: f"{e['device_us']:.1f} ({e['tera_per_second']:.1f})",
    )


def compact(results, file):
    """Six digits, a case a line."""

    def short(value):
        if isinstance(value, float):
            return float(f"{value:.6g}")
        if isinstance(value, dict):
            return {k: short(v) for k, v in value.items()}
        return [short(v) for v in value] if isinstance(value, list) else value

    file.write("{\n")
    parts = []
    for key, value in results.items():
        if isinstance(value, list):
            lines = ",\n".join(json.dumps(short(v), ensure_ascii=False) for v in value)
            parts.append(f'"{key}": [\n{lines}\n]')
        else:
            parts.append(f'"{key}": {json.dumps(short(value))}')
    file.write(",\n".join(parts) + "\n}\n")


main()
