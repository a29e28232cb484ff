//! Modules (cubins), their kernels, and launches.

use crate::context::current;
use crate::cuda::{Driver, Handle, LaunchAttribute, LaunchConfig};
use crate::error::{check, Failure, HipError, INVALID_VALUE};
use crate::image;
use crate::stream::forward;
use std::collections::{HashMap, HashSet};
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::{LazyLock, PoisonError, RwLock, RwLockReadGuard};

/// Keys of the `extra` list. HIP took CUDA's numbers, the end's excepted (`HIP_LAUNCH_PARAM_END`,
/// `CU_LAUNCH_PARAM_END`).
const BUFFER_POINTER: usize = 1;
const BUFFER_SIZE: usize = 2;
const HIP_END: usize = 3;
const CUDA_END: usize = 0;

/// Function attributes by CUDA's numbers; HIP has the same from 0 to 9.
const STATIC_SHARED: c_int = 1;
const MAX_DYNAMIC_SHARED: c_int = 8;
/// Workgroup memory that a CUDA kernel may have without opting in; AMD's LDS needs no such step.
const SHARED_WITHOUT_OPTIN: u32 = 48 * 1024;

/// A module has this variable if each of its kernels first waits for the one before (`await_previous` of candle-kernels'
/// portable.h): such kernels are launched while that one ends.
const OVERLAPPED: &str = "kernels_await_previous";

/// Set to 0, kernels are launched one after the other all the same.
const OVERLAP: &str = "HIP_NVIDIA_OVERLAP";

/// Such modules and their kernels: addresses of handles, a kernel's with its module's.
#[derive(Default)]
struct Overlapped {
    modules: HashSet<usize>,
    kernels: HashMap<usize, usize>,
}

static OVERLAPPED_ONES: LazyLock<RwLock<Overlapped>> = LazyLock::new(Default::default);

fn overlapped() -> RwLockReadGuard<'static, Overlapped> {
    OVERLAPPED_ONES
        .read()
        .unwrap_or_else(PoisonError::into_inner)
}

fn change_overlapped(change: impl FnOnce(&mut Overlapped)) {
    let mut ones = OVERLAPPED_ONES
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    change(&mut ones);
}

forward! {
    hipModuleGetGlobal(at: *mut u64, bytes: *mut usize, module: Handle, name: *const c_char) = module_global;
    hipFuncGetAttribute(value: *mut c_int, attribute: c_int, function: Handle) = function_attribute;
    hipModuleOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks: *mut c_int, function: Handle, block_size: c_int, shared_bytes: usize
    ) = occupancy;
}

