//! ONNX Runtime in a Python process that waits for its turn.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SCRIPT: &str = include_str!("ort.py");

/// The process, and the least times of the model at hand, in milliseconds.
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    least: [f64; 2],
}

impl Peer {
    /// None where Python has no ONNX Runtime.
    pub fn start(python: &str, threads: usize) -> Option<Self> {
        let mut child = Command::new(python)
            .args(["-c", SCRIPT, &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let input = child.stdin.take()?;
        let mut output = BufReader::new(child.stdout.take()?);
        let mut line = String::new();
        output.read_line(&mut line).ok()?;
        (line.trim() == "ready").then_some(Self {
            child,
            input,
            output,
            least: [f64::INFINITY; 2],
        })
    }

    /// Times a model, in floats and in 8 bits.
    pub fn turn(&mut self, folder: &Path, name: &str, seconds: f64) -> Result<(), Box<dyn Error>> {
        for (index, kind) in ["", ".int8"].into_iter().enumerate() {
            let model = folder.join(format!("onnx/{name}{kind}.onnx"));
            if !model.exists() {
                continue;
            }
            let data = folder.join(format!("data/{name}.test.npy"));
            writeln!(
                self.input,
                "{}\t{}\t{seconds}",
                model.display(),
                data.display()
            )?;
            let mut line = String::new();
            self.output.read_line(&mut line)?;
            let ms: f64 = line
                .trim()
                .parse()
                .map_err(|_| format!("ONNX Runtime: {line}"))?;
            self.least[index] = self.least[index].min(ms);
        }
        Ok(())
    }

    /// The least times of floats and of 8 bits; the next model begins anew.
    pub fn ended(&mut self) -> (Option<f64>, Option<f64>) {
        let [floats, integers] = std::mem::replace(&mut self.least, [f64::INFINITY; 2]);
        let finite = |ms: f64| ms.is_finite().then_some(ms);
        (finite(floats), finite(integers))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
