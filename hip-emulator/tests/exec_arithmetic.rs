//! Arithmetic of kernels compiled by clang, on every target, compared with the host's.

mod exec_support;

use exec_support::{same_f32, same_f64, Argument, Machine, Random, TARGETS};
use half::f16;

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
}

fn run(machine: &Machine, name: &str, arguments: &[Argument]) {
    if let Err(error) = machine.run(name, groups(), [BLOCK, 1, 1], arguments) {
        panic!("{name}: {error}");
    }
}

#[test]
fn divides_like_ieee() {
    each(|machine, target| {
        let mut random = Random(3);
        let (a, b) = (random.vec(N, Random::f32), random.vec(N, Random::f32));
        let (x, y) = (random.vec(N, Random::f64), random.vec(N, Random::f64));
        let (q, r) = (machine.zeros::<f32>(N), machine.zeros::<f64>(N));
        let (a_, b_, x_, y_) = (
            machine.buffer(&a),
            machine.buffer(&b),
            machine.buffer(&x),
            machine.buffer(&y),
        );
        run(
            machine,
            "divide",
            &[
                (&a_).into(),
                (&b_).into(),
                (&q).into(),
                (&x_).into(),
                (&y_).into(),
                (&r).into(),
                (N as u32).into(),
            ],
        );
        let (q, r) = (q.read::<f32>(), r.read::<f64>());
        for i in 0..N {
            assert!(
                same_f64(r[i], x[i] / y[i]),
                "{target} {i}: {:e} / {:e} = {:e}, not {:e}",
                x[i],
                y[i],
                r[i],
                x[i] / y[i]
            );
            assert!(
                same_f32(q[i], a[i] / b[i]),
                "{target} {i}: {:e} / {:e} = {:e}, not {:e}",
                a[i],
                b[i],
                q[i],
                a[i] / b[i]
            );
        }
    });
}

#[test]
fn integers() {
    each(|machine, target| {
        let mut random = Random(4);
        let a = random.vec(N, Random::u32);
        let b = random.vec(N, |r| r.u32() >> (r.u32() & 31));
        let out = machine.zeros::<u32>(16 * N);
        run(
            machine,
            "integers",
            &[
                (&machine.buffer(&a)).into(),
                (&machine.buffer(&b)).into(),
                (&out).into(),
                (N as u32).into(),
            ],
        );
        let out = out.read::<u32>();
        for i in 0..N {
            let (x, y) = (a[i], b[i]);
            let want = [
                x.checked_div(y).unwrap_or(0),
                x.checked_rem(y).unwrap_or(0),
                if y == 0 {
                    0
                } else {
                    ((x as i32) / ((y >> 1) as i32).wrapping_add(1)) as u32
                },
                (x | 1).leading_zeros(),
                (x | 0x8000_0000).trailing_zeros(),
                x.count_ones(),
                x.reverse_bits(),
                x.rotate_right(y & 31),
                ((u64::from(x) * u64::from(y)) >> 32) as u32,
                ((i64::from(x as i32) * i64::from(y as i32)) >> 32) as u32,
                (x & 0xff_ffff).wrapping_mul(y & 0xff_ffff),
                (((x << 5) as i32) >> 21) as u32,
                (x & y) | (!x & 0x1234_5678),
                (x as i32).min(y as i32) as u32,
                x.swap_bytes() ^ y,
                x.wrapping_add(y.wrapping_mul(3)).wrapping_add(x ^ y),
            ];
            assert_eq!(
                out[16 * i..16 * i + 16],
                want,
                "{target} {i}: {x:#x} {y:#x}"
            );
        }
    });
}

