//! Pointwise functions and their derivatives.

use super::buffer::{CHUNK, filled};
use super::simd::{multiversion, normal, sigmoid};

/// A pointwise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    /// `x·Φ(x)`.
    Gelu,
    /// `x·σ(2u)`, `u = √(2/π)·(x + 0.044715·x³)`; the same as the tanh form, since `(1 + tanh u)/2 = σ(2u)`.
    GeluTanh,
    /// `x·σ(x)`.
    Silu,
}

/// `2·√(2/π)` and that times 0.044715.
const TANH_1: f32 = 1.595_769;
const TANH_3: f32 = 0.071_354_814;

#[inline(always)]
fn tanh_argument(x: f32) -> f32 {
    let x2 = (x * x).min(1e12);
    x * x2.mul_add(TANH_3, TANH_1)
}

multiversion! {
    fn gelu(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * normal(x).0;
        }
    }
}

multiversion! {
    fn gelu_tanh(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * sigmoid(tanh_argument(x));
        }
    }
}

multiversion! {
    fn silu(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * sigmoid(x);
        }
    }
}

multiversion! {
    fn gelu_grad(x: &[f32], g: &[f32], out: &mut [f32]) {
        for ((out, &x), &g) in out.iter_mut().zip(x).zip(g) {
            let (phi, density) = normal(x);
            *out = g * x.mul_add(density, phi);
        }
    }
}

multiversion! {
    fn gelu_tanh_grad(x: &[f32], g: &[f32], out: &mut [f32]) {
        for ((out, &x), &g) in out.iter_mut().zip(x).zip(g) {
            let s = sigmoid(tanh_argument(x));
            let inner = (x * x).min(1e12).mul_add(3.0 * TANH_3, TANH_1);
            *out = g * (x * inner).mul_add(s * (1.0 - s), s);
        }
    }
}

multiversion! {
    fn silu_grad(x: &[f32], g: &[f32], out: &mut [f32]) {
        for ((out, &x), &g) in out.iter_mut().zip(x).zip(g) {
            let s = sigmoid(x);
            *out = g * x.mul_add(s * (1.0 - s), s);
        }
    }
}

/// `f(x)`.
pub(crate) fn forward(function: Function, x: &[f32]) -> Vec<f32> {
    let kernel = match function {
        Function::Gelu => gelu,
        Function::GeluTanh => gelu_tanh,
        Function::Silu => silu,
    };
    filled(x.len(), CHUNK, |start, out| kernel(&x[start..start + out.len()], out))
}

/// `g·f'(x)`.
pub(crate) fn backward(function: Function, x: &[f32], g: &[f32]) -> Vec<f32> {
    let kernel = match function {
        Function::Gelu => gelu_grad,
        Function::GeluTanh => gelu_tanh_grad,
        Function::Silu => silu_grad,
    };
    filled(x.len(), CHUNK, |start, out| {
        let part = start..start + out.len();
        kernel(&x[part.clone()], &g[part], out);
    })
}
