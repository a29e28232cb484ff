//! Scaled dot-product attention: which kernel of `src/hip/attention/` to launch, how, and with what.
//!
//! | kernel | for | a workgroup has |
//! | --- | --- | --- |
//! | `attention_rows_<type>_<chunks>_<rows>` | few rows | [`WARPS`] warps of 32 threads |
//! | `attention_tiles_<type>_<width>` | many rows on cards with matrix cores for the type | [`WAVES`] waves, each with 16 rows |
//! | `attention_fma_<type>_<width>` | many rows where there are no matrix cores for the type | [`FMA_THREADS`] threads |
//! | `attention_combine_<type>`, in all modules | joining the pieces of a split context | a row of the result; y counts batch entries |
//!
//! The first three take `(q, k, v, mask, out, partials, Args)`, mask a null pointer where there is none, and leave the result
//! in `out` unless the context is split; then it is in `partials`, from where `attention_combine` takes it with
//! `(partials, out, splits, value_width, int8)`. Whichever writes the result leaves it in int8 as well where there is
//! [room](Args::int8) for that.

use super::targets::family_of;

/// Warps of a workgroup of `attention_rows`; `WARPS` of rows.hip.
pub const WARPS: u32 = 4;
/// Keys that a warp of `attention_rows` takes at a time; `KEYS` of rows.hip.
const WARP_KEYS: u32 = 32;
/// Waves of a workgroup of `attention_tiles`; `WAVES` of tiles.hip.
pub const WAVES: u32 = 4;
/// Rows of a workgroup of `attention_tiles`.
const TILE_ROWS: u32 = WAVES * 16;
/// Threads of a workgroup of `attention_fma`; `THREADS` of fma.hip.
pub const FMA_THREADS: u32 = 128;
/// Bytes of a row for each of the `chunks` of `attention_rows`: eight lanes read 16 each.
const CHUNK_BYTES: usize = 128;
/// Bytes of one read.
pub const READ_BYTES: usize = 16;
/// Positions lie less than so many bytes apart: `attention_rows` counts the bytes over 64 of them in 32 bits.
pub const MOST_STEP_BYTES: usize = 1 << 26;
/// From here on `attention_rows` would read the context more than once. A tile of the matrix cores then executes fewer
/// instructions though most of its rows are empty (emulated, f16, 8 rows of 128, a context of 1024: 31 thousand on gfx90a
/// and 47 on gfx1100 against 67 and 150; f32 on gfx90a 46 against 126). A single query of f32 stays with
/// `attention_rows` all the same: a step of its tile is 64 products of 32 cycles each by one wave, and decoding a context of
/// some hundreds of keys has no other to do.
const LEAST_TILE_ROWS: u64 = 5;
/// From here on a workgroup of `attention_fma` executes fewer instructions than `attention_rows`, though rows are missing.
const LEAST_FMA_ROWS: u64 = 32;
/// The same of f16 and bf16 (emulated, gfx1030, a context of 512: f16 from 26 rows of heads of 64 and from 30 of 128, bf16 from 36
/// and 43).
const LEAST_HALF_FMA_ROWS: u64 = 40;
/// With more units than these for each of its workgroups `attention_rows`, which has four times as many, is faster: on an H200 of 132
/// units 32 workgroups took 1.33 of its time, 128 and 256 of them 0.63 and 0.68.
const FMA_UNITS_PER_WORKGROUP: u64 = 2;
/// Workgroups for each compute unit below which the context is split: so many of their waves hide each other's waiting.
const WORKGROUPS_PER_UNIT: u64 = 4;
/// The same of `attention_fma`, whose loads are bridged by the products of the piece before: joining what more workgroups would
/// leave of so many rows costs as much as they do (emulated, gfx1100, 1024 rows of 8 heads, a context of 256 in two pieces: 4.8 beside
/// 11.6 million instructions).
const FMA_WORKGROUPS_PER_UNIT: u64 = 1;
/// The same of `attention_tiles` that are full of rows: joining those takes longer than what more workgroups save (emulated,
/// gfx90a, 1024 rows of 8 heads, a context of 256 in two pieces: 2.2 million instructions beside 1.8 in f32, as many in f16).
const FULL_TILES_PER_UNIT: u64 = 1;
/// A piece of the context is not shorter than this, or starting and joining it costs more than it does.
const LEAST_SPLIT_KEYS: u32 = WARPS * WARP_KEYS;
/// Elements that share a scale in int8; `SEGMENT` of quantized/activations.h.
const SEGMENT: u32 = 32;
/// HIP limits a grid to 2^32 - 1 threads along x.
const MOST_WORKGROUPS: u64 = u32::MAX as u64 / 256;

