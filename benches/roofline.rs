//! How near each layer of a network comes to what one thread of this processor can do: its rooflines
//! (Williams, Waterman and Patterson 2009), as a table and as drawings.
//!
//! ```text
//! cargo bench --bench roofline [-- --model resnet20 --isa avx512-vnni --out target/roofline]
//! ```
//!
//! A point is a layer: multiply-adds with weights that are not zero for each byte of its sparse entries,
//! operands and result, against such multiply-adds a second within a pass. Above it lie the processor's
//! peaks in products of bytes (or of floats), by vectors and by a matrix unit, and what its caches and its
//! memory bring. A layer's limit is that of the unit that runs it.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_compress::engine::{LayerProfile, Options, Program};
use burn_compress::kernel::{Isa, Kernels, VectorBlock};
use clap::{Parser, ValueEnum};
use plotters::prelude::*;

#[path = "../examples/support/device.rs"]
mod device;
#[path = "../examples/support/isa.rs"]
mod isa;
#[path = "../examples/support/lowered.rs"]
mod lowered;
#[path = "../examples/models/mod.rs"]
mod models;
#[path = "../examples/support/prune_pattern.rs"]
mod prune_pattern;

use isa::isa;
use lowered::lowered;
use models::resnet::ResNet;
use models::resnet50::{ResNet50, ResNet50Config};
use prune_pattern::{Pattern, pruned};

