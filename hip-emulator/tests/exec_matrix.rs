//! MFMA and WMMA against products computed on the host. The matrices are laid out by formulas that go
//! from an element to its lane and register, after AMD's matrix instruction calculator
//! (github.com/ROCm/amd_matrix_instruction_calculator, "A[i][k]" and "D[i][j]" of each instruction).

mod exec_support;

use exec_support::{is_gfx9, wave, Assembly, Machine, Random};
use half::{bf16, f16};

/// Register, and lane, of an element.
type Place = (usize, usize);

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Mfma,
    Wmma11,
    Wmma12,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Type {
    F32,
    F16,
    Bf16,
    I8,
    U8,
}

#[derive(Clone, Copy)]
struct Case {
    target: &'static str,
    /// With `D`, `A`, `B` and `C` for the operands.
    code: &'static str,
    layout: Layout,
    /// Rows and columns, inner size, blocks.
    shape: (usize, usize, usize),
    /// Of A and of B.
    types: [Type; 2],
}

const fn mfma(
    target: &'static str,
    code: &'static str,
    shape: (usize, usize, usize),
    t: Type,
) -> Case {
    Case {
        target,
        code,
        layout: Layout::Mfma,
        shape,
        types: [t, t],
    }
}

const fn wmma(target: &'static str, layout: Layout, code: &'static str, types: [Type; 2]) -> Case {
    Case {
        target,
        code,
        layout,
        shape: (16, 16, 1),
        types,
    }
}

use Type::{Bf16, F16, F32, I8, U8};

const CASES: &[Case] = &[
    mfma(
        "gfx90a",
        "v_mfma_f32_32x32x2f32 D, A, B, C",
        (32, 2, 1),
        F32,
    ),
    mfma(
        "gfx90a",
        "v_mfma_f32_16x16x4f32 D, A, B, C",
        (16, 4, 1),
        F32,
    ),
    mfma(
        "gfx90a",
        "v_mfma_f32_32x32x1f32 D, A, B, C",
        (32, 1, 2),
        F32,
    ),
    mfma(
        "gfx90a",
        "v_mfma_f32_16x16x1f32 D, A, B, C",
        (16, 1, 4),
        F32,
    ),
    mfma("gfx90a", "v_mfma_f32_4x4x1f32 D, A, B, C", (4, 1, 16), F32),
    mfma(
        "gfx90a",
        "v_mfma_f32_32x32x8f16 D, A, B, C",
        (32, 8, 1),
        F16,
    ),
    mfma(
        "gfx90a",
        "v_mfma_f32_16x16x16f16 D, A, B, C",
        (16, 16, 1),
        F16,
    ),
    mfma(
        "gfx90a",
        "v_mfma_f32_16x16x4f16 D, A, B, C",
        (16, 4, 4),
        F16,
    ),
    mfma(
        "gfx90a",
        "v_mfma_f32_32x32x8bf16_1k D, A, B, C",
        (32, 8, 1),
        Bf16,
    ),
    mfma(
        "gfx90a",
        "v_mfma_f32_16x16x16bf16_1k D, A, B, C",
        (16, 16, 1),
        Bf16,
    ),
    mfma(
        "gfx90a",
        "v_mfma_f32_32x32x4bf16 D, A, B, C",
        (32, 4, 1),
        Bf16,
    ),
    mfma("gfx90a", "v_mfma_i32_32x32x8i8 D, A, B, C", (32, 8, 1), I8),
    mfma(
        "gfx90a",
        "v_mfma_i32_16x16x16i8 D, A, B, C",
        (16, 16, 1),
        I8,
    ),
    mfma(
        "gfx942",
        "v_mfma_f32_32x32x2_f32 D, A, B, C",
        (32, 2, 1),
        F32,
    ),
    mfma(
        "gfx942",
        "v_mfma_f32_16x16x4_f32 D, A, B, C",
        (16, 4, 1),
        F32,
    ),
    mfma(
        "gfx942",
        "v_mfma_f32_32x32x8_f16 D, A, B, C",
        (32, 8, 1),
        F16,
    ),
    mfma(
        "gfx942",
        "v_mfma_f32_16x16x16_f16 D, A, B, C",
        (16, 16, 1),
        F16,
    ),
    mfma(
        "gfx942",
        "v_mfma_f32_32x32x8_bf16 D, A, B, C",
        (32, 8, 1),
        Bf16,
    ),
    mfma(
        "gfx942",
        "v_mfma_f32_16x16x16_bf16 D, A, B, C",
        (16, 16, 1),
        Bf16,
    ),
    mfma(
        "gfx942",
        "v_mfma_f32_32x32x4_2b_f16 D, A, B, C",
        (32, 4, 2),
        F16,
    ),
    mfma(
        "gfx942",
        "v_mfma_i32_32x32x16_i8 D, A, B, C",
        (32, 16, 1),
        I8,
    ),
    mfma(
        "gfx942",
        "v_mfma_i32_16x16x32_i8 D, A, B, C",
        (16, 32, 1),
        I8,
    ),
    wmma(
        "gfx1100",
        Layout::Wmma11,
        "v_wmma_f32_16x16x16_f16 D, A, B, C",
        [F16, F16],
    ),
    wmma(
        "gfx1100",
        Layout::Wmma11,
        "v_wmma_f32_16x16x16_bf16 D, A, B, C",
        [Bf16, Bf16],
    ),
    wmma(
        "gfx1100",
        Layout::Wmma11,
        "v_wmma_i32_16x16x16_iu8 D, A, B, C neg_lo:[1,1,0]",
        [I8, I8],
    ),
    wmma(
        "gfx1100",
        Layout::Wmma11,
        "v_wmma_i32_16x16x16_iu8 D, A, B, C neg_lo:[0,1,0]",
        [U8, I8],
    ),
    wmma(
        "gfx1201",
        Layout::Wmma12,
        "v_wmma_f32_16x16x16_f16 D, A, B, C",
        [F16, F16],
    ),
    wmma(
        "gfx1201",
        Layout::Wmma12,
        "v_wmma_f32_16x16x16_bf16 D, A, B, C",
        [Bf16, Bf16],
    ),
    wmma(
        "gfx1201",
        Layout::Wmma12,
        "v_wmma_i32_16x16x16_iu8 D, A, B, C neg_lo:[1,1,0]",
        [I8, I8],
    ),
    wmma(
        "gfx1201",
        Layout::Wmma12,
        "v_wmma_i32_16x16x16_iu8 D, A, B, C neg_lo:[1,0,0]",
        [I8, U8],
    ),
];

