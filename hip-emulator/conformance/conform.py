"""Compares the emulator with AMD's pseudocode, instruction by instruction. See README.md."""

import argparse
import pathlib
import random
import re
import struct
import subprocess
import sys
import zlib

import cases
import probes as p
import values as v
from evaluate import Return, Run, Undefined
from differences import ACCEPTED, ULPS, WITHOUT
from library import Library, code_objects, mnemonics
from parse import Unreadable
from report import summary, write
from values import Value


def environment(probe, target, triple, old, vcc, exec_, lane):
    sources = [Value("b", 64 if i < len(probe.widths) and probe.widths[i] == 64 else 32, s) for i, s in enumerate(triple)]
    return {
        "S0": sources[0], "S1": sources[1], "S2": sources[2], "S": list(sources),
        "D0": Value("b", 64, old), "D1": Value("b", 1, 0),
        "VCC": Value("b", 64, vcc), "EXEC": Value("b", 64, exec_), "EXEC_LO": Value("b", 32, exec_),
        "SCC": Value("u", 1, 0), "M0": Value("b", 32, 0), "laneId": Value("u", 32, lane),
        "WAVE_MODE.IEEE": Value("u", 1, int(target.name != "gfx1201")),
        "WAVE32": Value("u", 1, int(target.wave == 32)), "WAVE64": Value("u", 1, int(target.wave == 64)),
        "SIMM16": Value("b", 16, p.LITERAL), "SIMM32": Value("b", 32, p.LITERAL),
        "NEG": Value("b", 3, 1), "NEG_HI": Value("b", 3, 0),
        "OPSEL": Value("b", 3, 4 if "fma_mix" in probe.mnemonic else 1),
        "OPSEL_HI": Value("b", 3, 5),
    }


def vector_case(probe, target, library, statements, words, wave_vcc, lane):
    """(destination, VCC bit, EXEC bit) of an active lane."""
    triple = [words[2 * i] | words[2 * i + 1] << 32 for i in range(3)]
    old = words[6] | words[7] << 32
    env = environment(probe, target, triple, old, wave_vcc, 1 << lane, lane)
    if probe.mask:
        env["D0"] = Value("b", 64, 0)
    if "div_scale" in probe.mnemonic:
        env["VCC"] = Value("b", 64, 0)
        env["D0"] = env["S0"].read_as("b", 64)
    Run(env, library.find).block(statements)
    if probe.mask:
        return None, env["D0"].bits >> lane & 1, 1
    vcc = env["VCC"].bits >> lane & 1
    if "D1" in str(library.text(probe.mnemonic)):
        vcc = env["D1"].bits & 1
    if "div_scale" in probe.mnemonic:
        vcc = env["VCC"].bits & 1
    exec_ = env["EXEC"].bits >> lane & 1
    if probe.mnemonic.startswith("v_cmpx"):
        return None, exec_ if target.family == "cdna" else vcc, exec_
    return env["D0"].bits, vcc, exec_


def equal(got, want, bits, text, mnemonic):
    """Equal bits; any NaN for a NaN; within the stated ulps where hardware approximates."""
    if got == want:
        return True
    kinds = re.findall(r"D0(?:\[[^\]]*\])?\.([fuib]\d+) ?[-+]?=|\btmp(?:\[[^\]]*\])?\.(f16|f32) =", text)
    kind = next((a or b for a, b in kinds if (a or b)[0] == "f"), None)
    if kind is None and re.search(r"D0\.f", text):
        kind = re.search(r"D0\.(f\d+)", text)[1]
    if kind is None:
        return False
    width = int(kind[1:])
    for shift in range(0, bits, width):
        a, b = (Value("f", width, n >> shift) for n in (got, want))
        if a.bits == b.bits or (v.is_nan(a) and v.is_nan(b)):
            continue
        allowed = next((n for pattern, n, _ in ULPS if re.fullmatch(pattern, mnemonic)), 0)
        order = [x.bits if not x.bits >> (width - 1) else (1 << (width - 1)) - x.bits for x in (a, b)]
        if abs(order[0] - order[1]) > allowed:
            return False
    return True


