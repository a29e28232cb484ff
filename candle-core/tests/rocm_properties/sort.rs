//! Sorting along the last dimension.
use crate::cases::{family, rocm};
use crate::nearness::{about, bits, identical};
use crate::views::{filled_dims, with_each, Content, View, ALL};
use candle_core::{bail, DType, Device, Result};
use proptest::prelude::*;

/// Positions are a permutation of each row and bring it into the CPU's order (equal numbers in any order).
fn check(dims: &[usize], dtype: DType, ascending: bool, seed: u64) -> Result<()> {
    let x = View::contiguous(seed).tensor(dims, dtype, Content::Between(0.0, 200.0))?;
    let (sorted, positions) = x.to_device(&rocm()?)?.sort_last_dim(ascending)?;
    let (expected, _) = x.sort_last_dim(ascending)?;
    identical(&sorted, &expected)?;
    if positions.dtype() != DType::U32 {
        bail!("positions of type {:?}", positions.dtype())
    }
    let columns = dims[dims.len() - 1];
    for row in positions
        .to_device(&Device::Cpu)?
        .reshape(((), columns))?
        .to_vec2::<u32>()?
    {
        let mut seen = row.clone();
        seen.sort_unstable();
        if seen.iter().enumerate().any(|(i, &p)| i != p as usize) {
            bail!("{row:?} is no permutation")
        }
    }
    Ok(())
}

#[test]
fn positions_that_sort() {
    let rows = with_each(&[true, false], ALL);
    family(
        &rows,
        (filled_dims(1..=3), any::<u32>()),
        |&(ascending, dtype), (dims, seed)| {
            let name = if ascending { "ascending" } else { "descending" };
            about(name, dtype, check(&dims, dtype, ascending, seed.into()))
        },
    );
}

#[test]
fn long_rows() -> Result<()> {
    for columns in [1023, 1024, 1025, 5000] {
        about(
            "long",
            DType::F32,
            check(&[2, columns], DType::F32, true, 5),
        )?;
        about(
            "long",
            DType::U32,
            check(&[1, columns], DType::U32, false, 6),
        )?;
    }
    Ok(())
}

#[test]
fn more_rows_than_a_grid_of_16_bits() -> Result<()> {
    about("many", DType::F32, check(&[65_537, 3], DType::F32, true, 7))
}

#[test]
fn a_view_that_is_not_contiguous_is_refused_as_on_the_cpu() -> Result<()> {
    let x = View::contiguous(1)
        .tensor(&[4, 5], DType::F32, Content::Between(0.0, 1.0))?
        .t()?;
    let there = x.to_device(&rocm()?)?;
    let (here, there) = (x.arg_sort_last_dim(true), there.arg_sort_last_dim(true));
    let text = |r: Result<_>| {
        r.map(|_: candle_core::Tensor| ())
            .expect_err("not contiguous")
            .to_string()
    };
    assert_eq!(text(here), text(there));
    // An offset alone is no obstacle.
    let x = View::contiguous(1)
        .tensor(&[6, 5], DType::F32, Content::Between(0.0, 1.0))?
        .narrow(0, 2, 3)?;
    let found = x.to_device(&rocm()?)?.sort_last_dim(true)?.0;
    assert_eq!(bits(&found)?, bits(&x.sort_last_dim(true)?.0)?);
    Ok(())
}
