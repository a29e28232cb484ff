// The tiles that a workgroup of a matrix-core kernel computes: one table for device (gemm/cores.h) and host
// (src/rocm/gemm/tiles.rs), whose compilers both take it for a call of `tiles`.
//
// The host takes the tile for which the busiest of the card's compute units has least to do: rounds of tiles times rows
// times columns times cost. Cost is wave instructions for the same products, in percent of the large tile's, as counted by
// the emulator (docs/gemm.md): fewer rows and columns share what was read from LDS.
//
//   tile(rows, columns, rows of waves, cost)
tiles(
    // Flat: up to 32 rows, a prompt of a few tokens or a batch of decoded ones. The weights are read once, and a
    // larger tile would compute rows that are not there. The waves stand side by side.
    tile(32, 128, 1, 250),
    // Small: middling products, of which there are more tiles than of large ones.
    tile(64, 64, 2, 190),
    // Large: 64 results for each lane of the wave, four times as many products for each value read from LDS as with 16.
    tile(128, 128, 2, 100)
)
