//! Each check has a kernel that commits the fault, and one beside it that does not.

mod exec_support;

use exec_support::{Machine, TARGETS};
use hip_emulator::fault::Fault;
use hip_emulator::launch::LaunchError;

/// Runs a kernel of 256 work-items that takes an output and a number; the words that it wrote.
fn run(target: &str, kernel: &str, number: u32) -> Result<Vec<u32>, Box<Fault>> {
    let machine = Machine::compiled("checks", target);
    let out = machine.zeros::<u32>(256);
    let arguments = [(&out).into(), number.into()];
    match machine.run(kernel, [1, 1, 1], [256, 1, 1], &arguments) {
        Ok(_) => Ok(out.read()),
        Err(LaunchError::Fault(fault)) => Err(fault),
        Err(other) => panic!("{target} {kernel}: {other}"),
    }
}

/// The fault's text names what, kernel, instruction and lane.
fn expect(target: &str, kernel: &str, number: u32, words: &[&str]) -> Box<Fault> {
    let fault = run(target, kernel, number).expect_err(kernel);
    let text = fault.to_string();
    for word in words.iter().chain(&[kernel, "work-item"]) {
        assert!(
            text.contains(word),
            "{target}: {word:?} is missing in: {text}"
        );
    }
    assert!(
        fault.instruction.is_some() && fault.work_item.is_some(),
        "{text}"
    );
    fault
}

#[test]
fn a_load_of_what_another_wave_stores_is_a_race() {
    for target in TARGETS {
        expect(
            target,
            "lds_race",
            0,
            &["LDS race", "since the last barrier", "ds_"],
        );
        let words = run(target, "lds_race", 1).unwrap();
        assert!(
            (0..256).all(|i: u32| words[i as usize] == i.saturating_sub(1)),
            "{target}"
        );
    }
}

#[test]
fn a_store_to_what_other_waves_load_is_a_race() {
    for target in TARGETS {
        let fault = expect(
            target,
            "lds_race_after_read",
            0,
            &["LDS race", "several waves loaded"],
        );
        assert_eq!(fault.work_item, Some(255), "{target}");
        assert_eq!(run(target, "lds_race_after_read", 1).unwrap(), [0; 256]);
    }
}

#[test]
fn a_read_of_lds_that_nothing_wrote_is_named() {
    for target in TARGETS {
        let fault = expect(
            target,
            "lds_uninitialised",
            200,
            &["uninitialised read", "0x320"],
        );
        assert_eq!(fault.work_item, Some(200), "{target}");
        assert!(run(target, "lds_uninitialised", 256).is_ok());
    }
}

#[test]
fn bytes_of_one_word_are_different_places() {
    for target in TARGETS {
        let words = run(target, "lds_bytes", 0).unwrap();
        assert_eq!((words[0], words[1], words[6]), (0, 64, 129), "{target}");
    }
}

#[test]
fn ended_waves_do_not_hold_up_a_barrier() {
    for target in TARGETS {
        let words = run(target, "ended_before_barrier", 2).unwrap();
        assert!((0..128).all(|i| words[i as usize] == i ^ 64), "{target}");
        assert_eq!(words[128..], [0; 128]);
    }
}

#[test]
fn lanes_that_go_around_a_barrier_are_named() {
    for target in TARGETS {
        let fault = expect(
            target,
            "lanes_around_a_barrier",
            4,
            &["divergent barrier", "was not at the barrier"],
        );
        assert_eq!(fault.work_item, Some(4), "{target}");
        let words = run(target, "lanes_around_a_barrier", 0).unwrap();
        assert!((0..256).all(|i| words[i as usize] == 2 * i), "{target}");
    }
}

#[test]
fn waves_at_different_barriers_are_named() {
    for target in TARGETS {
        let fault = expect(
            target,
            "two_barriers",
            128,
            &["divergent barrier", "waits at", "s_barrier"],
        );
        assert_eq!(fault.work_item, Some(128), "{target}");
        let words = run(target, "two_barriers", 256).unwrap();
        assert!((0..256).all(|i| words[i as usize] == i ^ 64), "{target}");
    }
}

#[test]
fn an_access_past_the_end_is_named() {
    for target in TARGETS {
        for (write, access) in [(0, "load"), (1, "store")] {
            let fault = expect(
                target,
                "past_the_end",
                write,
                &["out of bounds", access, "past the end"],
            );
            assert_eq!(fault.work_item, Some(255), "{target}");
        }
    }
}

#[test]
fn a_misaligned_atomic_traps() {
    for target in TARGETS {
        expect(
            target,
            "misaligned_atomic",
            2,
            &["not aligned to 4 bytes", "atomic"],
        );
        assert_eq!(run(target, "misaligned_atomic", 8).unwrap()[2], 256);
    }
}

#[test]
fn a_read_of_device_memory_that_nothing_wrote_is_named() {
    for target in TARGETS {
        let machine = Machine::compiled("checks", target);
        let copy = |source: &exec_support::Buffer, out: &exec_support::Buffer, count: u32| {
            let arguments = [out.into(), source.into(), count.into()];
            machine.run("copy_words", [1, 1, 1], [64, 1, 1], &arguments)
        };
        let (fresh, out) = (machine.fresh(256), machine.zeros::<u32>(64));
        let error = copy(&fresh, &out, 64).unwrap_err().to_string();
        for word in [
            "copy_words",
            "uninitialised read",
            "byte 0 of a 256-byte allocation",
            "work-item 0",
        ] {
            assert!(
                error.contains(word),
                "{target}: {word:?} is missing in: {error}"
            );
        }
        // What a kernel wrote may be read, be it the very pattern of fresh memory.
        let pattern = machine.zeros::<u32>(64);
        copy(&pattern, &fresh, 32).unwrap();
        copy(&fresh, &out, 32).unwrap();
        let error = copy(&fresh, &out, 33).unwrap_err().to_string();
        assert!(
            error.contains("byte 128 of") && error.contains("work-item 32"),
            "{error}"
        );
        let pattern = machine.fresh(256);
        machine.wrote(&pattern);
        copy(&pattern, &fresh, 64).unwrap();
        copy(&fresh, &out, 64).unwrap();
        assert_eq!(out.read::<u32>(), [0xa5a5_a5a5; 64]);
    }
}
