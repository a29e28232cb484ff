//! Who computes matrix products: `CANDLE_ROCM_GEMM`.
use super::super::error::{OrRocm, RocmError};
use crate::Result;
use std::sync::OnceLock;

/// The variable that chooses.
const VARIABLE: &str = "CANDLE_ROCM_GEMM";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Own kernels only. The default.
    Own,
    /// rocBLAS; an error where it cannot be opened or refuses.
    Rocblas,
    /// rocBLAS for large products where it opens and knows the card, else own kernels.
    Auto,
}

fn parse(value: Option<&str>) -> std::result::Result<Choice, String> {
    match value {
        None | Some("" | "own") => Ok(Choice::Own),
        Some("rocblas") => Ok(Choice::Rocblas),
        Some("auto") => Ok(Choice::Auto),
        Some(other) => Err(format!(
            "{VARIABLE} is {other:?}; it can be own, rocblas or auto"
        )),
    }
}

/// The process's choice, read once.
pub(super) fn choice() -> Result<Choice> {
    static CHOICE: OnceLock<std::result::Result<Choice, String>> = OnceLock::new();
    let read = || {
        let value = std::env::var_os(VARIABLE);
        parse(value.as_ref().map(|v| v.to_string_lossy()).as_deref())
    };
    CHOICE
        .get_or_init(read)
        .clone()
        .map_err(RocmError::from)
        .rocm()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_those_that_the_error_names() {
        assert_eq!(parse(None), Ok(Choice::Own));
        assert_eq!(parse(Some("")), Ok(Choice::Own));
        assert_eq!(parse(Some("own")), Ok(Choice::Own));
        assert_eq!(parse(Some("rocblas")), Ok(Choice::Rocblas));
        assert_eq!(parse(Some("auto")), Ok(Choice::Auto));
        let text = parse(Some("ROCBLAS")).unwrap_err();
        assert!(text.contains("CANDLE_ROCM_GEMM") && text.contains("own, rocblas or auto"));
    }
}