def compare_vector(probe, target, library, given, output):
    statements, text = library.find(probe.mnemonic), library.text(probe.mnemonic)
    base = re.sub(r"_(e32|e64)$", "", probe.mnemonic)
    bits = probe.widths[3]
    half = target.family == "cdna" and bits == 32 and re.search(r"D0(\[15 : 0\])?\.[fui]16 =", text) and "mix" not in base
    wrong = []
    for lane in range(len(given)):
        first = lane - lane % target.wave
        words = given[lane]
        wave_vcc = sum((given[first + i][8] & 1) << i for i in range(target.wave))
        got = output[lane]
        in_wave = lane - first
        if words[9] & 1:
            want, vcc, exec_ = vector_case(probe, target, library, statements, words, wave_vcc, in_wave)
        else:
            clears = probe.mask or "_co_" in base or "div_scale" in base or "mad_i64" in base or "mad_u64" in base
            clears = clears or (base.startswith("v_cmpx") and target.family == "cdna")
            want, vcc, exec_ = words[6] | words[7] << 32, 0 if clears else words[8] & 1, 0
        got_bits = got[0] | got[1] << 32
        if want is None:
            want = words[6] | words[7] << 32
        elif bits == 32:
            want = want & 0xFFFFFFFF | words[7] << 32
        same = equal(got_bits & ((1 << bits) - 1), want & ((1 << bits) - 1), bits, text, base) and got_bits >> bits == want >> bits
        if half and words[9] & 1:
            same = equal(got_bits & 0xFFFF, want & 0xFFFF, 16, text, base)
        if not same or got[2] != vcc or got[3] != exec_:
            wrong.append((words, got, (want & 0xFFFFFFFF, want >> 32, vcc, exec_)))
    return wrong


def compare_scalar(probe, target, library, given, output):
    statements = library.find(probe.mnemonic)
    wrong = []
    low = (1 << target.wave) - 1
    for words, got in zip(given, output):
        triple = [words[0] | words[1] << 32, words[2] | words[3] << 32, 0]
        if re.search(r"_(cmpk|movk|addk|mulk|cmovk)", probe.mnemonic):
            # The short constant is the source that the text names S0 or S1; the register is the other.
            constant = Value("b", 16, p.LITERAL).bits
            if probe.mnemonic.startswith("s_cmpk"):
                triple[1] = constant
            else:
                triple[0] = constant
        env = environment(probe, target, triple, words[4] | words[5] << 32, words[8] | words[9] << 32,
                          (words[10] | words[11] << 32) & low, 0)
        env["SCC"] = Value("u", 1, int(words[6] != 0))
        if target.wave == 32:
            env["EXEC_LO"] = Value("b", 32, words[10])
        try:
            Run(env, library.find).block(statements)
        except Return:
            pass
        want_d = env["D0"].bits if probe.widths[3] == 64 else env["D0"].bits & 0xFFFFFFFF | words[5] << 32
        want = (want_d & 0xFFFFFFFF, want_d >> 32, env["SCC"].bits & 1)
        exec_ = env["EXEC"].bits if env["EXEC"].bits != (words[10] | words[11] << 32) & low else env["EXEC_LO"].bits
        if target.wave == 64:
            exec_ = env["EXEC"].bits
        got_exec = got[3] | (got[4] << 32 if target.wave == 64 else 0)
        if tuple(got[:3]) != want or got_exec != exec_ & low or (got[5] | got[6] << 32) != env["VCC"].bits:
            wrong.append((words, got, want + (exec_ & low,)))
    return wrong


