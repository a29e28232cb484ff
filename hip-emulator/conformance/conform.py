"""Compares the emulator with AMD's pseudocode, instruction by instruction. See README.md."""

import argparse
import concurrent.futures
import pathlib
import random
import re
import struct
import subprocess
import sys
import zlib

import cases
import forms
import probes as p
import values as v
import wave
from evaluate import Return, Run, Undefined
from differences import ACCEPTED, ULPS, WITHOUT
from library import Library, code_objects, compiler, mnemonics
from parse import Unreadable
import roundtrip
from report import outdated, summary, text
from values import Value


def environment(probe, target, triple, old, vcc, exec_, lane):
    sources = [Value("b", 64 if i < len(probe.widths) and probe.widths[i] == 64 else 32, s) for i, s in enumerate(triple)]
    form, packed = probe.form, forms.PACKED.match(probe.mnemonic)
    high = form.bits("op_sel_hi", 7 if packed and "mix" not in probe.mnemonic else 0)
    return {
        "S0": sources[0], "S1": sources[1], "S2": sources[2], "S": list(sources),
        "D0": Value("b", 64, old), "D1": Value("b", 1, 0),
        "VCC": Value("b", 64, vcc), "EXEC": Value("b", 64, exec_), "EXEC_LO": Value("b", 32, exec_),
        "SCC": Value("u", 1, 0), "M0": Value("b", 32, 0), "laneId": Value("u", 32, lane),
        "WAVE_MODE.IEEE": Value("u", 1, int(target.name != "gfx1201")),
        "WAVE32": Value("u", 1, int(target.wave == 32)), "WAVE64": Value("u", 1, int(target.wave == 64)),
        "SIMM16": Value("b", 16, p.LITERAL), "SIMM32": Value("b", 32, p.LITERAL),
        "NEG": Value("b", 3, form.bits("neg_lo", 0)), "NEG_HI": Value("b", 3, form.bits("neg_hi", 0)),
        "OPSEL": Value("b", 3, form.bits("op_sel", 0)), "OPSEL_HI": Value("b", 3, high),
    }


def vector_case(probe, target, library, statements, words, wave_vcc, lane):
    """(destination, VCC bit, EXEC bit) of an active lane."""
    triple = [words[2 * i] | words[2 * i + 1] << 32 for i in range(3)]
    old = words[6] | words[7] << 32
    env = environment(probe, target, triple, old, wave_vcc, 1 << lane, lane)
    text = library.text(probe.mnemonic)
    base = re.sub(r"(_e64)?_(e32|e64|sdwa|dpp)$", "", probe.mnemonic)
    if not probe.form.plain:
        for i in range(probe.sources):
            env[f"S{i}"] = forms.source(probe.form, base, i, probe.first + i, env[f"S{i}"], cases.kind_of(text, f"S{i}"))
        env["S"] = [env[f"S{i}"] for i in range(3)]
    if probe.mask:
        env["D0"] = Value("b", 64, 0)
    if "div_scale" in probe.mnemonic:
        env["VCC"] = Value("b", 64, 0)
        env["D0"] = env["S0"].read_as("b", 64)
    Run(env, library.find).block(statements)
    if probe.mask:
        return None, env["D0"].bits >> lane & 1, 1
    vcc = env["VCC"].bits >> lane & 1
    if "D1" in str(text):
        vcc = env["D1"].bits & 1
    if "div_scale" in probe.mnemonic:
        vcc = env["VCC"].bits & 1
    exec_ = env["EXEC"].bits >> lane & 1
    if probe.mnemonic.startswith("v_cmpx"):
        return None, exec_ if target.family == "cdna" else vcc, exec_
    bits = env["D0"].bits
    if not probe.form.plain:
        width = probe.widths[3]
        if probe.form.get("dst_sel") and re.search(r"D0(\[15 : 0\])?\.[fui]16 =", text):
            bits &= 0xFFFF
        bits = forms.result(probe.form, bits & ((1 << width) - 1), old, width, cases.kind_of(text, "D0"),
                            forms.saturated(base, [env[s] for s in ("S0", "S1", "S2") if s in env]))
    return bits, vcc, exec_


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
    base = re.sub(r"(_e64)?_(e32|e64|sdwa|dpp)$", "", probe.mnemonic)
    bits = probe.widths[3]
    half = probe.form.get("dst_sel", "DWORD") == "DWORD" and target.family == "cdna" and bits == 32 and re.search(r"D0(\[15 : 0\])?\.[fui]16 =", text) and "mix" not in base
    wrong = []
    for lane in range(len(given)):
        first = lane - lane % target.wave
        words = given[lane]
        wave_vcc = sum((given[first + i][8] & 1) << i for i in range(target.wave))
        got = output[lane]
        in_wave = lane - first
        if probe.mnemonic.endswith("_dpp") and words[9] & 1:
            words = permuted(probe.form, given, first, in_wave, target)
        if words is None:
            words, want, vcc, exec_ = given[lane], given[lane][6] | given[lane][7] << 32, given[lane][8] & 1, 1
        elif words[9] & 1:
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


