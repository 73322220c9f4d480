use burn::{nn::LinearConfig, tensor::{Device, Tensor, TensorData}};
use burn_compress::attach::*;
use burn_compress::prune::*;
use burn_compress::quantize::*;
use burn_compress::format::*;
use std::time::Instant;
macro_rules! t { ($n:expr, $e:expr) => {{ let t = Instant::now(); let r = $e; println!("  {:30} {:?}", $n, t.elapsed()); r }} }
fn main() {
    let device = Device::flex();
    let scheme = Scheme::symmetric(8).unwrap();
    for _ in 0..2 {
        let model = LinearConfig::new(5000, 5000).init(&device);
        let w = model.weight.val();
        let v = WeightView::new(vec![5000,5000],1).unwrap();
        let rows = t!("to_rows", { w.clone().swap_dims(0,1).reshape([5000usize,5000]) });
        let host = t!("host", rows.clone().try_into_vec_as::<f32>().unwrap());
        t!("finite", host.iter().find(|v| !v.is_finite()));
        t!("host own", w.clone().try_into_vec_as::<f32>().unwrap());
        let abs = t!("abs", rows.clone().abs());
        let abs = t!("host", abs.try_into_vec_as::<f32>().unwrap());
        let marks = t!("lowest", lowest(&abs, 22_500_000));
        let mask = t!("mask to dev", Tensor::<1, burn::tensor::Bool>::from_data(TensorData::new(marks.clone(), [25_000_000]), &device).reshape([5000,5000]));
        let eff = t!("mask_fill", rows.clone().mask_fill(mask.clone(), 0.0));
        let p = t!("minmax", MinMax.parameters(eff.clone(), &scheme));
        let q = t!("fake", fake_quantize(eff.clone(), &p, &scheme));
        let _ = t!("from_rows", q.clone().swap_dims(0,1).reshape([25_000_000]).reshape([5000usize, 5000]));
        let values = t!("host", q.clone().try_into_vec_as::<f32>().unwrap());
        let s: Vec<f32> = p.scale.try_into_vec_as().unwrap();
        let codes: Vec<i32> = t!("codes", values.iter().enumerate().map(|(i,&x)| scheme.quantize(x, s[i/5000], 0)).collect());
        let _ = t!("Quantized", Quantized::new(scheme, &v, s, vec![0;5000], codes).unwrap());
        let plan = Plan::new().prune(Pruning::to(0.9)).quantize(Quantization::to(scheme));
        let m = model.clone();
        let (m, c) = t!("attach", plan.attach(m).unwrap());
        let out = t!("finish", c.finish(m).unwrap());
        t!("bytes", out.archive().to_bytes().unwrap().len());
        t!("apply", plan.apply(model.clone()).unwrap());
    }
}
