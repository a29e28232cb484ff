//! The counters of a launch against kernels counted by hand.

mod exec_support;

use exec_support::{is_gfx9, wave, Assembly, Machine};
use hip_emulator::exec::Counters;

/// What a family calls the instructions of the kernels here.
struct Names {
    target: &'static str,
    load_pair: &'static str,
    load: &'static str,
    /// Sixteen bytes.
    load_wide: &'static str,
    store: &'static str,
    store_wide: &'static str,
    lds_store: &'static str,
    lds_store_wide: &'static str,
    /// One matrix instruction on v[16:31].
    matrix: &'static str,
    /// A dot product of bytes into v9.
    dot: &'static str,
}

#[rustfmt::skip]
const NAMES: &[Names] = &[
    Names { target: "gfx90a", load_pair: "s_load_dwordx2", load: "global_load_dword", load_wide: "global_load_dwordx4", store: "global_store_dword", store_wide: "global_store_dwordx4", lds_store: "ds_write_b32", lds_store_wide: "ds_write_b128", matrix: "v_mfma_f32_4x4x4f16 v[28:31], v[16:17], v[18:19], v[28:31]", dot: "v_dot4_i32_i8 v9, v10, v11, v9" },
    Names { target: "gfx942", load_pair: "s_load_dwordx2", load: "global_load_dword", load_wide: "global_load_dwordx4", store: "global_store_dword", store_wide: "global_store_dwordx4", lds_store: "ds_write_b32", lds_store_wide: "ds_write_b128", matrix: "v_mfma_f32_4x4x4_16b_f16 v[28:31], v[16:17], v[18:19], v[28:31]", dot: "v_dot4_i32_i8 v9, v10, v11, v9" },
    Names { target: "gfx1030", load_pair: "s_load_dwordx2", load: "global_load_dword", load_wide: "global_load_dwordx4", store: "global_store_dword", store_wide: "global_store_dwordx4", lds_store: "ds_write_b32", lds_store_wide: "ds_write_b128", matrix: "", dot: "v_dot4_i32_i8 v9, v10, v11, v9" },
    Names { target: "gfx1100", load_pair: "s_load_b64", load: "global_load_b32", load_wide: "global_load_b128", store: "global_store_b32", store_wide: "global_store_b128", lds_store: "ds_store_b32", lds_store_wide: "ds_store_b128", matrix: "v_wmma_i32_16x16x16_iu4 v[24:31], v[16:17], v[18:19], v[24:31]", dot: "v_dot4_i32_iu8 v9, v10, v11, v9" },
    Names { target: "gfx1201", load_pair: "s_load_b64", load: "global_load_b32", load_wide: "global_load_b128", store: "global_store_b32", store_wide: "global_store_b128", lds_store: "ds_store_b32", lds_store_wide: "ds_store_b128", matrix: "v_wmma_i32_16x16x16_iu4 v[24:31], v16, v18, v[24:31]", dot: "v_dot4_i32_iu8 v9, v10, v11, v9" },
];

const LDS: u32 = 8192;

fn assembly(target: &str, body: &str) -> String {
    let kernel = Assembly {
        name: "counted",
        lds: LDS,
        ..Assembly::of(target, 1)
    };
    kernel.source(body)
}

/// Counters, and the profile's line, of one workgroup of two waves, `v0` the lane's number in its wave and `v1`
/// four times that. The first two vector and one scalar instructions, and the wait, are this frame's.
fn count(names: &Names, body: &str) -> (Counters, String) {
    count_groups(names, body, 1)
}

/// The same of several workgroups, which all do the same.
fn count_groups(names: &Names, body: &str, groups: u32) -> (Counters, String) {
    let wait = if names.target == "gfx1201" {
        "s_wait_kmcnt 0x0"
    } else {
        "s_waitcnt lgkmcnt(0)"
    };
    let source = format!(
        "  {} s[4:5], s[0:1], 0x0\n  v_and_b32 v0, {}, v0\n  v_lshlrev_b32 v1, 2, v0\n  {wait}\n{body}\n  s_endpgm",
        names.load_pair,
        wave(names.target) - 1,
    );
    let machine = Machine::assembled(&assembly(names.target, &source), names.target);
    let out = machine.zeros::<u32>(64 * 64);
    machine.profiled(
        "counted",
        [groups, 2 * wave(names.target) as u32],
        &(&out).into(),
    )
}

