//! Vector ALU instructions as rows of tables. A row names the instruction (in every family's
//! spelling), the types of its operands, and what one lane computes; the loops over lanes, masks,
//! modifiers and encodings are elsewhere and the same for all rows.
//!
//! Integer clamp (saturation) is a row of its own, named with the suffix `:clamp`.

mod carry;
mod compare;
mod convert;
mod divide;
mod float32;
mod float64;
mod half;
mod integer;
mod integer16;
mod packed;
mod transcendental;

use super::program::{Run, LEVELS};
use super::word::Kind;
use std::collections::HashMap;
use std::sync::OnceLock;

/// Which of the three loops a row uses, hence which destinations it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Lane,
    Carry,
    Compare,
}

/// What a row's operands need beyond their types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    No,
    /// The destination is the last source.
    Accumulate,
    /// VCC is the last source, although the text does not say so.
    Vcc,
    /// A 16-bit result keeps the register's other half on every family.
    KeepHalf,
    /// The result is the low or high half of the register and the other half is kept (mixlo, mixhi).
    LowHalf,
    HighHalf,
}

pub struct Row {
    pub names: &'static [&'static str],
    pub form: Form,
    pub extra: Extra,
    pub sources: [Kind; 4],
    pub dest: Kind,
    pub run: [Run; LEVELS],
    /// Does the same, as long as no preparation or output modifier goes with it; faster if all lanes are on.
    pub whole: [Run; LEVELS],
}

impl Row {
    /// Number of sources.
    pub fn arity(&self) -> usize {
        self.sources
            .iter()
            .take_while(|kind| **kind != Kind::None)
            .count()
    }
}

/// The row of `name`.
pub fn find(name: &str) -> Option<&'static Row> {
    static ROWS: OnceLock<HashMap<&'static str, &'static Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        all()
            .flat_map(|row| row.names.iter().map(move |name| (*name, row)))
            .collect()
    })
    .get(name)
    .copied()
}

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Row> {
    let tables: [&'static [Row]; 16] = [
        integer::ROWS,
        integer16::ROWS,
        float32::ROWS,
        float64::ROWS,
        half::ROWS,
        packed::ROWS,
        convert::ROWS,
        transcendental::ROWS,
        divide::ROWS,
        divide::SCALES,
        carry::ROWS,
        compare::F32,
        compare::F64,
        compare::F16,
        compare::INTEGERS,
        compare::CLASSES,
    ];
    tables.into_iter().flatten()
}

/// The given type, or `N`.
macro_rules! type_or_none {
    () => {
        $crate::exec::word::N
    };
    ($t:ident) => {
        $crate::exec::word::$t
    };
}
/// The given name, or `_`.
macro_rules! name_or_none {
    () => {
        _
    };
    ($n:ident) => {
        $n
    };
}
/// The given flag, or `No`.
macro_rules! extra_or_none {
    () => {
        $crate::exec::valu::Extra::No
    };
    ($e:ident) => {
        $crate::exec::valu::Extra::$e
    };
}

/// Rows of form `Lane`: `"name" | "other name", |a: F32, b: F32| -> F32 { a + b };`, an `Extra` in
/// brackets before the names.
macro_rules! lanes {
    ($table:ident: $($([$extra:ident])? $($name:literal)|+,
        |$a:ident: $A:ident $(, $b:ident: $B:ident $(, $c:ident: $C:ident $(, $e:ident: $E:ident)?)?)?| -> $D:ident $body:block)*) => {
        pub static $table: &[$crate::exec::valu::Row] = &[$({
            struct Op;
            impl $crate::exec::lanes::Lane for Op {
                type A = type_or_none!($A);
                type B = type_or_none!($($B)?);
                type C = type_or_none!($($($C)?)?);
                type E = type_or_none!($($($($E)?)?)?);
                type D = type_or_none!($D);
                #[inline(always)]
                fn at(
                    $a: <Self::A as $crate::exec::word::Word>::V,
                    name_or_none!($($b)?): <Self::B as $crate::exec::word::Word>::V,
                    name_or_none!($($($c)?)?): <Self::C as $crate::exec::word::Word>::V,
                    name_or_none!($($($($e)?)?)?): <Self::E as $crate::exec::word::Word>::V,
                ) -> <Self::D as $crate::exec::word::Word>::V $body
            }
            use $crate::exec::{lanes::{lane_base, lane_fast, lane_whole, Lane}, word::Word};
            $crate::exec::valu::Row {
                names: &[$($name),+],
                form: $crate::exec::valu::Form::Lane,
                extra: extra_or_none!($($extra)?),
                sources: [
                    <Op as Lane>::A::KIND, <Op as Lane>::B::KIND, <Op as Lane>::C::KIND, <Op as Lane>::E::KIND,
                ],
                dest: <Op as Lane>::D::KIND,
                run: [lane_base::<Op>, lane_fast::<Op>],
                whole: [lane_base::<Op>, lane_whole::<Op>],
            }
        }),*];
    };
}

