//! Kernels compiled by clang, run on every target, compared with the same computation on the host:
//! memory, control flow, exchanges between lanes. `exec_arithmetic.rs` has the arithmetic.

mod exec_support;

use exec_support::{same_f32, wave, Argument, Machine, Random, GENERIC, TARGETS};

const N: usize = 1000;
/// Not a divisor of N: the last workgroup is partly empty, and so is its last wave.
const BLOCK: u32 = 96;

fn groups() -> [u32; 3] {
    [(N as u32).div_ceil(BLOCK), 1, 1]
}

fn each(test: impl Fn(&Machine, &str)) {
    for target in TARGETS {
        test(&Machine::compiled("exec", target), target);
    }
    for (card, generic) in GENERIC {
        test(&Machine::on(card, "exec", generic), card);
    }
}

fn run(machine: &Machine, name: &str, arguments: &[Argument]) {
    if let Err(error) = machine.run(name, groups(), [BLOCK, 1, 1], arguments) {
        panic!("{name}: {error}");
    }
}

#[test]
fn adds() {
    each(|machine, target| {
        let mut random = Random(1);
        let (a, b) = (random.vec(N, Random::f32), random.vec(N, Random::f32));
        let c = machine.zeros::<f32>(N);
        run(
            machine,
            "add_f32",
            &[
                (&machine.buffer(&a)).into(),
                (&machine.buffer(&b)).into(),
                (&c).into(),
                (N as u32).into(),
            ],
        );
        for (i, got) in c.read::<f32>().into_iter().enumerate() {
            assert!(
                same_f32(got, a[i] + b[i]),
                "{target} {i}: {} + {} = {got}",
                a[i],
                b[i]
            );
        }
    });
}

#[test]
fn reduces_through_lds() {
    each(|machine, target| {
        let a = Random(2).vec(N, Random::u32);
        for block in [256u32, 64, 32] {
            let count = (N as u32).div_ceil(block);
            let sums = machine.zeros::<u32>(count as usize);
            let counters = machine
                .run(
                    "reduce_u32",
                    [count, 1, 1],
                    [block, 1, 1],
                    &[
                        (&machine.buffer(&a)).into(),
                        (&sums).into(),
                        (N as u32).into(),
                    ],
                )
                .unwrap();
            assert_eq!(counters.workgroups, u64::from(count));
            assert!(counters.lds > 0 && counters.instructions > counters.valu);
            let want: Vec<u32> = a
                .chunks(block as usize)
                .map(|c| c.iter().fold(0u32, |s, v| s.wrapping_add(*v)))
                .collect();
            assert_eq!(sums.read::<u32>(), want, "{target} block {block}");
        }
    });
}

#[test]
fn atomics_of_many_workgroups() {
    each(|machine, target| {
        let counters = machine.buffer(&[0u32, 0, u32::MAX, 0]);
        let (wide, sum, old) = (
            machine.zeros::<u64>(1),
            machine.zeros::<f32>(1),
            machine.zeros::<u32>(N),
        );
        run(
            machine,
            "atomics",
            &[
                (&counters).into(),
                (&wide).into(),
                (&sum).into(),
                (&old).into(),
                (N as u32).into(),
            ],
        );
        let n = N as u32;
        let xor = (0..n).fold(0u32, |x, i| x ^ i);
        let max = (0..n).map(|i| i * 7 % 1000).max().unwrap();
        assert_eq!(counters.read::<u32>(), [n, max, 0, xor], "{target}");
        assert_eq!(
            wide.read::<u64>(),
            [(0..u64::from(n)).map(|i| i << 20).sum::<u64>()]
        );
        assert_eq!(sum.read::<f32>(), [N as f32]);
        let mut old = old.read::<u32>();
        old.sort_unstable();
        assert_eq!(
            old,
            (0..n).collect::<Vec<_>>(),
            "{target}: each ticket once"
        );
    });
}

#[test]
fn atomics_in_lds() {
    each(|machine, target| {
        let a = Random(12).vec(N, Random::u32);
        let bins = machine.zeros::<u32>(16);
        run(
            machine,
            "lds_atomics",
            &[
                (&machine.buffer(&a)).into(),
                (&bins).into(),
                (N as u32).into(),
            ],
        );
        let mut want = [0; 16];
        a.iter().for_each(|v| want[(v & 15) as usize] += 1);
        assert_eq!(bins.read::<u32>(), want, "{target}");
    });
}

#[test]
fn scratch_arrays() {
    each(|machine, target| {
        let a = Random(13).vec(N, Random::u32);
        let out = machine.zeros::<u32>(N);
        run(
            machine,
            "scratch",
            &[
                (&machine.buffer(&a)).into(),
                (&out).into(),
                (N as u32).into(),
            ],
        );
        for (i, got) in out.read::<u32>().into_iter().enumerate() {
            let mut local = [0u32; 24];
            (0..24u32).for_each(|k| {
                local[((k * 7).wrapping_add(a[i]) % 24) as usize] = k.wrapping_mul(a[i])
            });
            let want = (0..24).fold(0u32, |s: u32, k: u32| {
                s.wrapping_mul(31)
                    .wrapping_add(local[((k + (a[i] >> 5)) % 24) as usize])
            });
            assert_eq!(got, want, "{target} {i}");
        }
    });
}