impl Case {
    fn bits(&self) -> usize {
        match self.types[0] {
            F32 => 32,
            F16 | Bf16 => 16,
            I8 | U8 => 8,
        }
    }

    fn is_integer(&self) -> bool {
        self.bits() == 8
    }

    /// Registers of A (and B), and of D.
    fn registers(&self) -> (usize, usize) {
        let (size, k, blocks) = self.shape;
        let lanes = wave(self.target);
        let copies = if self.layout == Layout::Wmma11 { 2 } else { 1 };
        (
            size * k * blocks * copies * self.bits() / 32 / lanes,
            size * size * blocks / lanes,
        )
    }

    /// Lanes that hold A[row][at] of a block (or B[at][row]), and the element's number in the lane.
    fn source_places(&self, block: usize, row: usize, at: usize) -> Vec<Place> {
        let (size, k, blocks) = self.shape;
        match self.layout {
            Layout::Wmma11 => vec![(at, row), (at, row + 16)],
            Layout::Wmma12 => vec![(at % 8, row + 16 * (at / 8))],
            Layout::Mfma if blocks > 1 => vec![(at, row + size * block)],
            Layout::Mfma => {
                // The wave's lanes are 64 / size groups, which share the k evenly.
                let each = k * size / 64;
                vec![(at % each, row + size * (at / each))]
            }
        }
    }

    /// Register and lane of D[row][column] of a block.
    fn result_place(&self, block: usize, row: usize, column: usize) -> Place {
        match (self.layout, self.shape.0) {
            (Layout::Wmma11, _) => (row / 2, column + 16 * (row % 2)),
            (Layout::Wmma12, _) => (row % 8, column + 16 * (row / 8)),
            (_, 32) => (
                16 * block + 4 * (row / 8) + row % 4,
                column + 32 * (row / 4 % 2),
            ),
            (_, 16) => (4 * block + row % 4, column + 16 * (row / 4)),
            _ => (row, 4 * block + column),
        }
    }

