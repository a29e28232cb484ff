//! The rocm backend when things go wrong around it: memory that ends, devices that are lost, forks, many threads, misuse;
//! and when nothing goes wrong ten thousand times.
//!
//! What depends on the environment, or ends a device, runs in a child: this program again with one of its ignored tests.
mod child;
mod exhaustion;
mod fork;
mod loss;
mod misuse;
mod model;
mod soak;
mod threads;