#[test]
fn divergent_loops() {
    each(|machine, target| {
        let a = Random(14).vec(N, |r| r.u32() & 0xffff);
        let out = machine.zeros::<u32>(N);
        run(
            machine,
            "divergent",
            &[
                (&machine.buffer(&a)).into(),
                (&out).into(),
                (N as u32).into(),
            ],
        );
        for (i, got) in out.read::<u32>().into_iter().enumerate() {
            let (mut x, mut steps) = (a[i] | 1, 0u32);
            while x != 1 && steps < 200 {
                x = if x & 1 != 0 {
                    x.wrapping_mul(3).wrapping_add(1)
                } else {
                    x >> 1
                };
                steps += [1, 2, 3, 1][(x & 3) as usize];
            }
            assert_eq!(got, steps * 1000 + (x & 0xff), "{target} {i}: {}", a[i]);
        }
    });
}

#[test]
fn exchanges_between_lanes() {
    each(|machine, target| {
        let lanes = wave(target);
        let a = Random(15).vec(256, |r| r.u32() as i32 >> 8);
        let out = machine.zeros::<i32>(3 * 256);
        machine
            .run(
                "lanes",
                [2, 1, 1],
                [128, 1, 1],
                &[(&machine.buffer(&a)).into(), (&out).into()],
            )
            .unwrap();
        let out = out.read::<i32>();
        for i in 0..256 {
            let half = i & !31;
            assert_eq!(out[3 * i], a[half + 31 - (i & 31)], "{target} {i}");
            assert_eq!(
                out[3 * i + 1],
                a[half..half + 32].iter().sum::<i32>(),
                "{target} {i}"
            );
            let below = (i % lanes).min(32) as i32;
            assert_eq!(out[3 * i + 2], a[i / lanes * lanes] + below, "{target} {i}");
        }
    });
}

#[test]
fn dpp_controls() {
    each(|machine, target| {
        let a: Vec<i32> = (0..128).map(|i| 1000 + i).collect();
        let out = machine.zeros::<i32>(6 * 128);
        let lanes = wave(target);
        machine
            .run(
                "dpp",
                [1, 1, 1],
                [128, 1, 1],
                &[(&machine.buffer(&a)).into(), (&out).into()],
            )
            .unwrap();
        let out = out.read::<i32>();
        for i in 0..128usize {
            let (row, at) = (i & !15, i & 15);
            let want = [
                a[i ^ 1],
                if at == 15 { -1 } else { a[i + 1] },
                if at < 3 { 0 } else { a[i - 3] },
                if at / 4 % 2 == 0 {
                    a[row + ((at + 12) & 15)]
                } else {
                    -1
                },
                a[row + 15 - at],
                if i % lanes < 16 { a[i ^ 7] } else { -1 },
            ];
            assert_eq!(out[6 * i..6 * i + 6], want, "{target} {i}");
        }
    });
}

#[test]
fn dot_products_of_bytes() {
    each(|machine, target| {
        let mut random = Random(16);
        let (a, b) = (random.vec(N, Random::u32), random.vec(N, Random::u32));
        let out = machine.zeros::<i32>(N);
        run(
            machine,
            "dot",
            &[
                (&machine.buffer(&a)).into(),
                (&machine.buffer(&b)).into(),
                (&out).into(),
                (N as u32).into(),
            ],
        );
        for (i, got) in out.read::<i32>().into_iter().enumerate() {
            let products = a[i]
                .to_le_bytes()
                .into_iter()
                .zip(b[i].to_le_bytes())
                .map(|(x, y)| i32::from(x as i8) * i32::from(y as i8));
            assert_eq!(got, products.sum::<i32>() + i as i32, "{target} {i}");
        }
    });
}

#[test]
fn three_dimensions() {
    each(|machine, target| {
        let (grid, block) = ([3u32, 2, 2], [5u32, 4, 3]);
        let out = machine.zeros::<u32>(grid.iter().chain(&block).product::<u32>() as usize);
        machine.run("ids", grid, block, &[(&out).into()]).unwrap();
        let size = [grid[0] * block[0], grid[1] * block[1]];
        for (index, got) in out.read::<u32>().into_iter().enumerate() {
            let index = index as u32;
            let at = [
                index % size[0],
                index / size[0] % size[1],
                index / size[0] / size[1],
            ];
            let want = (0..3).fold(0, |w, d| {
                w | (at[d] % block[d]) << (4 * d) | (at[d] / block[d]) << (12 + 4 * d)
            });
            assert_eq!(got, want, "{target} {at:?}");
        }
    });
}

#[test]
fn flat_pointers() {
    each(|machine, target| {
        let a = Random(17).vec(256, |r| r.u32() >> 4);
        let out = machine.zeros::<u32>(256);
        machine
            .run(
                "flat",
                [1, 1, 1],
                [256, 1, 1],
                &[(&machine.buffer(&a)).into(), (&out).into()],
            )
            .unwrap();
        for (i, got) in out.read::<u32>().into_iter().enumerate() {
            let want = if a[i] & 1 != 0 {
                a[i ^ 1].wrapping_mul(3)
            } else {
                a[i]
            };
            assert_eq!(got, want, "{target} {i}");
        }
    });
}
