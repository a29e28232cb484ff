//! Running kernels for the executor's tests, below the C API: compile, load, buffers, launch.

// Each test binary uses a part of this.
#![allow(dead_code, unused_imports)]

mod assembly;

pub use assembly::Assembly;
use hip_emulator::code_object::{CodeObject, Image};
use hip_emulator::exec::Counters;
use hip_emulator::launch::{Arguments, Function, LaunchError, Recorder, Request};
use hip_emulator::memory::{Block, Kind, Limits, Memory};
use hip_emulator::target::Target;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

pub const TARGETS: [&str; 5] = ["gfx1100", "gfx90a", "gfx942", "gfx1030", "gfx1201"];

/// Cards without code objects of their own, and the generic target whose code objects they run.
pub const GENERIC: [(&str, &str); 5] = [
    ("gfx906", "gfx9-generic"),
    ("gfx1031", "gfx10-3-generic"),
    ("gfx1103", "gfx11-generic"),
    ("gfx1151", "gfx11-generic"),
    ("gfx1200", "gfx12-generic"),
];

/// Lanes of a wave.
pub fn wave(target: &str) -> usize {
    Target::named(target).unwrap().wave_size as usize
}

/// GCN and CDNA: waves of 64, and the older mnemonics.
pub fn is_gfx9(target: &str) -> bool {
    Target::named(target).unwrap().family.is_gfx9()
}

/// Runs a tool of LLVM 19; a missing one is a failure that says what to install.
fn tool(name: &str, arguments: &[&str]) {
    let output = Command::new(name)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!("{name}: {error}; install clang-19, lld-19 and llvm-19 (apt)")
        });
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}:\n{text}");
}

fn scratch_file(name: &str) -> PathBuf {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{number}-{name}", std::process::id()))
}

