//! Kernels by name, looked up once per device and read without a lock afterwards.
use candle_hip::Function;
use std::sync::OnceLock;

/// A kernel's name in parts: `op`, `op_a` or `op_a_b`. The parts are constants of the program, so a launch builds no
/// string to find its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelName {
    /// The module of `candle_kernels` that has it.
    pub module: &'static str,
    /// The operation.
    pub op: &'static str,
    /// Second part of the name, a type mostly; may be empty.
    pub a: &'static str,
    /// Third part; may be empty.
    pub b: &'static str,
}

impl KernelName {
    /// The symbol in the code object.
    pub fn symbol(&self) -> String {
        let parts = [self.op, self.a, self.b];
        let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        parts.join("_")
    }

    /// FNV-1a over the parts; the table below needs spread, not secrecy.
    fn hash(&self) -> usize {
        let parts = [self.module, self.op, self.a, self.b];
        let bytes = parts.iter().flat_map(|p| p.bytes().chain([0xff]));
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| {
            (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }) as usize
    }
}

/// Open addressing over slots that are written once: readers never wait, writers race for an empty slot.
///
/// The table holds every kernel of the embedded modules several times over; should it fill up, lookups fall through to
/// the code object, slower but right.
pub(super) struct KernelCache {
    slots: Box<[OnceLock<(KernelName, Function)>]>,
}

impl KernelCache {
    const SLOTS: usize = 4096;

    pub(super) fn new() -> Self {
        Self {
            slots: (0..Self::SLOTS).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The cached function, or the one that `load` finds, which is cached then.
    pub(super) fn get<E>(
        &self,
        name: &KernelName,
        load: impl FnOnce() -> Result<Function, E>,
    ) -> Result<Function, E> {
        let start = name.hash();
        let probe = (0..Self::SLOTS).map(|i| &self.slots[(start + i) % Self::SLOTS]);
        let mut load = Some(load);
        let mut found: Option<Function> = None;
        for slot in probe {
            match (slot.get(), load.take()) {
                (Some((n, f)), _) if n == name => return Ok(f.clone()),
                (Some(_), l) => load = l,
                (None, l) => {
                    let function = match (found.take(), l) {
                        (Some(f), _) => f,
                        (None, Some(l)) => l()?,
                        (None, None) => unreachable!("either loaded already or still to load"),
                    };
                    // Another thread may have taken the slot meanwhile; go on probing then.
                    match slot.set((*name, function.clone())) {
                        Ok(()) => return Ok(function),
                        Err((_, function)) => match slot.get() {
                            Some((n, f)) if n == name => return Ok(f.clone()),
                            _ => found = Some(function),
                        },
                    }
                }
            }
        }
        match (found, load) {
            (Some(f), _) => Ok(f),
            (None, Some(l)) => l(),
            (None, None) => unreachable!("either loaded already or still to load"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_join_the_parts_that_are_there() {
        let name = |op, a, b| {
            let module = "m";
            KernelName { module, op, a, b }.symbol()
        };
        assert_eq!(name("cast", "f32", "f16"), "cast_f32_f16");
        assert_eq!(name("usilu", "f32", ""), "usilu_f32");
        assert_eq!(name("quantize_q8_1", "", ""), "quantize_q8_1");
    }
}
