//! Launches through the C ABI: arguments, geometry, faults. Every test runs on each target.

mod support;

use hip_emulator::api::module::hipModuleGetGlobal;
use hip_emulator::api::{error, kernel, memory, stream};
use std::ffi::{c_void, CStr};
use std::ptr::null_mut;
use support::*;

/// Runs `test` with the tests' module on each target in turn.
fn on_each_target(test: impl Fn(&Module, &str)) {
    for (number, target) in TARGETS.iter().enumerate() {
        let module = Module::api(number);
        test(&module, target);
    }
}

fn vadd_arguments(a: &Buffer, b: &Buffer, out: &Buffer, n: u32) -> Vec<u8> {
    let pointers = [a, b, out].map(|buffer| buffer.address().to_le_bytes());
    pack(&[&pointers[0], &pointers[1], &pointers[2], &n.to_le_bytes()])
}

#[test]
fn a_vector_add_gives_the_sums() {
    on_each_target(|module, target| {
        let n = 1000;
        let a: Vec<f32> = (0..n).map(|i| i as f32 * 0.5).collect();
        let b: Vec<f32> = (0..n).map(|i| 1000.0 - i as f32).collect();
        let (da, db, out) = (Buffer::of(&a), Buffer::of(&b), Buffer::new(4 * n));
        let arguments = vadd_arguments(&da, &db, &out, n as u32);
        let code = launch(
            module.function("vadd"),
            [8, 1, 1],
            [128, 1, 1],
            0,
            &arguments,
        );
        assert_eq!(code, SUCCESS, "{target}: {}", last_text());
        let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        assert_eq!(out.read::<f32>(), expected, "{target}");
    });
}

#[test]
fn pointer_and_packed_arguments_agree() {
    on_each_target(|module, target| {
        let (packed_out, pointer_out) = (Buffer::of(&[0u64; 5]), Buffer::of(&[0u64; 5]));
        let (a, b, c, d, e) = (
            0x12u8,
            0x3456u16,
            0x789a_bcdeu32,
            0x0123_4567_89ab_cdefu64,
            1e6f32,
        );
        let function = module.function("mixed");
        let arguments = pack(&[
            &a.to_le_bytes(),
            &b.to_le_bytes(),
            &c.to_le_bytes(),
            &d.to_le_bytes(),
            &e.to_le_bytes(),
            &packed_out.address().to_le_bytes(),
        ]);
        assert_eq!(
            launch(function, [1; 3], [32, 1, 1], 0, &arguments),
            SUCCESS,
            "{}",
            last_text()
        );
        let out = pointer_out.address();
        let mut pointers: [*mut c_void; 6] = [
            (&a as *const u8).cast_mut().cast(),
            (&b as *const u16).cast_mut().cast(),
            (&c as *const u32).cast_mut().cast(),
            (&d as *const u64).cast_mut().cast(),
            (&e as *const f32).cast_mut().cast(),
            (&out as *const u64).cast_mut().cast(),
        ];
        // SAFETY: one pointer per parameter, each to a value of its size.
        let code = unsafe {
            kernel::hipModuleLaunchKernel(
                function,
                1,
                1,
                1,
                32,
                1,
                1,
                0,
                null_mut(),
                pointers.as_mut_ptr(),
                null_mut(),
            )
        };
        assert_eq!(code, SUCCESS, "{target}: {}", last_text());
        let expected = [0x12, 0x3456, 0x789a_bcde, d, 1_000_000];
        assert_eq!(packed_out.read::<u64>(), expected, "{target}");
        assert_eq!(pointer_out.read::<u64>(), expected, "{target}");
    });
}

#[test]
fn hidden_arguments_and_packet_describe_the_launch() {
    on_each_target(|module, target| {
        let out = Buffer::of(&[u32::MAX; 12]);
        let arguments = out.address().to_le_bytes();
        let function = module.function("geometry");
        let code = launch(function, [5, 3, 2], [16, 4, 2], 640, &arguments);
        assert_eq!(code, SUCCESS, "{target}: {}", last_text());
        let expected = [5, 3, 2, 16, 4, 2, 3, 16, 80, 12, 4, 640];
        assert_eq!(out.read::<u32>(), expected, "{target}");
        let code = launch(function, [7, 1, 1], [64, 1, 1], 0, &arguments);
        assert_eq!(code, SUCCESS, "{target}: {}", last_text());
        assert_eq!(
            out.read::<u32>(),
            [7, 1, 1, 64, 1, 1, 1, 64, 448, 1, 1, 0],
            "{target}"
        );
    });
}

