//! The functions of the CUDA driver that are used, opened at run time.
//!
//! Declared by hand from the public header (cuda.h of CUDA 13.0), with the symbol that the header's macros choose
//! (`cuMemAlloc` is `cuMemAlloc_v2`).

use crate::library;
use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;

/// `CUresult`
pub type Status = u32;
/// `CUdevice`
pub type Device = c_int;
/// `CUdeviceptr`
pub type DevicePointer = u64;
/// `CUcontext`, `CUstream`, `CUevent`, `CUmodule`, `CUfunction`, `CUgraph`, `CUgraphExec`
pub type Handle = *mut c_void;

/// `CUDA_SUCCESS`
pub const SUCCESS: Status = 0;

/// `CUlaunchConfig`
#[repr(C)]
pub struct LaunchConfig {
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared_bytes: c_uint,
    pub stream: Handle,
    pub attributes: *const LaunchAttribute,
    pub attribute_count: c_uint,
}
const _: () = assert!(std::mem::size_of::<LaunchConfig>() == 56);

/// `CUlaunchAttribute`: a number and a union of 64 bytes, here whole numbers.
#[repr(C)]
pub struct LaunchAttribute {
    pub id: c_uint,
    padding: c_uint,
    value: [c_int; 16],
}
const _: () = assert!(std::mem::size_of::<LaunchAttribute>() == 72);

impl LaunchAttribute {
    /// `CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION`, on: the kernel may be set up while the one before it in the stream
    /// ends, for which it waits by itself.
    pub const OVERLAPPED: Self = {
        let mut value = [0; 16];
        value[0] = 1;
        Self {
            id: 6,
            padding: 0,
            value,
        }
    };
}

macro_rules! functions {
    ($($name:ident = $symbol:literal ($($argument:ty),*);)*) => {
        /// The resolved functions. The library stays open until the process ends.
        pub struct Driver {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> Status,)*
            _library: libloading::Library,
        }

        impl Driver {
            fn resolve(library: libloading::Library) -> Result<Driver, String> {
                // SAFETY: each symbol is used with the type that cuda.h declares for it, and the copied
                // pointers are kept together with the library.
                unsafe {
                    Ok(Driver {
                        $($name: *library.get(concat!($symbol, "\0").as_bytes()).map_err(|_| {
                            format!(concat!("it has no ", $symbol, ": the driver is older than CUDA 12"))
                        })?,)*
                        _library: library,
                    })
                }
            }
        }
    };
}