/// Names of the kernels of `attention_rows` for 1, 2, 4 and 8 chunks: for one row, and for as many as registers allow.
const ROWS_KERNELS: [(&str, u32, &str); 4] = [
    ("1_1", 4, "1_4"),
    ("2_1", 4, "2_4"),
    ("4_1", 2, "4_2"),
    ("8_1", 1, "8_1"),
];
/// Widths of the kernels of `attention_tiles`.
const TILES_KERNELS: [(usize, &str); 4] = [(64, "64"), (96, "96"), (128, "128"), (256, "256")];
/// Widths of the kernels of `attention_fma`, and rows of their workgroups: `Shape` of fma.hip.
const FMA_KERNELS: [(usize, &str, u32); 3] = [(64, "64", 64), (128, "128", 64), (256, "256", 32)];

/// The modules of `src/hip/attention/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// rows.hip
    Rows,
    /// tiles.hip
    Tiles,
    /// fma.hip
    Fma,
}

/// Strides of an operand in elements: from batch entry to batch entry, head to head, position to position.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strides {
    /// From batch entry to batch entry.
    pub batch: i64,
    /// From head to head.
    pub head: i64,
    /// From position to position: query to query, or key to key.
    pub position: i64,
}

/// `AttentionArgs` of attention.h, byte for byte: 176 bytes without padding.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Args {
    /// Of the queries.
    pub q: Strides,
    /// Of the keys.
    pub k: Strides,
    /// Of the values.
    pub v: Strides,
    /// Of the mask; a position is a query.
    pub mask: Strides,
    /// Elements from key to key of the mask.
    pub mask_key: i64,
    /// Heads of k and v.
    pub key_heads: u32,
    /// Heads of q that share one of k and v.
    pub group: u32,
    /// Queries of a head.
    pub queries: u32,
    /// Keys, and values, of a head.
    pub keys: u32,
    /// Elements of a row of q and k.
    pub width: u32,
    /// Elements of a row of v and of the result.
    pub value_width: u32,
    /// Parts that the keys are cut into; 1 when they are not.
    pub splits: u32,
    /// Keys of a part.
    pub split_keys: u32,
    /// 1 when a query sees only the keys up to its own place, else 0.
    pub causal: u32,
    /// Rows of queries of a workgroup.
    pub tile_rows: u32,
    /// Workgroups that have a key head's rows, for each part.
    pub tiles: u32,
    /// Key heads of all batch entries.
    pub pairs: u32,
    /// Factor of a score, in base 2: times log2(e), or divided by the cap.
    pub scale: f32,
    /// 0, or c times log2(e) for scores of `c * tanh(score / c)`.
    pub cap: f32,
    /// Address of a u32 on the device: how many keys there are before those of the queries. `keys` are then the most that
    /// there can be. 0 where `keys` are all.
    pub past: u64,
    /// Address of room for the result in int8, whose rows are the heads of a query side by side, or 0 where it is not wanted.
    /// Only for plans that [leave](Plan::leaves_int8) it.
    pub int8: u64,
}

/// What the choice depends on about the card.
#[derive(Debug, Clone, Copy)]
pub struct Card<'a> {
    /// Its target without features, such as `gfx1100`.
    pub target: &'a str,
    /// Lanes of a wave: 32 or 64.
    pub wave_size: u32,
    /// Compute units, as HIP counts them.
    pub compute_units: u32,
}

