"""The results of one or several runs of candle-bench, as one."""

import json
import re

LANES = ("cuda", "cuda-old", "rocm", "rocm-old", "rocm-blas")


def load(paths):
    """Runs joined: rows of one case become one row. Rocm with dense products by rocBLAS is a lane of its own, `rocm-blas`."""
    joined = {"command": [], "lanes": {}, "rows": {}, "models": {}, "failures": []}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            run = json.load(file)
        blas = run.get("gemm", "own") == "rocblas"

        def named(entry):
            return {**entry, "lane": "rocm-blas"} if blas and entry["lane"] == "rocm" else entry

        commands = run["command"]
        if isinstance(commands, str):
            commands = re.sub(r" --json \S+", "", commands)
            commands = [("CANDLE_ROCM_GEMM=rocblas " if blas else "") + commands]
        joined["command"] += commands
        joined["failures"] += run.get("failures", [])
        for lane in map(named, run["lanes"]):
            known = joined["lanes"].setdefault(lane["lane"], lane)
            known["copy_gigabytes_per_second"] = max(
                known["copy_gigabytes_per_second"], lane["copy_gigabytes_per_second"]
            )
        for kind, key in (("rows", ("group", "labels")), ("models", ("model", "weights"))):
            for row in run[kind]:
                name = str([row[k] for k in key])
                known = joined[kind].setdefault(name, {**row, "entries": []})
                there = {e["lane"] for e in known["entries"]}
                known["entries"] += [e for e in map(named, row["entries"]) if e["lane"] not in there]
    for kind in ("lanes", "rows", "models"):
        joined[kind] = list(joined[kind].values())
    share(joined)
    return joined


def share(results):
    """Shares of the fastest copy of all the runs: a card has one bandwidth."""
    copies = [lane["copy_gigabytes_per_second"] for lane in results["lanes"]]
    results["best_copy_gigabytes_per_second"] = max(copies, default=float("nan"))
    for row in results["rows"]:
        for e in row["entries"]:
            e["share_of_copy"] = row["bytes"] / e["device_us"] / 1e3 / results["best_copy_gigabytes_per_second"]


def entry(row, lane):
    return next((e for e in row["entries"] if e["lane"] == lane), None)


def ordered(values):
    """Each value once, as they come."""
    return list(dict.fromkeys(values))
