"""Where a comparison is not bit by bit, or the pseudocode is not taken at its word, and why."""

import math
import struct

# (mnemonic without encoding, ulps, why)
ULPS = [
    (r"v_(rcp|rsq|sqrt|exp|log|sin|cos)(_iflag)?_(f16|f32|f64)", 1,
     "hardware states about one ulp; the emulator and the evaluator round f64 results"),
]

# (mnemonic, text, what it must be, why)
SLIPS = [
    (r"v_trig_preop_f64", "[1200 : 0] << shift.u32) & 1201'0x1fffffffffffff", "[1200 : 0] << shift.u32) >> 1148U",
     "the mask would keep the lowest bits; the comment above it says that the whole part is kept"),
    (r"ds_b?permute_b32", "32'I(VGPR", "32'U(VGPR",
     "an address above 2^31 would name a negative lane; the comment above it says that high bits are ignored"),
    (r"(global|flat|buffer)_atomic_pk_add_.*", "MEM[ADDR];", "MEM[ADDR].b32;", "the access's width is left out"),
    (r"(global|flat|buffer)_atomic_pk_add_.*", "MEM[ADDR] =", "MEM[ADDR].b32 =", "as above"),
]

# Entries that CDNA3's document lacks although LLVM assembles them for MI200 and MI300, as RDNA3's has them.
BORROWED = ["v_fma_mix_f32", "v_fma_mixlo_f16", "v_fma_mixhi_f16"]

# Entries in no document that the wheel carries, in its language, from the MI200 document's chapter 12.
TEXTS = {
    "cdna": {
        "v_mac_f32": "D0.f32 = S0.f32 * S1.f32 + D0.f32",
        "v_mad_f32": "D0.f32 = S0.f32 * S1.f32 + S2.f32",
        "v_madmk_f32": "D0.f32 = S0.f32 * SIMM32.f32 + S1.f32",
        "v_madak_f32": "D0.f32 = S0.f32 * S1.f32 + SIMM32.f32",
        "v_accvgpr_read_b32": "D0.b32 = S0.b32",
        "v_accvgpr_write_b32": "D0.b32 = S0.b32",
    },
}


def word(words, i, bits):
    return words[2 * i] | (words[2 * i + 1] << 32 if bits == 64 else 0)


def number(words, i, bits):
    code, pack = ("<f", "<I") if bits == 32 else ("<d", "<Q")
    return struct.unpack(code, struct.pack(pack, word(words, i, bits)))[0]


def is_tiny(bits):
    """S0 is zero or subnormal."""
    limit = 2.0 ** -126 if bits == 32 else 2.0 ** -1022
    return lambda words, got: abs(number(words, 0, bits)) < limit


def is_nearest_even(bits):
    """What came out is S0 rounded to the nearest whole number, ties to even."""

    def check(words, got):
        value = number(words, 0, bits)
        return math.isfinite(value) and number(got[:2], 0, bits) == round(value)

    return check


def is_last_below_one(bits):
    want = 0x3F7FFFFF if bits == 32 else 0x3FEFFFFFFFFFFFFF
    return lambda words, got: word(got, 0, bits) == want


def scaled(words, got):
    """The lane's VCC bit asks v_div_fmas to undo a scaling."""
    return words[8] & 1 == 1


def quotient_is_nan(bits):
    return lambda words, got: math.isnan(number(words, 0, bits))


def far_apart(bits):
    def exponent(words, i):
        return word(words, i, bits) >> (23 if bits == 32 else 52) & (255 if bits == 32 else 2047)

    limit = -150 if bits == 32 else -1075
    nan = quotient_is_nan(bits)
    return lambda words, got: nan(words, got) or exponent(words, 2) - exponent(words, 1) < limit


def signalling_half(words, got):
    """A half among the sources is a signalling NaN."""
    halves = [w >> s & 0xFFFF for w in (words[0], words[2], words[4]) for s in (0,)]
    return any(h & 0x7E00 == 0x7C00 and h & 0x1FF for h in halves)


# (mnemonic without encoding, families, which differing cases it covers, why). Cases outside still fail.
ACCEPTED = [
    (r"v_div_fmas_(f32|f64)", "all", scaled,
     "the pseudocode's 2^32 and 2^64 undo no scaling of v_div_scale; the emulator undoes its 2^±64 and 2^±128"),
    (r"v_div_fixup_f32", "all", far_apart(32),
     "GAP: differs where no division comes: for a NaN quotient or exponents far apart the text gives abs(S0) or "
     "flushes, the emulator divides S2 by S1"),
    (r"v_div_fixup_f64", "all", far_apart(64), "as v_div_fixup_f32"),
    (r"v_fract_f32", "all", is_last_below_one(32), "hardware stays below 1 (LLVM selects it for a minimum with that number)"),
    (r"v_fract_f64", "all", is_last_below_one(64), "as v_fract_f32"),
    (r"v_frexp_exp_i32_f32", "all", is_tiny(32),
     "the text reads the stored exponent; of zero it is 0 and of a subnormal that of its value (LLVM folds it so)"),
    (r"v_frexp_exp_i32_f64", "all", is_tiny(64), "as v_frexp_exp_i32_f32"),
    (r"v_rndne_f32", "all", is_nearest_even(32), "the text's S0 + 0.5 rounds; the result is checked to be the nearest, ties to even"),
    (r"v_rndne_f64", "all", is_nearest_even(64), "as v_rndne_f32"),
    (r"v_(min|max)3?(_num)?_f16", "all", signalling_half,
     "GAP: a signalling NaN half reads as a quiet one, so IEEE mode's quiet NaN result is the other operand instead"),
]

# (mnemonic, why): no probe.
WITHOUT = [
    (r"s_(cbranch|branch|endpgm|barrier|waitcnt|wait_|nop|clause|delay_alu|sendmsg|set_inst|inst_pref|code_end|trap|sethalt|setprio|sleep|icache|setreg|getreg|getpc|setpc|swappc).*"
     r"|(buffer|global)_(gl|wb|inv).*",
     "control flow, waiting, caches: no result to compare; every kernel of the suites runs it"),
]