    /// A kernel that loads a lane's registers of A, B and C, runs the instruction with EXEC off, and
    /// stores D.
    fn assembly(&self) -> String {
        let (sources, results) = self.registers();
        let (cdna, lanes) = (is_gfx9(self.target), wave(self.target));
        let (a, b) = (8, 8 + sources.next_multiple_of(2));
        let c = (b + sources).next_multiple_of(2);
        let d = c + results;
        let range = |first: usize, count: usize| match count {
            1 => format!("v{first}"),
            _ => format!("v[{first}:{}]", first + count - 1),
        };
        let code: String = self
            .code
            .split_inclusive([' ', ','])
            .map(|word| {
                let (name, rest) = word.split_at(word.len().min(1));
                let operand = match name {
                    "D" => range(d, results),
                    "A" => range(a, sources),
                    "B" => range(b, sources),
                    "C" => range(c, results),
                    _ => return word.to_string(),
                };
                operand + rest
            })
            .collect();
        let (load, store) = if cdna {
            ("dword", "dword")
        } else {
            ("b32", "b32")
        };
        let mut loads = String::new();
        let mut stores = String::new();
        for (register, at) in (a..a + sources)
            .chain(b..b + sources)
            .chain(c..c + results)
            .zip(0..)
        {
            loads += &format!(
                "  v_add_u32_e32 v2, {:#x}, v1\n  global_load_{load} v{register}, v2, s[8:9]\n",
                at * lanes * 4
            );
        }
        for at in 0..results {
            stores += &format!(
                "  v_add_u32_e32 v2, {:#x}, v1\n  global_store_{store} v2, v{}, s[10:11]\n",
                at * lanes * 4,
                d + at
            );
        }
        if !cdna {
            loads = loads.replace("v_add_u32_e32", "v_add_nc_u32_e32");
            stores = stores.replace("v_add_u32_e32", "v_add_nc_u32_e32");
        }
        let (pointers, waits, off, on) = match self.target {
            "gfx1201" => (
                "s_load_b128",
                ["s_wait_kmcnt 0x0", "s_wait_loadcnt 0x0"],
                "",
                "",
            ),
            "gfx1100" => (
                "s_load_b128",
                ["s_waitcnt lgkmcnt(0)", "s_waitcnt vmcnt(0)"],
                "",
                "",
            ),
            // MFMA runs with lanes off as well.
            _ => (
                "s_load_dwordx4",
                ["s_waitcnt lgkmcnt(0)", "s_waitcnt vmcnt(0)"],
                "s_mov_b64 exec, 5",
                "s_mov_b64 exec, -1",
            ),
        };
        let kernel = Assembly {
            vgprs: 256,
            accumulators: 256,
            ..Assembly::of(self.target, 2)
        };
        kernel.source(&format!(
            "  {pointers} s[8:11], s[0:1], 0x0
  v_and_b32 v0, 0x3ff, v0
  v_lshlrev_b32 v1, 2, v0
  {scalar}
{loads}  {vector}
  {off}
  {code}
  {on}
{stores}  s_endpgm",
            scalar = waits[0],
            vector = waits[1],
        ))
    }
}

/// An element's bits and its value.
fn element(random: &mut Random, t: Type) -> (u32, f64) {
    let wide = f32::from(random.u32() as i16) / 256.0;
    match t {
        F32 => (wide.to_bits(), f64::from(wide)),
        F16 => (
            f16::from_f32(wide).to_bits().into(),
            f16::from_f32(wide).to_f64(),
        ),
        Bf16 => (
            bf16::from_f32(wide).to_bits().into(),
            bf16::from_f32(wide).to_f64(),
        ),
        I8 => (random.u32() & 0xff, 0.0),
        U8 => (random.u32() & 0xff, 0.0),
    }
}

