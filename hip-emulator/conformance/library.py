"""AMD's pseudocode as tinygrad's wheel carries it, and the mnemonics of our code objects."""

import glob
import json
import os
import re
import subprocess

from differences import SLIPS
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


class Library:
    def __init__(self, wheel, family):
        self.texts = load(wheel, family)
        self.parsed = {}

    def text(self, mnemonic):
        base = re.sub(r"_(e32|e64|sdwa|dpp)$", "", mnemonic).replace("v_dual_", "v_")
        for name in (mnemonic, base, base + "_e64", base + "_e32"):
            if name in self.texts:
                return self.texts[name]
        return None

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
    """The newest code object of each module."""
    newest = {}
    pattern = re.compile(rf"(.+)-{re.escape(target)}-[0-9a-f]+\.co$")
    for path in glob.glob(os.path.join(folder, f"*-{target}-*.co")):
        match = pattern.match(os.path.basename(path))
        if match and os.path.getmtime(path) > newest.get(match[1], (0, ""))[0]:
            newest[match[1]] = (os.path.getmtime(path), path)
    return {module: path for module, (_, path) in sorted(newest.items())}


def mnemonics(paths, cache):
    """Mnemonic (with its encoding) -> how often it occurs and one example. Files are named by their
    content, so what one holds is remembered in `cache`."""
    known = json.loads(cache.read_text(encoding="utf-8")) if cache.exists() else {}
    found = {}
    for path in paths:
        key = os.path.basename(path)
        if key not in known:
            known[key] = disassembled(path)
        for name, (count, example) in known[key].items():
            found[name] = (found.get(name, (0,))[0] + count, example)
    cache.write_text(json.dumps(known), encoding="utf-8")
    return found


def disassembled(path):
    found = {}
    text = subprocess.run(
        ["llvm-objdump-19", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True,
    ).stdout
    for line in text.splitlines():
        if not line.startswith("\t") or line.startswith("\t..."):
            continue
        for part in line.split("//")[0].split(" :: "):
            name = part.split()[0]
            count, example = found.get(name, (0, part.strip()))
            found[name] = (count + 1, example)
    return found