#[test]
fn wide_integers() {
    each(|machine, target| {
        let mut random = Random(5);
        let a = random.vec(N, Random::u64);
        let b = random.vec(N, |r| r.u64() >> (r.u32() & 63));
        let out = machine.zeros::<u64>(8 * N);
        run(
            machine,
            "wide",
            &[
                (&machine.buffer(&a)).into(),
                (&machine.buffer(&b)).into(),
                (&out).into(),
                (N as u32).into(),
            ],
        );
        let out = out.read::<u64>();
        for i in 0..N {
            let (x, y) = (a[i], b[i]);
            let shift = y & 63;
            let last = if x > y {
                x - y
            } else if (x as i64) < y as i64 {
                x.wrapping_add(y)
            } else {
                x ^ y
            };
            let want = [
                x.checked_div(y).unwrap_or(0),
                x.checked_rem(y).unwrap_or(0),
                if y == 0 {
                    0
                } else {
                    (x as i64).wrapping_div(((y >> 1) as i64).wrapping_add(1)) as u64
                },
                x.wrapping_mul(y),
                x << shift,
                x >> shift,
                ((x as i64) >> shift) as u64,
                last,
            ];
            assert_eq!(out[8 * i..8 * i + 8], want, "{target} {i}: {x:#x} {y:#x}");
        }
    });
}

#[test]
fn bytes_and_shorts() {
    each(|machine, target| {
        let mut random = Random(6);
        let a = random.vec(N, |r| r.u32() as u8);
        let b = random.vec(N, |r| r.u32() as i8);
        let c = random.vec(N, |r| r.u32() as u16);
        let (out, small) = (machine.zeros::<u16>(N), machine.zeros::<u8>(N));
        let (a_, b_, c_) = (machine.buffer(&a), machine.buffer(&b), machine.buffer(&c));
        run(
            machine,
            "bytes",
            &[
                (&a_).into(),
                (&b_).into(),
                (&c_).into(),
                (&out).into(),
                (&small).into(),
                (N as u32).into(),
            ],
        );
        let (out, small) = (out.read::<u16>(), small.read::<u8>());
        for i in 0..N {
            let x = (i32::from(a[i]) * 3 + i32::from(b[i])) as u16;
            let y = c[i] >> (a[i] & 15);
            let want = (u32::from(x).wrapping_mul(u32::from(y)) as i32)
                .wrapping_add(i32::from(c[i] as i16) / 7) as u16;
            assert_eq!(
                (out[i], small[i]),
                (want, (i32::from(x) ^ i32::from(b[i])) as u8),
                "{target} {i}"
            );
        }
    });
}

/// A half of any bits except NaN, whose payloads are not compared.
fn any_half(random: &mut Random) -> u16 {
    loop {
        let bits = random.u32() as u16;
        if !f16::from_bits(bits).is_nan() {
            return bits;
        }
    }
}

#[test]
fn halves() {
    each(|machine, target| {
        let mut random = Random(7);
        let (a, b) = (random.vec(N, any_half), random.vec(N, any_half));
        let (out, wide) = (machine.zeros::<u16>(8 * N), machine.zeros::<f32>(N));
        run(
            machine,
            "halves",
            &[
                (&machine.buffer(&a)).into(),
                (&machine.buffer(&b)).into(),
                (&out).into(),
                (&wide).into(),
                (N as u32).into(),
            ],
        );
        let (out, wide) = (out.read::<u16>(), wide.read::<f32>());
        for i in 0..N {
            let (x, y) = (f16::from_bits(a[i]).to_f32(), f16::from_bits(b[i]).to_f32());
            // Sums and products of halves are exact in f64, so that one rounding is left.
            let (dx, dy) = (f64::from(x), f64::from(y));
            let want = [
                f16::from_f64(dx + dy),
                f16::from_f64(dx - dy),
                f16::from_f64(dx * dy),
                fused(dx, dy, dx),
                if x < y {
                    f16::from_f32(x)
                } else {
                    f16::from_f32(y)
                },
                f16::from_f32(x.mul_add(1.5, y)),
                f16::from_f32((x as i32) as f32),
                f16::from_f64(dx.abs() - dy),
            ];
            for (k, want) in want.into_iter().enumerate() {
                let got = f16::from_bits(out[8 * i + k]);
                let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
                assert!(
                    same,
                    "{target} {i} operation {k} of {x} {y}: {got}, not {want}"
                );
            }
            assert!(same_f32(wide[i], x.mul_add(y, 0.25)), "{target} {i}");
        }
    });
}

