"""AMD's pseudocode as tinygrad's wheel carries it, and the mnemonics of our code objects."""

import glob
import hashlib
import json
import os
import pathlib
import re
import subprocess

from differences import BORROWED, SLIPS, TEXTS
from forms import read
from parse import Unreadable, parse


class _Operations:
    """Stands for an enumeration of the wheel: only the names of its members matter."""

    def __getattr__(self, name):
        return name


def load(wheel, family):
    """Mnemonic without its encoding's suffix -> {encoding suffix: text}."""
    path = os.path.join(wheel, "tinygrad/runtime/autogen/amd", family, "str_pcode.py")
    with open(path, encoding="utf-8") as file:
        source = file.read()
    body = source[source.index("PCODE = {"):]
    names = {name: _Operations() for name in re.findall(r"\b(\w+Op)\.", body)}
    # The file is a dictionary display of strings and nothing else.
    exec(body, names)  # pylint: disable=exec-used
    return {name.lower(): corrected(name.lower(), text) for name, text in names["PCODE"].items()}


def corrected(name, text):
    """The text with its known slips put right."""
    for pattern, old, new, _ in SLIPS:
        if re.match(pattern, name):
            text = text.replace(old, new)
    return text


# RDNA2's and CDNA's names, and RDNA3's for the same instruction (LLVM's aliases of the latter).
RENAMED = [
    (r"dword$", "b32"), (r"dwordx2$", "b64"), (r"dwordx3$", "b96"), (r"dwordx4$", "b128"), (r"dwordx8$", "b256"),
    (r"dwordx16$", "b512"), (r"_ubyte", "_u8"), (r"_sbyte", "_i8"), (r"_ushort", "_u16"), (r"_sshort", "_i16"),
    (r"_(load|store)_short_d16_hi$", r"_\1_d16_hi_b16"), (r"_load_short_d16$", "_load_d16_b16"),
    (r"_store_short$", "_store_b16"), (r"_store_byte", "_store_b8"),
    (r"^ds_read2st64", "ds_load_2addr_stride64"), (r"^ds_write2st64", "ds_store_2addr_stride64"),
    (r"^ds_read2", "ds_load_2addr"), (r"^ds_write2", "ds_store_2addr"), (r"^ds_read", "ds_load"), (r"^ds_write", "ds_store"),
    (r"_atomic_(add|sub|umin|umax)_x2$", r"_atomic_\1_u64"), (r"_atomic_(smin|smax)_x2$", r"_atomic_\1_i64"),
    (r"_atomic_(and|or|xor|swap|cmpswap)_x2$", r"_atomic_\1_b64"), (r"_atomic_(add|sub|umin|umax)$", r"_atomic_\1_u32"),
    (r"_atomic_(smin|smax)$", r"_atomic_\1_i32"), (r"_atomic_(and|or|xor|swap|cmpswap)$", r"_atomic_\1_b32"),
    (r"_(u|s)(min|max)_([ui])", r"_\2_\3"), (r"^s_andn2_b", "s_and_not1_b"), (r"^s_orn2_b", "s_or_not1_b"),
    (r"^s_andn2_saveexec", "s_and_not1_saveexec"), (r"^s_orn2_saveexec", "s_or_not1_saveexec"),
    (r"^s_andn1_saveexec", "s_and_not0_saveexec"), (r"^s_(ff1|ff0)_i32_b", r"s_\1_i32_b"),
    (r"^s_ff1_i32", "s_ctz_i32"), (r"^s_flbit_i32_b", "s_clz_i32_u"), (r"^s_flbit_i32", "s_cls_i32"),
    (r"^v_ffbh_u32", "v_clz_i32_u32"), (r"^v_ffbl_b32", "v_ctz_i32_b32"), (r"^v_ffbh_i32", "v_cls_i32"),
    (r"^v_cvt_pkrtz", "v_cvt_pk_rtz"), (r"^v_cvt_flr_i32", "v_cvt_floor_i32"), (r"^v_cvt_rpi_i32", "v_cvt_nearest_i32"),
    (r"^v_mad_u64_u32", "v_mad_co_u64_u32"), (r"^v_mad_i64_i32", "v_mad_co_i64_i32"), (r"^v_mac_", "v_fmac_"),
    (r"^v_max_legacy", "v_max_dx9"), (r"^v_mul_legacy", "v_mul_dx9_zero"),
    (r"^v_(add|sub|subrev)_co_ci", r"v_\1_co_ci"), (r"_hi_i32_i24", "_hi_i32_i24"),
]


