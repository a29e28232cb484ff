//! Random tensors in random layouts.
use candle_core::{DType, Device, Result, Tensor};
use proptest::prelude::*;

pub const FLOATS: &[DType] = &[
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::F64,
    DType::F8E4M3,
];
pub const INTEGERS: &[DType] = &[DType::U8, DType::U32, DType::I16, DType::I32, DType::I64];
/// Every type that has kernels.
pub const ALL: &[DType] = &[
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::F64,
    DType::F8E4M3,
    DType::U8,
    DType::U32,
    DType::I16,
    DType::I32,
    DType::I64,
];
/// Types of a position.
pub const IDS: &[DType] = &[DType::U8, DType::U32, DType::I64];

/// How a tensor of given dimensions lies in its storage.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    Contiguous,
    /// Contiguous, but not from the storage's first element on.
    Offset,
    /// A box within a larger tensor: gaps in every dimension.
    Inside,
    /// The dimensions stored in another order, turned by so many places, or backwards.
    Turned(usize),
    Backwards,
    /// Every second element of the storage.
    Stepped,
    /// One slice of this dimension (modulo the rank), repeated with stride zero.
    Repeated(usize),
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        2 => Just(Way::Contiguous),
        1 => Just(Way::Offset),
        2 => Just(Way::Inside),
        1 => (1usize..4).prop_map(Way::Turned),
        1 => Just(Way::Backwards),
        1 => Just(Way::Stepped),
        2 => (0usize..4).prop_map(Way::Repeated),
    ]
}

/// The layout of a tensor and the seed of its numbers.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub way: Way,
    pub seed: u64,
}

pub fn view() -> impl Strategy<Value = View> {
    (way(), any::<u32>()).prop_map(|(way, seed)| View {
        way,
        seed: u64::from(seed),
    })
}

/// Numbers that look random and are the same everywhere.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        let mut numbers = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Neighbouring seeds start alike.
        for _ in 0..8 {
            numbers.next();
        }
        numbers
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 24
    }

    /// From 0 up to, not including, 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() % (1 << 20)) as f64 / f64::from(1 << 20)
    }
}

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// Between the two, evenly; whole for integer types.
    Between(f64, f64),
    /// Whole numbers from the first to the second, in every type.
    Whole(i64, i64),
    /// Numbers of every sign and size, infinities, NaN, both zeros: for operations that only move or compare.
    Anything,
}

impl Content {
    fn draw(self, dtype: DType, numbers: &mut Numbers) -> f64 {
        const ODD: [f64; 8] = [
            0.0,
            -0.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            1e-7,
            -448.0,
            1.0,
        ];
        match self {
            Self::Between(low, high) => low + numbers.fraction() * (high - low),
            Self::Whole(low, high) => {
                (low + (numbers.next() % (high - low + 1) as u64) as i64) as f64
            }
            Self::Anything if dtype.is_int() => (numbers.next() % 100) as f64,
            Self::Anything if numbers.next().is_multiple_of(4) => {
                ODD[(numbers.next() % 8) as usize]
            }
            Self::Anything => numbers.fraction() * 20.0 - 10.0,
        }
    }
}

impl View {
    pub fn contiguous(seed: u64) -> Self {
        let way = Way::Contiguous;
        Self { way, seed }
    }

    /// A tensor of these dimensions on the CPU.
    pub fn tensor(&self, dims: &[usize], dtype: DType, content: Content) -> Result<Tensor> {
        let mut numbers = Numbers::new(self.seed);
        let mut fresh = |dims: &[usize]| {
            let count = dims.iter().product();
            let values: Vec<f64> = (0..count)
                .map(|_| content.draw(dtype, &mut numbers))
                .collect();
            Tensor::from_vec(values, dims, &Device::Cpu)?.to_dtype(dtype)
        };
        let rank = dims.len();
        if rank == 0 {
            // A scalar's only other layout is an offset.
            return match self.way {
                Way::Contiguous => fresh(dims),
                _ => fresh(&[3])?.narrow(0, 1, 1)?.reshape(()),
            };
        }
        match self.way {
            // Of an empty storage there is no second element: the CPU panics at an offset behind its end.
            Way::Stepped if dims.contains(&0) => fresh(dims),
            Way::Contiguous => fresh(dims),
            Way::Offset => {
                let longer = [&[dims[0] + 2], &dims[1..]].concat();
                fresh(&longer)?.narrow(0, 2, dims[0])
            }
            Way::Inside => {
                let larger: Vec<usize> = dims.iter().map(|d| d + 2).collect();
                let each = dims.iter().enumerate();
                each.fold(fresh(&larger), |t, (dim, &len)| t?.narrow(dim, 1, len))
            }
            Way::Turned(by) => {
                let stored: Vec<usize> = (0..rank).map(|i| dims[(i + by) % rank]).collect();
                let order: Vec<usize> = (0..rank).map(|i| (i + rank - by % rank) % rank).collect();
                fresh(&stored)?.permute(order)
            }
            Way::Backwards => {
                let stored: Vec<usize> = dims.iter().rev().copied().collect();
                let order: Vec<usize> = (0..rank).rev().collect();
                fresh(&stored)?.permute(order)
            }
            Way::Stepped => {
                let pairs = [dims, &[2]].concat();
                fresh(&pairs)?.narrow(rank, 1, 1)?.squeeze(rank)
            }
            Way::Repeated(dim) => {
                let mut one = dims.to_vec();
                one[dim % rank] = 1;
                fresh(&one)?.broadcast_as(dims)
            }
        }
    }
}

/// Elements that a random tensor has at most; the emulator runs about a million of them a second.
const MOST_ELEMENTS: usize = 3000;

/// One dimension: mostly small, now and then 1, 0, or longer than a workgroup.
fn dim() -> impl Strategy<Value = usize> {
    prop_oneof![
        2 => Just(1usize),
        1 => Just(0usize),
        10 => 2usize..10,
        3 => 10usize..70,
        1 => 250usize..600,
    ]
}

/// Dimensions of a tensor whose rank is in `ranks`.
pub fn dims(ranks: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(dim(), ranks).prop_map(|mut dims| {
        while dims.iter().product::<usize>() > MOST_ELEMENTS {
            if let Some(longest) = dims.iter_mut().max() {
                *longest /= 2;
            }
        }
        dims
    })
}

/// As [`dims`], without empty tensors.
pub fn filled_dims(ranks: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<usize>> {
    dims(ranks).prop_map(|dims| dims.into_iter().map(|d| d.max(1)).collect())
}

/// Shapes with more rows than a grid dimension of 16 bits counts.
pub const MANY_ROWS: [[usize; 2]; 2] = [[65_537, 1], [66_001, 3]];

/// Every pair of a row and a type.
pub fn with_each<R: Copy>(rows: &[R], dtypes: &[DType]) -> Vec<(R, DType)> {
    let pairs = rows
        .iter()
        .flat_map(|&row| dtypes.iter().map(move |&d| (row, d)));
    pairs.collect()
}
