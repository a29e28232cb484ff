//! What a kernel can do wrong, and what the fault says about it.

mod exec_support;

use exec_support::{is_gfx9, Assembly, Machine, TARGETS};
use hip_emulator::fault::{Access, Fault, FaultKind};
use hip_emulator::launch::LaunchError;

fn fault(result: Result<hip_emulator::exec::Counters, LaunchError>) -> Fault {
    match result {
        Err(LaunchError::Fault(fault)) => *fault,
        other => panic!("expected a fault, got {other:?}"),
    }
}

#[test]
fn a_store_outside_every_allocation_names_lane_and_instruction() {
    for target in TARGETS {
        let machine = Machine::compiled("exec", target);
        let out = machine.zeros::<u32>(16);
        machine
            .run(
                "out_of_bounds",
                [1, 1, 1],
                [64, 1, 1],
                &[(&out).into(), 15u32.into()],
            )
            .unwrap();
        assert_eq!(out.read::<u32>()[15], 7);
        let fault = fault(machine.run(
            "out_of_bounds",
            [2, 1, 1],
            [64, 1, 1],
            &[(&out).into(), 1024u32.into()],
        ));
        let address = out.address() + 4096;
        match &fault.kind {
            FaultKind::OutOfBounds {
                access: Access::Store,
                address: found,
                bytes: 4,
                ..
            } => assert_eq!(*found, address),
            other => panic!("{target}: {other:?}"),
        }
        assert_eq!(
            (fault.kernel.as_str(), fault.work_item),
            ("out_of_bounds", Some(3))
        );
        assert_eq!(fault.workgroup, Some([0, 0, 0]));
        assert!(
            fault
                .instruction
                .as_deref()
                .unwrap()
                .starts_with("global_store"),
            "{fault}"
        );
        assert!(fault.offset.unwrap() > 0);
    }
}

#[test]
fn a_hung_wave_runs_out_of_budget() {
    // Read at each launch; this test binary has no other that needs the default.
    std::env::set_var("HIP_EMULATOR_BUDGET", "3000000");
    for target in TARGETS {
        let machine = Machine::compiled("exec", target);
        let fault = fault(machine.run(
            "endless",
            [1, 1, 1],
            [64, 1, 1],
            &[(&machine.zeros::<u32>(1)).into()],
        ));
        assert_eq!(fault.kind, FaultKind::Budget(3_000_000), "{target}");
        assert!(fault.instruction.is_some());
    }
}

#[test]
fn a_trap_is_no_silent_end() {
    for target in TARGETS {
        let machine = Machine::compiled("exec", target);
        let fault = fault(machine.run(
            "trap",
            [1, 1, 1],
            [64, 1, 1],
            &[(&machine.zeros::<u32>(1)).into()],
        ));
        assert!(
            matches!(&fault.kind, FaultKind::Illegal(what) if what.contains("s_trap")),
            "{target}: {fault}"
        );
    }
}

/// A kernel of one wave with `body`, and `lds` bytes.
fn assembly(target: &str, body: &str, lds: u32) -> String {
    let kernel = Assembly {
        lds,
        ..Assembly::of(target, 1)
    };
    kernel.source(&format!("{body}\n  s_endpgm"))
}

#[test]
fn an_unknown_instruction_faults_only_when_it_is_reached() {
    for target in TARGETS {
        for reached in [false, true] {
            let jump = if reached { "" } else { "s_branch .Lskip" };
            let body = format!("{jump}\n  s_getreg_b32 s9, hwreg(HW_REG_HW_ID1)\n.Lskip:");
            let body = if is_gfx9(target) {
                body.replace("HW_ID1", "HW_ID")
            } else {
                body
            };
            let machine = Machine::assembled(&assembly(target, &body, 0), target);
            let result = machine.run(
                "probe",
                [1, 1, 1],
                [32, 1, 1],
                &[(&machine.zeros::<u32>(1)).into()],
            );
            if reached {
                let fault = fault(result);
                assert!(
                    matches!(&fault.kind, FaultKind::UnknownInstruction(text) if text.contains("s_getreg_b32")),
                    "{fault}"
                );
                assert_eq!((fault.kernel.as_str(), fault.offset), ("probe", Some(0)));
            } else {
                result.unwrap();
            }
        }
    }
}

#[test]
fn lds_accesses_stay_inside() {
    for target in TARGETS {
        let store = if is_gfx9(target) || target == "gfx1030" {
            "ds_write_b32"
        } else {
            "ds_store_b32"
        };
        let body = format!("v_lshlrev_b32 v1, 2, v0\n  {store} v1, v0");
        for (lds, fits) in [(32 * 4, true), (32 * 4 - 4, false)] {
            let machine = Machine::assembled(&assembly(target, &body, lds), target);
            let result = machine.run(
                "probe",
                [1, 1, 1],
                [32, 1, 1],
                &[(&machine.zeros::<u32>(1)).into()],
            );
            if fits {
                result.unwrap();
                continue;
            }
            let fault = fault(result);
            let want = FaultKind::Segment {
                segment: "LDS",
                access: Access::Store,
                offset: 124,
                bytes: 4,
                size: 124,
            };
            assert_eq!((fault.kind, fault.work_item), (want, Some(31)), "{target}");
        }
    }
}

#[test]
fn running_off_the_end_is_a_fault() {
    for target in TARGETS {
        let body = "  s_branch .Lend";
        let machine = Machine::assembled(&assembly(target, body, 0), target);
        let fault = fault(machine.run(
            "probe",
            [1, 1, 1],
            [32, 1, 1],
            &[(&machine.zeros::<u32>(1)).into()],
        ));
        assert!(
            matches!(
                &fault.kind,
                FaultKind::Illegal(_) | FaultKind::UnknownInstruction(_)
            ),
            "{target}: {fault}"
        );
    }
}
