//! Loaded code objects and their kernels.

use crate::device::Device;
use crate::drop_failures;
use crate::error::{Error, Result};
use crate::library::hip;
use crate::memory::DevicePtr;
use crate::sys::hip::{hipFunction_attribute, hipFunction_t, hipModule_t};
use std::borrow::Cow;
use std::ffi::CString;
use std::sync::Arc;

/// A code object loaded on a device. Cheap to clone; it is unloaded when the last clone and the last
/// [`Function`] of it are gone.
#[derive(Debug, Clone)]
pub struct Module {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    device: Device,
    handle: hipModule_t,
    /// The runtime may read the image as long as the module is loaded: HIP does not say that it copies.
    _image: Cow<'static, [u8]>,
}

// SAFETY: HIP's functions are thread-safe and a module belongs to no thread; each use makes its device
// current. The handle is only released in `Drop`.
unsafe impl Send for Inner {}
// SAFETY: as for `Send`; nothing changes a module after it is loaded.
unsafe impl Sync for Inner {}

/// A kernel of a module, which it keeps loaded.
#[derive(Debug, Clone)]
pub struct Function {
    module: Arc<Inner>,
    handle: hipFunction_t,
    name: Arc<str>,
    max_threads: u32,
    static_lds: u32,
}

// SAFETY: a function is a part of its module, which is kept; see there.
unsafe impl Send for Function {}
// SAFETY: as for `Send`.
unsafe impl Sync for Function {}

/// What the compiler decided about a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionAttributes {
    /// Work-items that a workgroup may have.
    pub max_threads_per_block: u32,
    /// LDS bytes that the kernel declares itself.
    pub static_lds_bytes: u32,
    /// Scratch bytes of a work-item: spills and indexed arrays.
    pub scratch_bytes: u32,
    /// Vector registers of a work-item.
    pub registers: u32,
}

impl Module {
    /// Loads a code object: an ELF file for exactly this device's target, or a generic one of its family.
    ///
    /// # Errors
    /// [`Error::InvalidCodeObject`] when `image` is not a complete ELF file; the runtime's error when the
    /// device cannot run it.
    pub fn load(device: &Device, image: impl Into<Cow<'static, [u8]>>) -> Result<Module> {
        let image = image.into();
        // The C interface takes no length: an incomplete file would be read beyond its end.
        check_elf(&image).map_err(Error::InvalidCodeObject)?;
        device.make_current()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the image is a whole ELF file and outlives the module; the call writes one handle.
        unsafe {
            hip!(
                device.library(),
                hipModuleLoadData(&mut handle, image.as_ptr().cast()),
                "loading a code object of {} bytes on device {} ({})",
                image.len(),
                device.ordinal(),
                device.properties().arch
            )?
        };
        let inner = Inner {
            device: device.clone(),
            handle,
            _image: image,
        };
        Ok(Module {
            inner: Arc::new(inner),
        })
    }

    /// The device that it is loaded on.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// The kernel with this (mangled, unless `extern "C"`) name.
    ///
    /// # Errors
    /// A name with a NUL in it; HIP's "not found" where the module has no such kernel.
    pub fn function(&self, name: &str) -> Result<Function> {
        let c_name = c_name(name)?;
        let device = self.device();
        device.make_current()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the module is loaded, the name NUL-terminated; the call writes one handle.
        unsafe {
            hip!(
                device.library(),
                hipModuleGetFunction(&mut handle, self.inner.handle, c_name.as_ptr()),
                "looking up the kernel '{name}'"
            )?
        };
        let mut function = Function {
            module: self.inner.clone(),
            handle,
            name: name.into(),
            max_threads: 0,
            static_lds: 0,
        };
        let attributes = function.attributes()?;
        function.max_threads = attributes.max_threads_per_block;
        function.static_lds = attributes.static_lds_bytes;
        Ok(function)
    }

    /// Address and length in bytes of a `__device__` or `__constant__` variable; valid as long as the
    /// module is loaded.
    ///
    /// # Errors
    /// A name with a NUL in it; HIP's "not found" where the module has no such variable.
    pub fn global(&self, name: &str) -> Result<(DevicePtr, usize)> {
        let c_name = c_name(name)?;
        let device = self.device();
        device.make_current()?;
        let (mut ptr, mut bytes) = (std::ptr::null_mut(), 0);
        // SAFETY: the module is loaded, the name NUL-terminated; the call writes a pointer and a size_t.
        unsafe {
            hip!(
                device.library(),
                hipModuleGetGlobal(&mut ptr, &mut bytes, self.inner.handle, c_name.as_ptr()),
                "looking up the variable '{name}'"
            )?
        };
        Ok((DevicePtr::from_raw(ptr as usize as u64), bytes))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let release = || {
            self.device.make_current()?;
            // SAFETY: the handle is loaded and nothing refers to it any more; HIP waits for kernels of it
            // that still run.
            unsafe {
                hip!(
                    self.device.library(),
                    hipModuleUnload(self.handle),
                    "unloading a code object"
                )
            }
        };
        drop_failures::keep_drop_failure(release());
    }
}

impl Function {
    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device that it is loaded on.
    pub fn device(&self) -> &Device {
        &self.module.device
    }

    /// Work-items that a workgroup of this kernel may have.
    pub fn max_threads_per_block(&self) -> u32 {
        self.max_threads
    }

