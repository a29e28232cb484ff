//! Two formats that one launch multiplies with a row of activations: the kernels `pair_*` of product.hip.
use super::types;
use crate::quantized::GgmlDType;

/// A kernel of product.hip for two formats.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) first: GgmlDType,
    pub(super) second: GgmlDType,
    /// Its name behind `pair_`.
    pub(super) name: &'static str,
}

const fn pair(first: GgmlDType, second: GgmlDType, name: &'static str) -> Pair {
    Pair {
        first,
        second,
        name,
    }
}

/// `FOR_EACH_PAIR` of vector.h, which says whose files have them.
pub(super) static PAIRS: &[Pair] = &[
    pair(GgmlDType::Q4K, GgmlDType::Q6K, "q4k_q6k"),
    pair(GgmlDType::Q5K, GgmlDType::Q6K, "q5k_q6k"),
    pair(GgmlDType::Q4K, GgmlDType::Q5K, "q4k_q5k"),
    pair(GgmlDType::Q3K, GgmlDType::Q4K, "q3k_q4k"),
    pair(GgmlDType::Q3K, GgmlDType::Q5K, "q3k_q5k"),
    pair(GgmlDType::Q2K, GgmlDType::Q4K, "q2k_q4k"),
    pair(GgmlDType::Q2K, GgmlDType::Q3K, "q2k_q3k"),
    pair(GgmlDType::Q5_0, GgmlDType::Q8_0, "q5_0_q8_0"),
    pair(GgmlDType::Q5_1, GgmlDType::Q8_0, "q5_1_q8_0"),
];

impl Pair {
    /// The pair of two formats, in whichever order.
    pub(super) fn of(a: GgmlDType, b: GgmlDType) -> Option<&'static Self> {
        let is = |pair: &&Self| [(a, b), (b, a)].contains(&(pair.first, pair.second));
        PAIRS.iter().find(is)
    }
}

/// The formats of a launch's weights.
#[derive(Debug, Clone, Copy)]
pub(super) enum Formats {
    /// By its name in the kernels.
    One(&'static str),
    Two(&'static Pair),
}

impl Formats {
    /// Of weights of these types; `None` where no kernel takes them together.
    pub(super) fn of(types: impl IntoIterator<Item = GgmlDType>) -> Option<Self> {
        let mut types = types.into_iter();
        let first = types.next()?;
        let mut formats = Self::One(types::row(first).own?);
        for dtype in types.filter(|t| *t != first) {
            match formats {
                Self::One(_) => formats = Self::Two(Pair::of(first, dtype)?),
                Self::Two(pair) if [pair.first, pair.second].contains(&dtype) => {}
                Self::Two(_) => return None,
            }
        }
        Some(formats)
    }

    /// Whether weights of this type are of the second format.
    pub(super) fn is_second(&self, dtype: GgmlDType) -> bool {
        matches!(self, Self::Two(pair) if pair.second == dtype)
    }
}

/// Sorts weights, whose types are given, into launches, as their numbers: up to `most` of one type, or of two that have a
/// kernel where `pairs` may be taken.
pub(super) fn launches(types: &[GgmlDType], most: usize, pairs: bool) -> Vec<Vec<usize>> {
    let mut of_type: Vec<(GgmlDType, Vec<usize>)> = Vec::new();
    for (i, dtype) in types.iter().enumerate() {
        match of_type
            .iter_mut()
            .find(|(t, of)| t == dtype && of.len() < most)
        {
            Some((_, of)) => of.push(i),
            None => of_type.push((*dtype, vec![i])),
        }
    }
    let mut launches = Vec::new();
    while !of_type.is_empty() {
        let (dtype, mut of) = of_type.remove(0);
        let fits = |(other, more): &(GgmlDType, Vec<usize>)| {
            pairs && of.len() + more.len() <= most && Pair::of(dtype, *other).is_some()
        };
        if let Some(i) = of_type.iter().position(fits) {
            of.extend(of_type.remove(i).1);
        }
        launches.push(of);
    }
    launches
}

#[cfg(test)]
mod tests {
    use super::*;
    use GgmlDType::{Q4K, Q5K, Q6K, Q8_0};

    /// The kernels' table has the same pairs by the same names.
    #[test]
    fn pairs_agree_with_the_kernels() {
        let source = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../candle-kernels/src/hip/quantized/vector.h"
        ));
        let source = source.unwrap();
        let (_, table) = source.split_once("#define FOR_EACH_PAIR(MACRO)").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let rows: Vec<_> = table.split("MACRO(").skip(1).collect();
        assert_eq!(rows.len(), PAIRS.len());
        for (row, pair) in rows.iter().zip(PAIRS) {
            let [first, second] = [pair.first, pair.second].map(|t| types::row(t).own.unwrap());
            assert_eq!(pair.name, format!("{first}_{second}"));
            let text = format!("{first}, {:?}, {second}, {:?})", pair.first, pair.second);
            assert!(row.starts_with(&text), "{row}: {text}");
        }
    }

    #[test]
    fn formats_of_a_launch() {
        assert!(matches!(Formats::of([Q4K, Q4K]), Some(Formats::One("q4k"))));
        for types in [[Q4K, Q4K, Q6K], [Q6K, Q4K, Q6K]] {
            let formats = Formats::of(types).unwrap();
            assert!(matches!(formats, Formats::Two(pair) if pair.name == "q4k_q6k"));
            assert!(formats.is_second(Q6K) && !formats.is_second(Q4K));
        }
        for types in [&[][..], &[Q4K, Q8_0], &[Q4K, Q5K, Q6K], &[GgmlDType::F16]] {
            assert!(Formats::of(types.iter().copied()).is_none(), "{types:?}");
        }
    }

    #[test]
    fn weights_are_sorted_into_launches() {
        for (types, pairs, expected) in [
            (&[Q4K, Q4K, Q4K][..], true, vec![vec![0, 1, 2]]),
            (&[Q4K, Q4K, Q6K], true, vec![vec![0, 1, 2]]),
            (&[Q4K, Q6K, Q4K], true, vec![vec![0, 2, 1]]),
            (&[Q6K, Q4K], true, vec![vec![0, 1]]),
            (&[Q4K, Q6K, Q4K], false, vec![vec![0, 2], vec![1]]),
            // No kernel for Q8_0 with Q4K; Q6K goes with the first that it has one with.
            (&[Q8_0, Q4K, Q6K], true, vec![vec![0], vec![1, 2]]),
            (&[Q4K, Q5K, Q6K], true, vec![vec![0, 1], vec![2]]),
            // More than a launch takes.
            (&[Q4K; 4], true, vec![vec![0, 1, 2], vec![3]]),
            (&[Q4K, Q4K, Q6K, Q6K], true, vec![vec![0, 1], vec![2, 3]]),
            (
                &[Q4K, Q4K, Q4K, Q4K, Q6K],
                true,
                vec![vec![0, 1, 2], vec![3, 4]],
            ),
            (&[], true, vec![]),
        ] {
            assert_eq!(launches(types, 3, pairs), expected, "{types:?} {pairs}");
        }
    }
}
