//! Elements by position: index-select, gather, scatter, scatter-add, index-add.
use crate::cases::{family, rocm};
use crate::nearness::{about, doubles, identical, unit_roundoff, wide, within};
use crate::views::{filled_dims, view, with_each, Content, Numbers, View, Way, ALL, IDS, INTEGERS};
use candle_core::{DType, Device, Result, Tensor};
use proptest::prelude::*;

/// Positions below `size`. One in eight is the type's largest number, which means "none": zero when reading,
/// skipped when writing.
fn positions(dims: &[usize], size: usize, dtype: DType, view: View) -> Result<Tensor> {
    // u8 cannot name more.
    let below = if dtype == DType::U8 {
        size.min(255)
    } else {
        size
    };
    let plain = view.tensor(dims, dtype, Content::Whole(0, below as i64 - 1))?;
    if view.seed.is_multiple_of(2) {
        return Ok(plain);
    }
    let none = match dtype {
        DType::U8 => Tensor::new(u8::MAX, &Device::Cpu),
        DType::U32 => Tensor::new(u32::MAX, &Device::Cpu),
        DType::I16 => Tensor::new(i16::MAX, &Device::Cpu),
        DType::I32 => Tensor::new(i32::MAX, &Device::Cpu),
        _ => Tensor::new(i64::MAX, &Device::Cpu),
    };
    let mut numbers = Numbers::new(view.seed ^ 0x55);
    let drop: Vec<u8> = (0..plain.elem_count())
        .map(|_| u8::from(numbers.next().is_multiple_of(8)))
        .collect();
    let drop = Tensor::from_vec(drop, plain.dims(), &Device::Cpu)?;
    drop.where_cond(&none?.broadcast_as(plain.dims())?, &plain)
}

/// Ids may be strided for us; what the CPU needs contiguous is made so.
fn strided(ids: Tensor, stepped: bool) -> Result<Tensor> {
    // An empty storage has no second element.
    if !stepped || ids.elem_count() == 0 {
        return Ok(ids);
    }
    let rank = ids.rank();
    Tensor::stack(&[&ids, &ids], rank)?
        .narrow(rank, 1, 1)?
        .squeeze(rank)
}

#[test]
fn rows_by_index() {
    let rows = with_each(ALL, IDS);
    let case = (
        filled_dims(1..=4),
        any::<prop::sample::Index>(),
        (view(), view()),
        0usize..9,
    );
    family(
        &rows,
        case,
        |&(dtype, ids_dtype), (dims, dim, views, count)| {
            let check = || {
                let dim = dim.index(dims.len());
                let x = views.0.tensor(&dims, dtype, Content::Anything)?;
                let ids = View::contiguous(views.1.seed);
                let ids = strided(
                    positions(&[count], dims[dim], ids_dtype, ids)?,
                    views.1.seed.is_multiple_of(3),
                )?;
                let device = rocm()?;
                let found = x
                    .to_device(&device)?
                    .index_select(&ids.to_device(&device)?, dim)?;
                identical(&found, &x.contiguous()?.index_select(&ids, dim)?)
            };
            about(&format!("index_select by {ids_dtype:?} in"), dtype, check())
        },
    );
}

#[test]
fn elements_by_index() {
    let rows = with_each(ALL, IDS);
    let case = (
        filled_dims(1..=4),
        any::<prop::sample::Index>(),
        (view(), view()),
        0usize..9,
    );
    family(
        &rows,
        case,
        |&(dtype, ids_dtype), (dims, dim, views, count)| {
            let check = || {
                let dim = dim.index(dims.len());
                let x = views.0.tensor(&dims, dtype, Content::Anything)?;
                let mut picked = dims.clone();
                picked[dim] = count;
                let ids = positions(&picked, dims[dim], ids_dtype, views.1)?;
                let device = rocm()?;
                let found = x
                    .to_device(&device)?
                    .gather(&ids.to_device(&device)?, dim)?;
                identical(&found, &x.contiguous()?.gather(&ids.contiguous()?, dim)?)
            };
            about(&format!("gather by {ids_dtype:?} in"), dtype, check())
        },
    );
}

/// What an operation writes into, what it adds or sets, where.
struct Written {
    x: Tensor,
    ids: Tensor,
    source: Tensor,
}

type Writer = fn(&Tensor, &Tensor, &Tensor, usize) -> Result<Tensor>;

impl Written {
    /// A sum of up to 12 small numbers fits every type.
    fn content(dtype: DType) -> Content {
        match dtype.is_int() {
            true => Content::Whole(0, 15),
            false => Content::Between(-2.0, 2.0),
        }
    }

    fn there(&self, apply: Writer, dim: usize) -> Result<Tensor> {
        let device = rocm()?;
        let [x, ids, source] = [&self.x, &self.ids, &self.source].map(|t| t.to_device(&device));
        apply(&x?, &ids?, &source?, dim)
    }

    /// By the CPU in the type `dtype`, on contiguous copies, as it demands.
    fn here(&self, apply: Writer, dim: usize, dtype: DType) -> Result<Tensor> {
        let of = |t: &Tensor| match dtype {
            DType::F64 => wide(t),
            _ => t.to_dtype(dtype),
        };
        let x = of(&self.x)?.force_contiguous()?;
        let source = of(&self.source)?.contiguous()?;
        apply(&x, &self.ids.contiguous()?, &source, dim)
    }

