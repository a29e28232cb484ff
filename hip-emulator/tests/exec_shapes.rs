//! Loads and stores whose lanes lie in every way to each other, with lanes off, against a copy of the memory: the emulator
//! has ways of its own for those that kernels use most.

mod exec_support;

use exec_support::{is_gfx9, wave, Assembly, Machine, Random};

/// Bytes of the LDS and of the memory.
const SIZE: usize = 4096;
/// What a data register holds before a load.
const OLD: u32 = 0xdead_beef;

/// What is loaded or stored, as gfx9 and gfx10 call it and as gfx11 and gfx12 do; bytes.
const WIDTHS: &[(&str, &str, usize)] = &[
    ("dword", "b32", 4),
    ("dwordx2", "b64", 8),
    ("dwordx3", "b96", 12),
    ("dwordx4", "b128", 16),
    ("short", "b16", 2),
];

/// Offsets of the lanes of a wave in units of the access, within 2048 bytes of 16-byte accesses.
type Pattern = fn(usize) -> usize;
const PATTERNS: &[(&str, Pattern)] = &[
    ("one after the other", |lane| lane),
    ("all the same", |_| 7),
    ("each half the same", |lane| 16 * (lane / 16)),
    ("each half as the first", |lane| lane % 16),
    ("each half the same, as the first", |lane| lane / 32 + 5),
    ("halves apart", |lane| lane % 16 + 32 * (lane / 16)),
    ("half the same, half not", |lane| match lane / 16 % 2 {
        0 => 3,
        _ => lane,
    }),
    ("backward", |lane| 63 - lane),
    ("with gaps", |lane| 2 * lane),
    ("in columns", |lane| lane % 8 * 8 + lane / 8),
    (
        "all but the first",
        |lane| if lane == 0 { 100 } else { lane },
    ),
    (
        "all but one within",
        |lane| if lane == 6 { 100 } else { lane },
    ),
    ("all but the last of a half", |lane| {
        if lane == 15 {
            100
        } else {
            lane
        }
    }),
    ("the first elsewhere, the rest the same", |lane| {
        usize::from(lane == 16)
    }),
    ("all but the last", |lane| {
        if lane % 32 == 31 {
            101
        } else {
            lane % 32
        }
    }),
];

/// Whether a lane is on.
const MASKS: &[fn(usize) -> bool] = &[
    |_| true,
    |lane| lane < 16,
    |lane| lane % 32 >= 16,
    |lane| lane % 2 == 0,
    |lane| lane != 0,
    |lane| lane == 3 || lane == 17 || lane == 33,
    |lane| lane >= 32,
    |_| false,
];

#[derive(Clone, Copy, PartialEq)]
enum Space {
    Global,
    Lds,
}

/// Two waves: each work-item fills or stores its part of the LDS and, where its flag says so, makes the access.
fn assembly(
    target: &str,
    space: Space,
    store: bool,
    (old, new, bytes): (&str, &str, usize),
) -> String {
    let dwords = is_gfx9(target) || target == "gfx1030";
    let (load, put, wide, pair, scalar) = match dwords {
        true => (
            "global_load_",
            "global_store_",
            "dwordx4",
            "dwordx2",
            "s_load_dwordx",
        ),
        false => ("global_load_", "global_store_", "b128", "b64", "s_load_b"),
    };
    let (scalar4, scalar2) = match dwords {
        true => (format!("{scalar}4"), format!("{scalar}2")),
        false => (format!("{scalar}128"), format!("{scalar}64")),
    };
    let (lds_load, lds_put) = match dwords {
        true => ("ds_read_", "ds_write_"),
        false => ("ds_load_", "ds_store_"),
    };
    let threads = 2 * wave(target);
    let part = SIZE / threads;
    let barrier = match target {
        "gfx1201" => "  s_barrier_signal -1\n  s_barrier_wait -1\n",
        _ => "  s_barrier\n",
    };
    let exec = if wave(target) == 64 {
        ("s_mov_b64 exec, vcc", "s_mov_b64 exec, -1")
    } else {
        ("s_mov_b32 exec_lo, vcc_lo", "s_mov_b32 exec_lo, -1")
    };
    let vcc = if wave(target) == 64 { "vcc" } else { "vcc_lo" };
    let plus = if is_gfx9(target) {
        "v_add_u32"
    } else {
        "v_add_nc_u32"
    };
    let name = |space: Space, store: bool| match (space, store, bytes) {
        (Space::Global, false, 2) => format!("{load}{}", if dwords { "ushort" } else { "u16" }),
        (Space::Lds, false, 2) => format!("{lds_load}u16"),
        (Space::Global, false, _) => format!("{load}{}", if dwords { old } else { new }),
        (Space::Global, true, _) => format!("{put}{}", if dwords { old } else { new }),
        (Space::Lds, false, _) => format!("{lds_load}{new}"),
        (Space::Lds, true, _) => format!("{lds_put}{new}"),
    };
    let registers = bytes.div_ceil(4);
    let data = match registers {
        1 => "v8".to_string(),
        n => format!("v[8:{}]", 7 + n),
    };
    let mut body = format!(
        "  {scalar4} s[4:7], s[0:1], 0x0\n  {scalar2} s[8:9], s[0:1], 0x10\n  v_and_b32 v0, 0x3ff, v0\n  v_lshlrev_b32 v1, 3, v0\n\
         \n  {load}{pair} v[2:3], v1, s[6:7]\n  v_lshlrev_b32 v4, {}, v0\n",
        part.ilog2()
    );
    if space == Space::Lds {
        for at in (0..part).step_by(16) {
            body += &format!(
                "  {load}{wide} v[16:19], v4, s[4:5] offset:{at}\n  {lds_put}b128 v4, v[16:19] offset:{at}\n"
            );
        }
        body += barrier;
    }
    for register in 8..12 {
        body += &match store {
            false => format!("  v_mov_b32 v{register}, {OLD:#x}\n"),
            true => format!("  {plus} v{register}, {}, v2\n", register - 7),
        };
    }
    body += &format!("  v_cmp_ne_u32 {vcc}, 0, v3\n  {}\n", exec.0);
    let access = name(space, store);
    body += &match (space, store) {
        (Space::Global, false) => format!("  {access} {data}, v2, s[4:5]\n"),
        (Space::Global, true) => format!("  {access} v2, {data}, s[8:9]\n"),
        (Space::Lds, false) => format!("  {access} {data}, v2\n"),
        (Space::Lds, true) => format!("  {access} v2, {data}\n"),
    };
    body += &format!("  {}\n", exec.1);
    match (space, store) {
        (_, false) => {
            body += &format!("  v_lshlrev_b32 v5, 4, v0\n  {put}{wide} v5, v[8:11], s[8:9]\n")
        }
        (Space::Lds, true) => {
            body += barrier;
            for at in (0..part).step_by(16) {
                body += &format!(
                    "  {lds_load}b128 v[16:19], v4 offset:{at}\n  {put}{wide} v4, v[16:19], s[8:9] offset:{at}\n"
                );
            }
        }
        (Space::Global, true) => {}
    }
    Assembly {
        lds: SIZE as u32,
        ..Assembly::of(target, 3)
    }
    .source(&(body + "  s_endpgm"))
}