/// An attention to compute: `[batches, key_heads * group, queries, width]` queries with `[batches, key_heads, keys, …]`
/// keys and values. None of the sizes is 0.
#[derive(Debug, Clone, Copy)]
pub struct Problem {
    /// Batch entries.
    pub batches: usize,
    /// Heads of k and v.
    pub key_heads: usize,
    /// Heads of q that share one of k and v.
    pub group: usize,
    /// Queries of a head.
    pub queries: usize,
    /// Keys of a head: the length of the context.
    pub keys: usize,
    /// Elements of a row of q and k; a multiple of [`READ_BYTES`].
    pub width: usize,
    /// Elements of a row of v and of the result.
    pub value_width: usize,
    /// Bytes of an element: 2 for f16 and bf16, 4 for f32.
    pub element_bytes: usize,
    /// Of the queries.
    pub q: Strides,
    /// Of the keys.
    pub k: Strides,
    /// Of the values.
    pub v: Strides,
    /// From position to position is from query to query.
    pub mask: Strides,
    /// From key to key of the mask.
    pub mask_key: i64,
    /// Whether a query sees only the keys up to its own place, the last query all of them.
    pub causal: bool,
    /// What a score is multiplied by.
    pub scale: f32,
    /// 1 for scores as they are, else `cap * tanh(score / cap)`.
    pub softcapping: f32,
    /// [`Args::past`].
    pub past: u64,
}

/// How to launch an attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The kernel is `<prefix>_<type>_<suffix>`, in `module`.
    pub prefix: &'static str,
    /// The end of the name: the shape that the kernel was compiled for.
    pub suffix: &'static str,
    /// Where the kernels are.
    pub module: Module,
    /// Workgroups along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a workgroup along x, y, z.
    pub block: [u32; 3],
    /// The argument after the pointers.
    pub args: Args,
    /// Numbers of f32 that `partials` has to hold; 0 when the context is not split.
    pub partials: usize,
}

impl Plan {
    /// Whether the kernel that writes the result can leave it in int8 too: one query, whose heads are the row of a product,
    /// and of heads in whole segments. Only `attention_rows` can.
    pub fn leaves_int8(&self) -> bool {
        let Args {
            queries,
            value_width,
            splits,
            ..
        } = self.args;
        queries == 1
            && value_width.is_multiple_of(SEGMENT)
            && (splits > 1 || self.module == Module::Rows)
    }
}

/// An attention that no kernel computes; the message names the size and the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported(String);

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

/// Whether a card multiplies matrices of f16 and bf16 (2 bytes), or of f32 (4), as tiles.hip does.
fn has_matrix_cores(target: &str, element_bytes: usize) -> bool {
    family_of(target).is_some_and(|family| family.multiplies_floats(element_bytes == 2))
}

