//! Weights in few bits: rounding within its bound, and the same bits as a product with the rounded weights.

use crate::reference::values;
use candle_core::{DType, Device, Tensor, Var};
use juror_nn::ops;
use juror_nn::packed::{PackedWeight, WeightPrecision};

const SHORT: [WeightPrecision; 4] =
    [WeightPrecision::Bf16, WeightPrecision::F16, WeightPrecision::Int8, WeightPrecision::Int4];

fn tensor(rows: usize, columns: usize, seed: u64) -> Tensor {
    let values: Vec<f32> = values(rows * columns, seed).into_iter().map(|v| v as f32).collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
}

fn packed(weight: &Tensor, precision: WeightPrecision) -> PackedWeight {
    PackedWeight::new(weight, precision).unwrap().unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let flat = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    flat.into_iter().map(|value| (value + 0.0).to_bits()).collect()
}

#[test]
fn a_product_is_that_of_the_rounded_weights_bit_for_bit() {
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 33, 17), (1, 1100, 130), (70, 600, 96), (5, 64, 64)] {
        let (x, weight) = (tensor(rows, inputs, 1), tensor(outputs, inputs, 2));
        let bias = tensor(1, outputs, 3).squeeze(0).unwrap();
        for precision in SHORT {
            let packed = packed(&weight, precision);
            let rounded = packed.unpack().unwrap();
            for bias in [None, Some(&bias)] {
                let got = packed.linear(&x, bias).unwrap();
                let want = ops::linear(&x, &rounded, bias).unwrap();
                assert_eq!(bits(&got), bits(&want), "{precision} [{rows}, {inputs}] to {outputs}");
                // A row alone, on one thread.
                let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
                let last = x.narrow(0, rows - 1, 1).unwrap();
                let alone = pool.install(|| packed.linear(&last, bias).unwrap());
                assert_eq!(bits(&alone), bits(&got.narrow(0, rows - 1, 1).unwrap()), "{precision}");
            }
        }
    }
}

#[test]
fn rounding_stays_within_its_bound() {
    let weight = tensor(50, 100, 4);
    let rows: Vec<Vec<f32>> = weight.to_vec2().unwrap();
    for precision in SHORT {
        let rounded: Vec<Vec<f32>> = packed(&weight, precision).unpack().unwrap().to_vec2().unwrap();
        for (row, rounded) in rows.iter().zip(&rounded) {
            for (group, rounded) in row.chunks(32).zip(rounded.chunks(32)) {
                let top = group.iter().fold(0.0, |top: f32, value| top.max(value.abs()));
                for (&value, &rounded) in group.iter().zip(rounded) {
                    // Half a step; an eighth more where the scale itself is rounded or the end is cut.
                    let bound = match precision {
                        WeightPrecision::Bf16 => value.abs() / 256.0,
                        // Below 2⁻¹⁴ the steps of f16 are even.
                        WeightPrecision::F16 => value.abs() / 2048.0 + 3e-8,
                        WeightPrecision::Int8 => top / 127.0 * 0.8,
                        _ => top / 8.0 * 1.05,
                    };
                    assert!((value - rounded).abs() <= bound, "{precision}: {value} became {rounded}");
                }
            }
        }
    }
}

#[test]
fn rows_sizes_and_exact_values() {
    // Multiples of the scale survive, the greatest magnitude too.
    let exact: Vec<f32> = (0..64).map(|i| (i % 16 - 8) as f32 / 4.0).collect();
    let weight = Tensor::from_vec(exact, (2, 32), &Device::Cpu).unwrap();
    for precision in SHORT.into_iter().filter(|&p| p != WeightPrecision::Int8) {
        assert_eq!(bits(&packed(&weight, precision).unpack().unwrap()), bits(&weight), "{precision}");
    }
    let table = tensor(40, 70, 5);
    let ids = Tensor::new(&[39_u32, 0, 17, 39], &Device::Cpu).unwrap();
    for precision in SHORT {
        let packed = packed(&table, precision);
        let want = packed.unpack().unwrap().index_select(&ids, 0).unwrap();
        assert_eq!(bits(&packed.rows(&ids).unwrap()), bits(&want));
        assert!(packed.rows(&Tensor::new(&[40_u32], &Device::Cpu).unwrap()).is_err());
        assert_eq!(packed.bytes() as u64, precision.bytes(40, 70));
    }
    let per_thousand = |precision: WeightPrecision| precision.bytes(4096, 4096) * 1000 / (4096 * 4096);
    assert_eq!(WeightPrecision::ALL.map(per_thousand), [4000, 2000, 2000, 1062, 562]);
}

#[test]
fn broken_weights_stay_visible_and_wrong_shapes_are_refused() {
    let mut values = vec![1.0_f32; 64];
    values[40] = f32::NAN;
    let weight = Tensor::from_vec(values, (2, 32), &Device::Cpu).unwrap();
    let x = Tensor::ones((1, 32), DType::F32, &Device::Cpu).unwrap();
    for precision in SHORT {
        let y: Vec<f32> =
            packed(&weight, precision).linear(&x, None).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(y[0].is_finite() && y[1].is_nan(), "{precision}: {y:?}");
        assert!(packed(&weight, precision).linear(&x.narrow(1, 0, 31).unwrap(), None).is_err());
    }
    assert!(PackedWeight::new(&weight, WeightPrecision::F32).unwrap().is_none());
    assert!("int3".parse::<WeightPrecision>().unwrap_err().to_string().contains("int4"));
}

#[test]
fn the_input_gets_the_gradient_of_the_rounded_weights() {
    let weight = packed(&tensor(20, 35, 6), WeightPrecision::Int4);
    let x = Var::from_tensor(&tensor(6, 35, 7).reshape((2, 3, 35)).unwrap()).unwrap();
    let factors = tensor(6, 20, 8).reshape((2, 3, 20)).unwrap();
    let loss = |y: Tensor| (y * &factors).unwrap().sum_all().unwrap();
    let got = loss(weight.linear(&x, None).unwrap()).backward().unwrap();
    let want = loss(ops::linear(&x, &weight.unpack().unwrap(), None).unwrap()).backward().unwrap();
    let difference = (got.get(&x).unwrap() - want.get(&x).unwrap()).unwrap().abs().unwrap();
    assert!(difference.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-5);
}