/// The registers or the memory that the launch leaves.
fn expected(memory: &[u8], lanes: &[(u32, bool)], store: bool, bytes: usize) -> Vec<u8> {
    let mut left = memory.to_vec();
    let mut registers = Vec::new();
    for (offset, on) in lanes {
        let at = *offset as usize;
        let mut words = [OLD; 4].map(u32::to_le_bytes);
        if *on && store {
            let data: Vec<u8> = (1..5).flat_map(|i| (offset + i).to_le_bytes()).collect();
            left[at..at + bytes].copy_from_slice(&data[..bytes]);
        } else if *on {
            words.as_flattened_mut()[..bytes.next_multiple_of(4)].fill(0);
            words.as_flattened_mut()[..bytes].copy_from_slice(&memory[at..at + bytes]);
        }
        registers.extend_from_slice(words.as_flattened());
    }
    if store {
        left
    } else {
        registers
    }
}

#[test]
fn every_shape_moves_what_single_lanes_would() {
    let mut random = Random(5);
    let memory: Vec<u8> = random.vec(SIZE, |r| r.u32() as u8);
    for target in ["gfx90a", "gfx1100", "gfx1201"] {
        let threads = 2 * wave(target);
        for width in WIDTHS {
            for (space, store) in [
                (Space::Global, false),
                (Space::Global, true),
                (Space::Lds, false),
                (Space::Lds, true),
            ] {
                let machine = Machine::assembled(&assembly(target, space, store, *width), target);
                let function = machine.function("probe");
                let input = machine.buffer(&memory);
                for (name, pattern) in PATTERNS {
                    for (mask, on) in MASKS.iter().enumerate() {
                        let lanes: Vec<(u32, bool)> = (0..threads)
                            .map(|item| {
                                let (number, lane) = (item / wave(target), item % wave(target));
                                // Stores of two waves to one place would be a race.
                                let offset = pattern(lane) * width.2 + number * SIZE / 2;
                                (offset as u32, on(lane))
                            })
                            .collect();
                        let flat: Vec<u32> = lanes
                            .iter()
                            .flat_map(|(offset, on)| [*offset, u32::from(*on)])
                            .collect();
                        let places = machine.buffer(&flat);
                        let output = machine.buffer(&memory);
                        let arguments = [(&input).into(), (&places).into(), (&output).into()];
                        let ran = machine.launch(
                            &function,
                            [1, 1, 1],
                            [threads as u32, 1, 1],
                            &arguments,
                        );
                        let what = format!(
                            "{target} {} {name}, mask {mask}, lds {}, store {store}",
                            width.1,
                            space == Space::Lds
                        );
                        ran.unwrap_or_else(|error| panic!("{what}: {error}"));
                        let want = expected(&memory, &lanes, store, width.2);
                        assert!(output.read::<u8>()[..want.len()] == want, "{what}");
                    }
                }
            }
        }
    }
}
