//! The table of operations: what each is called, its kernel, and the element types it takes. Launches look up their
//! row here, and docs/operations.md is made from it.
use super::convolution;
use super::kind::{self, FLOATS, INTEGERS, MATRIX, NARROW_FLOATS, NUMBERS};
use super::{kernel_suffix, kernels, Launch, RocmDevice, RocmError};
use crate::{DType, Result};
use kernels::Module;

/// What follows the kernel's name after an underscore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suffix {
    /// The element type.
    Type,
    /// The element's width: the kernel moves elements and does not read them as numbers.
    Width,
}

/// One row.
#[derive(Debug)]
pub(super) struct Operation {
    /// As errors and the documentation call it.
    pub(super) name: &'static str,
    /// The kernel's name up to the suffix.
    pub(super) kernel: &'static str,
    module: &'static Module,
    pub(super) dtypes: &'static [DType],
    suffix: Suffix,
}

pub(super) const fn row(
    name: &'static str,
    kernel: &'static str,
    module: &'static Module,
    dtypes: &'static [DType],
) -> Operation {
    let suffix = Suffix::Type;
    Operation {
        name,
        kernel,
        module,
        dtypes,
        suffix,
    }
}

const fn mover(name: &'static str, kernel: &'static str, module: &'static Module) -> Operation {
    Operation {
        suffix: Suffix::Width,
        ..row(name, kernel, module, NUMBERS)
    }
}

const fn unary(name: &'static str, kernel: &'static str) -> Operation {
    row(name, kernel, &kernels::POINTWISE, FLOATS)
}
/// Functions that have a meaning for whole numbers.
const fn unary_any(name: &'static str, kernel: &'static str) -> Operation {
    row(name, kernel, &kernels::POINTWISE, NUMBERS)
}
const fn binary(name: &'static str, kernel: &'static str) -> Operation {
    row(name, kernel, &kernels::PAIRWISE, NUMBERS)
}
const fn fold(name: &'static str, kernel: &'static str) -> Operation {
    row(name, kernel, &kernels::FOLD, NUMBERS)
}

pub(super) static UNARY: &[Operation] = &[
    unary("exp", "uexp"),
    unary("log", "ulog"),
    unary("sin", "usin"),
    unary("cos", "ucos"),
    unary("tanh", "utanh"),
    unary("neg", "uneg"),
    unary("recip", "urecip"),
    unary("sqr", "usqr"),
    unary("sqrt", "usqrt"),
    unary("gelu", "ugelu"),
    unary("gelu_erf", "ugelu_erf"),
    unary("erf", "uerf"),
    unary("silu", "usilu"),
    unary("sigmoid", "usigmoid"),
    unary_any("abs", "uabs"),
    unary_any("ceil", "uceil"),
    unary_any("floor", "ufloor"),
    unary_any("round", "uround"),
    unary_any("relu", "urelu"),
    unary_any("sign", "usign"),
];
pub(super) static POWF: Operation = unary("powf", "upowf");
pub(super) static ELU: Operation = unary("elu", "uelu");
pub(super) static AFFINE: Operation = unary_any("affine", "affine");
pub(super) static BINARY: &[Operation] = &[
    binary("add", "badd"),
    binary("sub", "bsub"),
    binary("mul", "bmul"),
    binary("div", "bdiv"),
    binary("minimum", "bminimum"),
    binary("maximum", "bmaximum"),
    binary("eq", "eq"),
    binary("ne", "ne"),
    binary("lt", "lt"),
    binary("le", "le"),
    binary("gt", "gt"),
    binary("ge", "ge"),
];
pub(super) static TO_DTYPE: Operation = row("to_dtype", "convert", &kernels::CONVERT, NUMBERS);
pub(super) static WHERE: Operation = mover("where", "where", &kernels::MOVE);
pub(super) static CONST_SET: Operation = mover("const-set", "set", &kernels::MOVE);
pub(super) static COPY: Operation = mover("copy", "copy", &kernels::MOVE);
pub(super) static COPY2D: Operation = mover("copy2d", "copy2", &kernels::MOVE);
/// Each kernel has two forms: `<kernel>_each`, a thread per result, and `<kernel>_group`, a workgroup.
pub(super) static REDUCE: &[[Operation; 2]] = &[
    [fold("sum", "sum_each"), fold("sum", "sum_group")],
    [fold("min", "min_each"), fold("min", "min_group")],
    [fold("max", "max_each"), fold("max", "max_group")],
    [
        fold("argmin", "argmin_each"),
        fold("argmin", "argmin_group"),
    ],
    [
        fold("argmax", "argmax_each"),
        fold("argmax", "argmax_group"),
    ],
];
/// Which of the places that parts found counts.
pub(super) static JOIN_PLACES: [Operation; 2] = [
    fold("argmin, of parts", "argmin_join"),
    fold("argmax, of parts", "argmax_join"),
];
/// The parts of a sum of narrow floats, in f32.
pub(super) static SUM_WIDE: Operation = row(
    "sum, in parts",
    "sum_wide_group",
    &kernels::FOLD,
    NARROW_FLOATS,
);
pub(super) static INDEX_SELECT: Operation = mover("index-select", "pick", &kernels::PICK);
pub(super) static GATHER: Operation = mover("gather", "pick", &kernels::PICK);
pub(super) static SCATTER: Operation = mover("scatter", "put_set", &kernels::PICK);
pub(super) static SCATTER_ADD: Operation = row("scatter-add", "put_add", &kernels::PICK, NUMBERS);
pub(super) static INDEX_ADD: Operation = row("index-add", "put_add", &kernels::PICK, NUMBERS);
pub(super) static ARGSORT: Operation = row("argsort", "order_row", &kernels::ORDER, NUMBERS);
pub(super) static ARGSORT_LONG: Operation = row("argsort", "order_begin", &kernels::ORDER, NUMBERS);
pub(super) static RAND_UNIFORM: Operation =
    row("rand_uniform", "uniform", &kernels::RANDOM, FLOATS);
