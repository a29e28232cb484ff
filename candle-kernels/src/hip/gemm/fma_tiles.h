// The tiles of the kernels by fused multiply-adds, as tiles.h has those on matrix cores: one table for device (gemm/fma.h) and
// host (src/rocm/gemm/tiles.rs).
//
//   tile(rows, columns, threads along the rows, cost)
tiles(
    // Flat: up to 32 rows. 16 results a thread.
    tile(32, 128, 8, 140),
    // Small: narrow matrices, and f64. 16 results a thread.
    tile(64, 64, 16, 135),
    // Middle: up to 64 rows. 32 results a thread.
    tile(64, 128, 16, 117),
    // Large: 64 results a thread, twice as many products for each value read from LDS as with 16.
    tile(128, 128, 16, 100)
)
