//! Every operation on random shapes, layouts and types, on rocm against the CPU backend.
//!
//! cases.rs runs the cases, views.rs makes the tensors, nearness.rs judges the results; each other file is a family of
//! operations. The device is the one that `CANDLE_HIP_LIBRARY` leads to: a card, or the emulator. Convolutions,
//! pooling and images have their random cases in rocm_convolution.rs and rocm_images.rs.
mod arithmetic;
mod cases;
mod cast;
mod copy;
mod cuda_faults;
mod custom;
mod index;
mod matmul;
mod nearness;
mod random;
mod reduce;
mod sort;
mod transfer;
mod two_devices;
mod unary;
mod views;
