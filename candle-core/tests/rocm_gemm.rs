//! Matrix products: own kernels (rocm_gemm/own.rs); here `CANDLE_ROCM_GEMM`: who computes them, and what is said when
//! rocBLAS is asked for and not there.
//!
//! The variable is read once a process, so each value runs in a child: this program again, with one of the ignored
//! tests. On the emulator, whose device memory is the host's, tests/rocm_gemm/rocblas.c stands in for rocBLAS.
#[path = "rocm_gemm/own.rs"]
mod own;
mod rocm_support;

use candle_core::{DType, Device, Result, Tensor};
use rocm_support::{assert_near, numbers, on, rocm, tolerance};
use std::path::PathBuf;
use std::process::Command;

fn child(case: &str, variables: &[(&str, &str)]) {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args(["--exact", case, "--ignored", "--nocapture"]);
    command.envs(variables.iter().copied());
    let output = command.output().expect("this program can be started again");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{case} with {variables:?}:\n{out}\n{err}"
    );
    assert!(out.contains("1 passed"), "{case} ran no test:\n{out}");
}

/// A file of this process alone, and of one test in it: the suites of several targets run at the same time.
fn scratch(test: &str, name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    folder.join(format!("{}-{test}-{name}", std::process::id()))
}

/// The stand-in, compiled by the C compiler that Rust links with.
fn stand_in(test: &str) -> PathBuf {
    let library = scratch(test, "librocblas_stand_in.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rocm_gemm/rocblas.c");
    let output = Command::new("cc")
        .args([
            "-O1", "-shared", "-fPIC", "-Wall", "-Werror", source, "-ldl", "-o",
        ])
        .arg(&library)
        .output()
        .expect("cc, which Rust links with, is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    library
}

/// Runs `case` with rocBLAS: the stand-in where the device is emulated, else the one that is installed.
fn with_rocblas(case: &str, choice: &str) {
    let library = stand_in(case);
    let library = library.to_string_lossy();
    let mut variables = vec![("CANDLE_ROCM_GEMM", choice)];
    let emulated = std::env::var("CANDLE_HIP_LIBRARY").is_ok_and(|path| path.contains("emu"));
    if emulated {
        variables.push(("CANDLE_ROCBLAS_LIBRARY", &library));
    }
    child(case, &variables);
}

fn tensor(shape: &[usize], seed: u64, dtype: DType) -> Result<Tensor> {
    let values = numbers(shape.iter().product(), seed);
    Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)
}

#[test]
fn rocblas_gives_the_same_products() {
    with_rocblas("products", "rocblas");
}

#[test]
fn auto_gives_the_same_products() {
    with_rocblas("products", "auto");
}

#[test]
fn own_gives_the_same_products() {
    child("products", &[("CANDLE_ROCM_GEMM", "own")]);
}

#[test]
#[ignore = "run with each value of CANDLE_ROCM_GEMM"]
fn products() -> Result<()> {
    let device = rocm()?;
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for (m, n, k) in [(3, 5, 7), (1, 6, 4), (6, 1, 4), (5, 4, 1), (33, 20, 17)] {
            let (a, b) = (tensor(&[2, m, k], 1, dtype)?, tensor(&[2, k, n], 2, dtype)?);
            let (a_columns, b_columns) = (
                tensor(&[2, k, m], 3, dtype)?.t()?,
                tensor(&[2, n, k], 4, dtype)?.t()?,
            );
            let wide = tensor(&[2, k, 2 * n], 5, dtype)?;
            let rights = [
                ("rows", b.clone()),
                ("columns", b_columns),
                ("one for all", b.narrow(0, 0, 1)?.broadcast_as((2, k, n))?),
                ("part of wider rows", wide.narrow(2, n / 2, n)?),
                (
                    "a row repeated",
                    b.narrow(1, 0, 1)?.broadcast_as((2, k, n))?,
                ),
            ];
            for (left, a) in [("rows", a), ("columns", a_columns)] {
                for (right, b) in &rights {
                    let wide = |t: &Tensor| t.to_dtype(DType::F64)?.contiguous();
                    let expected = wide(&a)?.matmul(&wide(b)?)?;
                    let found = on(&device, &a)?.matmul(&on(&device, b)?)?;
                    assert_eq!(found.dtype(), dtype);
                    // Inputs below 2 in magnitude: sums of up to 4 k.
                    let allowed = tolerance(dtype) * (k as f64).sqrt();
                    let what = format!("{dtype:?} {m}x{k}x{n}, {left} by {right}");
                    assert_near(&expected, &found.to_dtype(DType::F64)?, allowed, &what)?;
                }
            }
        }
        let empty = Tensor::zeros((3, 0), dtype, &device)?;
        let sum = empty.matmul(&Tensor::zeros((0, 2), dtype, &device)?)?;
        assert_eq!(sum.to_dtype(DType::F32)?.to_vec2::<f32>()?, [[0.0; 2]; 3]);
    }
    Ok(())
}