fn check(case: &Case, random: &mut Random) {
    let machine = Machine::assembled(&case.assembly(), case.target);
    let (size, k, blocks) = case.shape;
    let lanes = wave(case.target);
    let (sources, results) = case.registers();
    let mut words = vec![0u32; (2 * sources + results) * lanes];
    // Values by [which][block][row or column][k].
    let mut values = [vec![0f64; blocks * size * k], vec![0f64; blocks * size * k]];
    for which in 0..2 {
        for (at, value) in values[which].iter_mut().enumerate() {
            let (block, row, inner) = (at / (size * k), at / k % size, at % k);
            let (bits, number) = element(random, case.types[which]);
            *value = match case.types[which] {
                I8 => f64::from(bits as u8 as i8),
                U8 => f64::from(bits),
                _ => number,
            };
            for (e, lane) in case.source_places(block, row, inner) {
                let bit = e * case.bits();
                words[(which * sources + bit / 32) * lanes + lane] |= bits << (bit % 32);
            }
        }
    }
    let addends: Vec<f64> = (0..blocks * size * size)
        .map(|at| {
            let (block, row, column) = (at / (size * size), at / size % size, at % size);
            let number = f64::from(random.u32() as i16);
            let (register, lane) = case.result_place(block, row, column);
            words[(2 * sources + register) * lanes + lane] = if case.is_integer() {
                number as i32 as u32
            } else {
                (number as f32).to_bits()
            };
            number
        })
        .collect();
    let (input, output) = (
        machine.buffer(&words),
        machine.zeros::<u32>(results * lanes),
    );
    machine
        .run(
            "probe",
            [1, 1, 1],
            [lanes as u32, 1, 1],
            &[(&input).into(), (&output).into()],
        )
        .unwrap_or_else(|error| panic!("{} {}: {error}", case.target, case.code));
    let output = output.read::<u32>();
    for (at, addend) in addends.iter().enumerate() {
        let (block, row, column) = (at / (size * size), at / size % size, at % size);
        let products = (0..k).map(|inner| {
            values[0][(block * size + row) * k + inner]
                * values[1][(block * size + column) * k + inner]
        });
        // Exact: the values have few bits, and integers stay far below 2^31.
        let want = products.sum::<f64>() + addend;
        let (register, lane) = case.result_place(block, row, column);
        let got = output[register * lanes + lane];
        let same = if case.is_integer() {
            f64::from(got as i32) == want
        } else {
            got == (want as f32).to_bits()
        };
        assert!(
            same,
            "{} {}: block {block} D[{row}][{column}]: {got:#x}, not {want}",
            case.target, case.code
        );
    }
}

#[test]
fn matrix_products_equal_the_hosts() {
    let mut random = Random(2024);
    for case in CASES {
        for _ in 0..2 {
            check(case, &mut random);
        }
    }
}

/// AMD on the MI200: its products of f16 and bf16 flush subnormals on the way in and out (MIOpen's documentation, "MI200
/// MFMA behavior specifics"), those of f32 do not; nor does the MI300.
#[test]
fn the_mi200_has_no_subnormal_16_bit_products() {
    let both = |word: u32| word | word << 16;
    let (subnormal_half, half_1024) = (both(0x0010), both(0x6400)); // 2^-20, 2^10
    let bf16_tiny = both(0x1c80); // 2^-70
    let subnormal = f32::from_bits(0x0001_0000); // 2^-133
                                                 // Instructions, words of A, B and C in every lane, k, and what D is where nothing is flushed.
    let cases: &[(Case, [u32; 3], f32)] = &[
        (
            mfma("", "v_mfma_f32_16x16x16f16 D, A, B, C", (16, 16, 1), F16),
            [subnormal_half, half_1024, 0],
            2f32.powi(-6),
        ),
        (
            mfma("", "v_mfma_f32_16x16x16f16 D, A, B, C", (16, 16, 1), F16),
            [0, 0, subnormal.to_bits()],
            subnormal,
        ),
        (
            mfma(
                "",
                "v_mfma_f32_16x16x16bf16_1k D, A, B, C",
                (16, 16, 1),
                Bf16,
            ),
            [bf16_tiny, bf16_tiny, 0],
            f32::from_bits(1 << 13), // 16 times 2^-140
        ),
        (
            mfma("", "v_mfma_f32_16x16x4f32 D, A, B, C", (16, 4, 1), F32),
            [subnormal.to_bits(), 1f32.to_bits(), subnormal.to_bits()],
            5.0 * subnormal,
        ),
    ];
    for (case, [a, b, c], want) in cases {
        for target in ["gfx90a", "gfx942"] {
            let code = if target == "gfx90a" {
                case.code.to_string()
            } else {
                // The MI300's spelling.
                let code = case.code.replace("16bf16_1k", "16_bf16");
                code.replace("16f16", "16_f16").replace("4f32", "4_f32")
            };
            let case = Case {
                target,
                code: Box::leak(code.into_boxed_str()),
                ..*case
            };
            let (sources, results) = case.registers();
            let words: Vec<u32> = [*a, *b]
                .iter()
                .flat_map(|word| vec![*word; sources * 64])
                .chain(vec![*c; results * 64])
                .collect();
            let machine = Machine::assembled(&case.assembly(), target);
            let (input, output) = (machine.buffer(&words), machine.zeros::<u32>(results * 64));
            let arguments = [(&input).into(), (&output).into()];
            machine
                .run("probe", [1, 1, 1], [64, 1, 1], &arguments)
                .unwrap();
            let flushed = target == "gfx90a" && case.types[0] != F32;
            let want = if flushed { 0.0 } else { *want };
            assert_eq!(
                output.read::<u32>(),
                vec![want.to_bits(); results * 64],
                "{target} {}",
                case.code
            );
        }
    }
}