#[derive(Parser)]
struct Arguments {
    /// The network; both by default
    #[arg(long, value_enum)]
    model: Vec<Network>,
    /// Share of each layer's weights that are removed where it is sparse
    #[arg(long, default_value_t = 0.9)]
    sparsity: f64,
    /// Images of a call
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// The instruction set; the best that the machine has by default
    #[arg(long, value_parser = isa)]
    isa: Option<Isa>,
    /// Where the drawings go
    #[arg(long, default_value = "target/roofline")]
    out: PathBuf,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Network {
    Resnet20,
    Resnet50,
}

/// One compression of a network: its points have one colour.
struct Series {
    name: &'static str,
    color: RGBColor,
    rows: Vec<LayerProfile>,
}

const COLORS: [RGBColor; 3] = [
    RGBColor(0x4c, 0x6e, 0xb1),
    RGBColor(0xd9, 0x6c, 0x3a),
    RGBColor(0x3a, 0x9b, 0x6a),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    fs::create_dir_all(&arguments.out)?;
    let device = device::Backend::Flex.device()?;
    device.seed(1);
    let all = [Network::Resnet20, Network::Resnet50];
    let networks = match arguments.model.is_empty() {
        true => &all[..],
        false => &arguments.model,
    };
    let roofs = [
        ("first-level cache", 16 << 10),
        ("second-level cache", 512 << 10),
        ("memory", 256 << 20),
    ];
    let kernels = match arguments.isa {
        Some(isa) => Kernels::of(isa).ok_or("this machine lacks that instruction set")?,
        None => Kernels::detect(),
    };
    let roofs = roofs.map(|(name, bytes)| {
        let blocks = vec![VectorBlock::of_floats(1.0); bytes / VectorBlock::BYTES];
        (name, kernels.bandwidth(&blocks))
    });
    for (name, speed) in roofs {
        println!("{name}: {:.0} GB/s", speed / 1e9);
    }
    for &network in networks {
        for integers in [true, false] {
            let series = match network {
                Network::Resnet20 => {
                    let model = || Ok(ResNet::new(20, &device)?);
                    measured(&arguments, model, 32, ResNet::forward, integers, &device)?
                }
                Network::Resnet50 => {
                    let model = || Ok(ResNet50Config::new().init(&device));
                    measured(&arguments, model, 224, ResNet50::forward, integers, &device)?
                }
            };
            let network = network.to_possible_value();
            let network = network.map_or(String::new(), |value| value.get_name().to_string());
            let numbers = if integers { "8 bits" } else { "floats" };
            let title = format!("{network}, {numbers}, batch {}", arguments.batch);
            print(&title, &series);
            let file = format!("{network}-{}.svg", if integers { "int8" } else { "f32" });
            let vectors = kernels.peak(integers);
            let peaks = match kernels.matrix_peak().filter(|_| integers) {
                Some(tiles) => vec![("matrix unit", tiles), ("vectors", vectors)],
                None => vec![("vectors", vectors)],
            };
            for (name, peak) in &peaks {
                println!("{name}: {:.0} billion multiply-adds a second", peak / 1e9);
            }
            let path = arguments.out.join(file);
            draw(&path, &title, &peaks, &roofs, &series)?;
            println!("{}\n", path.display());
        }
    }
    Ok(())
}

fn measured<M: Module>(
    arguments: &Arguments,
    model: impl Fn() -> Result<M, Box<dyn Error>>,
    side: usize,
    forward: fn(&M, Tensor<4>) -> Tensor<2>,
    integers: bool,
    device: &Device,
) -> Result<Vec<Series>, Box<dyn Error>> {
    let sparse = arguments.sparsity;
    let of = [
        ("dense", 0.0, Pattern::Unstructured),
        ("unstructured", sparse, Pattern::Unstructured),
        ("blocks of 4", sparse, Pattern::Block4),
    ];
    // Blocks gain floats nothing: their vector blocks hold one channel.
    let of = of
        .into_iter()
        .zip(COLORS)
        .take(if integers { 3 } else { 2 });
    let mut all = Vec::new();
    for ((name, sparsity, pattern), color) in of {
        let model = pruned(model()?, sparsity, pattern);
        let (lowered, _) = lowered(model, side, forward, integers, device)?;
        let options = Options {
            threads: Some(1),
            isa: arguments.isa,
            ..Options::default()
        };
        let program = Program::compile(&lowered, options)?;
        let rows = program.layers(arguments.batch).iter();
        let rows = rows.filter(|row| row.multiply_adds > 0).cloned().collect();
        all.push(Series { name, color, rows });
    }
    Ok(all)
}

/// Billions of multiply-adds a second of a layer.
fn speed(row: &LayerProfile) -> f64 {
    let time = row.microseconds.unwrap_or(f64::INFINITY);
    row.multiply_adds as f64 / time / 1e3
}

/// Share of the limit by multiply-adds.
fn share(row: &LayerProfile) -> f64 {
    row.limit.unwrap_or(0.0) / row.microseconds.unwrap_or(f64::INFINITY)
}

// Of an image: a pass of later layers may be of several.
fn of_image(row: &LayerProfile, of_pass: f64) -> f64 {
    of_pass / row.samples as f64
}

// The larger half of the layers, by multiply-adds, and all of them.
fn print(title: &str, series: &[Series]) {
    println!("{title}");
    for Series { name, rows, .. } in series {
        let mut rows: Vec<&LayerProfile> = rows.iter().collect();
        let work = |row: &LayerProfile| of_image(row, row.multiply_adds as f64);
        rows.sort_by(|a, b| work(b).total_cmp(&work(a)));
        let total = |rows: &[&LayerProfile], of: fn(&LayerProfile) -> f64| -> f64 {
            rows.iter().map(|row| of(row)).sum()
        };
        let limit = |row: &LayerProfile| of_image(row, row.limit.unwrap_or(0.0));
        let time = |row: &LayerProfile| of_image(row, row.microseconds.unwrap_or(0.0));
        let large = &rows[..rows.len().div_ceil(2)];
        let of = |rows: &[&LayerProfile]| 100.0 * total(rows, limit) / total(rows, time);
        let best = rows.iter().map(|row| share(row)).fold(0.0, f64::max);
        println!(
            "  {name:<13} {:3.0} % of the limit, {:3.0} % in the larger half of the layers, {:3.0} % in the best",
            of(&rows),
            of(large),
            100.0 * best
        );
    }
}

fn draw(
    path: &Path,
    title: &str,
    peaks: &[(&str, f64)],
    roofs: &[(&str, f64)],
    series: &[Series],
) -> Result<(), Box<dyn Error>> {
    let peak = peaks.iter().map(|of| of.1).fold(1e9, f64::max);
    let root = SVGBackend::new(path, (900, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    let (x, y) = (0.1..1000.0f64, 1.0..2.0 * peak / 1e9);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x.clone().log_scale(), y.clone().log_scale())?;
    chart
        .configure_mesh()
        .x_desc("multiply-adds for each byte")
        .y_desc("billions of multiply-adds a second")
        .light_line_style(RGBColor(0xf4, 0xf4, 0xf4))
        .draw()?;
    let peak = peak / 1e9;
    let gray = RGBColor(0x77, 0x77, 0x77);
    let label = ("sans-serif", 13).into_font().color(&gray);
    for (name, bytes) in roofs {
        let bend = (peak / (bytes / 1e9)).clamp(x.start, x.end);
        let start = x.start.max(y.start / (bytes / 1e9));
        let line = vec![(start, start * bytes / 1e9), (bend, peak)];
        chart.draw_series([PathElement::new(line, gray)])?;
        let at = (start * 1.15, start * 1.15 * bytes / 1e9);
        chart.draw_series([Text::new(name.to_string(), at, label.clone())])?;
    }
    for (name, peak) in peaks {
        let peak = peak / 1e9;
        let line = vec![(x.start, peak), (x.end, peak)];
        chart.draw_series([PathElement::new(line, BLACK.stroke_width(2))])?;
        let half = vec![(x.start, peak / 2.0), (x.end, peak / 2.0)];
        chart.draw_series([PathElement::new(half, gray)])?;
        for (text, height) in [
            (name.to_string(), peak * 0.94),
            ("half of it".to_string(), peak / 2.0 * 0.94),
        ] {
            chart.draw_series([Text::new(text, (x.start * 1.1, height), label.clone())])?;
        }
    }
    for (place, of) in series.iter().enumerate() {
        let points = of.rows.iter().map(|row| {
            let each = row.multiply_adds as f64 / row.bytes.max(1) as f64;
            Circle::new((each, speed(row)), 4, of.color.mix(0.7).filled())
        });
        chart.draw_series(points)?;
        let text = ("sans-serif", 14).into_font().color(&of.color);
        let at = (x.end / 12.0, y.start * 1.5f64.powi(3 - place as i32));
        chart.draw_series([Text::new(of.name.to_string(), at, text)])?;
    }
    root.present()?;
    Ok(())
}