#[test]
fn auto_asks_rocblas_for_large_products_only() {
    let emulated = std::env::var("CANDLE_HIP_LIBRARY").is_ok_and(|path| path.contains("emu"));
    if emulated {
        let log = scratch("auto", "rocblas_calls");
        std::fs::write(&log, "").expect("the folder for tests can be written");
        let (library, log_path) = (stand_in("auto"), log.to_string_lossy().into_owned());
        let library = library.to_string_lossy();
        let variables = [
            ("CANDLE_ROCM_GEMM", "auto"),
            ("CANDLE_ROCBLAS_LIBRARY", &*library),
            ("ROCBLAS_STAND_IN_LOG", &*log_path),
        ];
        child("one_large_and_two_small", &variables);
        let calls = std::fs::read_to_string(&log).expect("the log is there");
        assert_eq!(calls, "gemm 128x96x128\n");
    } else {
        with_rocblas("one_large_and_two_small", "auto");
    }
}

#[test]
#[ignore = "run by auto_asks_rocblas_for_large_products_only"]
fn one_large_and_two_small() -> Result<()> {
    let device = rocm()?;
    for (m, n, k) in [(96, 128, 128), (4, 512, 1024), (16, 16, 16)] {
        let (a, b) = (
            tensor(&[m, k], 1, DType::F32)?,
            tensor(&[k, n], 2, DType::F32)?,
        );
        let wide = |t: &Tensor| t.to_dtype(DType::F64);
        let expected = wide(&a)?.matmul(&wide(&b)?)?;
        let found = wide(&on(&device, &a)?.matmul(&on(&device, &b)?)?)?;
        // k additions, each rounding a partial sum of about sqrt(k) by half a unit, in random directions.
        let allowed = 4.0 * k as f64 * 2f64.powi(-24);
        assert_near(&expected, &found, allowed, &format!("{m}x{k}x{n}"))?;
    }
    Ok(())
}

#[test]
fn a_missing_rocblas_is_one_clear_error_and_no_matter_to_auto() {
    let nowhere = ("CANDLE_ROCBLAS_LIBRARY", "/nowhere/librocblas.so");
    child(
        "says_what_was_tried",
        &[("CANDLE_ROCM_GEMM", "rocblas"), nowhere],
    );
    child("products", &[("CANDLE_ROCM_GEMM", "auto"), nowhere]);
    child(
        "one_large_and_two_small",
        &[("CANDLE_ROCM_GEMM", "auto"), nowhere],
    );
}

#[test]
#[ignore = "run by a_missing_rocblas_is_one_clear_error_and_no_matter_to_auto"]
fn says_what_was_tried() -> Result<()> {
    let t = Tensor::ones((4, 4), DType::F32, &rocm()?)?;
    for _ in 0..2 {
        let text = t.matmul(&t).expect_err("there is no rocBLAS").to_string();
        for part in ["/nowhere/librocblas.so", "CANDLE_ROCBLAS_LIBRARY"] {
            assert!(text.contains(part), "{text}");
        }
    }
    // All else goes on.
    assert_eq!((&t + &t)?.sum_all()?.to_scalar::<f32>()?, 32.0);
    Ok(())
}

#[test]
fn an_unknown_choice_is_refused() {
    child("names_the_choices", &[("CANDLE_ROCM_GEMM", "cublas")]);
}

#[test]
#[ignore = "run by an_unknown_choice_is_refused"]
fn names_the_choices() -> Result<()> {
    let t = Tensor::ones((4, 4), DType::F32, &rocm()?)?;
    let text = t
        .matmul(&t)
        .expect_err("there is no such choice")
        .to_string();
    for part in ["CANDLE_ROCM_GEMM", "cublas", "own, rocblas or auto"] {
        assert!(text.contains(part), "{text}");
    }
    Ok(())
}
