//! Single instructions with their modifiers, assembled by LLVM, against expressions written from
//! AMD's ISA pseudocode (MI200, RDNA3 and RDNA4 documents).

mod exec_support;

use exec_support::{is_gfx9, Assembly, Machine, Random};
use half::f16;
use std::collections::BTreeMap;

const LANES: usize = 64;

/// What a lane of an instruction sees: v4 to v7, and v0 and v1 before it.
type Inputs = [u32; 4];
const OLD: [u32; 2] = [0xdead_beef, 0x1234_5678];

struct Case {
    targets: &'static [&'static str],
    code: &'static str,
    /// v0 and v1 after it.
    want: fn(Inputs) -> [u32; 2],
}

const ALL: &[&str] = &["gfx1100", "gfx90a", "gfx942", "gfx1030", "gfx1201"];
const RDNA: &[&str] = &["gfx1100", "gfx1030", "gfx1201"];
/// RDNA3 and RDNA4: dual instructions.
const DUAL: &[&str] = &["gfx1100", "gfx1201"];
const RDNA2: &[&str] = &["gfx1030"];
const RDNA4: &[&str] = &["gfx1201"];
const CDNA: &[&str] = &["gfx90a", "gfx942"];
const CDNA2: &[&str] = &["gfx90a"];

fn f(bits: u32) -> f32 {
    f32::from_bits(bits)
}

fn h(bits: u32) -> f64 {
    f16::from_bits(bits as u16).to_f64()
}

fn to_half(value: f64) -> u32 {
    u32::from(f16::from_f64(value).to_bits())
}

fn one(value: u32) -> [u32; 2] {
    [value, OLD[1]]
}

fn low_half(value: u32) -> [u32; 2] {
    one(OLD[0] & 0xffff_0000 | value & 0xffff)
}

