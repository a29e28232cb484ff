//! Types of operands: how a lane's value lies in register rows.

use super::float::{f16_to_f32, f16_to_f32_signalling, f32_to_f16};

/// Lanes that one pass works on; a wave64 takes two passes.
pub const LANES: usize = 32;

/// A row's registers of one pass.
pub type Registers = [u32; LANES];

/// Results of one pass before they are committed: up to two rows (64-bit results).
pub type Rows = [Registers; 2];

/// A type as a value, for the tables: decides which modifiers and constants an operand may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    None,
    B32,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
    U16,
    I16,
    F16,
    PkF16,
    PkU16,
    PkI16,
    PkF32,
    /// `v_fma_mix`: f32, or a half of the register as f16, as op_sel and op_sel_hi say.
    Mix,
    /// One bit per lane, in the scalar file.
    Mask,
}

impl Kind {
    /// Register rows that an operand of this kind takes.
    pub fn rows(self) -> usize {
        match self {
            Kind::None => 0,
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::PkF32 => 2,
            _ => 1,
        }
    }

    pub fn is_16(self) -> bool {
        matches!(self, Kind::U16 | Kind::I16 | Kind::F16)
    }

    pub fn is_packed_16(self) -> bool {
        matches!(self, Kind::PkF16 | Kind::PkU16 | Kind::PkI16)
    }
}

/// A type of operand.
pub trait Word {
    type V: Copy;
    const KIND: Kind;

    /// The value of `lane` in an operand's rows. The second row is the first one again for operands
    /// that have only one.
    fn load(rows: [&Registers; 2], lane: usize) -> Self::V;

    /// Puts a result into `rows`.
    fn store(rows: &mut Rows, lane: usize, value: Self::V);
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $value:ty, $kind:ident,
        |$row:ident, $lane:ident| $load:expr,
        |$rows:ident, $at:ident, $v:ident| $store:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name;
        impl Word for $name {
            type V = $value;
            const KIND: Kind = Kind::$kind;
            #[inline(always)]
            fn load($row: [&Registers; 2], $lane: usize) -> $value { $load }
            #[inline(always)]
            fn store($rows: &mut Rows, $at: usize, $v: $value) { $store }
        }
    )*};
}

#[inline(always)]
fn pair(rows: [&Registers; 2], lane: usize) -> u64 {
    u64::from(rows[0][lane]) | u64::from(rows[1][lane]) << 32
}

#[inline(always)]
fn put_pair(rows: &mut Rows, lane: usize, value: u64) {
    rows[0][lane] = value as u32;
    rows[1][lane] = (value >> 32) as u32;
}

words! {
    /// No operand.
    N: (), None, |_row, _lane| (), |_rows, _at, _v| ();
    /// Bits that may carry f32 modifiers (v_cndmask, v_mov).
    B32: u32, B32, |row, lane| row[0][lane], |rows, at, v| rows[0][at] = v;
    U32: u32, U32, |row, lane| row[0][lane], |rows, at, v| rows[0][at] = v;
    I32: i32, I32, |row, lane| row[0][lane] as i32, |rows, at, v| rows[0][at] = v as u32;
    F32: f32, F32, |row, lane| f32::from_bits(row[0][lane]), |rows, at, v| rows[0][at] = v.to_bits();
    U64: u64, U64, |row, lane| pair(row, lane), |rows, at, v| put_pair(rows, at, v);
    I64: i64, I64, |row, lane| pair(row, lane) as i64, |rows, at, v| put_pair(rows, at, v as u64);
    F64: f64, F64, |row, lane| f64::from_bits(pair(row, lane)), |rows, at, v| put_pair(rows, at, v.to_bits());
    U16: u16, U16, |row, lane| row[0][lane] as u16, |rows, at, v| rows[0][at] = u32::from(v);
    I16: i16, I16, |row, lane| row[0][lane] as i16, |rows, at, v| rows[0][at] = u32::from(v as u16);
    /// A half in the low 16 bits, handled as the f32 of the same value.
    F16: f32, F16, |row, lane| f16_to_f32(row[0][lane]), |rows, at, v| rows[0][at] = f32_to_f16(v);
    /// The same, signalling NaNs kept.
    SignalF16: f32, F16, |row, lane| f16_to_f32_signalling(row[0][lane]), |rows, at, v| rows[0][at] = f32_to_f16(v);
    PkSignalF16: [f32; 2], PkF16,
        |row, lane| [f16_to_f32_signalling(row[0][lane]), f16_to_f32_signalling(row[0][lane] >> 16)],
        |rows, at, v| rows[0][at] = f32_to_f16(v[0]) | f32_to_f16(v[1]) << 16;
    PkF16: [f32; 2], PkF16,
        |row, lane| [f16_to_f32(row[0][lane]), f16_to_f32(row[0][lane] >> 16)],
        |rows, at, v| rows[0][at] = f32_to_f16(v[0]) | f32_to_f16(v[1]) << 16;
    PkU16: [u16; 2], PkU16,
        |row, lane| [row[0][lane] as u16, (row[0][lane] >> 16) as u16],
        |rows, at, v| rows[0][at] = u32::from(v[0]) | u32::from(v[1]) << 16;
    PkI16: [i16; 2], PkI16,
        |row, lane| [row[0][lane] as i16, (row[0][lane] >> 16) as i16],
        |rows, at, v| rows[0][at] = u32::from(v[0] as u16) | u32::from(v[1] as u16) << 16;
    PkF32: [f32; 2], PkF32,
        |row, lane| [f32::from_bits(row[0][lane]), f32::from_bits(row[1][lane])],
        |rows, at, v| { rows[0][at] = v[0].to_bits(); rows[1][at] = v[1].to_bits() };
    Mix: f32, Mix, |row, lane| f32::from_bits(row[0][lane]), |rows, at, v| rows[0][at] = v.to_bits();
    /// All ones where the lane's bit is set (the source's preparation expanded it).
    Mask: bool, Mask, |row, lane| row[0][lane] != 0, |rows, at, v| rows[0][at] = u32::from(v);
}