def inputs(probe, library):
    """The words of every lane or workgroup."""
    text = library.text(probe.mnemonic)
    seed = zlib.crc32(probe.mnemonic.encode())
    random_ = random.Random(seed + 1)
    count = p.LANES * p.GROUPS if probe.kind == p.VECTOR else p.SCALAR_GROUPS
    words = []
    for number, triple in enumerate(cases.operands(text, count, seed)):
        old = cases.operand("f64" if probe.widths[3] == 64 else cases.kind_of(text, "D0"), random_)
        halves = [h for s in triple[: 3 if probe.kind == p.VECTOR else 2] for h in (s & 0xFFFFFFFF, s >> 32)]
        halves += [old & 0xFFFFFFFF, old >> 32 or random_.getrandbits(32)]
        if probe.kind == p.VECTOR:
            # The first half of the lanes runs with all lanes on.
            halves += [random_.getrandbits(1), 1 if number < count // 2 else random_.getrandbits(1)]
        else:
            halves += [random_.getrandbits(1), 0] + [random_.getrandbits(32) for _ in range(4)]
            if random_.random() < 0.1:
                halves[10:12] = [0, 0]
        words.append(halves + [0] * (16 - len(halves)))
    return words


def run(probes, target, library, arguments):
    """Mnemonic -> list of wrong cases, or the fault's text."""
    folder = pathlib.Path(arguments.work)
    folder.mkdir(parents=True, exist_ok=True)
    object_ = p.assemble(probes, target, folder)
    plan, blob, given = [], [], {}
    for probe in probes:
        given[probe.mnemonic] = words = inputs(probe, library)
        blob.append(b"".join(struct.pack("<16I", *w) for w in words))
        vector = probe.kind == p.VECTOR
        groups, items, size = (p.GROUPS, p.LANES, 16) if vector else (p.SCALAR_GROUPS, 1, 32)
        plan.append(f"{probe.symbol} {groups} {items} {len(blob[-1])} {len(words) * size}")
    files = [folder / f"{target.name}.{end}" for end in ("plan", "in", "out")]
    files[0].write_text("\n".join(plan), encoding="utf-8")
    files[1].write_bytes(b"".join(blob))
    result = subprocess.run([arguments.runner, object_, *files], capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{arguments.runner}: {result.stderr}")
    faults = dict(line.split("\t", 1) for line in result.stdout.splitlines())
    output, at, found = files[2].read_bytes(), 0, {}
    for probe in probes:
        count, size = len(given[probe.mnemonic]), 16 if probe.kind == p.VECTOR else 32
        rows = [struct.unpack_from(f"<{size // 4}I", output, at + i * size) for i in range(count)]
        at += count * size
        if probe.symbol in faults:
            found[probe.mnemonic] = "fault: " + faults[probe.symbol]
            continue
        compare = compare_vector if probe.kind == p.VECTOR else compare_scalar
        try:
            found[probe.mnemonic] = compare(probe, target, library, given[probe.mnemonic], rows)
        except (Undefined, ValueError, TypeError, AttributeError, KeyError, IndexError, ZeroDivisionError) as error:
            found[probe.mnemonic] = f"not evaluated: {type(error).__name__} {error}"
    return found


def conform(target, arguments):
    """Rows (mnemonic, times, state, remark) of a target, states: conforms, listed, differs, not probed."""
    library = Library(arguments.wheel, target.family)
    objects = code_objects(arguments.objects, target.name)
    occurring = mnemonics(objects.values(), pathlib.Path(arguments.work) / "mnemonics.json")
    rows, wanted = {}, []
    for mnemonic, (times, _) in sorted(occurring.items()):
        if arguments.only and not re.search(arguments.only, mnemonic):
            continue
        try:
            statements = library.find(mnemonic)
        except Unreadable:
            statements = None
        if statements is None:
            reason = next((why for pattern, why in WITHOUT if re.fullmatch(pattern, mnemonic)), "no readable pseudocode")
            rows[mnemonic] = (times, "not probed", reason)
            continue
        made = p.probe(mnemonic, library.text(mnemonic), target)
        if isinstance(made, str):
            reason = next((why for pattern, why in WITHOUT if re.fullmatch(pattern, mnemonic)), made)
            rows[mnemonic] = (times, "not probed", reason)
        else:
            wanted.append(made)
    bad = p.refused(wanted, target)
    for mnemonic, message in bad.items():
        rows[mnemonic] = (occurring[mnemonic][0], "differs", f"the probe does not assemble: {message}")
    wanted = [probe for probe in wanted if probe.mnemonic not in bad]
    for mnemonic, outcome in run(wanted, target, library, arguments).items():
        times = occurring[mnemonic][0]
        base = re.sub(r"_(e32|e64)$", "", mnemonic)
        rules = [(covers, why) for pattern, families, covers, why in ACCEPTED
                 if re.fullmatch(pattern, base) and families in ("all", target.family)]
        if not outcome:
            rows[mnemonic] = (times, "conforms", "")
        elif isinstance(outcome, str):
            rows[mnemonic] = (times, "differs", outcome)
        else:
            left = [case for case in outcome if not any(covers(case[0], case[1]) for covers, _ in rules)]
            state = ("differs", describe(left)) if left else ("listed", rules[0][1])
            rows[mnemonic] = (times, *state)
    return objects, rows


def describe(outcome):
    if isinstance(outcome, str):
        return outcome
    words, got, want = outcome[0]
    shown = [" ".join(f"{w:08x}" for w in part) for part in (words[:12], got, want)]
    return f"{len(outcome)} cases differ, first: in {shown[0]}; got {shown[1]}; want {shown[2]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", required=True, help="the unpacked tinygrad wheel")
    parser.add_argument("--objects", required=True, help="folder of code objects, MODULE-TARGET-HASH.co")
    parser.add_argument("--runner", required=True, help="the example binary `conformance`")
    parser.add_argument("--work", required=True, help="folder for what is assembled and computed")
    parser.add_argument("--report", help="the Markdown file to write")
    parser.add_argument("--only", help="probe only mnemonics that match this expression")
    parser.add_argument("targets", nargs="+", choices=sorted(p.TARGETS))
    arguments = parser.parse_args()
    results = {name: conform(p.TARGETS[name], arguments) for name in arguments.targets}
    failed = 0
    for name, (_, rows) in results.items():
        for mnemonic, (_, state, remark) in sorted(rows.items()):
            if state == "differs":
                failed += 1
                print(f"{name} {mnemonic}: {remark}")
    print(summary(results))
    if arguments.report:
        write(arguments.report, results)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