/// x·y + z of halves rounded once, through 128-bit integers in units of 2^-48.
fn fused(x: f64, y: f64, z: f64) -> f16 {
    if !x.is_finite() || !y.is_finite() || !z.is_finite() {
        return f16::from_f64(x * y + z);
    }
    let unit = 2f64.powi(24);
    let exact = ((x * unit) as i128) * ((y * unit) as i128) + ((z * unit) as i128) * (unit as i128);
    if exact == 0 {
        return f16::from_f64(x * y + z);
    }
    // Keep 50 bits and a sticky one: f64 holds that exactly, and rounding it to a half is right.
    let magnitude = exact.unsigned_abs();
    let drop = (128 - magnitude.leading_zeros()).saturating_sub(50);
    let sticky = u128::from(magnitude & ((1 << drop) - 1) != 0);
    let kept = ((magnitude >> drop) << 1 | sticky) as f64 * 2f64.powi(drop as i32 - 1 - 48);
    f16::from_f64(if exact < 0 { -kept } else { kept })
}

#[test]
fn packed_halves_and_shorts() {
    each(|machine, target| {
        let mut random = Random(8);
        let pair = |r: &mut Random| u32::from(any_half(r)) | u32::from(any_half(r)) << 16;
        let (a, b) = (random.vec(N, pair), random.vec(N, pair));
        let (c, d) = (random.vec(N, Random::u32), random.vec(N, Random::u32));
        let (out, iout) = (machine.zeros::<u32>(2 * N), machine.zeros::<u32>(2 * N));
        let (a_, b_, c_, d_) = (
            machine.buffer(&a),
            machine.buffer(&b),
            machine.buffer(&c),
            machine.buffer(&d),
        );
        run(
            machine,
            "packed",
            &[
                (&a_).into(),
                (&b_).into(),
                (&out).into(),
                (&c_).into(),
                (&d_).into(),
                (&iout).into(),
                (N as u32).into(),
            ],
        );
        let (out, iout) = (out.read::<u32>(), iout.read::<u32>());
        let parts = |v: u32| {
            [
                f16::from_bits(v as u16).to_f64(),
                f16::from_bits((v >> 16) as u16).to_f64(),
            ]
        };
        let shorts = |v: u32| [v as i16, (v >> 16) as i16];
        for i in 0..N {
            let (x, y) = (parts(a[i]), parts(b[i]));
            let other = [y[1], x[0]];
            for k in 0..2 {
                // HIP contracts to a fused multiply-add.
                let want = [fused(x[k], y[k], other[k]), f16::from_f64(x[k] - y[k])];
                for (w, word) in want.into_iter().zip(&out[2 * i..]) {
                    let got = f16::from_bits((word >> (16 * k)) as u16);
                    let same = got.to_bits() == w.to_bits() || (got.is_nan() && w.is_nan());
                    assert!(same, "{target} {i} half {k}: {got}, not {w}");
                }
            }
            let (p, q) = (shorts(c[i]), shorts(d[i]));
            for k in 0..2 {
                let want = p[k].wrapping_mul(q[k]).wrapping_add([q[1], p[0]][k]);
                assert_eq!(
                    (iout[2 * i] >> (16 * k)) as u16 as i16,
                    want,
                    "{target} {i}"
                );
                let want = p[k].wrapping_sub(q[k]) >> [3, 5][k];
                assert_eq!(
                    (iout[2 * i + 1] >> (16 * k)) as u16 as i16,
                    want,
                    "{target} {i}"
                );
            }
        }
    });
}

#[test]
fn packed_floats() {
    each(|machine, target| {
        let mut random = Random(9);
        let (a, b) = (
            random.vec(2 * N, Random::f32),
            random.vec(2 * N, Random::f32),
        );
        let out = machine.zeros::<f32>(4 * N);
        run(
            machine,
            "packed_f32",
            &[
                (&machine.buffer(&a)).into(),
                (&machine.buffer(&b)).into(),
                (&out).into(),
                (N as u32).into(),
            ],
        );
        let out = out.read::<f32>();
        for i in 0..N {
            for k in 0..2 {
                let (x, y, s) = (a[2 * i + k], b[2 * i + k], b[2 * i + 1 - k]);
                assert!(
                    same_f32(out[4 * i + k], x.mul_add(y, s)),
                    "{target} {i} {k}"
                );
                assert!(
                    same_f32(out[4 * i + 2 + k], x.mul_add(-s, y)),
                    "{target} {i} {k}: {x} {s} {y}"
                );
            }
        }
    });
}