def names(mnemonic):
    """The names that a document may have for a mnemonic, the nearest first."""
    base = re.sub(r"(_e64)?_(e32|e64|sdwa|dpp)$", "", mnemonic).replace("v_dual_", "v_")
    renamed = base
    for pattern, new in RENAMED:
        renamed = re.sub(pattern, new, renamed)
    return [form for name in dict.fromkeys((mnemonic, base, renamed)) for form in (name, name + "_e64", name + "_e32")]


class Library:
    def __init__(self, wheel, family):
        self.texts = load(wheel, family)
        for other, borrowed in BORROWED.get(family, {}).items():
            others = load(wheel, other)
            self.texts.update((name, others[name]) for name in borrowed)
        self.texts.update(TEXTS.get(family, {}))
        self.parsed = {}

    def text(self, mnemonic):
        return next((self.texts[name] for name in names(mnemonic) if name in self.texts), None)

    def find(self, mnemonic):
        """The parsed entry; None if there is none, Unreadable if it is prose."""
        if mnemonic not in self.parsed:
            text = self.text(mnemonic)
            try:
                self.parsed[mnemonic] = None if text is None else parse(text)
            except Unreadable as error:
                self.parsed[mnemonic] = error
        found = self.parsed[mnemonic]
        if isinstance(found, Unreadable):
            raise found
        return found


def code_objects(folder, target):
    """The code object of each module: MODULE-TARGET.co, as compile_hip_kernels.sh lays them, or the newest
    MODULE-TARGET-HASH.co of a cache."""
    newest = {}
    pattern = re.compile(rf"(.+?)-{re.escape(target)}(-[0-9a-f]+)?\.co$")
    for path in glob.glob(os.path.join(folder, f"*-{target}*.co")):
        match = pattern.match(os.path.basename(path))
        if match and os.path.getmtime(path) > newest.get(match[1], (0, ""))[0]:
            newest[match[1]] = (os.path.getmtime(path), path)
    return {module: path for module, (_, path) in sorted(newest.items())}


def compiler(path):
    """The compiler of a code object, as it says itself: the first in its `.comment`, before that of the device library."""
    found = re.search(rb"[ -~]*clang version [ -~]+", pathlib.Path(path).read_bytes())
    return found[0].decode() if found else "an unnamed compiler"


def mnemonics(paths, cache):
    """Mnemonic (with its encoding) -> how often it occurs and one instruction of each form. What a file holds is
    remembered in `cache` by its content."""
    known = json.loads(cache.read_text(encoding="utf-8")) if cache.exists() else {}
    found = {}
    for path in paths:
        with open(path, "rb") as file:
            key = hashlib.sha256(file.read()).hexdigest()
        if key not in known:
            known[key] = disassembled(path)
        for name, (count, forms) in known[key].items():
            times, held = found.get(name, (0, set()))
            found[name] = (times + count, held | set(forms))
    cache.write_text(json.dumps(known), encoding="utf-8")
    return found


def disassembled(path):
    """Mnemonic -> [how often, an instruction of each form]."""
    found, seen = {}, set()
    text = subprocess.run(
        ["llvm-objdump-19", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True,
    ).stdout
    for line in text.splitlines():
        if not line.startswith("\t") or line.startswith("\t..."):
            continue
        for part in line.split("//")[0].split(" :: "):
            part = part.strip()
            name = part.split(" ", 1)[0]
            if name == "...":  # stands for zeroes
                continue
            entry = found.setdefault(name, [0, []])
            entry[0] += 1
            # Most forms are plain; only what may not be is parsed.
            shape = (name, re.sub(r"[0-9]+", "", part)) if name[0] == "v" else name
            if re.search(r"[-|(:]", part) or not entry[1]:
                shape = read(part)
                if shape not in seen:
                    seen.add(shape)
                    entry[1].append(part)
    return found
