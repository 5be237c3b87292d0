//! Many histories, one after the other, on all cores; and what becomes of one that fails.

use super::faults::Fault;
use super::plan::Plan;
use super::shrink::shrink;
use super::world::{Tally, World};
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How much of a failing history is shown.
const LINES_SHOWN: usize = 80;

/// A sentence that did not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    pub seed: u64,
    pub message: String,
}

impl Broken {
    /// The sentence's name, by which two failures are told apart.
    pub fn name(&self) -> &str {
        self.message.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or("")
    }
}

/// What a campaign found.
#[derive(Debug)]
pub struct Report {
    pub tally: Tally,
    pub broken: Option<Broken>,
    pub seconds: f64,
}

/// Runs the histories of all seeds, until one fails.
pub fn run(seeds: Range<u64>, threads: usize) -> Report {
    let started = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new((Tally::default(), None::<Broken>));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let over = seed >= seeds.end || found.lock().expect("nobody panics with it").1.is_some();
            if over {
                return;
            }
            let result = history(&Plan::of(seed));
            let mut found = found.lock().expect("nobody panics with it");
            match result {
                Ok(tally) => found.0.add(&tally),
                Err(broken) => found.1 = found.1.take().filter(|other| other.seed < seed).or(Some(broken)),
            }
        }
    };
    quietly(|| {
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    });
    let (tally, broken) = found.into_inner().expect("nobody panics with it");
    Report { tally, broken, seconds: started.elapsed().as_secs_f64() }
}

/// One history: what it came to, or the sentence that did not hold.
pub fn history(plan: &Plan) -> Result<Tally, Broken> {
    let plan = plan.clone();
    let seed = plan.seed;
    catch_unwind(AssertUnwindSafe(|| World::new(plan).run())).map_err(|panic| Broken { seed, message: said(&*panic) })
}

/// What happened in a history, line by line.
pub fn tell(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    let told = catch_unwind(AssertUnwindSafe(|| World::new(plan.clone()).tell(&mut lines)));
    if let Err(panic) = told {
        lines.push(format!("BROKEN: {}", said(&*panic)));
    }
    lines
}

/// A panic is how a sentence says that it does not hold; its place in the code is of no interest.
pub fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = work();
    std::panic::set_hook(hook);
    result
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "panic".to_owned())
}

impl Report {
    /// The kinds of fault that never struck: a campaign without them shows nothing about them.
    pub fn missing(&self) -> Vec<Fault> {
        Fault::ALL.into_iter().filter(|&fault| self.tally.faults.of(fault) == 0).collect()
    }

    /// Everything about the failure, if there is one: how to see it again, and the shortest history that has it.
    pub fn explain(&self) -> Option<String> {
        let broken = self.broken.as_ref()?;
        let seed = broken.seed;
        let (plan, tries) = quietly(|| shrink(Plan::of(seed), broken));
        let lines = quietly(|| tell(&plan));
        let mut text = format!("seed {seed}: {}\n\n", broken.message);
        text += &format!("see it again: cargo run --release -p ensemble --example simulate -- --seed {seed}\n\n");
        text += &format!("the least that has it, after {tries} tries ({} workers):\n", plan.workers.len());
        plan.actions.iter().for_each(|(at, action)| text += &format!("  at {:>7.3} s  {action:?}\n", *at as f64 / 1e3));
        text += &format!("\nand its last lines of {}:\n", lines.len());
        lines.iter().skip(lines.len().saturating_sub(LINES_SHOWN)).for_each(|line| text += &format!("{line}\n"));
        Some(text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { histories, events, virtual_ms, workers, done, failed, cancelled, collected, faults } = &self.tally;
        let days = *virtual_ms as f64 / 86_400_000.0;
        writeln!(
            f,
            "{histories} histories, {workers} workers, {events} events, {days:.1} days in {:.1} s",
            self.seconds
        )?;
        writeln!(
            f,
            "jobs: {done} done as if undisturbed, {failed} failed, {cancelled} cancelled; {collected} artifacts collected"
        )?;
        writeln!(f, "faults: {}", faults.total())?;
        for fault in Fault::ALL {
            writeln!(f, "  {:>9}  {fault:?}", faults.of(fault))?;
        }
        Ok(())
    }
}