def permuted(form, given, first, lane, target):
    """The lane's words with S0 of the lane that its DPP control names; None where nothing is written."""
    words = list(given[first + lane])
    if not forms.dpp_enabled(form, lane):
        return None
    other = forms.dpp_source(form, lane, target.wave)
    if other is None or not given[first + other][9] & 1:
        # dpp8 has no such bit: what it cannot read is zero.
        if form.get("bound_ctrl") is None and form.get("dpp8") is None:
            return None
        words[0:2] = [0, 0]
    else:
        words[0:2] = given[first + other][0:2]
    return words


def compare_wave(probe, target, library, given, output):
    """The differing workgroups, in words."""
    for block, data in zip(given, output):
        got = wave.Block.unpacked(data, probe.registers, target.wave, block.group)
        wrong = probe.check(probe, target, library, block, got)
        if wrong:
            return wrong
    return []


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
        wide = probe.widths[3]
        got_d, text = got[0] | got[1] << 32, library.text(probe.mnemonic)
        same = got_d == want_d or "D0.f" in text and got_d >> wide == want_d >> wide and equal(
            got_d & ((1 << wide) - 1), want_d & ((1 << wide) - 1), wide, text, probe.mnemonic)
        if not same or got[2] != want[2] or got_exec != exec_ & low or (got[5] | got[6] << 32) != env["VCC"].bits:
            wrong.append((words, got, want + (exec_ & low,)))
    return wrong


def inputs(probe, target, library):
    """The words of every lane or workgroup, or its block."""
    if isinstance(probe, wave.WaveProbe):
        return wave.blocks(probe, target)
    text = library.text(probe.mnemonic)
    seed = zlib.crc32(probe.symbol.encode())
    random_ = random.Random(seed + 1)
    count = p.LANES * probe.groups if probe.kind == p.VECTOR else p.SCALAR_GROUPS
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


def planned(probe, target, given):
    """(workgroups, work-items, input, output bytes)"""
    if isinstance(probe, wave.WaveProbe):
        return probe.groups, target.wave, b"".join(b.packed() for b in given), probe.groups * wave.size(probe, target)
    blob = b"".join(struct.pack("<16I", *w) for w in given)
    groups, items = (probe.groups, p.LANES) if probe.kind == p.VECTOR else (p.SCALAR_GROUPS, 1)
    return groups, items, blob, probe.out_bytes()


def compared(probe, target, library, given, output):
    """The differing cases, or what hindered the comparison."""
    try:
        if isinstance(probe, wave.WaveProbe):
            size = len(output) // len(given)
            return compare_wave(probe, target, library, given, [output[i * size:(i + 1) * size] for i in range(len(given))])
        vector = probe.kind == p.VECTOR
        rows = list(struct.iter_unpack("<4I" if vector else "<8I", output))
        return (compare_vector if vector else compare_scalar)(probe, target, library, given, rows)
    except (Undefined, ValueError, TypeError, AttributeError, KeyError, IndexError, ZeroDivisionError) as error:
        return f"not evaluated: {type(error).__name__} {error}"


