//! rocBLAS' interface and the launch rules that only CUDA has, on an NVIDIA card: `scripts/nvidia.sh run` names the
//! library (`CANDLE_HIP_LIBRARY`, `CANDLE_ROCBLAS_LIBRARY`) and asks for the ignored tests.

use candle_hip::blas::{Datatype, Gemm, Handle, Matrix};
use candle_hip::{Device, DeviceMemory, Stream};
use half::{bf16, f16};

/// A small generator (Knuth's MMIX constants): every check gets numbers of its own.
struct Random(u64);

impl Random {
    /// From -1 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

fn encode(datatype: Datatype, values: &[f64]) -> Vec<u8> {
    let bytes = values.iter().flat_map(|value| match datatype {
        Datatype::F16 => f16::from_f64(*value).to_le_bytes().to_vec(),
        Datatype::Bf16 => bf16::from_f64(*value).to_le_bytes().to_vec(),
        Datatype::F32 => (*value as f32).to_le_bytes().to_vec(),
        Datatype::F64 => value.to_le_bytes().to_vec(),
    });
    bytes.collect()
}

fn decode(datatype: Datatype, bytes: &[u8]) -> Vec<f64> {
    let two = |bytes: &[u8]| [bytes[0], bytes[1]];
    match datatype {
        Datatype::F16 => bytes
            .chunks(2)
            .map(|b| f16::from_le_bytes(two(b)).to_f64())
            .collect(),
        Datatype::Bf16 => bytes
            .chunks(2)
            .map(|b| bf16::from_le_bytes(two(b)).to_f64())
            .collect(),
        Datatype::F32 => bytes
            .chunks(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect(),
        Datatype::F64 => bytes
            .chunks(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect(),
    }
}

/// A batch of column-major matrices with a gap after each column and each matrix.
struct Host {
    rows: usize,
    leading: usize,
    stride: usize,
    values: Vec<f64>,
}

impl Host {
    fn random(random: &mut Random, datatype: Datatype, [rows, columns, batch]: [usize; 3]) -> Host {
        let (leading, stride) = (rows + 3, (rows + 3) * columns + 5);
        let values: Vec<f64> = (0..stride * batch).map(|_| random.next()).collect();
        // What the card sees, so that the reference starts from the same numbers.
        let values = decode(datatype, &encode(datatype, &values));
        Host {
            rows,
            leading,
            stride,
            values,
        }
    }

    fn at(&self, batch: usize, row: usize, column: usize) -> usize {
        assert!(row < self.rows);
        batch * self.stride + column * self.leading + row
    }

    fn matrix(&self, memory: &DeviceMemory, datatype: Datatype) -> Matrix {
        Matrix {
            ptr: memory.ptr(),
            datatype,
            leading_dimension: self.leading as i32,
            stride: self.stride as i64,
        }
    }
}

/// One product against the same sums in f64; everything between the results must stay as it was.
fn check(datatype: Datatype, [m, n, k, batch]: [usize; 4], transposed: [bool; 2], beta: f64) {
    let device = Device::new(0).unwrap();
    let stream = Stream::new(&device).unwrap();
    let handle = Handle::new(&device).unwrap();
    let mut random = Random((m * 7 + n * 5 + k * 3 + batch) as u64);
    let shape = |rows, columns, transposed| match transposed {
        true => [columns, rows, batch],
        false => [rows, columns, batch],
    };
    let a = Host::random(&mut random, datatype, shape(m, k, transposed[0]));
    let b = Host::random(&mut random, datatype, shape(k, n, transposed[1]));
    let d = Host::random(&mut random, datatype, [m, n, batch]);
    let upload = |host: &Host| {
        let bytes = encode(datatype, &host.values);
        let mut memory = DeviceMemory::new(&device, bytes.len()).unwrap();
        memory.write(&stream, 0, &bytes).unwrap();
        memory
    };
    let (a_memory, b_memory, d_memory) = (upload(&a), upload(&b), upload(&d));
    let alpha = 0.5;
    let gemm = Gemm {
        m: m as i32,
        n: n as i32,
        k: k as i32,
        transpose_a: transposed[0],
        transpose_b: transposed[1],
        a: a.matrix(&a_memory, datatype),
        b: b.matrix(&b_memory, datatype),
        d: d.matrix(&d_memory, datatype),
        batch: batch as i32,
        compute: if datatype == Datatype::F64 {
            Datatype::F64
        } else {
            Datatype::F32
        },
        alpha,
        beta,
    };
    // SAFETY: the three matrices have all elements that sizes and strides reach, and live until after the reading below.
    unsafe { handle.gemm_strided_batched(&stream, &gemm) }.unwrap();
    let mut bytes = vec![0; d_memory.len()];
    d_memory.read(&stream, 0, &mut bytes).unwrap();
    let results = decode(datatype, &bytes);

    let mut expected = d.values.clone();
    // Rounding of the result, and of k sums of numbers up to 1 in F32 (2^-24 each, in the worst order).
    let rounding = match datatype {
        Datatype::F64 => 2f64.powi(-50),
        Datatype::F32 => 2f64.powi(-23),
        Datatype::F16 => 2f64.powi(-11),
        Datatype::Bf16 => 2f64.powi(-8),
    };
    let sums = if datatype == Datatype::F64 {
        2f64.powi(-52)
    } else {
        2f64.powi(-23)
    } * k as f64;
    let mut tolerance = vec![0.0; expected.len()];
    for i in 0..batch {
        for row in 0..m {
            for column in 0..n {
                let product: f64 = (0..k)
                    .map(|j| {
                        let left = if transposed[0] {
                            a.at(i, j, row)
                        } else {
                            a.at(i, row, j)
                        };
                        let right = if transposed[1] {
                            b.at(i, column, j)
                        } else {
                            b.at(i, j, column)
                        };
                        a.values[left] * b.values[right]
                    })
                    .sum();
                let at = d.at(i, row, column);
                expected[at] = alpha * product + beta * d.values[at];
                tolerance[at] = expected[at].abs() * rounding + sums;
            }
        }
    }
    for (at, (result, (expected, tolerance))) in results
        .iter()
        .zip(expected.iter().zip(&tolerance))
        .enumerate()
    {
        assert!(
            (result - expected).abs() <= *tolerance,
            "{datatype:?} {m}x{n}x{k} batch {batch} transposed {transposed:?}: element {at} is {result}, not {expected}"
        );
    }
}

#[test]
#[ignore = "needs an NVIDIA card and cuBLAS: scripts/nvidia.sh run"]
fn products_of_every_layout_type_and_batch_agree_with_f64() {
    for datatype in [Datatype::F32, Datatype::F64, Datatype::F16, Datatype::Bf16] {
        for transposed in [[false, false], [true, false], [false, true], [true, true]] {
            for shape in [
                [1, 1, 1, 1],
                [5, 7, 3, 4],
                [64, 1, 128, 2],
                [33, 65, 100, 3],
            ] {
                for beta in [0.0, 1.0] {
                    check(datatype, shape, transposed, beta);
                }
            }
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA card: scripts/nvidia.sh run"]
fn a_card_names_its_architecture_and_its_limits() {
    let device = Device::new(0).unwrap();
    let properties = device.properties();
    println!("{properties:?}");
    assert!(properties.target.starts_with("sm_"), "{properties:?}");
    assert_eq!(properties.wave_size, 32);
    assert!(
        properties.shared_memory_per_block > 48 * 1024,
        "opting in is done for the caller"
    );
    let (free, total) = device.memory_info().unwrap();
    assert!(free <= total && total <= properties.total_memory);
}
