//! A run stopped anywhere and resumed from its file is the run that was never stopped.

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn_compress::compress::{Compression, Plan, Pruning, Quantization, Regrowth};
use burn_compress::format::{FormatError, Granularity, Mapping, Scheme};
use burn_compress::prune::Scope;
use burn_compress::schedule::Curve;
use burn_compress::train::{Checkpoint, TrainError, seed};

use super::device::{device, is_exact};
use super::models::{Mlp, Net, assert_same, assert_same_run, tensors, train_step};

const STEPS: usize = 12;

fn plan(regrowth: Regrowth) -> Plan {
    let curve = Curve::Cubic {
        from: 0.0,
        to: 0.8,
        start: 1,
        end: 8,
    };
    let scheme = Scheme::new(5, Mapping::Affine, Granularity::Channel).unwrap();
    Plan::new()
        .prune(
            Pruning::along(curve)
                .scope(Scope::Global)
                .every(2)
                .regrowth(regrowth),
        )
        .quantize(Quantization::to(scheme).every(3))
}

struct Run {
    net: Net,
    optimizer: ModuleOptimizer,
    scheduler: ModuleLrScheduler,
    compression: Compression,
    step: usize,
}

fn optimizer() -> ModuleOptimizer {
    AdamConfig::new().init()
}

fn scheduler() -> ModuleLrScheduler {
    CosineAnnealingLrSchedulerConfig::new(0.05, STEPS)
        .init()
        .unwrap()
}

impl Run {
    fn start(regrowth: Regrowth) -> Self {
        let net = Net::with_dropout(0.3, &device().autodiff());
        let (net, compression) = plan(regrowth).attach(net).unwrap();
        let (optimizer, scheduler) = (optimizer(), scheduler());
        Self {
            net,
            optimizer,
            scheduler,
            compression,
            step: 0,
        }
    }

    fn go(mut self, until: usize) -> Self {
        while self.step < until {
            seed(&device().autodiff(), 7, self.step as u64);
            let rate = self.scheduler.step();
            self.net = train_step(self.net, &mut self.optimizer, rate, self.step);
            self.net = self.compression.step(self.net).unwrap();
            self.step += 1;
        }
        self
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::new(&self.net, &self.optimizer, &self.compression, &self.step)
            .unwrap()
            .with_scheduler(self.scheduler.to_record())
            .unwrap()
    }

    // As a new process would: from nothing but the file.
    fn resume(path: &std::path::Path, regrowth: Regrowth) -> Self {
        let fresh = Self::start(regrowth);
        let checkpoint = Checkpoint::load(path).unwrap();
        let record = checkpoint.scheduler().unwrap().unwrap();
        let (net, optimizer, compression, step) = checkpoint
            .restore(fresh.net, fresh.optimizer, fresh.compression)
            .unwrap();
        let scheduler = fresh.scheduler.load_record(record);
        Self {
            net,
            optimizer,
            scheduler,
            compression,
            step,
        }
    }
}

fn assert_equal(one: &Run, other: &Run, what: &str) {
    assert_eq!(one.compression.state(), other.compression.state(), "{what}");
    assert_same_run(&one.net, &other.net);
    if !is_exact() {
        return;
    }
    for ((path, one), (_, other)) in tensors(&one.net).iter().zip(tensors(&other.net)) {
        println!("{what}: {path}"); // shown where they differ
        assert_same(one, &other);
    }
}

// Dropout draws from the device's generator, which all threads share.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static GENERATOR: std::sync::Mutex<()> = std::sync::Mutex::new(());
    GENERATOR
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn a_run_stopped_at_any_step_goes_on_as_if_it_had_not() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    for regrowth in [Regrowth::UntilFrozen, Regrowth::Never] {
        let whole = Run::start(regrowth).go(STEPS);
        assert!(whole.compression.state().frozen);
        // All of them where a step takes no time.
        for stop in (0..=STEPS).step_by(if is_exact() { 1 } else { 5 }) {
            Run::start(regrowth)
                .go(stop)
                .checkpoint()
                .save(&path)
                .unwrap();
            let resumed = Run::resume(&path, regrowth);
            assert_eq!(resumed.step, stop);
            assert_equal(&resumed.go(STEPS), &whole, &format!("stopped at {stop}"));
        }
    }
}

