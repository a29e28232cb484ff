//! The text of docs/quantized.md, from the table of types.
use super::crossover::row_of;
use super::dense::MANY_TASKS;
use super::experts::MOST_PLANNED_EXPERTS;
use super::own::{MOST_VECTOR_ROWS, MOST_WEIGHTS};
use super::pairs::PAIRS;
use super::types::{QuantizedType, TYPES};
use super::STAGING_BYTES;
use candle_kernels::rocm::targets::Family;

/// A column: its title and what a type's row says in it.
type Column = (&'static str, fn(&QuantizedType) -> String);

fn kernel(name: Option<String>) -> String {
    name.map_or_else(|| "–".into(), |name| format!("`{name}`"))
}

const PATHS: &[Column] = &[
    ("type", |t| format!("{:?}", t.dtype)),
    ("block", |t| {
        let (elements, bytes) = (t.dtype.block_size(), t.dtype.type_size());
        format!("{elements} / {bytes}")
    }),
    ("dequantize, rows by index", |t| match (t.own, t.dense) {
        (Some(name), _) => kernel(Some(format!("lookup_{name}"))),
        _ => "cast, index-select".into(),
    }),
    ("1 to 8 rows", |t| match (t.own, t.dense) {
        (Some(name), _) => kernel(Some(format!("vec_{name}_<columns>"))),
        _ => "matmul, `gemv_k`".into(),
    }),
    ("more rows", |t| match (t.own, t.dense) {
        (Some(name), _) => format!("`tile_narrow_{name}`, `tile_{name}`, `tile_large_{name}`"),
        _ => "matmul, `gemm_fma`".into(),
    }),
    ("experts", |t| match t.own {
        Some(name) => format!("`moe_{name}`, `moe_tile_{name}`"),
        None => "`dense_moe`, `dense_moe_tile`, `dense_moe_tile_large`".into(),
    }),
    ("quantize", |t| match (t.quantize, t.dense) {
        (Some(name), _) => kernel(Some(name.into())),
        (None, Some(_)) => "cast".into(),
        (None, None) => "on the CPU".into(),
    }),
];

const TRANSLATED: &[Column] = &[
    ("type", |t| format!("{:?}", t.dtype)),
    ("1 to 8 rows", |t| {
        let names = t.mul_mat_vec.as_ref().map(|names| names[0]);
        kernel(names.map(|name| name.replace("cuda1", "cuda<columns>")))
    }),
    ("more rows", |t| {
        kernel(t.mul_mat.map(|tile| tile.kernel.into()))
    }),
    ("tile", |t| {
        t.mul_mat.map_or_else(
            || "–".into(),
            |tile| format!("{} × {}", tile.rows, tile.columns),
        )
    }),
    ("1 row, `set_force_dmmv`", |t| {
        kernel(t.dequantize_mul_mat_vec.map(Into::into))
    }),
];

fn table<'a>(columns: &[Column], rows: impl Iterator<Item = &'a QuantizedType>) -> String {
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let mut text = format!(
        "| {} |\n|{}\n",
        titles.join(" | "),
        "---|".repeat(columns.len())
    );
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|(_, cell)| cell(row)).collect();
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text
}

