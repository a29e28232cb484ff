"""Decoding, there and back: what the emulator parsed of each instruction is printed, assembled, and must give the
bytes it came from. So no operand or modifier is lost or misread between LLVM's text and the executor."""

import re
import subprocess


def check(runner, objects, target):
    """(instructions compared, what differs): `runner` is the example `roundtrip`."""
    lines = subprocess.run([runner, *objects], capture_output=True, text=True, check=True).stdout.splitlines()
    pairs = [line.split("\t", 1) for line in lines]
    result = subprocess.run(
        ["llvm-mc-19", "-triple=amdgcn-amd-amdhsa", f"-mcpu={target.name}", "-show-encoding"],
        input="\n".join(text for _, text in pairs), capture_output=True, text=True, check=False,
    )
    wrong = {int(n): message for n, message in re.findall(r"<stdin>:(\d+):\d+: error: (.*)", result.stderr)}
    encoded = iter(re.findall(r"(?:encoding: \[)([^\]]*)", result.stdout))
    found = []
    for number, (bytes_, text) in enumerate(pairs, 1):
        if number in wrong:
            found.append(f"{text}: {wrong[number]}")
            continue
        again = "".join(byte.removeprefix("0x") for byte in next(encoded, "").split(","))
        if again != bytes_:
            found.append(f"{text}: {bytes_} comes back as {again}")
    return len(pairs), found
