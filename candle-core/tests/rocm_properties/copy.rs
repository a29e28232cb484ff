//! Copies: contiguous from strided, concatenation, padding, rolling, writing into a slice, filling.
use crate::cases::{family, rocm};
use crate::nearness::{about, identical};
use crate::views::{dims, view, Content, View, ALL, MANY_ROWS};
use candle_core::{DType, Device, Result, Tensor};
use proptest::prelude::*;

#[test]
fn contiguous_from_every_layout() {
    family(ALL, (dims(0..=5), view()), |&dtype, (dims, view)| {
        let check = || {
            let x = view.tensor(&dims, dtype, Content::Anything)?;
            let there = x.to_device(&rocm()?)?;
            identical(&there.contiguous()?, &x)?;
            identical(&there.copy()?, &x)?;
            identical(&there.flatten_all()?, &x.flatten_all()?)
        };
        about("contiguous", dtype, check())
    });
}

#[test]
fn concatenation_along_any_dimension() {
    let lengths = prop::collection::vec(0usize..5, 1..4);
    let case = (
        dims(1..=4),
        any::<prop::sample::Index>(),
        lengths,
        prop::collection::vec(view(), 3),
    );
    family(ALL, case, |&dtype, (dims, dim, lengths, views)| {
        let check = || {
            let dim = dim.index(dims.len());
            let parts = lengths.iter().zip(&views).map(|(&len, view)| {
                let mut dims = dims.clone();
                dims[dim] = len;
                view.tensor(&dims, dtype, Content::Anything)
            });
            let parts = parts.collect::<Result<Vec<_>>>()?;
            let device = rocm()?;
            let there = parts
                .iter()
                .map(|t| t.to_device(&device))
                .collect::<Result<Vec<_>>>()?;
            identical(&Tensor::cat(&there, dim)?, &Tensor::cat(&parts, dim)?)
        };
        about("cat", dtype, check())
    });
}

type Rearrangement = fn(&Tensor, usize) -> Result<Tensor>;

const REARRANGEMENTS: &[(&str, Rearrangement)] = &[
    ("stack", |t, dim| Tensor::stack(&[t, t], dim)),
    ("pad with zeros", |t, dim| t.pad_with_zeros(dim, 2, 1)),
    ("pad with the edge", |t, dim| t.pad_with_same(dim, 1, 3)),
    ("roll", |t, dim| t.roll(3, dim)),
    ("repeat", |t, dim| {
        let mut times = vec![1; t.rank()];
        times[dim] = 3;
        t.repeat(times)
    }),
    ("flip", |t, dim| t.flip(&[dim])),
    ("chunks in another order", |t, dim| {
        let mut chunks = t.chunk(2, dim)?;
        chunks.reverse();
        Tensor::cat(&chunks, dim)
    }),
];

#[test]
fn rearrangements() {
    let rows = crate::views::with_each(REARRANGEMENTS, ALL);
    let case = (
        crate::views::filled_dims(1..=4),
        any::<prop::sample::Index>(),
        view(),
    );
    family(&rows, case, |&((name, apply), dtype), (dims, dim, view)| {
        let check = || {
            let dim = dim.index(dims.len());
            let x = view.tensor(&dims, dtype, Content::Anything)?;
            // The CPU flips contiguous tensors only.
            identical(
                &apply(&x.to_device(&rocm()?)?, dim)?,
                &apply(&x.contiguous()?, dim)?,
            )
        };
        about(name, dtype, check())
    });
}

#[test]
fn writing_into_a_slice() {
    let case = (
        crate::views::filled_dims(1..=3),
        any::<prop::sample::Index>(),
        (view(), view()),
        0usize..4,
    );
    family(ALL, case, |&dtype, (dims, dim, views, start)| {
        let check = || {
            let dim = dim.index(dims.len());
            let mut larger = dims.clone();
            larger[dim] += 4;
            // In place, so both are contiguous.
            let whole = View::contiguous(views.0.seed).tensor(&larger, dtype, Content::Anything)?;
            let there = whole.to_device(&rocm()?)?;
            let part = View::contiguous(views.1.seed).tensor(&dims, dtype, Content::Anything)?;
            there.slice_set(&part.to_device(&rocm()?)?, dim, start)?;
            whole.slice_set(&part, dim, start)?;
            identical(&there, &whole)?;
            let (x, part) = (
                views.0.tensor(&larger, dtype, Content::Anything)?,
                views.1.tensor(&dims, dtype, Content::Anything)?,
            );
            let found =
                x.to_device(&rocm()?)?
                    .slice_scatter(&part.to_device(&rocm()?)?, dim, start)?;
            identical(&found, &x.slice_scatter(&part, dim, start)?)
        };
        about("slice", dtype, check())
    });
}

#[test]
fn filling_a_view_leaves_the_rest() {
    let case = (
        crate::views::filled_dims(1..=3),
        any::<prop::sample::Index>(),
        1u8..100,
    );
    family(ALL, case, |&dtype, (dims, dim, value)| {
        let check = || {
            let dim = dim.index(dims.len());
            let mut larger = dims.clone();
            larger[dim] += 3;
            let whole = View::contiguous(5).tensor(&larger, dtype, Content::Whole(0, 99))?;
            let there = whole.to_device(&rocm()?)?;
            let value = candle_core::scalar::Scalar::one(dtype);
            for t in [&whole, &there] {
                t.narrow(dim, 2, dims[dim])?.const_set(value)?;
                t.narrow(dim, 0, 1)?.zero_set()?;
            }
            identical(&there, &whole)
        };
        about(&format!("set to {value}"), dtype, check())
    });
}

#[test]
fn constants() -> Result<()> {
    for &dtype in ALL {
        let device = rocm()?;
        for dims in [&[] as &[usize], &[0, 3], &[1], &[7, 129]] {
            let of = |device: &Device| -> Result<[Tensor; 2]> {
                Ok([
                    Tensor::zeros(dims, dtype, device)?,
                    Tensor::ones(dims, dtype, device)?,
                ])
            };
            let (found, expected) = (of(&device)?, of(&Device::Cpu)?);
            for (found, expected) in found.iter().zip(&expected) {
                about("constant", dtype, identical(found, expected))?;
            }
        }
    }
    identical(
        &Tensor::full(2.5f32, (3, 4), &rocm()?)?,
        &Tensor::full(2.5f32, (3, 4), &Device::Cpu)?,
    )?;
    identical(
        &Tensor::arange(3u32, 900, &rocm()?)?,
        &Tensor::arange(3u32, 900, &Device::Cpu)?,
    )
}

#[test]
fn more_rows_than_a_grid_of_16_bits() -> Result<()> {
    for dims in MANY_ROWS {
        for &dtype in &[DType::U8, DType::F16, DType::F32, DType::F64] {
            let view = View {
                way: crate::views::Way::Inside,
                seed: 7,
            };
            let x = view.tensor(&dims, dtype, Content::Whole(0, 99))?;
            let there = x.to_device(&rocm()?)?;
            about("contiguous", dtype, identical(&there.contiguous()?, &x))?;
            about(
                "cat",
                dtype,
                identical(
                    &Tensor::cat(&[&there, &there], 1)?,
                    &Tensor::cat(&[&x, &x], 1)?,
                ),
            )?;
        }
    }
    Ok(())
}