/// The counters without the frame's own instructions: per wave one scalar load, two vector operations, a wait
/// and the end, which counts as a branch.
fn counted(names: &Names, body: &str) -> Counters {
    let (mut counters, line) = count(names, body);
    for (name, value) in counters.named() {
        assert!(
            line.contains(&format!("\"{name}\":{value}")),
            "{name} in {line}"
        );
    }
    assert_eq!((counters.waves, counters.workgroups), (2, 1));
    counters.instructions -= 2 * 5;
    counters.valu -= 2 * 2;
    counters.smem -= 2;
    counters.wait -= 2;
    counters.branch -= 2;
    counters
}

#[test]
fn instructions_are_counted_by_the_unit_that_executes_them() {
    for names in NAMES {
        let matrix = usize::from(!names.matrix.is_empty()) as u64;
        let barrier = if names.target == "gfx1201" {
            "  s_barrier_signal -1\n  s_barrier_wait -1"
        } else {
            "  s_barrier"
        };
        // Three turns of four scalar instructions, one of them a branch.
        let body = format!(
            "  s_mov_b32 s6, 3\n.Lagain:\n  s_sub_u32 s6, s6, 1\n  v_xor_b32 v3, v3, v0\n  s_cmp_lg_u32 s6, 0\n  s_cbranch_scc1 .Lagain\n\
             {barrier}\n  v_pk_add_u16 v4, v0, v0\n  {}\n  {}\n  s_nop 0",
            names.dot, names.matrix
        );
        let counters = counted(names, &body);
        let waits = if names.target == "gfx1201" { 2 } else { 1 };
        let want = [
            ("salu", 1 + 3 * 2),
            ("branch", 3),
            ("valu", 3 + 2 + matrix),
            ("packed", 2),
            ("matrix", matrix),
            ("wait", waits),
            ("other", 1),
            ("smem", 0),
            ("vmem", 0),
            ("lds", 0),
            ("instructions", 1 + 3 * 4 + waits + 2 + matrix + 1),
        ];
        for (name, per_wave) in want {
            let got = counters.named().iter().find(|(n, _)| *n == name).unwrap().1;
            assert_eq!(got, 2 * per_wave, "{} {name}", names.target);
        }
    }
}

#[test]
fn bytes_and_lines_are_those_of_the_active_lanes() {
    for names in NAMES {
        let lanes = wave(names.target) as u64;
        let half = if lanes == 64 {
            "s_mov_b64 exec, 0xffff"
        } else {
            "s_mov_b32 exec_lo, 0xffff"
        };
        // Words one after the other; words 64 bytes apart; sixteen lanes' 16 bytes; sixteen lanes of one word.
        let body = format!(
            "  {store} v1, v0, s[4:5]\n  v_lshlrev_b32 v2, 6, v0\n  {store} v2, v0, s[4:5]\n  {half}\n\
             \n  v_lshlrev_b32 v2, 4, v0\n  {wide} v2, v[16:19], s[4:5]\n  v_mov_b32 v2, 0\n  {load} v3, v2, s[4:5]",
            store = names.store,
            wide = names.store_wide,
            load = names.load,
        );
        let traffic = counted(names, &body).traffic;
        assert_eq!(
            traffic.global_bytes_stored,
            2 * (4 * lanes + 4 * lanes + 16 * 16),
            "{}",
            names.target
        );
        assert_eq!(traffic.global_bytes_loaded, 2 * 16 * 4, "{}", names.target);
        let lines = 4 * lanes / 64 + lanes + 4 + 1;
        assert_eq!(traffic.global_lines, 2 * lines, "{}", names.target);
        // The stores 64 bytes apart touch each line that the others do, in both waves.
        let moved = (traffic.distinct_bytes_loaded, traffic.distinct_bytes_stored);
        assert_eq!(moved, (64, 64 * lanes), "{}", names.target);
        assert_eq!(traffic.lds_bank_conflicts, 0);
    }
}

