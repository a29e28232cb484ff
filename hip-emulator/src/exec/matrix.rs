//! Matrix cores: MFMA of CDNA and WMMA of RDNA. Each is one product D = A·B + C of small matrices whose
//! elements are spread over the registers of a wave. All ignore EXEC.
//!
//! # Layouts
//! After AMD's matrix instruction calculator (github.com/ROCm/amd_matrix_instruction_calculator). A lane
//! holds elements of one row of A and of one column of B: lane modulo the size. Which of the `k` (and of
//! the blocks) it holds, and which elements of D, is [`Layout`]'s business.
//!
//! # Exactness
//! Integer products wrap (or saturate with clamp). Floating-point products are summed in f64 and rounded
//! once, so a result is within half an ulp of the exact sum; hardware rounds more often, in an order that
//! AMD does not document. CDNA2's products of f16 and bf16 take subnormals for zero and give zero for them, which AMD
//! says of the MI200 (MIOpen's documentation, "MI200 MFMA behavior specifics"; PyTorch's, "Numerical accuracy"); its
//! products of f32 and f64, and CDNA3, do not.

mod product;
mod table;

pub use product::RUN;
pub use table::{Element, Layout, Matrix, Sum, MATRICES};

/// What lowering decided, packed into `Op::mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub layout: Layout,
    /// Signedness of the integers of A and B.
    pub signed: [bool; 2],
    /// Saturate instead of wrapping.
    pub clamp: bool,
    /// gfx11's 16-bit sums lie in the registers' upper halves.
    pub high: bool,
    /// Of products of 16-bit floats, subnormal elements, addends and results are zero.
    pub flush: bool,
    /// e4m3 and e5m2 in the variants without infinity and negative zero (gfx942).
    pub fnuz: bool,
}

impl Options {
    pub fn pack(self) -> u32 {
        let bits = [
            self.signed[0],
            self.signed[1],
            self.clamp,
            self.high,
            self.flush,
            self.fnuz,
        ];
        let flags = (0..)
            .zip(bits)
            .map(|(at, bit)| u32::from(bit) << at)
            .sum::<u32>();
        flags | (self.layout as u32) << 8
    }

    fn unpack(word: u32) -> Options {
        let bit = |at: u32| word >> at & 1 != 0;
        Options {
            layout: match word >> 8 {
                0 => Layout::Mfma,
                1 => Layout::Wmma11,
                _ => Layout::Wmma12,
            },
            signed: [bit(0), bit(1)],
            clamp: bit(2),
            high: bit(3),
            flush: bit(4),
            fnuz: bit(5),
        }
    }
}

impl Matrix {
    /// Elements of A (and of B) that one lane holds.
    pub fn elements(&self, layout: Layout, lanes: usize) -> usize {
        match layout {
            Layout::Wmma11 => self.k,
            _ => self.size * self.k * self.blocks / lanes,
        }
    }

    /// Elements of D that one lane holds.
    pub fn results(&self, lanes: usize) -> usize {
        self.size * self.size * self.blocks / lanes
    }

    /// Registers of D.
    pub fn result_registers(&self, layout: Layout, lanes: usize) -> usize {
        let results = self.results(lanes);
        match self.sum {
            Sum::F64 => 2 * results,
            Sum::F16 | Sum::Bf16 if layout == Layout::Wmma12 => results / 2,
            _ => results,
        }
    }

    /// Block and k of element `e` of a lane; its row (of A) or column (of B) is lane modulo size.
    fn source_place(&self, layout: Layout, lanes: usize, lane: usize, e: usize) -> (usize, usize) {
        if layout == Layout::Wmma11 {
            return (0, e);
        }
        let at = lane / self.size * self.elements(layout, lanes) + e;
        (at / self.k, at % self.k)
    }

    /// Block and row of result `r` of a lane; its column is lane modulo size.
    fn result_place(&self, layout: Layout, lanes: usize, lane: usize, r: usize) -> (usize, usize) {
        let (part, parts) = (lane / self.size, lanes / self.size);
        match layout {
            Layout::Mfma if self.sum == Sum::F64 => (0, part + parts * r),
            // Groups of four rows go to the parts of the wave in turn, block after block.
            Layout::Mfma => {
                let group = part + parts * (r / 4);
                let groups = self.size / 4;
                (group / groups, 4 * (group % groups) + r % 4)
            }
            Layout::Wmma11 => (0, parts * r + part),
            Layout::Wmma12 => (0, self.size / parts * part + r),
        }
    }
}

/// Most elements of A or B of any instruction.
const SOURCES: usize = 512;