/// Rows of form `Carry`: the closure gives the result and the lane's bit.
macro_rules! carries {
    ($table:ident: $($($name:literal)|+,
        |$a:ident: $A:ident, $b:ident: $B:ident $(, $c:ident: $C:ident)?| -> $D:ident $body:block)*) => {
        pub static $table: &[$crate::exec::valu::Row] = &[$({
            struct Op;
            impl $crate::exec::lanes::Carry for Op {
                type A = type_or_none!($A);
                type B = type_or_none!($B);
                type C = type_or_none!($($C)?);
                type D = type_or_none!($D);
                #[inline(always)]
                fn at(
                    $a: <Self::A as $crate::exec::word::Word>::V,
                    $b: <Self::B as $crate::exec::word::Word>::V,
                    name_or_none!($($c)?): <Self::C as $crate::exec::word::Word>::V,
                ) -> (<Self::D as $crate::exec::word::Word>::V, bool) $body
            }
            use $crate::exec::{lanes::{carry_base, carry_fast, carry_whole, Carry}, word::{Kind, Word}};
            $crate::exec::valu::Row {
                names: &[$($name),+],
                form: $crate::exec::valu::Form::Carry,
                extra: $crate::exec::valu::Extra::No,
                sources: [<Op as Carry>::A::KIND, <Op as Carry>::B::KIND, <Op as Carry>::C::KIND, Kind::None],
                dest: <Op as Carry>::D::KIND,
                run: [carry_base::<Op>, carry_fast::<Op>],
                whole: [carry_base::<Op>, carry_whole::<Op>],
            }
        }),*];
    };
}

/// Rows of form `Compare`.
macro_rules! compares {
    ($table:ident: $($($name:literal)|+, |$a:ident: $A:ident, $b:ident: $B:ident| $body:block)*) => {
        pub static $table: &[$crate::exec::valu::Row] = &[$({
            struct Op;
            impl $crate::exec::lanes::Compare for Op {
                type A = type_or_none!($A);
                type B = type_or_none!($B);
                #[inline(always)]
                fn at(
                    $a: <Self::A as $crate::exec::word::Word>::V,
                    $b: <Self::B as $crate::exec::word::Word>::V,
                ) -> bool $body
            }
            use $crate::exec::{lanes::{compare_base, compare_fast, Compare}, word::{Kind, Word}};
            $crate::exec::valu::Row {
                names: &[$($name),+],
                form: $crate::exec::valu::Form::Compare,
                extra: $crate::exec::valu::Extra::No,
                sources: [<Op as Compare>::A::KIND, <Op as Compare>::B::KIND, Kind::None, Kind::None],
                dest: Kind::Mask,
                run: [compare_base::<Op>, compare_fast::<Op>],
                whole: [compare_base::<Op>, compare_fast::<Op>],
            }
        }),*];
    };
}
use {carries, compares, extra_or_none, lanes, name_or_none, type_or_none};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_name_is_in_two_rows() {
        let mut seen = HashSet::new();
        for name in super::all().flat_map(|row| row.names) {
            assert!(seen.insert(name), "{name} is in two rows");
        }
    }
}
