use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softmax};

/// What a compressed classifier loses by answering otherwise than the original: the divergence of its
/// softened answers from the teacher's, times the temperature squared, averaged over the batch
/// (Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network").
///
/// Both take logits `[batch, classes]`; the teacher's get no gradient. A temperature above 1 softens
/// the answers: 4 is usual. Added to the loss on the labels, it makes short fine-tuning recover more.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::train::distillation_loss;
/// let logits = Tensor::<2>::from_data([[2.0, 0.0, -1.0]], &Device::default());
/// let same = distillation_loss(logits.clone(), logits.clone(), 4.0);
/// assert!(same.into_scalar::<f32>().abs() < 1e-6);
/// let other = distillation_loss(-logits.clone(), logits, 4.0);
/// assert!(other.into_scalar::<f32>() > 0.1);
/// ```
pub fn distillation_loss(student: Tensor<2>, teacher: Tensor<2>, temperature: f64) -> Tensor<1> {
    let teacher = teacher.detach() / temperature;
    let answers = softmax(teacher.clone(), 1);
    let surprise = log_softmax(teacher, 1) - log_softmax(student / temperature, 1);
    (answers * surprise).sum_dim(1).mean() * (temperature * temperature)
}