def run(probes, target, library, arguments):
    """Symbol -> list of wrong cases, or words about what is wrong."""
    folder = pathlib.Path(arguments.work)
    folder.mkdir(parents=True, exist_ok=True)
    object_ = p.assemble(probes, target, folder)
    plan, blob, given, places, at = [], [], {}, {}, 0
    for probe in probes:
        given[probe.symbol] = inputs(probe, target, library)
        groups, items, data, out = planned(probe, target, given[probe.symbol])
        blob.append(data)
        plan.append(f"{probe.symbol} {groups} {items} {len(data)} {out}")
        places[probe.symbol] = (at, at + out)
        at += out
    files = [folder / f"{target.name}.{end}" for end in ("plan", "in", "out")]
    files[0].write_text("\n".join(plan), encoding="utf-8")
    files[1].write_bytes(b"".join(blob))
    result = subprocess.run([arguments.runner, object_, *files], capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{arguments.runner}: {result.stderr}")
    faults = dict(line.split("\t", 1) for line in result.stdout.splitlines())
    output = files[2].read_bytes()
    return {
        probe.symbol: "fault: " + faults[probe.symbol] if probe.symbol in faults else
        compared(probe, target, library, given[probe.symbol], output[slice(*places[probe.symbol])])
        for probe in probes
    }


def judged(probe, outcome, target):
    """(state, remark) of one probe."""
    base = re.sub(r"(_e64)?_(e32|e64|sdwa|dpp)$", "", probe.mnemonic)
    if not outcome:
        return "conforms", ""
    if isinstance(outcome, str):
        return "differs", outcome
    rules = [(covers, why) for pattern, families, covers, why in ACCEPTED
             if re.fullmatch(pattern, base) and families in ("all", target.family)]
    left = [case for case in outcome if not any(covers(case[0], case[1]) for covers, _ in rules)]
    if left:
        return "differs", describe(left) + ("" if probe.form.plain else f" ({probe.text})")
    return "listed", rules[0][1]


def conform(target, arguments):
    """How many code objects a target has, rows (mnemonic: times, state, remark, forms), and the round trip of its
    decoding. States: conforms, listed, differs, not probed; a mnemonic conforms if all its forms do."""
    library = Library(arguments.wheel, target.family)
    objects = code_objects(arguments.objects, target.name)
    if not objects:
        sys.exit(f"no code object of {target.name} in {arguments.objects}; scripts/compile_hip_kernels.sh makes them")
    occurring = mnemonics(objects.values(), pathlib.Path(arguments.work) / f"mnemonics-{target.name}.json")
    rows, wanted = {}, []
    for mnemonic, (times, instructions) in sorted(occurring.items()):
        if arguments.only and not re.search(arguments.only, mnemonic):
            continue
        without = next((why for pattern, why in WITHOUT if re.fullmatch(pattern, mnemonic)), None)
        try:
            statements = library.find(mnemonic)
        except Unreadable:
            statements = None
        if without or statements is None and not re.match(PROSE, mnemonic):
            rows[mnemonic] = (times, "not probed", without or "GAP: no readable pseudocode", 0)
            continue
        made = p.probes(mnemonic, library.text(mnemonic) or "", target, sorted(instructions))
        if isinstance(made, str):
            rows[mnemonic] = (times, "not probed", "GAP: " + made, 0)
        else:
            wanted += made
    bad = p.refused(wanted, target)
    outcomes = run([probe for probe in wanted if probe.symbol not in bad], target, library, arguments)
    outcomes.update((symbol, f"the probe does not assemble: {message}") for symbol, message in bad.items())
    for probe in wanted:
        state, remark = judged(probe, outcomes[probe.symbol], target)
        before = rows.get(probe.mnemonic, (0, "conforms", "", 0))
        if STATES.index(state) < STATES.index(before[1]):
            state, remark = before[1:3]
        rows[probe.mnemonic] = (occurring[probe.mnemonic][0], state, remark, before[3] + 1)
    return len(objects), rows, roundtrip.check(arguments.roundtrip, objects.values(), target)


# From the best to the worst.
STATES = ("conforms", "listed", "not probed", "differs")
# What has a reference although the document's entry is prose.
PROSE = r"v_(mfma|wmma)|ds_swizzle"


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
    parser.add_argument("--roundtrip", required=True, help="the example binary `roundtrip`")
    parser.add_argument("--report", type=pathlib.Path, help="the Markdown file to write")
    parser.add_argument("--check", action="store_true", help="compare with the report instead of writing it")
    parser.add_argument("--only", help="probe only mnemonics that match this expression")
    parser.add_argument("targets", nargs="+", choices=sorted(p.TARGETS))
    arguments = parser.parse_args()
    # One process per target.
    with concurrent.futures.ProcessPoolExecutor(len(arguments.targets)) as pool:
        runs = {name: pool.submit(conform, p.TARGETS[name], arguments) for name in arguments.targets}
        results = {name: run_.result() for name, run_ in runs.items()}
    failed = False
    for name, (_, rows, (_, misread)) in results.items():
        wrong = [f"{mnemonic}: {remark}" for mnemonic, (_, state, remark, _) in sorted(rows.items()) if state == "differs"]
        for line in wrong + [f"decoded wrongly: {line}" for line in misread]:
            failed = True
            print(f"{name} {line}")
    print(summary(results))
    if arguments.report:
        first = next(iter(code_objects(arguments.objects, arguments.targets[0]).values()))
        made_by = compiler(first)
        if arguments.check:
            wrong, note = outdated(arguments.report.read_text(encoding="utf-8"), results, made_by)
            if wrong:
                failed = True
                print(f"{arguments.report} is out of date; scripts/conformance.sh writes it anew", *wrong, sep="\n  ")
            elif note:
                print(f"{arguments.report}: {note}")
        else:
            arguments.report.write_text(text(results, made_by), encoding="utf-8")
    sys.exit(failed)


if __name__ == "__main__":
    main()