/// An 8-bit float: 4 exponent bits and 3 of mantissa (e4m3), or 5 and 2 (e5m2). The OCP variants have
/// NaNs (e5m2 infinities too) at the top; the "fnuz" ones a bias larger by one and 0x80 for NaN.
pub fn small_float(bits: u8, wide_exponent: bool, fnuz: bool) -> f64 {
    let mantissa_bits = if wide_exponent { 2 } else { 3 };
    let exponent_bits = 7 - mantissa_bits;
    let bias = (1 << (exponent_bits - 1)) - 1 + i32::from(fnuz);
    let (magnitude, negative) = (bits & 0x7f, bits & 0x80 != 0);
    let exponent = i32::from(magnitude >> mantissa_bits);
    let mantissa = i32::from(magnitude) & ((1 << mantissa_bits) - 1);
    let top = (1 << exponent_bits) - 1;
    let value = if fnuz && bits == 0x80 {
        f64::NAN
    } else if !fnuz && wide_exponent && exponent == top {
        if mantissa == 0 {
            f64::INFINITY
        } else {
            f64::NAN
        }
    } else if !fnuz && magnitude == 0x7f {
        f64::NAN
    } else if exponent == 0 {
        f64::from(mantissa) * 2f64.powi(1 - bias - mantissa_bits)
    } else {
        f64::from(mantissa | 1 << mantissa_bits) * 2f64.powi(exponent - bias - mantissa_bits)
    };
    if negative {
        -value
    } else {
        value
    }
}

/// The value of an 8-bit element; `which` is 0 for A and 1 for B.
fn eight_bits(element: Element, raw: u8, which: usize, options: Options) -> f64 {
    let wide = match element {
        Element::Fp8Fp8 => false,
        Element::Fp8Bf8 => which == 1,
        Element::Bf8Fp8 => which == 0,
        _ => true,
    };
    small_float(raw, wide, options.fnuz)
}

#[inline(always)]
fn integer(element: Element, raw: u32, which: usize, options: Options) -> i32 {
    let shift = 32 - element.bits() as u32;
    let up = raw << shift;
    if options.signed[which] {
        (up as i32) >> shift
    } else {
        (up >> shift) as i32
    }
}

/// The nearest bf16, ties to even.
#[inline(always)]
pub fn f32_to_bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_nan() {
        return bits >> 16 | 0x40;
    }
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

/// Row and shift of result `r`.
#[inline(always)]
fn result_row(sum: Sum, options: Options, r: usize) -> (usize, u32) {
    match (sum, options.layout) {
        (Sum::F64, _) => (2 * r, 0),
        (Sum::F16 | Sum::Bf16, Layout::Wmma12) => (r / 2, 16 * (r as u32 % 2)),
        (Sum::F16 | Sum::Bf16, _) => (r, 16 * u32::from(options.high)),
        _ => (r, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each element of D has one place, in every layout that an instruction can have.
    #[test]
    fn results_cover_the_matrix_once() {
        for matrix in MATRICES {
            let layouts: &[(Layout, usize)] = if matrix.names[0].starts_with("v_mfma") {
                &[(Layout::Mfma, 64)]
            } else {
                &[
                    (Layout::Wmma11, 32),
                    (Layout::Wmma11, 64),
                    (Layout::Wmma12, 32),
                    (Layout::Wmma12, 64),
                ]
            };
            assert!([4, 16, 32].contains(&matrix.size));
            for (layout, lanes) in layouts {
                let mut seen = vec![0; matrix.size * matrix.size * matrix.blocks];
                for lane in 0..*lanes {
                    for r in 0..matrix.results(*lanes) {
                        let (block, row) = matrix.result_place(*layout, *lanes, lane, r);
                        seen[(block * matrix.size + row) * matrix.size + lane % matrix.size] += 1;
                    }
                }
                assert!(
                    seen.iter().all(|times| *times == 1),
                    "{} {layout:?} {lanes}",
                    matrix.names[0]
                );
                assert!(matrix.size * matrix.k * matrix.blocks <= SOURCES);
            }
        }
    }

    #[test]
    fn options_survive_packing() {
        for (layout, bit) in [
            (Layout::Mfma, true),
            (Layout::Wmma11, false),
            (Layout::Wmma12, true),
        ] {
            let options = Options {
                layout,
                signed: [bit, !bit],
                clamp: !bit,
                high: bit,
                flush: bit,
                fnuz: !bit,
            };
            assert_eq!(Options::unpack(options.pack()), options);
        }
    }

    /// Against the values that the OCP specification and the fnuz paper name.
    #[test]
    fn small_floats_have_their_named_values() {
        assert_eq!(small_float(0x7e, false, false), 448.0);
        assert_eq!(small_float(0x7b, true, false), 57344.0);
        assert_eq!(small_float(0x7f, false, true), 240.0);
        assert_eq!(small_float(0x7f, true, true), 57344.0);
        assert_eq!(small_float(0x01, false, false), 2f64.powi(-9));
        assert_eq!(small_float(0x01, true, false), 2f64.powi(-16));
        assert_eq!(small_float(0x01, false, true), 2f64.powi(-10));
        assert!(
            small_float(0x80, false, true).is_nan() && small_float(0x7f, false, false).is_nan()
        );
        assert_eq!(small_float(0xfc, true, false), f64::NEG_INFINITY);
        assert_eq!(small_float(0xb8, false, false), -1.0);
    }
}