/// Loads a cubin, a fat binary or PTX: CUDA finds out which, and how long it is.
#[no_mangle]
pub unsafe extern "C" fn hipModuleLoadData(module: *mut Handle, image: *const c_void) -> HipError {
    static WANTED: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os(OVERLAP).is_none_or(|value| value != "0"));
    current(|driver| {
        // SAFETY: HIP's contract: a whole image, room for a handle.
        check(unsafe { (driver.module_load)(module, image) })?;
        // SAFETY: the same; CUDA has taken it for a whole one.
        if *WANTED && unsafe { image::has_name(image, OVERLAPPED) } {
            // SAFETY: written above.
            let module = unsafe { *module } as usize;
            change_overlapped(|ones| _ = ones.modules.insert(module));
        }
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn hipModuleGetFunction(
    function: *mut Handle,
    module: Handle,
    name: *const c_char,
) -> HipError {
    current(|driver| {
        // SAFETY: HIP's contract: a live module, a string, room for a handle.
        check(unsafe { (driver.module_function)(function, module, name) })?;
        let module = module as usize;
        if overlapped().modules.contains(&module) {
            // SAFETY: written above.
            let function = unsafe { *function } as usize;
            change_overlapped(|ones| _ = ones.kernels.insert(function, module));
        }
        Ok(())
    })
}

/// Waits for kernels that still run, as HIP does.
#[no_mangle]
pub unsafe extern "C" fn hipModuleUnload(module: Handle) -> HipError {
    current(|driver| {
        // SAFETY: no pointers. A device that has failed runs nothing any more; the unloading reports it.
        unsafe { (driver.context_synchronize)() };
        // Others may get these addresses.
        change_overlapped(|ones| {
            ones.modules.remove(&(module as usize));
            ones.kernels.retain(|_, of| *of != module as usize);
        });
        // SAFETY: HIP's contract: a live module.
        check(unsafe { (driver.module_unload)(module) })
    })
}

/// Grid sizes count workgroups, as CUDA's do. Arguments come from `kernel_params` (a pointer per parameter) or from
/// `extra` (one packed buffer).
#[no_mangle]
pub unsafe extern "C" fn hipModuleLaunchKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: Handle,
    kernel_params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> HipError {
    current(|driver| {
        if shared_bytes != 0 {
            opt_in(driver, function, shared_bytes)?;
        }
        // SAFETY: HIP's contract.
        let mut list = match unsafe { packed(extra) }? {
            Some((buffer, size)) => [
                BUFFER_POINTER as *mut c_void,
                buffer,
                BUFFER_SIZE as *mut c_void,
                size,
                CUDA_END as *mut c_void,
            ],
            None => [CUDA_END as *mut c_void; 5],
        };
        let extra = match extra.is_null() {
            true => std::ptr::null_mut(),
            false => list.as_mut_ptr(),
        };
        if overlapped().kernels.contains_key(&(function as usize)) {
            let config = LaunchConfig {
                grid: [grid_x, grid_y, grid_z],
                block: [block_x, block_y, block_z],
                shared_bytes,
                stream,
                attributes: &LaunchAttribute::OVERLAPPED,
                attribute_count: 1,
            };
            // SAFETY: as below; the kernel waits for what it reads.
            return check(unsafe { (driver.launch_with)(&config, function, kernel_params, extra) });
        }
        // SAFETY: HIP's contract: live handles, arguments as the kernel takes them; CUDA copies them before it returns.
        check(unsafe {
            (driver.launch)(
                function,
                grid_x,
                grid_y,
                grid_z,
                block_x,
                block_y,
                block_z,
                shared_bytes,
                stream,
                kernel_params,
                extra,
            )
        })
    })
}

/// Allows a kernel more workgroup memory than CUDA gives unasked.
fn opt_in(driver: &Driver, function: Handle, dynamic: u32) -> Result<(), Failure> {
    let mut fixed = 0;
    // SAFETY: a live function; the call writes one int.
    check(unsafe { (driver.function_attribute)(&mut fixed, STATIC_SHARED, function) })?;
    let total = dynamic.saturating_add(u32::try_from(fixed).unwrap_or(0));
    if total <= SHARED_WITHOUT_OPTIN {
        return Ok(());
    }
    let dynamic = c_int::try_from(dynamic).unwrap_or(c_int::MAX);
    // SAFETY: a live function.
    check(unsafe { (driver.function_set_attribute)(function, MAX_DYNAMIC_SHARED, dynamic) })
}

/// Buffer and pointer to its size, from HIP's `extra` list; `None` when there is no list.
///
/// # Safety
/// `extra` is null or a list of keys and values that ends with HIP's end.
unsafe fn packed(extra: *mut *mut c_void) -> Result<Option<(*mut c_void, *mut c_void)>, Failure> {
    /// Two keys with their values, and the end.
    const LONGEST: usize = 5;
    let refuse = |what: &str| {
        Err(Failure::Own(
            INVALID_VALUE,
            format!("the extra list {what}"),
        ))
    };
    if extra.is_null() {
        return Ok(None);
    }
    let (mut buffer, mut size) = (None, None);
    for at in (0..LONGEST).step_by(2) {
        // SAFETY: the list has not ended yet, so this element is part of it.
        let key = unsafe { *extra.add(at) } as usize;
        if key == HIP_END {
            return match (buffer, size) {
                (Some(buffer), Some(size)) => Ok(Some((buffer, size))),
                _ => refuse("lacks the buffer or its size"),
            };
        }
        // SAFETY: a key other than the end has a value.
        let value = unsafe { *extra.add(at + 1) };
        match key {
            BUFFER_POINTER => buffer = Some(value),
            BUFFER_SIZE => size = Some(value),
            _ => return refuse("has an unknown key"),
        }
    }
    refuse("does not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(keys: &[usize]) -> Vec<*mut c_void> {
        keys.iter().map(|key| *key as *mut c_void).collect()
    }

    #[test]
    fn the_packed_buffer_is_found_in_either_order() {
        for (keys, expected) in [
            ([1, 0x100, 2, 0x200, 3], (0x100, 0x200)),
            ([2, 0x200, 1, 0x100, 3], (0x100, 0x200)),
        ] {
            let mut keys = list(&keys);
            // SAFETY: a whole list.
            let (buffer, size) = unsafe { packed(keys.as_mut_ptr()) }.unwrap().unwrap();
            assert_eq!((buffer as usize, size as usize), expected);
        }
        // SAFETY: null is allowed.
        assert!(unsafe { packed(std::ptr::null_mut()) }.unwrap().is_none());
    }

    #[test]
    fn a_list_that_is_wrong_is_refused() {
        for keys in [
            &[3usize][..],
            &[1, 0x100, 3],
            &[7, 0, 3],
            &[1, 1, 2, 2, 1, 1, 3],
        ] {
            let mut keys = list(keys);
            // SAFETY: a whole list.
            assert!(unsafe { packed(keys.as_mut_ptr()) }.is_err());
        }
    }
}