#[test]
fn taking_a_checkpoint_does_not_change_the_run() {
    let _alone = alone();
    let whole = Run::start(Regrowth::default()).go(STEPS);
    let mut run = Run::start(Regrowth::default());
    for step in 1..=STEPS {
        run = run.go(step);
        run.checkpoint();
    }
    assert_equal(&run, &whole, "checkpointed at each step");
}

#[test]
fn the_finished_networks_are_equal_too() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    Run::start(Regrowth::default())
        .go(5)
        .checkpoint()
        .save(&path)
        .unwrap();
    let resumed = Run::resume(&path, Regrowth::default()).go(STEPS);
    let whole = Run::start(Regrowth::default()).go(STEPS);
    let [one, other] = [resumed, whole].map(|run| run.compression.finish(run.net).unwrap());
    if is_exact() {
        assert_eq!(one.layers(), other.layers());
        assert_eq!(one.archive(), other.archive());
    }
}

#[test]
fn a_steered_level_is_part_of_the_state() {
    let _alone = alone();
    let run = Run::start(Regrowth::default()).go(3);
    let (mut compression, optimizer) = (run.compression, run.optimizer);
    let net = compression.prune_to(run.net, 0.55).unwrap();
    let checkpoint = Checkpoint::new(&net, &optimizer, &compression, &()).unwrap();
    let fresh = Run::start(Regrowth::default());
    let (net, _, restored, ()) = checkpoint
        .restore(fresh.net, fresh.optimizer, fresh.compression)
        .unwrap();
    assert_eq!(restored.level().unwrap(), 0.55);
    assert_eq!(restored.state(), compression.state());
    let removed: usize = restored
        .summary(&net)
        .unwrap()
        .iter()
        .map(|layer| layer.removed)
        .sum();
    assert!(removed >= 196); // of 356; quantization may make zeros of others
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    Run::start(Regrowth::default())
        .go(2)
        .checkpoint()
        .save(&path)
        .unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(311).chain([bytes.len() - 1]) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = Checkpoint::load(&path).err().unwrap();
        assert!(
            matches!(error, TrainError::Format(FormatError::Corrupt { .. })),
            "{error}"
        );
    }
    for place in (0..bytes.len()).step_by(173) {
        let mut altered = bytes.clone();
        altered[place] ^= 0x10;
        std::fs::write(&path, &altered).unwrap();
        assert!(matches!(
            Checkpoint::load(&path),
            Err(TrainError::Format(_))
        ));
    }
    std::fs::remove_file(&path).unwrap();
    let error = Checkpoint::load(&path).err().unwrap();
    assert!(matches!(error, TrainError::Format(FormatError::Io { .. })));
    // A model is no checkpoint.
    let model = plan(Regrowth::default())
        .apply(Net::new(&device()))
        .unwrap();
    model.save(&path).unwrap();
    assert!(matches!(
        Checkpoint::load(&path),
        Err(TrainError::Format(_))
    ));
}

#[test]
fn a_checkpoint_of_another_run_is_refused_and_changes_nothing() {
    let _alone = alone();
    let checkpoint = Run::start(Regrowth::default()).go(2).checkpoint();
    // Another network.
    let (mlp, compression) = plan(Regrowth::default())
        .attach(Mlp::new(&device().autodiff()))
        .unwrap();
    let error = checkpoint
        .clone()
        .restore::<_, usize>(mlp, optimizer(), compression)
        .err()
        .unwrap();
    assert!(matches!(error, TrainError::Record { .. }), "{error}");
    // The same network, but nothing attached; a clone of it is kept.
    let (plain, compression) = (
        super::models::trained(2, &device()),
        Run::start(Regrowth::Never),
    );
    let before = super::models::outputs(&plain);
    let error = checkpoint
        .clone()
        .restore::<_, usize>(plain.clone(), optimizer(), compression.compression)
        .err()
        .unwrap();
    assert!(matches!(error, TrainError::Record { .. }), "{error}");
    assert_same(&super::models::outputs(&plain), &before);
    // What the run itself keeps is of another type.
    let fresh = Run::start(Regrowth::default());
    let error = checkpoint
        .restore::<_, String>(fresh.net, fresh.optimizer, fresh.compression)
        .err()
        .unwrap();
    assert!(matches!(error, TrainError::Record { .. }), "{error}");
}