fn pair(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

const CASES: &[Case] = &[
    Case { targets: ALL, code: "v_add_f32 v0, -v4, |v5|", want: |v| one((-f(v[0]) + f(v[1]).abs()).to_bits()) },
    Case { targets: ALL, code: "v_mul_f32_e64 v0, v4, v5 clamp mul:2", want: |v| {
        let value = f(v[0]) * f(v[1]) * 2.0;
        one((if value > 0.0 { value.min(1.0) } else { 0.0 }).to_bits())
    } },
    Case { targets: ALL, code: "v_mul_f32_e64 v0, v4, 0.15915494 div:2", want: |v| one((f(v[0]) * 0.159_154_94 * 0.5).to_bits()) },
    Case { targets: ALL, code: "v_bfe_i32 v0, v4, 5, v5", want: |v| {
        let width = v[1] & 31;
        let field = (v[0] as i32 >> 5) as u32 & ((1u64 << width) - 1) as u32;
        one(if width == 0 { 0 } else { (((field << (32 - width)) as i32) >> (32 - width)) as u32 })
    } },
    Case { targets: ALL, code: "v_bfe_u32 v0, v4, v5, 7", want: |v| one(v[0] >> (v[1] & 31) & 127) },
    Case { targets: ALL, code: "v_bfi_b32 v0, v4, v5, v6", want: |v| one(v[0] & v[1] | !v[0] & v[2]) },
    Case { targets: ALL, code: "v_alignbit_b32 v0, v4, v5, v6", want: |v| {
        one(((u64::from(v[0]) << 32 | u64::from(v[1])) >> (v[2] & 31)) as u32)
    } },
    Case { targets: ALL, code: "s_mov_b32 s12, 0x0d0c0b02\n v_perm_b32 v0, v4, v5, s12", want: |v| {
        // Bytes 7 to 4 are v4, 3 to 0 are v5: the second, the sign of byte 7, zero, ones.
        let sign = if v[0] >> 31 != 0 { 0xff } else { 0 };
        one(0xff00_0000 | sign << 8 | v[1] >> 16 & 0xff)
    } },
    Case { targets: ALL, code: "v_mad_u64_u32 v[0:1], vcc, v4, v5, v[6:7]", want: |v| {
        let addend = u64::from(v[2]) | u64::from(v[3]) << 32;
        pair((u64::from(v[0]) * u64::from(v[1])).wrapping_add(addend))
    } },
    Case { targets: ALL, code: "v_mul_hi_i32 v0, v4, v5", want: |v| {
        one(((i64::from(v[0] as i32) * i64::from(v[1] as i32)) >> 32) as u32)
    } },
    Case { targets: ALL, code: "v_mul_i32_i24 v0, v4, v5", want: |v| {
        let low = |x: u32| i64::from(((x << 8) as i32) >> 8);
        one((low(v[0]) * low(v[1])) as u32)
    } },
    Case { targets: ALL, code: "v_lshlrev_b64 v[0:1], v6, v[4:5]", want: |v| {
        pair((u64::from(v[0]) | u64::from(v[1]) << 32) << (v[2] & 63))
    } },
    Case { targets: ALL, code: "v_lshl_add_u32 v0, v4, 3, v5", want: |v| one((v[0] << 3).wrapping_add(v[1])) },
    Case { targets: ALL, code: "v_med3_i32 v0, v4, v5, v6", want: |v| {
        let mut sorted = [v[0] as i32, v[1] as i32, v[2] as i32];
        sorted.sort_unstable();
        one(sorted[1] as u32)
    } },
    Case { targets: ALL, code: "v_cmp_class_f32 vcc, v4, v5\n v_cndmask_b32 v0, v6, v7, vcc", want: |v| {
        let x = f(v[0]);
        let bit = match (x.is_nan(), x.classify(), x.is_sign_negative()) {
            (true, ..) => v[0] >> 22 & 1,
            (_, std::num::FpCategory::Infinite, true) => 2,
            (_, std::num::FpCategory::Normal, true) => 3,
            (_, std::num::FpCategory::Subnormal, true) => 4,
            (_, std::num::FpCategory::Zero, true) => 5,
            (_, std::num::FpCategory::Zero, false) => 6,
            (_, std::num::FpCategory::Subnormal, false) => 7,
            (_, std::num::FpCategory::Normal, false) => 8,
            _ => 9,
        };
        one(if v[1] >> bit & 1 != 0 { v[3] } else { v[2] })
    } },
    Case { targets: ALL, code: "v_cmp_lt_u32 vcc, v4, v5\n v_cndmask_b32 v0, v6, -|v7|, vcc", want: |v| {
        one(if v[0] < v[1] { v[3] | 1 << 31 } else { v[2] })
    } },
    Case { targets: ALL, code: "v_sad_u8 v0, v4, v5, v6", want: |v| {
        let (a, b) = (v[0].to_le_bytes(), v[1].to_le_bytes());
        one((0..4).fold(v[2], |s, i| s.wrapping_add(u32::from(a[i].abs_diff(b[i])))))
    } },
    Case { targets: ALL, code: "v_cvt_pkrtz_f16_f32 v0, v6, v6", want: |v| {
        // Truncation: the half that is nearest from below in magnitude.
        let x = f64::from(f(v[2]));
        if x.is_nan() {
            return one(0x7e00_7e00);
        }
        let mut bits = to_half(x) as u16;
        if h(u32::from(bits)).abs() > x.abs() && x.is_finite() {
            bits -= 1;
        }
        one(u32::from(bits) * 0x1_0001)
    } },
    Case { targets: ALL, code: "v_fma_mix_f32 v0, v4, v5, -v6 op_sel:[0,1,0] op_sel_hi:[0,1,0]", want: |v| {
        one(f(v[0]).mul_add(h(v[1] >> 16) as f32, -f(v[2])).to_bits())
    } },
    Case { targets: ALL, code: "v_fma_mixhi_f16 v0, v4, v5, v6 op_sel_hi:[1,1,1]", want: |v| {
        let sum = (h(v[0]) as f32).mul_add(h(v[1]) as f32, h(v[2]) as f32);
        one(OLD[0] & 0xffff | u32::from(f16::from_f32(sum).to_bits()) << 16)
    } },
    Case { targets: ALL, code: "v_pk_add_f16 v0, v4, v5 op_sel:[1,0] op_sel_hi:[0,1] neg_lo:[0,1]", want: |v| {
        one(to_half(h(v[0] >> 16) - h(v[1])) | to_half(h(v[0]) + h(v[1] >> 16)) << 16)
    } },
    Case { targets: ALL, code: "v_pk_mad_u16 v0, v4, v5, v6", want: |v| {
        let part = |s: u32| {
            let x = |i: usize| (v[i] >> s) as u16;
            u32::from(x(0).wrapping_mul(x(1)).wrapping_add(x(2))) << s
        };
        one(part(0) | part(16))
    } },
    Case { targets: ALL, code: "v_pk_add_u16 v0, v4, 1 op_sel_hi:[1,0]", want: |v| {
        one(u32::from((v[0] as u16).wrapping_add(1)) | u32::from(((v[0] >> 16) as u16).wrapping_add(1)) << 16)
    } },
    Case { targets: ALL, code: "v_add_f64 v[0:1], v[4:5], -|v[6:7]|", want: |v| {
        let x = f64::from_bits(u64::from(v[0]) | u64::from(v[1]) << 32);
        let y = f64::from_bits(u64::from(v[2]) | u64::from(v[3]) << 32);
        pair((x - y.abs()).to_bits())
    } },
    Case { targets: ALL, code: "v_ldexp_f64 v[0:1], v[4:5], 11", want: |v| {
        pair((f64::from_bits(u64::from(v[0]) | u64::from(v[1]) << 32) * 2048.0).to_bits())
    } },
    Case { targets: ALL, code: "v_mov_b32 v0, 7\n v_cmp_gt_i32 vcc, 0, v4\n s_mov_b64 s[4:5], exec\n v_cmpx_gt_i32 0, v4\n v_mov_b32 v0, v5\n s_mov_b64 exec, s[4:5]",
        want: |v| one(if (v[0] as i32) < 0 { v[1] } else { 7 }) },
    // 16-bit results: gfx9 clears the other half, gfx11 keeps it.
    Case { targets: RDNA, code: "v_add_nc_u16 v0, v4, v5", want: |v| low_half(v[0].wrapping_add(v[1])) },
    Case { targets: RDNA, code: "v_add_nc_u16 v0, v4, v5 op_sel:[0,1,1]", want: |v| {
        one(OLD[0] & 0xffff | (v[0].wrapping_add(v[1] >> 16)) << 16)
    } },
    Case { targets: CDNA, code: "v_add_u16 v0, v4, v5", want: |v| one(v[0].wrapping_add(v[1]) & 0xffff) },
    Case { targets: CDNA, code: "v_mad_u16 v0, v4, v5, v6", want: |v| {
        low_half((v[0] as u16).wrapping_mul(v[1] as u16).wrapping_add(v[2] as u16).into())
    } },
    Case { targets: RDNA, code: "v_add_nc_i16 v0, v4, v5 clamp", want: |v| {
        low_half((v[0] as i16).saturating_add(v[1] as i16) as u16 as u32)
    } },
    Case { targets: DUAL, code: "v_dot4_i32_iu8 v0, v4, v5, v6 neg_lo:[1,0,0]", want: |v| {
        let (a, b) = (v[0].to_le_bytes(), v[1].to_le_bytes());
        one((0..4).fold(v[2] as i32, |s, i| s.wrapping_add(i32::from(a[i] as i8) * i32::from(b[i]))) as u32)
    } },
    // Both halves read before either writes, whichever way round.
    Case { targets: DUAL, code: "v_dual_mov_b32 v0, v5 :: v_dual_mov_b32 v1, v4", want: |v| [v[1], v[0]] },
    Case { targets: DUAL, code: "v_mov_b32 v0, v4\n v_mov_b32 v1, v5\n v_dual_mov_b32 v0, v1 :: v_dual_mov_b32 v1, v0",
        want: |v| [v[1], v[0]] },
    Case { targets: DUAL, code: "v_mov_b32 v0, v4\n v_mov_b32 v1, v5\n v_dual_add_f32 v0, v1, v6 :: v_dual_mul_f32 v1, v0, v7",
        want: |v| [(f(v[1]) + f(v[2])).to_bits(), (f(v[0]) * f(v[3])).to_bits()] },
    Case { targets: CDNA, code: "v_add_u32_sdwa v0, v4, sext(v5) dst_sel:WORD_1 dst_unused:UNUSED_PRESERVE src0_sel:BYTE_2 src1_sel:BYTE_1",
        want: |v| {
            let sum = (v[0] >> 16 & 0xff).wrapping_add((v[1] >> 8) as i8 as u32);
            one(OLD[0] & 0xffff | sum << 16)
        } },
    Case { targets: CDNA, code: "v_mov_b32_sdwa v0, v4 dst_sel:BYTE_1 dst_unused:UNUSED_SEXT src0_sel:WORD_1",
        want: |v| one((i32::from((v[0] >> 16) as i8) as u32) << 8) },
    Case { targets: CDNA, code: "v_mul_f16_sdwa v0, v4, -v5 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:WORD_1 src1_sel:WORD_0",
        want: |v| one(to_half(h(v[0] >> 16) * -h(v[1]))) },
    Case { targets: CDNA, code: "v_pk_fma_f32 v[0:1], v[4:5], v[6:7], v[4:5] op_sel:[1,0,0] op_sel_hi:[0,1,1] neg_hi:[0,1,0]",
        want: |v| [f(v[1]).mul_add(f(v[2]), f(v[0])).to_bits(), f(v[0]).mul_add(-f(v[3]), f(v[1])).to_bits()] },
    Case { targets: CDNA, code: "v_pk_mov_b32 v[0:1], v[4:5], v[6:7] op_sel:[1,0]", want: |v| [v[1], v[2]] },
    Case { targets: CDNA, code: "v_dot4c_i32_i8 v0, v4, v5", want: |v| {
        let (a, b) = (v[0].to_le_bytes(), v[1].to_le_bytes());
        one((0..4).fold(OLD[0] as i32, |s, i| s.wrapping_add(i32::from(a[i] as i8) * i32::from(b[i] as i8))) as u32)
    } },
    Case { targets: CDNA, code: "v_accvgpr_write_b32 a200, v4\n v_accvgpr_read_b32 v0, a200", want: |v| one(v[0]) },
    // SDWA of RDNA2 keeps the spelling of its family.
    Case { targets: RDNA2, code: "v_add_nc_u32_sdwa v0, v4, sext(v5) dst_sel:WORD_1 dst_unused:UNUSED_PRESERVE src0_sel:BYTE_2 src1_sel:BYTE_1",
        want: |v| {
            let sum = (v[0] >> 16 & 0xff).wrapping_add((v[1] >> 8) as i8 as u32);
            one(OLD[0] & 0xffff | sum << 16)
        } },
    Case { targets: RDNA2, code: "v_cmp_lt_u16_sdwa vcc, v4, v5 src0_sel:WORD_1 src1_sel:BYTE_3\n v_cndmask_b32 v0, v6, v7, vcc", want: |v| {
        one(if v[0] >> 16 < v[1] >> 24 { v[3] } else { v[2] })
    } },
    Case { targets: RDNA2, code: "v_dot4_i32_i8 v0, v4, v5, v6", want: |v| {
        let (a, b) = (v[0].to_le_bytes(), v[1].to_le_bytes());
        one((0..4).fold(v[2] as i32, |s, i| s.wrapping_add(i32::from(a[i] as i8) * i32::from(b[i] as i8))) as u32)
    } },
    // gfx12: IEEE 754-2019 minimum, which keeps NaNs, and floating point on scalars.
    Case { targets: RDNA4, code: "v_minimum_f32 v0, v4, v5", want: |v| {
        let (a, b) = (f(v[0]), f(v[1]));
        one(if a.is_nan() || b.is_nan() {
            f32::NAN.to_bits()
        } else if a == b {
            v[0] | v[1] & 1 << 31
        } else if a < b {
            v[0]
        } else {
            v[1]
        })
    } },
    Case { targets: RDNA4, code: "v_readfirstlane_b32 s12, v4\n s_mov_b32 s12, 3.5\n s_fmamk_f32 s13, s12, 0x40400000, s12\n s_fmaak_f32 s14, s13, s12, 0x3f000000\n v_mov_b32 v0, s13\n v_mov_b32 v1, s14",
        want: |_| [14f32.to_bits(), 49.5f32.to_bits()] },
    Case { targets: RDNA4, code: "s_mov_b32 s12, 0xbfc03e00\n s_cvt_f32_f16 s13, s12\n s_cvt_hi_f32_f16 s14, s12\n v_mov_b32 v0, s13\n v_mov_b32 v1, s14",
        want: |_| [1.5f32.to_bits(), (-1.9375f32).to_bits()] },
    Case { targets: RDNA4, code: "s_mov_b32 s12, -7\n s_cvt_f32_i32 s13, s12\n s_mul_f32 s13, s13, 0.5\n s_trunc_f32 s14, s13\n s_rndne_f32 s15, s13\n s_sub_f32 s14, s14, s15\n v_mov_b32 v0, s13\n v_mov_b32 v1, s14",
        want: |_| [(-3.5f32).to_bits(), 1f32.to_bits()] },
    Case { targets: RDNA4, code: "s_mov_b32 s12, 0x3c003555\n s_cmp_lt_f16 s12, 0.5\n s_cselect_b32 s13, 11, 22\n s_cmp_nlt_f32 s12, s12\n s_cselect_b32 s14, 33, 44\n v_mov_b32 v0, s13\n v_mov_b32 v1, s14",
        want: |_| [11, 33] },
    Case { targets: RDNA4, code: "s_mov_b32 s12, 4.0\n v_s_rcp_f32 s13, s12\n v_s_sqrt_f32 s14, s12\n s_mov_b32 s6, exec_lo\n s_mov_b32 exec_lo, 0\n v_s_rsq_f32 s14, -s12\n v_s_rsq_f32 s14, |s14|\n v_s_rsq_f32 s14, s12\n s_mov_b32 exec_lo, s6\n v_mov_b32 v0, s13\n v_mov_b32 v1, s14",
        want: |_| [0.25f32.to_bits(), 0.5f32.to_bits()] },
    Case { targets: RDNA4, code: "s_barrier_signal -1\n s_barrier_wait -1\n v_mov_b32 v0, v4", want: |v| one(v[0]) },
    // The destination is a source whose words the operation picks crosswise.
    Case { targets: CDNA, code: "v_pk_fma_f32 v[4:5], v[4:5], v[6:7], v[4:5] op_sel:[1,0,0] op_sel_hi:[0,1,1]\n v_mov_b32 v0, v4\n v_mov_b32 v1, v5",
        want: |v| [f(v[1]).mul_add(f(v[2]), f(v[0])), f(v[0]).mul_add(f(v[3]), f(v[1]))].map(f32::to_bits) },
    Case { targets: CDNA, code: "v_pk_mul_f32 v[4:5], v[4:5], v[6:7] op_sel:[1,1] op_sel_hi:[0,0]\n v_mov_b32 v0, v4\n v_mov_b32 v1, v5",
        want: |v| [f(v[1]) * f(v[3]), f(v[0]) * f(v[2])].map(f32::to_bits) },
    // Negative lanes alone, and no lane.
    Case { targets: CDNA, code: "s_mov_b64 s[4:5], exec\n v_cmpx_gt_i32 0, v4\n v_pk_add_f32 v[0:1], v[4:5], v[6:7] op_sel_hi:[1,0]\n s_mov_b64 exec, 0\n v_pk_add_f32 v[0:1], v[4:5], v[4:5]\n s_mov_b64 exec, s[4:5]",
        want: |v| if (v[0] as i32) < 0 { [f(v[0]) + f(v[2]), f(v[1]) + f(v[2])].map(f32::to_bits) } else { OLD } },
    Case { targets: CDNA2, code: "v_mac_f32 v0, v4, v5", want: |v| {
        // Two roundings and no subnormals.
        let flush = |x: f32| if x.is_subnormal() { 0.0f32.copysign(x) } else { x };
        one(flush(flush(flush(f(v[0])) * flush(f(v[1]))) + flush(f(OLD[0]))).to_bits())
    } },
];

/// A kernel that loads 16 bytes for each lane, runs `code` and stores v0 and v1.
fn assembly(target: &str, code: &str) -> String {
    let cdna = is_gfx9(target);
    // RDNA2 has gfx9's names of memory instructions; gfx12 waits for each kind by its own instruction.
    let dwords = cdna || target == "gfx1030";
    let waits = if target == "gfx1201" {
        ["s_wait_kmcnt 0x0", "s_wait_loadcnt 0x0"]
    } else {
        ["s_waitcnt lgkmcnt(0)", "s_waitcnt vmcnt(0)"]
    };
    let code = if cdna {
        code.to_string()
    } else {
        // A wave32's masks are single registers.
        code.replace("vcc", "vcc_lo")
            .replace("s_mov_b64 s[4:5], exec", "s_mov_b32 s4, exec_lo")
            .replace("s_mov_b64 exec, s[4:5]", "s_mov_b32 exec_lo, s4")
    };
    let code = if cdna {
        code.replace("v_cmpx_gt_i32 0", "v_cmpx_gt_i32 vcc, 0")
    } else {
        code
    };
    let (load4, store2, pointers) = if dwords {
        (
            "global_load_dwordx4",
            "global_store_dwordx2",
            "s_load_dwordx4",
        )
    } else {
        ("global_load_b128", "global_store_b64", "s_load_b128")
    };
    let kernel = Assembly {
        vgprs: if cdna { 288 } else { 32 },
        ..Assembly::of(target, 2)
    };
    kernel.source(&format!(
        "  {pointers} s[8:11], s[0:1], 0x0
  v_and_b32 v0, 0x3ff, v0
  v_lshlrev_b32 v2, 4, v0
  v_lshlrev_b32 v3, 3, v0
  {wait_scalar}
  {load4} v[4:7], v2, s[8:9]
  v_mov_b32 v0, {old0:#x}
  v_mov_b32 v1, {old1:#x}
  {wait_vector}
  {code}
  {store2} v3, v[0:1], s[10:11]
  s_endpgm",
        wait_scalar = waits[0],
        wait_vector = waits[1],
        old0 = OLD[0],
        old1 = OLD[1],
    ))
}

/// Inputs: any bits, ordinary floats, and special values.
fn inputs(random: &mut Random) -> Vec<Inputs> {
    const SPECIAL: [u32; 12] = [
        0,
        0x8000_0000,
        0x3f80_0000,
        0xbf80_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        1,
        0x8000_0001,
        0x7f7f_ffff,
        u32::MAX,
        0x3c00_bc00,
    ];
    random.vec(LANES, |r| {
        [(); 4].map(|()| match r.u32() % 4 {
            0 => SPECIAL[(r.u32() % 12) as usize],
            1 => r.u32(),
            2 => ((r.u32() as i32) as f32 / 65536.0).to_bits(),
            _ => u32::from(f16::from_f32(r.u32() as i32 as f32 / 1e8).to_bits()) | r.u32() << 16,
        })
    })
}

/// Bits that may differ: NaNs of the same place, whose payload is not specified here.
fn same(got: u32, want: u32) -> bool {
    let nan = |bits: u32| f(bits).is_nan();
    let half_nans = |shift: u32| {
        let (a, b) = ((got >> shift) as u16, (want >> shift) as u16);
        a == b || (f16::from_bits(a).is_nan() && f16::from_bits(b).is_nan())
    };
    got == want || (nan(got) && nan(want)) || (half_nans(0) && half_nans(16))
}

#[test]
fn instructions_do_what_amd_writes() {
    let mut random = Random(99);
    let mut wrong = BTreeMap::new();
    for case in CASES {
        for target in case.targets {
            let machine = Machine::assembled(&assembly(target, case.code), target);
            for _ in 0..4 {
                let lanes = inputs(&mut random);
                let flat: Vec<u32> = lanes.iter().flatten().copied().collect();
                let (input, output) = (machine.buffer(&flat), machine.zeros::<u32>(2 * LANES));
                if let Err(error) = machine.run(
                    "probe",
                    [1, 1, 1],
                    [LANES as u32, 1, 1],
                    &[(&input).into(), (&output).into()],
                ) {
                    panic!("{target} {}: {error}", case.code);
                }
                let output = output.read::<u32>();
                for (lane, v) in lanes.iter().enumerate() {
                    let (got, want) = ([output[2 * lane], output[2 * lane + 1]], (case.want)(*v));
                    let wide = case.code.contains("f64");
                    let is_nan = |w: [u32; 2]| {
                        f64::from_bits(u64::from(w[0]) | u64::from(w[1]) << 32).is_nan()
                    };
                    let equal = if wide {
                        got == want || (is_nan(got) && is_nan(want))
                    } else {
                        same(got[0], want[0]) && same(got[1], want[1])
                    };
                    if !equal {
                        wrong.insert(
                            format!("{target} {}", case.code),
                            format!("lane {lane}, inputs {v:x?}: {got:x?}, not {want:x?}"),
                        );
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