#[test]
fn module_variables_keep_their_values_between_launches() {
    on_each_target(|module, target| {
        let out = Buffer::new(8);
        let arguments = out.address().to_le_bytes();
        for expected in [8u32, 9, 10] {
            let code = launch(module.function("count"), [1; 3], [32, 1, 1], 0, &arguments);
            assert_eq!(code, SUCCESS, "{target}: {}", last_text());
            assert_eq!(out.read::<u32>(), [expected, 8], "{target}");
        }
    });
}

#[test]
fn impossible_geometries_are_refused() {
    on_each_target(|module, _| {
        let out = Buffer::new(4096);
        let arguments = out.address().to_le_bytes();
        let (small, any) = (module.function("small_blocks"), module.function("nothing"));
        let cases = [
            (any, [0, 1, 1], [32, 1, 1], "no work-items"),
            (any, [1, 1, 1], [32, 0, 1], "no work-items"),
            (any, [1, 1, 1], [1025, 1, 1], "1024"),
            (any, [1, 1, 1], [64, 64, 1], "1024"),
            (any, [1, 1, 1], [1 << 31, 2, 1], "1024"),
            (any, [1 << 31, 1, 1], [2, 1, 1], "2^32"),
        ];
        for (function, grid, block, expected) in cases {
            assert_eq!(launch(function, grid, block, 0, &[]), INVALID_CONFIGURATION);
            assert!(last_text().contains(expected), "{}", last_text());
        }
        assert_eq!(
            launch(small, [1; 3], [65, 1, 1], 0, &arguments),
            INVALID_CONFIGURATION
        );
        assert!(last_text().contains("launch bounds"), "{}", last_text());
        assert_eq!(
            launch(small, [2, 1, 1], [64, 1, 1], 0, &arguments),
            SUCCESS,
            "{}",
            last_text()
        );
        assert_eq!(
            launch(any, [1; 3], [1024, 1, 1], 0, &[]),
            SUCCESS,
            "{}",
            last_text()
        );
    });
}

#[test]
fn too_much_lds_is_refused() {
    on_each_target(|module, _| {
        let out = Buffer::new(4096);
        let arguments = out.address().to_le_bytes();
        let function = module.function("own_lds");
        assert_eq!(
            launch(function, [1; 3], [64, 1, 1], 32769, &arguments),
            INVALID_VALUE
        );
        assert!(
            last_text().contains("32768") && last_text().contains("65536"),
            "{}",
            last_text()
        );
        assert_eq!(
            launch(function, [1; 3], [64, 1, 1], u32::MAX, &arguments),
            INVALID_VALUE
        );
        assert_eq!(
            launch(function, [1; 3], [64, 1, 1], 32768, &arguments),
            SUCCESS,
            "{}",
            last_text()
        );
    });
}

#[test]
fn wrong_arguments_are_refused() {
    on_each_target(|module, _| {
        let function = module.function("vadd");
        for bytes in [0, 8, 27, 33, 4096] {
            let code = launch(function, [1; 3], [32, 1, 1], 0, &vec![0; bytes]);
            assert_eq!(code, INVALID_VALUE, "{bytes}");
            assert!(
                last_text().contains("28 bytes of arguments"),
                "{}",
                last_text()
            );
        }
        let go = |function, params: *mut *mut c_void, extra: *mut *mut c_void| {
            // SAFETY: the lists are complete or null.
            unsafe {
                kernel::hipModuleLaunchKernel(
                    function,
                    1,
                    1,
                    1,
                    32,
                    1,
                    1,
                    0,
                    null_mut(),
                    params,
                    extra,
                )
            }
        };
        let mut nulls = [null_mut::<c_void>(); 4];
        let mut endless = [tag(1); 32];
        let mut strange = [tag(9), null_mut(), tag(3)];
        let mut no_size = [tag(1), null_mut(), tag(3)];
        let mut null_size = [tag(2), null_mut(), tag(3)];
        assert_eq!(go(function, null_mut(), null_mut()), INVALID_VALUE);
        assert_eq!(go(function, nulls.as_mut_ptr(), null_mut()), INVALID_VALUE);
        assert_eq!(
            go(function, nulls.as_mut_ptr(), no_size.as_mut_ptr()),
            INVALID_VALUE
        );
        assert_eq!(
            go(function, null_mut(), endless.as_mut_ptr()),
            INVALID_VALUE
        );
        assert_eq!(
            go(function, null_mut(), strange.as_mut_ptr()),
            INVALID_VALUE
        );
        assert_eq!(
            go(function, null_mut(), no_size.as_mut_ptr()),
            INVALID_VALUE
        );
        assert_eq!(
            go(function, null_mut(), null_size.as_mut_ptr()),
            INVALID_VALUE
        );
        assert_eq!(go(null_mut(), null_mut(), null_mut()), INVALID_HANDLE);
        assert_eq!(
            go(module.function("nothing"), null_mut(), null_mut()),
            SUCCESS,
            "{}",
            last_text()
        );
    });
}

