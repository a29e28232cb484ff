//! Memory instructions: an address space says where each lane's access goes and whether it may, a
//! move says what is transferred. Each instruction is a pair of the two.

pub mod atomic;
pub mod moves;
pub mod scalar;
mod shape;
pub mod space;
mod transfer;
#[cfg(target_arch = "x86_64")]
mod transpose;