functions! {
    init = "cuInit" (c_uint);
    driver_version = "cuDriverGetVersion" (*mut c_int);
    error_name = "cuGetErrorName" (Status, *mut *const c_char);
    error_string = "cuGetErrorString" (Status, *mut *const c_char);

    device_count = "cuDeviceGetCount" (*mut c_int);
    device_get = "cuDeviceGet" (*mut Device, c_int);
    device_name = "cuDeviceGetName" (*mut c_char, c_int, Device);
    device_memory = "cuDeviceTotalMem_v2" (*mut usize, Device);
    device_attribute = "cuDeviceGetAttribute" (*mut c_int, c_int, Device);
    device_pci_bus_id = "cuDeviceGetPCIBusId" (*mut c_char, c_int, Device);
    device_can_access_peer = "cuDeviceCanAccessPeer" (*mut c_int, Device, Device);
    context_retain = "cuDevicePrimaryCtxRetain" (*mut Handle, Device);
    context_set = "cuCtxSetCurrent" (Handle);
    context_synchronize = "cuCtxSynchronize" ();
    context_enable_peer = "cuCtxEnablePeerAccess" (Handle, c_uint);

    memory_info = "cuMemGetInfo_v2" (*mut usize, *mut usize);
    memory_allocate = "cuMemAlloc_v2" (*mut DevicePointer, usize);
    memory_free = "cuMemFree_v2" (DevicePointer);
    host_allocate = "cuMemHostAlloc" (*mut *mut c_void, usize, c_uint);
    host_free = "cuMemFreeHost" (*mut c_void);
    copy_to_device = "cuMemcpyHtoDAsync_v2" (DevicePointer, *const c_void, usize, Handle);
    copy_to_host = "cuMemcpyDtoHAsync_v2" (*mut c_void, DevicePointer, usize, Handle);
    copy_on_device = "cuMemcpyDtoDAsync_v2" (DevicePointer, DevicePointer, usize, Handle);
    copy_any = "cuMemcpyAsync" (DevicePointer, DevicePointer, usize, Handle);
    copy_peer = "cuMemcpyPeerAsync" (DevicePointer, Handle, DevicePointer, Handle, usize, Handle);
    fill_u8 = "cuMemsetD8Async" (DevicePointer, u8, usize, Handle);
    fill_u16 = "cuMemsetD16Async" (DevicePointer, u16, usize, Handle);
    fill_u32 = "cuMemsetD32Async" (DevicePointer, u32, usize, Handle);

    stream_create = "cuStreamCreate" (*mut Handle, c_uint);
    stream_destroy = "cuStreamDestroy_v2" (Handle);
    stream_synchronize = "cuStreamSynchronize" (Handle);
    stream_query = "cuStreamQuery" (Handle);
    stream_wait_event = "cuStreamWaitEvent" (Handle, Handle, c_uint);
    event_create = "cuEventCreate" (*mut Handle, c_uint);
    event_destroy = "cuEventDestroy_v2" (Handle);
    event_record = "cuEventRecord" (Handle, Handle);
    event_synchronize = "cuEventSynchronize" (Handle);
    event_query = "cuEventQuery" (Handle);
    event_elapsed = "cuEventElapsedTime" (*mut f32, Handle, Handle);

    module_load = "cuModuleLoadData" (*mut Handle, *const c_void);
    module_unload = "cuModuleUnload" (Handle);
    module_function = "cuModuleGetFunction" (*mut Handle, Handle, *const c_char);
    module_global = "cuModuleGetGlobal_v2" (*mut DevicePointer, *mut usize, Handle, *const c_char);
    function_attribute = "cuFuncGetAttribute" (*mut c_int, c_int, Handle);
    function_set_attribute = "cuFuncSetAttribute" (Handle, c_int, c_int);
    occupancy = "cuOccupancyMaxActiveBlocksPerMultiprocessor" (*mut c_int, Handle, c_int, usize);
    launch = "cuLaunchKernel" (Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle,
                               *mut *mut c_void, *mut *mut c_void);
    launch_with = "cuLaunchKernelEx" (*const LaunchConfig, Handle, *mut *mut c_void, *mut *mut c_void);

    capture_begin = "cuStreamBeginCapture_v2" (Handle, c_uint);
    capture_end = "cuStreamEndCapture" (Handle, *mut Handle);
    graph_instantiate = "cuGraphInstantiateWithFlags" (*mut Handle, Handle, c_ulonglong);
    graph_launch = "cuGraphLaunch" (Handle, Handle);
    graph_destroy = "cuGraphDestroy" (Handle);
    graph_exec_destroy = "cuGraphExecDestroy" (Handle);
}

impl Driver {
    /// The process's CUDA driver, opened and initialised by the first call; or what is wrong with it.
    pub fn get() -> Result<&'static Driver, &'static Missing> {
        static DRIVER: OnceLock<Result<Driver, Missing>> = OnceLock::new();
        DRIVER.get_or_init(Driver::open).as_ref()
    }

    fn open() -> Result<Driver, Missing> {
        let driver = library::open("HIP_NVIDIA_CUDA", &["libcuda.so.1", "libcuda.so"])
            .and_then(Driver::resolve)
            .map_err(Missing::Library)?;
        // SAFETY: no pointers.
        match unsafe { (driver.init)(0) } {
            SUCCESS => Ok(driver),
            status => Err(Missing::Initialisation(status, driver.describe(status))),
        }
    }

    /// CUDA's name, number and text of a status.
    pub fn describe(&self, status: Status) -> String {
        let text = |get: unsafe extern "C" fn(Status, *mut *const c_char) -> Status| {
            let mut text = std::ptr::null();
            // SAFETY: the call writes one pointer, to a string of the driver's that lives as long as it.
            let status = unsafe { get(status, &mut text) };
            // SAFETY: as above, when it succeeded.
            (status == SUCCESS && !text.is_null()).then(|| {
                unsafe { std::ffi::CStr::from_ptr(text) }
                    .to_string_lossy()
                    .into_owned()
            })
        };
        let name = text(self.error_name).unwrap_or_else(|| "CUDA error".into());
        match text(self.error_string) {
            Some(meaning) => format!("{name} ({status}), {meaning}"),
            None => format!("{name} ({status})"),
        }
    }
}

/// Why there is no driver.
#[derive(Debug)]
pub enum Missing {
    /// libcuda was not found or lacks a function; the reason.
    Library(String),
    /// `cuInit` failed; its status and text.
    Initialisation(Status, String),
}