/// Compiles `tests/kernels/NAME.hip` for `target`.
pub fn compile(name: &str, target: &str) -> Vec<u8> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/kernels/{name}.hip"));
    let out = scratch_file(&format!("{name}-{target}.hsaco"));
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang-19".into());
    let arch = format!("--offload-arch={target}");
    // Generic targets came with version 6.
    let version = if target.ends_with("-generic") {
        "-mcode-object-version=6"
    } else {
        "-mcode-object-version=5"
    };
    let mut arguments = vec!["-x", "hip", "--cuda-device-only", "--no-gpu-bundle-output"];
    arguments.extend(["-nogpuinc", "-nogpulib", "-O2", version, &arch]);
    arguments.extend([source.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    tool(&clang, &arguments);
    let object = std::fs::read(&out).unwrap();
    std::fs::remove_file(&out).unwrap();
    object
}

/// A device with a loaded code object.
pub struct Machine {
    memory: Arc<Memory>,
    image: Arc<Image>,
}

/// Device memory holding values of a type.
pub struct Buffer {
    block: Arc<Block>,
}

/// Types that go to the device and back as bytes.
pub trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for i8 {}
impl Plain for u16 {}
impl Plain for i16 {}
impl Plain for u32 {}
impl Plain for i32 {}
impl Plain for u64 {}
impl Plain for f32 {}
impl Plain for f64 {}

impl Buffer {
    pub fn address(&self) -> u64 {
        self.block.start()
    }

    pub fn read<T: Plain>(&self) -> Vec<T> {
        let count = self.block.size() / size_of::<T>();
        // SAFETY: the block is that large, no kernel runs, and any bits are a `T`.
        (0..count)
            .map(|i| unsafe { (self.address() as *const T).add(i).read_unaligned() })
            .collect()
    }
}

impl Machine {
    /// Compiles `tests/kernels/NAME.hip` for `target`, once per test program, and loads it.
    pub fn compiled(name: &str, target: &str) -> Machine {
        Machine::on(target, name, target)
    }

    /// The same, loaded onto `card`, which may be another target.
    pub fn on(card: &str, name: &str, target: &str) -> Machine {
        static DONE: Mutex<BTreeMap<(String, String), Vec<u8>>> = Mutex::new(BTreeMap::new());
        let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_string(), target.to_string());
        let object = done
            .entry(key)
            .or_insert_with(|| compile(name, target))
            .clone();
        drop(done);
        Machine::load(object, card)
    }

    /// Assembles AMDGPU assembly with a kernel in it and loads it.
    pub fn assembled(source: &str, target: &str) -> Machine {
        let (text, object, out) = (
            scratch_file("a.s"),
            scratch_file("a.o"),
            scratch_file("a.hsaco"),
        );
        std::fs::write(&text, source).unwrap();
        let path = |p: &PathBuf| p.to_str().unwrap().to_string();
        tool(
            "llvm-mc-19",
            &[
                "-triple=amdgcn-amd-amdhsa",
                &format!("-mcpu={target}"),
                "-filetype=obj",
                &path(&text),
                "-o",
                &path(&object),
            ],
        );
        tool("ld.lld-19", &["-shared", &path(&object), "-o", &path(&out)]);
        let machine = Machine::load(std::fs::read(&out).unwrap(), target);
        for file in [text, object, out] {
            std::fs::remove_file(file).unwrap();
        }
        machine
    }

    pub fn load(object: Vec<u8>, target: &str) -> Machine {
        let target = Target::named(target).unwrap();
        let memory = Memory::new(Limits {
            device_bytes: 1 << 32,
            poison: true,
        });
        let object = CodeObject::parse(object).unwrap();
        let image = Arc::new(Image::load(object, &memory, 0, target).unwrap());
        Machine { memory, image }
    }

    pub fn buffer<T: Plain>(&self, values: &[T]) -> Buffer {
        let bytes = size_of_val(values);
        let block = self.memory.allocate(bytes, Kind::Device(0)).unwrap();
        // SAFETY: the block has that many bytes and no kernel runs.
        unsafe {
            std::ptr::copy_nonoverlapping(
                values.as_ptr().cast::<u8>(),
                block.start() as *mut u8,
                bytes,
            )
        };
        Buffer { block }
    }

    pub fn zeros<T: Plain + Default>(&self, count: usize) -> Buffer {
        self.buffer(&vec![T::default(); count])
    }

    /// Device memory that nothing wrote.
    pub fn fresh(&self, bytes: usize) -> Buffer {
        let block = self.memory.allocate(bytes, Kind::Device(0)).unwrap();
        Buffer { block }
    }

    /// Says that a buffer was written, whatever it holds.
    pub fn wrote(&self, buffer: &Buffer) {
        self.memory.wrote(buffer.block.start(), buffer.block.end());
    }

    pub fn function(&self, name: &str) -> Function {
        let (kernel, metadata) = self
            .image
            .kernel(name)
            .unwrap()
            .unwrap_or_else(|| panic!("no kernel {name}"));
        Function::new(kernel, metadata, 0, self.image.clone())
    }

    /// Launches `name` with arguments given as their bytes, 8 for a pointer and 4 for a number.
    pub fn run(
        &self,
        name: &str,
        grid: [u32; 3],
        block: [u32; 3],
        arguments: &[Argument],
    ) -> Result<Counters, LaunchError> {
        self.launch(&self.function(name), grid, block, arguments)
    }

    /// Counters of a launch of `groups` workgroups of `items`, and the line that the profile says about it.
    pub fn profiled(
        &self,
        name: &str,
        [groups, items]: [u32; 2],
        pointer: &Argument,
    ) -> (Counters, String) {
        let Argument::Pointer(buffer) = pointer else {
            panic!("a pointer is wanted")
        };
        let file = scratch_file("profile.json");
        let recorder = Recorder::new(false, Some(&file)).unwrap();
        let request = Request {
            grid: [groups, 1, 1],
            block: [items, 1, 1],
            dynamic_lds: 0,
            arguments: Arguments::Packed(&buffer.address().to_le_bytes()),
        };
        let function = self.function(name);
        let counters = function.launch(&request, &self.memory, &recorder).unwrap();
        let line = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        (counters, line)
    }

    pub fn launch(
        &self,
        function: &Function,
        grid: [u32; 3],
        block: [u32; 3],
        arguments: &[Argument],
    ) -> Result<Counters, LaunchError> {
        let mut bytes = Vec::new();
        for argument in arguments {
            match argument {
                Argument::Pointer(buffer) => {
                    bytes.resize(bytes.len().next_multiple_of(8), 0);
                    bytes.extend(buffer.address().to_le_bytes());
                }
                Argument::U32(value) => bytes.extend(value.to_le_bytes()),
            }
        }
        let request = Request {
            grid,
            block,
            dynamic_lds: 0,
            arguments: Arguments::Packed(&bytes),
        };
        function.launch(&request, &self.memory, &Recorder::default())
    }
}

pub enum Argument<'a> {
    Pointer(&'a Buffer),
    U32(u32),
}

impl<'a> From<&'a Buffer> for Argument<'a> {
    fn from(buffer: &'a Buffer) -> Argument<'a> {
        Argument::Pointer(buffer)
    }
}

impl From<u32> for Argument<'_> {
    fn from(value: u32) -> Self {
        Argument::U32(value)
    }
}

/// A small deterministic generator (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn u32(&mut self) -> u32 {
        (self.u64() >> 32) as u32
    }

    /// Any bit pattern half of the time, else a number of ordinary size.
    pub fn f32(&mut self) -> f32 {
        if self.u64() & 1 != 0 {
            f32::from_bits(self.u32())
        } else {
            (self.u32() as i32) as f32 / 2f32.powi((self.u32() % 40) as i32)
        }
    }

    pub fn f64(&mut self) -> f64 {
        if self.u64() & 1 != 0 {
            f64::from_bits(self.u64())
        } else {
            (self.u64() as i64) as f64 / 2f64.powi((self.u32() % 70) as i32)
        }
    }

    pub fn vec<T>(&mut self, count: usize, mut one: impl FnMut(&mut Random) -> T) -> Vec<T> {
        (0..count).map(|_| one(self)).collect()
    }
}

/// Equal bits, or both NaN.
pub fn same_f32(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

pub fn same_f64(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}