    fn check(&self, apply: Writer, dim: usize, sums: bool) -> Result<()> {
        let found = self.there(apply, dim)?;
        let dtype = self.x.dtype();
        if dtype.is_int() || !sums {
            return identical(&found, &self.here(apply, dim, dtype)?);
        }
        let exact = self.here(apply, dim, DType::F64)?;
        let magnitudes = Self {
            x: wide(&self.x)?.abs()?,
            ids: self.ids.clone(),
            source: wide(&self.source)?.abs()?,
        };
        let magnitudes = doubles(&magnitudes.here(apply, dim, DType::F64)?)?;
        // One rounding for each number added, of sums as large as all of them.
        let added = self.source.dim(dim)? as f64;
        let unit = 1.01 * added * unit_roundoff(dtype);
        within(&found, &exact, |i, _| unit * magnitudes[i])
    }
}

const SCATTERS: &[(&str, Writer, bool)] = &[
    (
        "scatter",
        |x, ids, source, dim| x.scatter(ids, source, dim),
        false,
    ),
    (
        "scatter_add",
        |x, ids, source, dim| x.scatter_add(ids, source, dim),
        true,
    ),
];

#[test]
fn scattering() {
    let rows: Vec<_> = with_each(SCATTERS, IDS);
    let rows = with_each(&rows, ALL);
    let case = (
        filled_dims(1..=4),
        any::<prop::sample::Index>(),
        (view(), view(), view()),
        0usize..9,
    );
    family(
        &rows,
        case,
        |&(((name, apply, sums), ids_dtype), dtype), (dims, dim, views, count)| {
            let check = || {
                let dim = dim.index(dims.len());
                let mut written = dims.clone();
                written[dim] = count;
                let content = if sums {
                    Written::content(dtype)
                } else {
                    Content::Anything
                };
                Written {
                    x: views.0.tensor(&dims, dtype, content)?,
                    ids: positions(&written, dims[dim], ids_dtype, views.1)?,
                    source: views.2.tensor(&written, dtype, content)?,
                }
                .check(apply, dim, sums)
            };
            about(&format!("{name} by {ids_dtype:?} in"), dtype, check())
        },
    );
}

#[test]
fn scattering_in_place() {
    let case = (
        filled_dims(1..=3),
        any::<prop::sample::Index>(),
        (view(), view()),
        0usize..9,
    );
    family(ALL, case, |&dtype, (dims, dim, views, count)| {
        let check = || {
            let dim = dim.index(dims.len());
            let mut written = dims.clone();
            written[dim] = count;
            // Of a larger tensor, whose other elements stay; on the first dimension the part is contiguous.
            let larger = [&[dims[0] + 3], &dims[1..]].concat();
            let content = match dtype.is_int() {
                true => Content::Whole(0, 15),
                false => Content::Whole(0, 2),
            };
            let whole = View::contiguous(views.0.seed).tensor(&larger, dtype, content)?;
            let there = whole.to_device(&rocm()?)?;
            let ids = positions(&written, dims[dim], DType::U32, views.1)?;
            let source = View::contiguous(views.1.seed).tensor(&written, dtype, content)?;
            let part = there.narrow(0, 2, dims[0])?;
            let (ids_there, source_there) = (ids.to_device(&rocm()?)?, source.to_device(&rocm()?)?);
            part.scatter_set(&ids_there, &source_there, dim)?;
            part.scatter_add_set(&ids_there, &source_there, dim)?;
            let part = whole.narrow(0, 2, dims[0])?;
            part.scatter_set(&ids.contiguous()?, &source, dim)?;
            part.scatter_add_set(&ids.contiguous()?, &source, dim)?;
            // Sums of up to ten whole numbers up to 2 need five bits, which f8 rounds in the order of addition; both
            // sides go through the source in order.
            identical(&there, &whole)
        };
        about("scatter in place", dtype, check())
    });
}

#[test]
fn adding_rows_by_index() {
    let rows = with_each(ALL, INTEGERS);
    let case = (
        filled_dims(1..=4),
        any::<prop::sample::Index>(),
        (view(), view(), view()),
        0usize..9,
    );
    family(
        &rows,
        case,
        |&(dtype, ids_dtype), (dims, dim, views, count)| {
            let check = || {
                let dim = dim.index(dims.len());
                let mut written = dims.clone();
                written[dim] = count;
                let ids = positions(
                    &[count],
                    dims[dim],
                    ids_dtype,
                    View::contiguous(views.1.seed),
                )?;
                Written {
                    x: views.0.tensor(&dims, dtype, Written::content(dtype))?,
                    ids: strided(ids, views.1.seed.is_multiple_of(3))?,
                    source: views.2.tensor(&written, dtype, Written::content(dtype))?,
                }
                .check(
                    |x, ids, source, dim| x.index_add(ids, source, dim),
                    dim,
                    true,
                )
            };
            about(&format!("index_add by {ids_dtype:?} in"), dtype, check())
        },
    );
}

#[test]
fn more_rows_than_a_grid_of_16_bits() -> Result<()> {
    let x = View {
        way: Way::Backwards,
        seed: 1,
    }
    .tensor(&[65_537, 2], DType::F32, Content::Between(-1.0, 1.0))?;
    let ids = positions(&[66_000], 65_537, DType::U32, View::contiguous(2))?;
    let device = rocm()?;
    let (there, ids_there) = (x.to_device(&device)?, ids.to_device(&device)?);
    let picked = x.contiguous()?.index_select(&ids, 0)?;
    about(
        "index_select",
        DType::F32,
        identical(&there.index_select(&ids_there, 0)?, &picked),
    )?;
    let ids = positions(&[65_537, 1], 2, DType::U8, View::contiguous(4))?;
    let picked = x.contiguous()?.gather(&ids, 1)?;
    about(
        "gather",
        DType::F32,
        identical(&there.gather(&ids.to_device(&device)?, 1)?, &picked),
    )
}
