"""Where a comparison is not bit by bit, or the pseudocode is not taken at its word, and why."""

import math
import struct

# (mnemonic without encoding, ulps, why)
ULPS = [
    (r"v_(s_)?(rcp|rsq|sqrt|exp|log|sin|cos)(_iflag)?_(f16|f32|f64)", 1,
     "hardware states about one ulp; the emulator and the evaluator round f64 results"),
]

# (mnemonic, text, what it must be, why)
SLIPS = [
    (r"v_trig_preop_f64", "[1200 : 0] << shift.u32) & 1201'0x1fffffffffffff", "[1200 : 0] << shift.u32) >> 1148U",
     "the mask would keep the lowest bits; the comment above it says that the whole part is kept"),
    (r"ds_b?permute_b32", "32'I(VGPR", "32'U(VGPR",
     "an address above 2^31 would name a negative lane; the comment above it says that high bits are ignored"),
    (r"s_(cvt_f16_f32|(add|sub|mul|min|max|fmac)\w*_f16)", "D0.f16 =", "D0[31 : 16] = 16'0U;\nD0.f16 =",
     "an SGPR's upper half is cleared by 16-bit scalar operations (RDNA4, chapter 5 on the scalar ALU)"),
    (r"(global|flat|buffer)_atomic_pk_add_.*", "MEM[ADDR];", "MEM[ADDR].b32;", "the access's width is left out"),
    (r"(global|flat|buffer)_atomic_pk_add_.*", "MEM[ADDR] =", "MEM[ADDR].b32 =", "as above"),
]

# Entries that a family's document lacks although LLVM assembles them for its targets, as another's has them:
# CDNA3's those of MI200 and MI300, RDNA3's two of RDNA2.
BORROWED = {
    "cdna": {"rdna3": ["v_fma_mix_f32", "v_fma_mixlo_f16", "v_fma_mixhi_f16"]},
    "rdna3": {"cdna": ["v_dot4_i32_i8", "v_dot4c_i32_i8_e32"]},
}

# Entries in no document that the wheel carries, in its language, from the MI200 document's chapter 12.
# v_mad and v_mac flush subnormal operands, products and sums whatever the mode says (LLVM selects them only
# where that is asked for).
FLUSH = "flush = lambda(x) ( exponent(x.f32) == 0 ? x.f32 * 0.0F : x.f32 );\n"


def unfused(a, b, c):
    return f"{FLUSH}tmp = flush({a}) * flush({b});\ntmp = flush(tmp) + flush({c});\nD0.f32 = flush(tmp)"


TEXTS = {
    "cdna": {
        "v_mac_f32": unfused("S0.f32", "S1.f32", "D0.f32"),
        "v_mad_f32": unfused("S0.f32", "S1.f32", "S2.f32"),
        "v_madmk_f32": unfused("S0.f32", "SIMM32.f32", "S1.f32"),
        "v_madak_f32": unfused("S0.f32", "S1.f32", "SIMM32.f32"),
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


def overflowing_quotient(bits):
    """S0 is a NaN although S2 / S1 is just too large, and infinity came out."""

    def check(words, got):
        quotient, below, above = (number(words, i, bits) for i in range(3))
        limit = 2.0 ** 127 if bits == 32 else 2.0 ** 1023
        too_large = below != 0 and math.isfinite(above) and abs(above) / limit >= abs(below)
        return math.isnan(quotient) and too_large and math.isinf(number(got[:2], 0, bits))

    return check


# (mnemonic without encoding, families, which differing cases it covers, why). Cases outside still fail.
ACCEPTED = [
    (r"v_div_fmas_(f32|f64)", "all", scaled,
     "the pseudocode's 2^32 and 2^64 undo no scaling of v_div_scale; the emulator undoes its 2^±64 and 2^±128"),
    (r"v_div_fixup_f32", "all", overflowing_quotient(32),
     "where a quotient is too large for the format, LLVM's division leaves a NaN in S0: the text hands it on, although "
     "hardware divides as IEEE asks; the emulator gives infinity"),
    (r"v_div_fixup_f64", "all", overflowing_quotient(64), "as v_div_fixup_f32"),
    (r"v_fract_f32", "all", is_last_below_one(32), "hardware stays below 1 (LLVM selects it for a minimum with that number)"),
    (r"v_fract_f64", "all", is_last_below_one(64), "as v_fract_f32"),
    (r"v_frexp_exp_i32_f32", "all", is_tiny(32),
     "the text reads the stored exponent; of zero it is 0 and of a subnormal that of its value (LLVM folds it so)"),
    (r"v_frexp_exp_i32_f64", "all", is_tiny(64), "as v_frexp_exp_i32_f32"),
    (r"[vs]_rndne_f32", "all", is_nearest_even(32), "the text's S0 + 0.5 rounds; the result is checked to be the nearest, ties to even"),
    (r"v_rndne_f64", "all", is_nearest_even(64), "as v_rndne_f32"),
]

# (mnemonic, why): no probe.
WITHOUT = [
    (r"v_illegal|s_(cbranch|branch|endpgm|barrier|waitcnt|wait_|nop|clause|delay_alu|sendmsg|set_inst|inst_pref|code_end|trap|sethalt|setprio|sleep|icache|setreg|getreg|getpc|setpc|swappc).*"
     r"|(buffer|global)_(gl|wb|inv).*",
     "control flow, waiting, caches: no result to compare; every kernel of the suites runs it"),
]