/// The text of docs/quantized.md.
pub fn quantized_document() -> String {
    let staging = STAGING_BYTES >> 20;
    let paths = table(PATHS, TYPES.iter());
    let tasks = |with: Family| row_of(with).tasks_per_expert;
    let (experts_from, experts_from_dot) = (tasks(Family::Cdna3), tasks(Family::Rdna2));
    let dense_from = row_of(Family::Rdna3).dense_from.unwrap_or(0);
    let [experts_from_same, experts_from_other] = row_of(Family::Rdna3).dense_tasks_per_expert;
    let [_, experts_from_dense] = row_of(Family::Rdna2).dense_tasks_per_expert;
    let translated = table(TRANSLATED, TYPES.iter().filter(|t| t.mul_mat_vec.is_some()));
    let pairs: Vec<_> = PAIRS.iter().map(|p| format!("`pair_{}`", p.name)).collect();
    let pairs = pairs.join(", ");
    format!(
        "<!-- Generated from candle-core/src/quantized/rocm/types.rs: do not edit. Make it anew with\n     \
         `UPDATE_DOCS=1 cargo test -p candle-core --features rocm --test rocm_quantized`. -->\n\
         # Quantized tensors on `Device::Rocm`\n\n\
         Every type that candle's CPU multiplies is multiplied, looked up and dequantized by a kernel; nothing passes \
         through the host except where the table says so. Activations and results are f32, f16 or bf16 without a \
         conversion kernel; rows of the weights, rows of the activations and blocks may be any number; views and batch \
         dimensions are taken.\n\n\
         {paths}\n\
         Block: elements / bytes. `<columns>` is 1, 2, 4 or {MOST_VECTOR_ROWS}. F32, F16 and BF16 weights go to the \
         dense product where the activations have their type, else to the named kernels, which convert as they load; on CDNA, \
         whose matrix cores multiply f32, more than 64 rows of f32 have the weights widened first, up to 256 MiB of them. `QMatMul` keeps F16 and BF16 \
         weights as they are, where candle's other backends make them f32. \
         `tile_narrow` (16 rows of weights × 16 of activations), `tile` (64 × 32) and `tile_large` (128 × 128), on RDNA 2 also `tile_medium_<type>` (64 × 64), \
         whichever takes least by a model of the card (crossover.rs), multiply on the matrix cores of CDNA 2 and 3 (MFMA) and RDNA 3 and 4 (WMMA), by dot products of \
         four int8 elsewhere. The waves of a narrow one share k. Where tiles leave most of a card idle, up to eight workgroups share each: every one takes a part of \
         k, and `gemm_join` adds them. From {dense_from} rows of f32 or bf16 activations on, CDNA 2 and RDNA 3 dequantize the \
         weights to bf16 (up to 256 MiB of them) and take the dense product on matrix cores.\n\n\
         - **Accuracy.** Dequantization and look-up give the CPU's bits; f16 is that value rounded once. Products round \
         the activations to int8 in blocks of 32 with an f32 scale: each is off by at most 1/254 of its block's largest, \
         and everything else is f32; with weights in bf16 both are \
         off by at most 1/512, which is no more. (Q8_1, which candle's CUDA kernels use, has an f16 scale: activations below 1e-5 \
         vanish, above 8e6 they are infinite.) A block with an infinite activation gives NaN.\n\
         - **Quantizing** on the device gives the CPU's bits, except for the sign of a zero minimum in a block that \
         holds zeros of both signs. The k-quants and imatrix weighting search for scales with the CPU's code.\n\
         - **Experts.** `indexed_moe_forward` and `candle_nn::moe` (dense and GGUF) check each expert's number on the \
         device. A bad one leaves NaN and is an error of the next call that waits for the device. So does a row number \
         of an embedding. From {experts_from} rows of activations an expert on average ({experts_from_dot} without matrix \
         cores) the device sorts them by expert and multiplies by tiles; below that, and with more than \
         {MOST_PLANNED_EXPERTS} experts, each row is a vector product. Weights that are not quantized: from \
         {experts_from_same} rows where matrix cores take them, from {experts_from_other} on RDNA 3 and 4 and \
         {experts_from_dense} elsewhere where none do; a tile has 32 rows of activations, from {MANY_TASKS} rows an expert \
         on 128. Sums are f32. f16 by f16 and bf16 by bf16 are multiplied as they are, everything else is widened to f32, \
         on CDNA for its matrix cores (on CDNA 2 f16 too, whose own ones lose subnormals).\n\
         - **Together.** `candle_nn::fused::products` multiplies the same 1 to {MOST_VECTOR_ROWS} rows of activations with up \
         to {MOST_WEIGHTS} weights of a type in one launch, a single row also with weights of two types: {pairs}.\n\
         - **Loading.** A GGUF tensor is read straight into {staging} MiB of page-locked buffers and copied from there \
         while the next stretch is read: that much, and no copy of the tensor, is the host memory it takes.\n\n\
         ## Candle's translated kernels\n\n\
         `set_product_kernels(ProductKernels::Translated)` takes them for f32 activations where they are right, to \
         compare with. They are not the default because they execute more instructions (on the emulator, 512 × 2048 \
         weights, gfx1100 and gfx90a: 1.4 to 3.4 times ours for one or two rows of activations, 0.9 to 2.3 times for \
         eight), because all those for two and more columns index registers through scratch \
         memory on gfx90a and several `mul_mat` spill on gfx1100 (`scripts/kernel_report.sh --spills`; ours use none), and because \
         they read past the end of a row: with an odd number of rows beyond the weights, and where k is no multiple of \
         512 into the next row, whose NaN or infinite scale then spoils this one. `mul_mat` with a tile that the weights \
         do not fill, and `mul_mat_q6_K` always, store to the same place of the LDS from several waves without order \
         (the same values; the emulator reports it as a race), so those products go to our kernels.\n\n\
         {translated}\n\
         `mmq_gguf`, candle's newer family for many rows, translates with ggml's branches for AMD's matrix cores. Nothing of \
         candle runs it on rocm and the build leaves it out; a test compiles Q4_0, Q8_0, Q4K and Q6K and holds them against \
         f64 and against ours (`cargo test -p candle-core --features rocm --test rocm_quantized_mmq -- --ignored`). In \
         that test's shapes it executes 0.55 to 2.2 times the instructions of `tile` (gfx1100 and gfx90a, emulated; least Q8_0, most \
         Q6K), and it too stores scales from several waves where rows are no whole tile, in Q6K \
         always.\n"
    )
}
