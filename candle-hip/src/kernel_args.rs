//! A kernel's arguments, packed as its kernarg segment wants them.

use crate::memory::DevicePtr;
use std::mem::MaybeUninit;

/// Bytes that the explicit arguments of one launch may take.
const CAPACITY: usize = 512;

/// A value that can be passed to a kernel.
///
/// # Safety
/// The type's size, alignment and layout are those of the kernel's parameter in C: a scalar, a device pointer,
/// or a `#[repr(C)]` struct of such. Its alignment is at most 16. It holds no host pointer that the
/// kernel would follow.
pub unsafe trait KernelArg: Copy {}

macro_rules! scalars {
    ($($scalar:ty)*) => {
        // SAFETY: a scalar with the same size and alignment in C for AMD GPUs (LP64) and on the host.
        $(unsafe impl KernelArg for $scalar {})*
    };
}
scalars!(u8 i8 u16 i16 u32 i32 u64 i64 usize isize f32 f64 bool);

// SAFETY: a transparent u64, which is what a `T *` of a kernel is.
unsafe impl KernelArg for DevicePtr {}
// SAFETY: the layout of `struct { T values[N]; }`.
unsafe impl<T: KernelArg, const N: usize> KernelArg for [T; N] {}

/// The arguments of one launch, in the order of the kernel's parameters, on the stack.
///
/// Types must match the kernel's parameters exactly: `5u32` for `unsigned`, `5usize` for `size_t`, a half as
/// `f16::to_bits` (`u16`). [`kernel_args!`](crate::kernel_args) builds one.
#[derive(Clone)]
pub struct KernelArgs {
    bytes: Buffer,
    len: usize,
    count: usize,
    /// Bytes that the arguments would have taken, when they do not fit.
    overflow: Option<usize>,
}

/// 16: the largest alignment of a parameter (`float4`, `int4`).
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Buffer([MaybeUninit<u8>; CAPACITY]);

impl Default for KernelArgs {
    fn default() -> Self {
        KernelArgs::new()
    }
}

impl KernelArgs {
    /// No arguments yet.
    #[inline]
    pub fn new() -> KernelArgs {
        KernelArgs {
            bytes: Buffer([MaybeUninit::uninit(); CAPACITY]),
            len: 0,
            count: 0,
            overflow: None,
        }
    }

    /// Appends an argument at its natural alignment. Arguments that do not fit (512 bytes in all) make
    /// the launch fail.
    #[inline]
    pub fn push<T: KernelArg>(&mut self, value: T) -> &mut KernelArgs {
        const { assert!(std::mem::align_of::<T>() <= std::mem::align_of::<Buffer>()) };
        let start = self.len.next_multiple_of(std::mem::align_of::<T>());
        let end = start + std::mem::size_of::<T>();
        if end > CAPACITY || self.overflow.is_some() {
            let missing = end.saturating_sub(self.len);
            self.overflow = Some(self.overflow.unwrap_or(self.len) + missing);
            return self;
        }
        self.bytes.0[self.len..start].fill(MaybeUninit::new(0));
        // SAFETY: `start..end` lies inside the buffer, and `start` is a multiple of T's alignment in a
        // buffer that is aligned at least as strictly. MaybeUninit takes a struct's padding too.
        unsafe {
            self.bytes
                .0
                .as_mut_ptr()
                .add(start)
                .cast::<T>()
                .write(value)
        };
        self.len = end;
        self.count += 1;
        self
    }

    /// How many arguments there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes from the first argument's start to the last one's end.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no argument.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.bytes.0.as_ptr().cast()
    }

    /// Why these arguments cannot be passed, if they cannot.
    pub(crate) fn overflow(&self) -> Option<String> {
        self.overflow.map(|bytes| {
            format!("its arguments take {bytes} bytes, more than the {CAPACITY} that fit")
        })
    }
}

impl std::fmt::Debug for KernelArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The bytes may hold a struct's uninitialised padding: they are not shown.
        f.debug_struct("KernelArgs")
            .field("count", &self.count)
            .field("len", &self.len)
            .field("overflow", &self.overflow)
            .finish_non_exhaustive()
    }
}

/// The [`KernelArgs`] of the given values: `kernel_args![ptr, 5u32, 1.0f32]`.
#[macro_export]
macro_rules! kernel_args {
    ($($value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut args = $crate::KernelArgs::new();
        $(args.push($value);)*
        args
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of arguments without inner padding of structs.
    fn bytes(args: &KernelArgs) -> Vec<u8> {
        // SAFETY: `push` wrote every byte below `len`; the tests below pass no type with padding.
        unsafe { std::slice::from_raw_parts(args.as_ptr(), args.len()) }.to_vec()
    }

    #[test]
    fn arguments_stand_at_their_natural_alignment() {
        // void k(uint8_t, uint16_t, uint8_t, float, uint8_t, double, uint8_t, T *), laid out by clang
        // for gfx1100: .offset 0, 2, 4, 8, 12, 16, 24, 32 in the code object's metadata.
        let args = kernel_args![
            1u8,
            0x0302u16,
            4u8,
            1.0f32,
            5u8,
            -2.0f64,
            6u8,
            DevicePtr::from_raw(0x0807)
        ];
        let mut expected = vec![1, 0, 2, 3, 4, 0, 0, 0, 0, 0, 0x80, 0x3f, 5, 0, 0, 0];
        expected.extend([
            0, 0, 0, 0, 0, 0, 0, 0xc0, 6, 0, 0, 0, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 0, 0,
        ]);
        assert_eq!(bytes(&args), expected);
        assert_eq!(args.count(), 8);
    }

    #[test]
    fn structs_and_arrays_are_passed_by_value() {
        #[derive(Clone, Copy)]
        #[repr(C, align(16))]
        struct Float4([f32; 4]);
        // SAFETY: the layout of HIP's float4.
        unsafe impl KernelArg for Float4 {}
        let args = kernel_args![7u8, Float4([1.0, 2.0, 3.0, 4.0]), [1u32, 2, 3]];
        let bytes = bytes(&args);
        assert_eq!(bytes.len(), 16 + 16 + 12);
        assert_eq!(bytes[16..20], 1.0f32.to_ne_bytes());
        assert_eq!(bytes[40..44], 3u32.to_ne_bytes());
    }

    #[test]
    fn no_arguments_take_no_bytes() {
        let args = kernel_args![];
        assert!(args.is_empty());
        assert_eq!(args.overflow(), None);
    }

    #[test]
    fn too_many_arguments_are_noticed_and_not_written() {
        let mut args = KernelArgs::new();
        for i in 0..64u64 {
            args.push(i);
        }
        assert_eq!((args.len(), args.overflow()), (512, None));
        args.push(1u32).push(2u8);
        assert_eq!(args.len(), 512);
        let reason = args.overflow().unwrap();
        assert!(reason.contains("more than the 512"), "{reason}");
        let fits = bytes(&args);
        assert_eq!(fits[504..512], 63u64.to_ne_bytes());
    }
}