#[test]
fn floats() {
    each(|machine, target| {
        let mut a = Random(10).vec(N, Random::f32);
        a[..8].copy_from_slice(&[
            0.0,
            -0.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            0.5,
            -0.5,
            2.5,
        ]);
        let out = machine.zeros::<f32>(12 * N);
        run(
            machine,
            "floats",
            &[
                (&machine.buffer(&a)).into(),
                (&out).into(),
                (N as u32).into(),
            ],
        );
        let out = out.read::<f32>();
        for (i, x) in a.iter().copied().enumerate() {
            let class = if x.is_nan() {
                1.0
            } else if x.is_infinite() {
                2.0
            } else {
                0.0
            };
            let exponent = frexp(x);
            let want = [
                x.floor(),
                x.ceil(),
                x.trunc(),
                x.round_ties_even(),
                x.min(1.5),
                x.max(-1.5),
                // The largest value below 1 stands for a fraction that rounds to 1.
                if x.is_finite() {
                    (x - x.floor()).min(1.0 - f32::EPSILON / 2.0)
                } else {
                    f32::NAN
                },
                exponent.map_or(x, |e| (f64::from(x) * 2f64.powi(-e)) as f32),
                exponent.unwrap_or(0) as f32,
                (f64::from(x) * 128.0) as f32,
                class,
                x.mul_add(x, -1.0),
            ];
            for (k, want) in want.into_iter().enumerate() {
                let got = out[12 * i + k];
                // v_fract of an infinity: AMD's pseudocode gives S0 - floor(S0), a NaN, then min(NaN, c) = c.
                if k == 6 && !x.is_finite() {
                    continue;
                }
                assert!(
                    same_f32(got, want),
                    "{target} {i} operation {k} of {x:e}: {got:e}, not {want:e}"
                );
            }
        }
    });
}

/// The exponent of `x` with a mantissa in [0.5, 1), if it has one.
fn frexp(x: f32) -> Option<i32> {
    (x != 0.0 && x.is_finite()).then(|| {
        let bits = f64::from(x).to_bits();
        (bits >> 52 & 0x7ff) as i32 - 1022
    })
}

#[test]
fn conversions() {
    each(|machine, target| {
        let mut random = Random(11);
        let a = random.vec(N, |r| (r.u32() as i32) as f32 / 1024.0);
        let b = random.vec(N, |r| f64::from(r.u32() as i32) / 1024.0);
        let (out, fout, dout) = (
            machine.zeros::<u32>(4 * N),
            machine.zeros::<f32>(N),
            machine.zeros::<f64>(N),
        );
        let (a_, b_) = (machine.buffer(&a), machine.buffer(&b));
        run(
            machine,
            "converts",
            &[
                (&a_).into(),
                (&b_).into(),
                (&out).into(),
                (&fout).into(),
                (&dout).into(),
                (N as u32).into(),
            ],
        );
        let (out, fout, dout) = (out.read::<u32>(), fout.read::<f32>(), dout.read::<f64>());
        for i in 0..N {
            let want = [
                a[i].abs() as u32,
                a[i].abs() as u32,
                b[i] as i32 as u32,
                b[i].abs() as u32,
            ];
            assert_eq!(
                out[4 * i..4 * i + 4],
                want,
                "{target} {i}: {} {}",
                a[i],
                b[i]
            );
            let sum = (b[i] as f32) + (want[0] as f32) + ((i as i32 - 7) as f32);
            assert!(same_f32(fout[i], sum), "{target} {i}");
            let sum = f64::from(a[i]).mul_add(b[i], f64::from(i as i32 - 9)) + i as f64;
            assert!(same_f64(dout[i], sum), "{target} {i}");
        }
    });
}