    /// LDS bytes that the kernel declares itself.
    pub fn static_lds_bytes(&self) -> u32 {
        self.static_lds
    }

    pub(crate) fn handle(&self) -> hipFunction_t {
        self.handle
    }

    /// What the compiler decided about the kernel.
    ///
    /// # Errors
    /// HIP's error of the call, with what was being done.
    pub fn attributes(&self) -> Result<FunctionAttributes> {
        use hipFunction_attribute as Attribute;
        self.device().make_current()?;
        let get = |attribute: Attribute| -> Result<u32> {
            let mut value = 0;
            // SAFETY: the function is loaded; the call writes one int.
            unsafe {
                hip!(
                    self.device().library(),
                    hipFuncGetAttribute(&mut value, attribute, self.handle),
                    "asking the kernel '{}' for its attribute {}",
                    self.name,
                    attribute.0
                )?
            };
            // Negative values do not occur; were one to, zero is refused by `launch`.
            Ok(u32::try_from(value).unwrap_or(0))
        };
        Ok(FunctionAttributes {
            max_threads_per_block: get(Attribute::HIP_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
            static_lds_bytes: get(Attribute::HIP_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
            scratch_bytes: get(Attribute::HIP_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
            registers: get(Attribute::HIP_FUNC_ATTRIBUTE_NUM_REGS)?,
        })
    }
}

fn c_name(name: &str) -> Result<CString> {
    CString::new(name)
        .map_err(|_| Error::InvalidArgument(format!("the name {name:?} contains a NUL")))
}

/// Checks that `image` is a 64-bit little-endian ELF file for a GPU and that all of it is there: each
/// segment's and each section's bytes, and both tables. Offsets are those of the ELF-64 header.
fn check_elf(image: &[u8]) -> Result<(), String> {
    let truncated = || format!("the ELF file is truncated at {} bytes", image.len());
    let field = |at: u64, bytes: u64| -> Result<u64, String> {
        let range =
            || Some(usize::try_from(at).ok()?..usize::try_from(at.checked_add(bytes)?).ok()?);
        let slice = range()
            .and_then(|range| image.get(range))
            .ok_or_else(truncated)?;
        Ok(slice
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    if !image.starts_with(b"\x7fELF") {
        return Err("it does not begin like an ELF file".into());
    }
    // EI_CLASS = ELFCLASS64, EI_DATA = ELFDATA2LSB.
    if (field(4, 1)?, field(5, 1)?) != (2, 1) {
        return Err("the ELF file is not a 64-bit little-endian one".into());
    }
    // EM_AMDGPU, EM_CUDA.
    let machine = field(18, 2)?;
    if !matches!(machine, 224 | 190) {
        return Err(format!(
            "the ELF file is for machine {machine}, not for a GPU"
        ));
    }
    // (table's offset, entry's size, entries, where an entry has its file offset and its file size)
    let segments = (field(32, 8)?, field(54, 2)?, field(56, 2)?, 8, 32);
    let sections = (field(40, 8)?, field(58, 2)?, field(60, 2)?, 24, 32);
    const SHT_NOBITS: u64 = 8;
    for (is_section, (table, size, count, offset_at, bytes_at)) in
        [(false, segments), (true, sections)]
    {
        for index in 0..count {
            let entry = table.checked_add(index * size).ok_or_else(truncated)?;
            field(entry.checked_add(size).ok_or_else(truncated)?, 0)?;
            if is_section && field(entry + 4, 4)? == SHT_NOBITS {
                continue;
            }
            let end = field(entry + offset_at, 8)?.checked_add(field(entry + bytes_at, 8)?);
            field(end.ok_or_else(truncated)?, 0)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A little-endian ELF-64 header for `machine` with one section of `bytes` bytes behind its table.
    fn elf(machine: u16, bytes: u64) -> Vec<u8> {
        let mut image = vec![0u8; 64 + 64];
        image[..6].copy_from_slice(b"\x7fELF\x02\x01");
        image[18..20].copy_from_slice(&machine.to_le_bytes());
        image[40..48].copy_from_slice(&64u64.to_le_bytes());
        image[58..60].copy_from_slice(&64u16.to_le_bytes());
        image[60..62].copy_from_slice(&1u16.to_le_bytes());
        image[64 + 4] = 1;
        image[64 + 24..64 + 32].copy_from_slice(&128u64.to_le_bytes());
        image[64 + 32..64 + 40].copy_from_slice(&bytes.to_le_bytes());
        image.extend(std::iter::repeat_n(7, bytes as usize));
        image
    }

    #[test]
    fn a_whole_code_object_passes_and_every_shorter_one_fails() {
        let image = elf(224, 40);
        assert_eq!(check_elf(&image), Ok(()));
        for len in 0..image.len() {
            assert!(
                check_elf(&image[..len]).is_err(),
                "{len} of {} bytes",
                image.len()
            );
        }
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(
            check_elf(&elf(62, 4)).unwrap_err(),
            "the ELF file is for machine 62, not for a GPU"
        );
        assert_eq!(
            check_elf(b"__CLANG_OFFLOAD_BUNDLE__").unwrap_err(),
            "it does not begin like an ELF file"
        );
        let mut absurd = elf(224, 4);
        absurd[40..48].fill(0xff);
        assert!(check_elf(&absurd).unwrap_err().contains("truncated"));
    }
}