#[test]
fn distinct_bytes_are_those_of_lines_touched_once_or_often() {
    for names in NAMES {
        let add = match names.target {
            "gfx1100" | "gfx1201" => "global_atomic_add_u32",
            _ => "global_atomic_add",
        };
        // Sixteen bytes of lanes 0 and 1, across the end of line 0; eight bytes by a scalar load in line 20 and four
        // in line 21, by two loads; one word of line 30 by atomics, which load and store; a store to line 40.
        let body = format!(
            "  v_mov_b32 v2, 0xa00\n  {store} v2, v0, s[4:5]\n\
             \n  {pair} s[8:9], s[4:5], 0x500\n  {pair} s[8:9], s[4:5], 0x53c\n\
             \n  v_mov_b32 v2, 0x780\n  {add} v2, v0, s[4:5]\n\
             \n  s_mov_b32 exec_lo, 3\n  {high}\n  v_lshlrev_b32 v2, 4, v0\n  {plus} v2, 56, v2\n  {load} v[12:15], v2, s[4:5]",
            store = names.store,
            pair = names.load_pair,
            high = if wave(names.target) == 64 { "s_mov_b32 exec_hi, 0" } else { "" },
            plus = if is_gfx9(names.target) { "v_add_u32" } else { "v_add_nc_u32" },
            load = names.load_wide,
        );
        for groups in [1, 50] {
            let (counters, line) = count_groups(names, &body, groups);
            let traffic = counters.traffic;
            let asked = 2 * u64::from(groups) * (2 * 16 + 4 * wave(names.target) as u64);
            assert_eq!(traffic.global_bytes_loaded, asked, "{}", names.target);
            let moved = (traffic.distinct_bytes_loaded, traffic.distinct_bytes_stored);
            assert_eq!(moved, (64 * 5, 64 * 2), "{} {groups}", names.target);
            let field = format!("\"distinct_bytes_loaded\":{}", 64 * 5);
            assert!(line.contains(&field), "{line}");
        }
    }
}

#[test]
fn bank_conflicts_are_counted_per_pass_of_32_lanes() {
    for names in NAMES {
        let passes = wave(names.target) as u64 / 32;
        // Stride in bytes as a shift, and the passes beyond the first that 32 lanes need.
        for (shift, conflicts) in [(2, 0), (3, 1), (4, 3), (6, 15), (7, 31)] {
            let body = format!(
                "  v_lshlrev_b32 v2, {shift}, v0\n  {} v2, v0",
                names.lds_store
            );
            let traffic = counted_alone(names, &body).traffic;
            assert_eq!(
                traffic.lds_bank_conflicts,
                passes * conflicts,
                "{} {shift}",
                names.target
            );
            assert_eq!((traffic.global_bytes_stored, traffic.global_lines), (0, 0));
        }
        // Eight lanes' sixteen bytes fill the banks: rows of 16 bytes need no more passes than that.
        let body = format!(
            "  v_lshlrev_b32 v2, 4, v0\n  {} v2, v[16:19]",
            names.lds_store_wide
        );
        assert_eq!(
            counted_alone(names, &body).traffic.lds_bank_conflicts,
            0,
            "{}",
            names.target
        );
    }
}

/// One wave.
fn counted_alone(names: &Names, body: &str) -> Counters {
    let source = format!(
        "  v_and_b32 v0, {}, v0\n{body}\n  s_endpgm",
        wave(names.target) - 1
    );
    let machine = Machine::assembled(&assembly(names.target, &source), names.target);
    let out = machine.zeros::<u32>(1);
    machine
        .profiled("counted", [1, wave(names.target) as u32], &(&out).into())
        .0
}

#[test]
fn registers_lds_and_occupancy_come_from_the_descriptor() {
    for names in NAMES {
        let (_, line) = count(names, "");
        // 32 registers of a lane allow the most waves everywhere; 8 KiB of LDS a workgroup of two waves, eight
        // workgroups of 64 KiB (CDNA) or sixteen of 128 KiB (RDNA), on four SIMDs: 4 or 8 waves each.
        let waves = if is_gfx9(names.target) { 4 } else { 8 };
        for field in [
            "\"vgprs\":32".to_string(),
            format!("\"lds_bytes\":{LDS}"),
            format!("\"waves_per_simd\":{waves}"),
        ] {
            assert!(line.contains(&field), "{}: {field} in {line}", names.target);
        }
    }
}
