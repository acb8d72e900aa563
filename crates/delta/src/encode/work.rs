//! Work in parts, on several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Progress, Task};
use crate::error::DeltaError;

/// Who works, and who wants to know.
pub(super) struct Work<'a> {
    pub(super) threads: usize,
    pub(super) progress: &'a (dyn Fn(Progress) -> bool + Sync),
}

impl Work<'_> {
    pub(super) fn report(&self, task: Task, done: usize, whole: usize) -> Result<(), DeltaError> {
        if (self.progress)(Progress { task, done, whole }) {
            Ok(())
        } else {
            Err(DeltaError::Stopped)
        }
    }
}

/// Does `count` parts of a task and gives their results in order, whoever did them. Each thread
/// has a state of its own, which must not change a result.
pub(super) fn each<S, T: Send>(
    work: &Work<'_>,
    task: Task,
    count: usize,
    state: impl Fn() -> S + Sync,
    part: impl Fn(&mut S, usize) -> Result<T, DeltaError> + Sync,
) -> Result<Vec<T>, DeltaError> {
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let results = Mutex::new(Vec::with_capacity(count));
    let run = || {
        let mut state = state();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || stop.load(Ordering::Relaxed) {
                return;
            }
            let mut result = part(&mut state, number);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if let Err(error) = work.report(task, done, count) {
                result = Err(error);
            }
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            let mut results = results.lock().expect("no part panics while it holds this");
            results.push((number, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..work.threads.min(count) {
            scope.spawn(run);
        }
        run();
    });
    let mut results = results.into_inner().expect("no thread is left");
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
