//! The loss of distillation, against its definition.

use burn::tensor::Tensor;
use burn_compress::train::distillation_loss;

use super::device::device;
use super::models::values;

const STUDENT: [[f32; 3]; 2] = [[1.0, -0.5, 2.0], [0.25, 3.0, -1.0]];
const TEACHER: [[f32; 3]; 2] = [[0.5, 1.5, -2.0], [4.0, 0.0, 1.0]];

fn softmax(logits: [f32; 3], temperature: f64) -> [f64; 3] {
    let powers = logits.map(|logit| (f64::from(logit) / temperature).exp());
    let sum: f64 = powers.iter().sum();
    powers.map(|power| power / sum)
}

#[test]
fn the_loss_is_the_divergence_times_the_temperature_squared() {
    let device = device().autodiff();
    for temperature in [1.0, 2.5, 4.0] {
        let student = Tensor::<2>::from_data(STUDENT, &device).require_grad();
        let teacher = Tensor::<2>::from_data(TEACHER, &device).require_grad();
        let loss = distillation_loss(student.clone(), teacher.clone(), temperature);
        let gradients = loss.backward();

        let mut expected = 0.0;
        let mut slopes = Vec::new();
        for (student, teacher) in STUDENT.into_iter().zip(TEACHER) {
            let [p, q] = [softmax(teacher, temperature), softmax(student, temperature)];
            for (p, q) in p.into_iter().zip(q) {
                expected += p * (p / q).ln() * temperature.powi(2) / 2.0;
                slopes.push(temperature * (q - p) / 2.0);
            }
        }
        let found = f64::from(values(loss)[0]);
        assert!(
            (found - expected).abs() < 1e-5 * expected,
            "{found}, not {expected}"
        );
        let found = values(student.grad(&gradients).unwrap());
        for (found, expected) in found.iter().zip(slopes) {
            let error = (f64::from(*found) - expected).abs();
            assert!(error < 1e-5, "{found}, not {expected}");
        }
        assert!(teacher.grad(&gradients).is_none());
    }
}