pub(super) static RAND_NORMAL: Operation = row("rand_normal", "normal", &kernels::RANDOM, FLOATS);
static MATMUL: &[Operation] = &[
    row("matmul, matrix cores", "gemm_large", &kernels::GEMM, MATRIX),
    row("matmul, matrix cores", "gemm_small", &kernels::GEMM, MATRIX),
    row("matmul, matrix cores", "gemm_flat", &kernels::GEMM, MATRIX),
    row(
        "matmul, multiply-add",
        "gemm_fma_large",
        &kernels::GEMM,
        MATRIX,
    ),
    row(
        "matmul, multiply-add",
        "gemm_fma_middle",
        &kernels::GEMM,
        MATRIX,
    ),
    row(
        "matmul, multiply-add",
        "gemm_fma_small",
        &kernels::GEMM,
        MATRIX,
    ),
    row(
        "matmul, multiply-add",
        "gemm_fma_flat",
        &kernels::GEMM,
        MATRIX,
    ),
    row("matmul, in parts", "gemm_join", &kernels::GEMM, MATRIX),
    row("matmul, one row", "gemv_k1", &kernels::GEMM, MATRIX),
    row("matmul, few rows", "gemv_k2", &kernels::GEMM, MATRIX),
    row("matmul, few rows", "gemv_k4", &kernels::GEMM, MATRIX),
    row("matmul, few rows", "gemv_k8", &kernels::GEMM, MATRIX),
    row("matmul, few rows", "gemv_n", &kernels::GEMM, MATRIX),
];

/// Finds a row by the name that candle's operation types give to kernels, such as `usilu`.
pub(super) fn find(
    rows: &'static [Operation],
    kernel: &'static str,
    dtype: DType,
) -> Result<&'static Operation> {
    let found = rows.iter().find(|row| row.kernel == kernel);
    let unknown = || RocmError::UnsupportedOp { op: kernel };
    let row = found.ok_or_else(unknown).map_err(crate::Error::from)?;
    row.suffix_for(dtype)?;
    Ok(row)
}

impl Operation {
    /// The kernel's suffix for `dtype`, or the error that names operation and type.
    pub(super) fn suffix_for(&self, dtype: DType) -> Result<&'static str> {
        if !self.dtypes.contains(&dtype) {
            let op = self.name;
            return Err(RocmError::UnsupportedDType { dtype, op }.into());
        }
        match self.suffix {
            Suffix::Type => kernel_suffix(dtype, self.name),
            Suffix::Width => kind::width(dtype, self.name),
        }
    }

    /// Starts a launch of the row's kernel for elements of type `dtype`.
    pub(super) fn launch<'a>(&self, device: &'a RocmDevice, dtype: DType) -> Result<Launch<'a>> {
        device.launch(self.module, self.kernel, self.suffix_for(dtype)?, "")
    }
}

