#!/usr/bin/env python3
"""What one decoded token costs, from two traces of the same program that differ in the number of tokens.

    per_token.py SHORT.tsv LONG.tsv TOKENS [--top N]

The traces are trace.c's; TOKENS is how many more tokens the second program decoded. Loading, the prompt and whatever
else the two have in common drop out of the difference. Prints Markdown.
"""

import argparse
import collections

# The driver's names for the same thing, with and without a stream, version by version.
CALLS = {
    "launches": ("cuLaunchKernel", "cuLaunchKernelEx", "cuLaunchCooperativeKernel", "cuGraphLaunch"),
    "allocations": ("cuMemAlloc", "cuMemAllocAsync", "cuMemAllocFromPoolAsync", "cuMemHostAlloc", "cuMemAllocHost"),
    "frees": ("cuMemFree", "cuMemFreeAsync", "cuMemFreeHost"),
    "copies to the device": ("cuMemcpyHtoD", "cuMemcpyHtoDAsync"),
    "copies to the host": ("cuMemcpyDtoH", "cuMemcpyDtoHAsync"),
    "copies within": ("cuMemcpyDtoD", "cuMemcpyDtoDAsync", "cuMemcpy", "cuMemcpyAsync"),
    "fills": ("cuMemsetD8", "cuMemsetD8Async", "cuMemsetD16", "cuMemsetD16Async", "cuMemsetD32", "cuMemsetD32Async"),
    "waits": ("cuStreamSynchronize", "cuEventSynchronize", "cuCtxSynchronize"),
    "event records": ("cuEventRecord", "cuEventRecordWithFlags"),
    "waits of streams for events": ("cuStreamWaitEvent",),
}


def read(path):
    """(kind, name) -> count, bytes, microseconds."""
    entries = collections.defaultdict(lambda: [0, 0, 0.0])
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            kind, name, count, size, us = line.rstrip("\n").split("\t")
            entry = entries[kind, plain(name) if kind == "call" else name]
            entry[0] += int(count)
            entry[1] += int(size)
            entry[2] += float(us)
    return entries


def plain(name):
    """cuMemcpyHtoDAsync_v2_ptsz -> cuMemcpyHtoDAsync"""
    parts = name.split("_")
    while len(parts) > 1 and (parts[-1] in ("ptsz", "ptds") or parts[-1].startswith("v")):
        parts.pop()
    return "_".join(parts)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("short")
    arguments.add_argument("long")
    arguments.add_argument("tokens", type=int)
    arguments.add_argument("--top", type=int, default=12, help="kernels to list")
    a = arguments.parse_args()
    short, long = read(a.short), read(a.long)
    each = {
        key: [(x - y) / a.tokens for x, y in zip(entry, short.get(key, [0, 0, 0.0]))] for key, entry in long.items()
    }
    print("| per token | |\n|---|---|")
    named = set()
    for what, names in CALLS.items():
        named.update(names)
        print(f"| {what} | {sum(each.get(('call', n), [0])[0] for n in names):.2f} |")
    others = sum(e[0] for (kind, name), e in each.items() if kind == "call" and name not in named)
    print(f"| other calls of the driver | {others:.1f} |")
    kernels = {name: e for (kind, name), e in each.items() if kind == "kernel" and e[0] > 0}
    if not kernels:
        return
    total = sum(e[2] for e in kernels.values())
    print(f"| kernels | {sum(e[0] for e in kernels.values()):.1f} |")
    print(f"| µs in kernels | {total:.0f} |")
    for kind, label in (("copy", "copy"), ("fill", "")):
        for (k, name), e in sorted(each.items()):
            if k == kind and e[0] > 0.001:
                print(f"| {label} {name}: count, bytes, µs | {e[0]:.2f}, {e[1]:.0f}, {e[2]:.1f} |")
    print("\n| kernel | per token | µs each | µs per token | share |\n|---|---|---|---|---|")
    ordered = sorted(kernels.items(), key=lambda item: -item[1][2])
    for name, (count, _, us) in ordered[: a.top]:
        print(f"| `{name[:70]}` | {count:.1f} | {us / count:.2f} | {us:.0f} | {100 * us / total:.0f} % |")


main()