impl Problem {
    /// The launch for this attention on `card`.
    ///
    /// # Errors
    /// A size beyond 32 bits, heads wider than the kernels take, or more workgroups than a grid has; the error says which.
    pub fn plan(&self, card: &Card<'_>) -> Result<Plan, Unsupported> {
        let size = |what: &str, value: usize| {
            u32::try_from(value)
                .map_err(|_| Unsupported(format!("{what} {value} is more than {}", u32::MAX)))
        };
        let rows = self.group as u64 * self.queries as u64;
        size(
            "the number of queries that share a key head,",
            rows as usize,
        )?;
        let pairs = self.batches as u64 * self.key_heads as u64;
        let widest = self.width.max(self.value_width);
        let tiles_kernel = TILES_KERNELS.iter().find(|(width, _)| widest <= *width);
        let keys = size("the number of keys", self.keys)?;
        // Workgroups that keep the card busy.
        let units = u64::from(card.compute_units.max(1));
        let wanted = WORKGROUPS_PER_UNIT * units;
        let workgroups = |tile_rows: u32| rows.div_ceil(u64::from(tile_rows)) * pairs;

        let tiles = has_matrix_cores(card.target, self.element_bytes)
            && rows >= LEAST_TILE_ROWS
            && (self.element_bytes == 2 || self.queries > 1 || rows >= LEAST_FMA_ROWS);
        let fma_kernel = FMA_KERNELS
            .iter()
            .find(|(width, ..)| widest <= *width)
            .filter(|(.., tile_rows)| {
                let enough = workgroups(*tile_rows) * FMA_UNITS_PER_WORKGROUP >= units;
                let least = match self.element_bytes {
                    2 => LEAST_HALF_FMA_ROWS,
                    _ => LEAST_FMA_ROWS,
                };
                rows >= least && enough
            });
        let (prefix, suffix, module, tile_rows, threads) = match (tiles_kernel, fma_kernel) {
            (Some((_, suffix)), _) if tiles => {
                let threads = WAVES * card.wave_size;
                (
                    "attention_tiles",
                    *suffix,
                    Module::Tiles,
                    TILE_ROWS,
                    threads,
                )
            }
            (_, Some((_, suffix, rows))) => {
                ("attention_fma", *suffix, Module::Fma, *rows, FMA_THREADS)
            }
            _ => {
                let bytes = widest * self.element_bytes;
                let chunks = bytes.div_ceil(CHUNK_BYTES).next_power_of_two().ilog2() as usize;
                let Some((one, several, name)) = ROWS_KERNELS.get(chunks) else {
                    let most = (CHUNK_BYTES << (ROWS_KERNELS.len() - 1)) / self.element_bytes;
                    return Err(Unsupported(format!(
                        "heads of {} and values of {} elements are too wide: {most} of this type are the most",
                        self.width, self.value_width
                    )));
                };
                let (suffix, at_once) = if rows > 1 {
                    (*name, *several)
                } else {
                    (*one, 1)
                };
                // Warps with rows of their own need no joining, but there have to be enough of them. A context of two
                // steps would leave half of the sharing warps without work.
                let own = at_once * WARPS;
                let apart = rows > u64::from(at_once)
                    && (keys <= 2 * WARP_KEYS || workgroups(own) >= wanted);
                let tile_rows = if apart { own } else { at_once };
                (
                    "attention_rows",
                    suffix,
                    Module::Rows,
                    tile_rows,
                    WARPS * 32,
                )
            }
        };

        let wanted = match module {
            Module::Fma => FMA_WORKGROUPS_PER_UNIT * units,
            Module::Tiles if rows >= u64::from(TILE_ROWS) => FULL_TILES_PER_UNIT * units,
            _ => wanted,
        };
        let count = workgroups(tile_rows);
        if count > MOST_WORKGROUPS {
            return Err(Unsupported(format!(
                "{} heads of {} queries take {count} workgroups: {MOST_WORKGROUPS} are the most",
                pairs * self.group as u64,
                self.queries
            )));
        }
        let most_splits = u64::from(keys.div_ceil(LEAST_SPLIT_KEYS));
        let splits = wanted.div_ceil(count).min(most_splits) as u32;
        // Whole rounds of a workgroup's warps.
        let split_keys = keys.div_ceil(splits).next_multiple_of(LEAST_SPLIT_KEYS);
        let splits = keys.div_ceil(split_keys);
        let log2_e = std::f32::consts::LOG2_E;
        let (scale, cap) = match self.softcapping {
            1.0 => (self.scale * log2_e, 0.0),
            cap => (self.scale / cap, cap * log2_e),
        };
        let args = Args {
            q: self.q,
            k: self.k,
            v: self.v,
            mask: self.mask,
            mask_key: self.mask_key,
            key_heads: size("the number of key heads", self.key_heads)?,
            group: self.group as u32,
            queries: self.queries as u32,
            keys,
            width: self.width as u32,
            value_width: self.value_width as u32,
            splits,
            split_keys,
            causal: self.causal.into(),
            tile_rows,
            // Their product is the number of workgroups, which fits.
            tiles: (count / pairs) as u32,
            pairs: pairs as u32,
            scale,
            cap,
            past: self.past,
            int8: 0,
        };
        let partials = match splits {
            1 => 0,
            _ => (rows * pairs) as usize * splits as usize * (self.value_width + 2),
        };
        Ok(Plan {
            prefix,
            suffix,
            module,
            grid: [count as u32, splits, 1],
            block: [threads, 1, 1],
            args,
            partials,
        })
    }
}
#[cfg(test)]
mod tests;
