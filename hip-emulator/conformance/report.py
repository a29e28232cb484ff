"""Prints, writes and compares the table of a conformance run."""

import re

STATES = ("conforms", "listed", "not probed", "differs")
HEAD = """<!-- written by scripts/conformance.sh -->
# Conformance of the emulator

Every mnemonic of our code objects, per target, executed by the emulator and by an evaluator of the
pseudocode in AMD's ISA documents (as the PyPI wheel tinygrad 0.14.0 carries it) on edge and random
operands, compared bit by bit, in every form in which it occurs: source modifiers, op_sel, clamp, SDWA, DPP,
with and without returned value. `hip-emulator/conformance/README.md` says how. gfx1030 is compared with
RDNA3's document, gfx90a with CDNA3's: theirs are not in the wheel. Every instruction is also
decoded, printed from what was parsed, assembled by llvm-mc and compared with its bytes.

A *listed difference* is let through only in the cases that its condition in `differences.py` names.

The figures are of code objects that {compiler} made; another compiler chooses other instructions.

| target | code objects | mnemonics | forms | conform | listed difference | no result to compare | gaps | differ | encodings there and back |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def counts(rows):
    found = {state: sum(row[1] == state for row in rows.values()) for state in STATES}
    found["gaps"] = sum(row[2].startswith("GAP") for row in rows.values())
    return found


def summary(results):
    lines = []
    for name, (objects, rows, (encodings, misread)) in results.items():
        found = counts(rows)
        lines.append(f"{name}: {objects} code objects, {len(rows)} mnemonics: "
                     + ", ".join(f"{found[state]} {state}" for state in STATES)
                     + f"; {encodings - len(misread)} of {encodings} encodings there and back")
    return "\n".join(lines)


def by_reason(rows, state):
    """Mnemonics by their reason."""
    found = {}
    for mnemonic, (_, held, remark, _) in sorted(rows.items()):
        if held == state:
            found.setdefault(remark, []).append(f"`{mnemonic}`")
    return found


def text(results, compiler):
    lines = [HEAD.format(compiler=compiler)]
    for name, (objects, rows, (encodings, misread)) in results.items():
        found = counts(rows)
        forms = sum(row[3] for row in rows.values())
        row = [name, objects, len(rows), forms, found["conforms"], found["listed"], found["not probed"] - found["gaps"],
               found["gaps"], found["differs"], f"{encodings - len(misread)} of {encodings}"]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    for name, (_, rows, _) in results.items():
        for state, title in (("differs", "differ"), ("listed", "listed differences"), ("not probed", "not compared")):
            reasons = by_reason(rows, state)
            if reasons:
                lines += ["", f"## {name}: {title}", ""]
                lines += [f"- {reason}: {', '.join(names)}" for reason, names in sorted(reasons.items())]
    return "\n".join(lines) + "\n"


def outdated(report, results, compiler):
    """What of the report is not as these results, line by line; or, if another compiler made the code objects, nothing and
    the words to say so."""
    recorded = re.search(r"of code objects that (.+) made;", report)
    if not recorded:
        return ["it does not name the compiler of its code objects"], ""
    if recorded[1] != compiler:
        return [], f"its code objects are of {recorded[1]}, these of {compiler}: figures not compared"

    def part(written, name):
        """The lines about one target: its row, then its sections."""
        rows = [line for line in written.splitlines() if line.startswith(f"| {name} |")]
        sections = re.findall(rf"^## {re.escape(name)}: .*?(?=^## |\Z)", written, re.M | re.S)
        return rows + [line for section in sections for line in section.splitlines() if line]

    wanted, wrong = text(results, compiler), []
    for name in results:
        is_, should_be = part(report, name), part(wanted, name)
        wrong += [f"not so any more: {line}" for line in is_ if line not in should_be]
        wrong += [f"missing: {line}" for line in should_be if line not in is_]
    return wrong, ""