#[test]
fn a_kernel_runs_on_its_own_device_only() {
    let module = Module::api(0);
    let function = module.function("nothing");
    device(1);
    assert_eq!(launch(function, [1; 3], [32, 1, 1], 0, &[]), INVALID_HANDLE);
    assert!(
        last_text().contains("device 0") && last_text().contains("device 1"),
        "{}",
        last_text()
    );
    device(0);
    assert_eq!(
        launch(function, [1; 3], [32, 1, 1], 0, &[]),
        SUCCESS,
        "{}",
        last_text()
    );
}

/// Launches `kernel` with `arguments` on a stream of its own and expects a fault whose text, by
/// `hipGetErrorString`, contains every part of `expected`; then that the stream stays failed until
/// the failure is taken.
fn expect_fault(module: &Module, kernel: &str, arguments: &[u8], code: u32, expected: &[&str]) {
    let mut queue = null_mut();
    // SAFETY: `queue` is valid.
    assert_eq!(
        unsafe { stream::hipStreamCreateWithFlags(&mut queue, 1) },
        SUCCESS
    );
    let function = module.function(kernel);
    let mut size = arguments.len();
    let mut extra: [*mut c_void; 5] = [
        tag(1),
        arguments.as_ptr() as *mut c_void,
        tag(2),
        (&mut size as *mut usize).cast(),
        tag(3),
    ];
    let mut go = || {
        // SAFETY: the list is complete and the buffer has `size` bytes.
        unsafe {
            kernel::hipModuleLaunchKernel(
                function,
                1,
                1,
                1,
                32,
                1,
                1,
                0,
                queue,
                null_mut(),
                extra.as_mut_ptr(),
            )
        }
    };
    assert_eq!(go(), code, "{}", last_text());
    // SAFETY: HIP's strings are NUL-terminated.
    let text = unsafe { CStr::from_ptr(error::hipGetErrorString(code)) }
        .to_str()
        .unwrap();
    for part in expected.iter().chain(&[kernel]) {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert_eq!(go(), code);
    assert!(last_text().contains("failed earlier"), "{}", last_text());
    assert_eq!(
        stream::hipStreamSynchronize(queue),
        code,
        "the failure is taken here"
    );
    assert_eq!(stream::hipStreamSynchronize(queue), SUCCESS);
    assert_eq!(go(), code);
    assert_eq!(stream::hipGetLastError(), code, "or here");
    assert_eq!(stream::hipStreamQuery(queue), SUCCESS);
    assert_eq!(stream::hipStreamDestroy(queue), SUCCESS);
}

#[test]
fn a_store_past_the_end_is_caught() {
    on_each_target(|module, _| {
        let out = Buffer::new(4096);
        let arguments = pack(&[&out.address().to_le_bytes(), &1032u32.to_le_bytes()]);
        let expected = [
            "store of 4 bytes",
            "32 bytes past the end of a 4096-byte allocation",
            "store",
            "work-item 0",
        ];
        expect_fault(module, "store_at", &arguments, ILLEGAL_ADDRESS, &expected);
    });
}

#[test]
fn a_load_past_the_end_names_the_first_lane_that_leaves() {
    on_each_target(|module, _| {
        let (input, out) = (Buffer::of(&[1u32; 20]), Buffer::new(4096));
        let arguments = pack(&[&input.address().to_le_bytes(), &out.address().to_le_bytes()]);
        let expected = [
            "load of 4 bytes",
            "0 bytes past the end of a 80-byte allocation",
            "work-item 20",
        ];
        expect_fault(module, "load_at", &arguments, ILLEGAL_ADDRESS, &expected);
    });
}

#[test]
fn use_after_free_and_null_are_named() {
    on_each_target(|module, _| {
        let mut pointer = null_mut();
        // SAFETY: `pointer` is valid.
        assert_eq!(unsafe { memory::hipMalloc(&mut pointer, 1 << 16) }, SUCCESS);
        assert_eq!(memory::hipFree(pointer), SUCCESS);
        let arguments = pack(&[&(pointer as u64).to_le_bytes(), &4u32.to_le_bytes()]);
        let expected = ["freed by hipFree", "16 bytes from its start"];
        expect_fault(module, "store_at", &arguments, ILLEGAL_ADDRESS, &expected);
        let arguments = pack(&[&0u64.to_le_bytes(), &4u32.to_le_bytes()]);
        expect_fault(
            module,
            "store_at",
            &arguments,
            ILLEGAL_ADDRESS,
            &["null plus 16 bytes"],
        );
    });
}

#[test]
fn read_only_data_of_a_module_cannot_be_written() {
    on_each_target(|module, _| {
        let (mut fixed, mut bytes) = (null_mut(), 0);
        // SAFETY: all pointers are valid.
        let code =
            unsafe { hipModuleGetGlobal(&mut fixed, &mut bytes, module.0, c"fixed".as_ptr()) };
        assert_eq!((code, bytes), (SUCCESS, 16));
        let arguments = pack(&[&(fixed as u64).to_le_bytes(), &2u32.to_le_bytes()]);
        expect_fault(
            module,
            "store_at",
            &arguments,
            ILLEGAL_ADDRESS,
            &["read-only part"],
        );
        // Reading it is fine.
        let out = Buffer::new(16);
        let arguments = pack(&[&(fixed as u64).to_le_bytes(), &out.address().to_le_bytes()]);
        let code = launch(module.function("load_at"), [1; 3], [4, 1, 1], 0, &arguments);
        assert_eq!(code, SUCCESS, "{}", last_text());
        assert_eq!(out.read::<u32>(), [1, 2, 3, 4]);
    });
}

#[test]
fn memory_of_another_device_needs_peer_access() {
    device(1);
    let far = Buffer::new(64);
    let module = Module::api(0);
    let arguments = pack(&[&far.address().to_le_bytes(), &0u32.to_le_bytes()]);
    expect_fault(
        &module,
        "store_at",
        &arguments,
        ILLEGAL_ADDRESS,
        &["device 1", "no peer access"],
    );
}

#[test]
fn pinned_host_memory_is_reachable() {
    on_each_target(|module, _| {
        let mut pointer = null_mut();
        // SAFETY: `pointer` is valid; the memory has 64 bytes.
        unsafe {
            assert_eq!(memory::hipHostMalloc(&mut pointer, 64, 0), SUCCESS);
            let arguments = pack(&[&(pointer as u64).to_le_bytes(), &3u32.to_le_bytes()]);
            let code = launch(
                module.function("store_at"),
                [1; 3],
                [32, 1, 1],
                0,
                &arguments,
            );
            assert_eq!(code, SUCCESS, "{}", last_text());
            assert_eq!(*pointer.cast::<u32>().add(3), 1);
        }
        assert_eq!(memory::hipHostFree(pointer), SUCCESS);
    });
}

#[test]
fn a_trap_is_a_launch_failure() {
    on_each_target(|module, _| expect_fault(module, "trap", &[], LAUNCH_FAILURE, &["trap"]));
}

#[test]
fn threads_may_share_a_stream_and_a_function() {
    let module = Module::api(0);
    let function = module.function("store_at") as usize;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                device(0);
                for index in 0..20u32 {
                    let out = Buffer::of(&[0u32; 20]);
                    let arguments = pack(&[&out.address().to_le_bytes(), &index.to_le_bytes()]);
                    let code = launch(function as *mut c_void, [1; 3], [32, 1, 1], 0, &arguments);
                    assert_eq!(code, SUCCESS, "{}", last_text());
                    let values = out.read::<u32>();
                    assert_eq!(values.iter().position(|v| *v == 1), Some(index as usize));
                }
            });
        }
    });
}