/// The families of the documentation, in its order.
fn families() -> [(&'static str, &'static str, Vec<&'static Operation>); 10] {
    let elementwise = UNARY.iter().chain([&POWF, &ELU, &AFFINE]).collect();
    [
        ("Element-wise, one operand", "", elementwise),
        (
            "Element-wise, two operands",
            "Comparisons give U8. Whole numbers wrap around; a division of them by zero is an error.",
            BINARY.iter().collect(),
        ),
        (
            "Casts",
            "Between any two of these types; the kernel is named after the target. Floats become whole numbers as \
             with Rust's `as`.",
            vec![&TO_DTYPE],
        ),
        (
            "Moves",
            "The condition of `where` is of any integer type. `<width>` is b8, b16, b32 or b64.",
            vec![&WHERE, &CONST_SET, &COPY, &COPY2D],
        ),
        (
            "Reductions",
            "Over any set of dimensions. Positions are U32.",
            REDUCE
                .iter()
                .flatten()
                .chain(&JOIN_PLACES)
                .chain([&SUM_WIDE])
                .collect(),
        ),
        (
            "By index",
            "Indices are U8, U32 or I64, for scatter-add and index-add also I16 and I32. The type's largest value \
             means \"none\". An index out of range is an error.",
            vec![&INDEX_SELECT, &GATHER, &SCATTER, &SCATTER_ADD, &INDEX_ADD],
        ),
        (
            "Sorting",
            "Stable, along the last dimension of a contiguous tensor, of any length; NaN counts as the largest.",
            vec![&ARGSORT, &ARGSORT_LONG],
        ),
        (
            "Random",
            "Philox4x32-10; the same seed gives the same numbers on every target.",
            vec![&RAND_UNIFORM, &RAND_NORMAL],
        ),
        (
            "Matrix products",
            "Any strides, batches with broadcast. BF16 and F16 are summed in f32. Matrix cores: all four types on CDNA 2 \
             and 3, BF16 and F16 on RDNA 3 and 4; docs/gemm.md says which tile is taken when. CDNA 2 reads subnormal BF16 \
             and F16 elements as zero there. With `CANDLE_ROCM_GEMM` rocBLAS takes their place.",
            MATMUL.iter().collect(),
        ),
        (
            "Convolutions, pooling, upsampling",
            convolution::NOTE,
            convolution::ROWS.to_vec(),
        ),
    ]
}

/// The text of docs/operations.md.
pub fn operations_document() -> String {
    let mut text = String::from(
        "<!-- Generated from candle-core/src/rocm_backend/operations.rs: do not edit. Make it anew with\n     \
         `UPDATE_DOCS=1 cargo test -p candle-core --features rocm --test rocm_table`. -->\n\
         # Operations on `Device::Rocm`\n\n\
         One row per operation and kernel. A column is filled where the operation takes the type: the kernel is the \
         named one with the type's suffix. Every layout is taken as it is (strided, offset, broadcast), unless said \
         otherwise; a tensor of more than 2^31 elements is walked in several launches. An operation that is not \
         listed for a type returns an error that names both.\n",
    );
    for (title, note, rows) in families() {
        text += &format!("\n## {title}\n\n");
        if !note.is_empty() {
            text += &format!("{note}\n\n");
        }
        text += "| operation | kernel |";
        let columns = INTEGERS.iter().chain(FLOATS);
        columns.clone().for_each(|d| text += &format!(" {d:?} |"));
        text += "\n|---|---|";
        columns.clone().for_each(|_| text += "---|");
        text.push('\n');
        for row in rows {
            let suffix = match row.suffix {
                Suffix::Type => "<type>",
                Suffix::Width => "<width>",
            };
            text += &format!("| {} | `{}_{suffix}` |", row.name, row.kernel);
            for dtype in columns.clone() {
                text += if row.dtypes.contains(dtype) {
                    " ✓ |"
                } else {
                    " |"
                };
            }
            text.push('\n');
        }
    }
    text
}
