"""Prints and writes the table of a conformance run."""

STATES = ("conforms", "listed", "not probed", "differs")


def counts(rows):
    return {state: sum(row[1] == state for row in rows.values()) for state in STATES}


def summary(results):
    lines = []
    for name, (objects, rows) in results.items():
        found = counts(rows)
        lines.append(f"{name}: {len(objects)} code objects, {len(rows)} mnemonics: "
                     + ", ".join(f"{found[state]} {state}" for state in STATES))
    return "\n".join(lines)


def gaps(rows, state):
    """Mnemonics by their reason."""
    by_reason = {}
    for mnemonic, (_, found, remark, _) in sorted(rows.items()):
        if found == state:
            by_reason.setdefault(remark, []).append(f"`{mnemonic}`")
    return by_reason


def write(path, results):
    lines = [
        "<!-- written by scripts/conformance.sh -->",
        "# Conformance of the emulator",
        "",
        "Every mnemonic of our code objects, per target, executed by the emulator and by an evaluator of the",
        "pseudocode in AMD's ISA documents (as the PyPI wheel tinygrad 0.14.0 carries it) on edge and random",
        "operands, compared bit by bit. `hip-emulator/conformance/README.md` says how. Whether the ones that are not",
        "probed have a row at all is what `cargo run -p hip-emulator --example survey` lists.",
        "",
        "| target | code objects | mnemonics | executed here | conform | listed difference | not probed | differ |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, (objects, rows) in results.items():
        found = counts(rows)
        executed = sum(row[1] != "not probed" and "does not know" not in row[2] for row in rows.values())
        lines.append(f"| {name} | {len(objects)} | {len(rows)} | {executed} | " + " | ".join(str(found[s]) for s in STATES) + " |")
    for name, (_, rows) in results.items():
        for state, title in (("differs", "differ"), ("listed", "listed differences"), ("not probed", "not probed")):
            reasons = gaps(rows, state)
            if reasons:
                lines += ["", f"## {name}: {title}", ""]
                lines += [f"- {reason}: {', '.join(names)}" for reason, names in sorted(reasons.items())]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
