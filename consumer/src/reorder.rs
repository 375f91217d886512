//! A reorder buffer: what several threads have done in any order is written in the order in which it was begun.
//!
//! No thread hands work to another. Whoever has done something puts it in, and writes what is next, if nobody else does. The
//! items go round: one that was written is free again, and who finds none free is far enough ahead, and waits.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use cli::Failure;
use crossbeam::channel::{Receiver, Sender, bounded};

/// Items of type `T` on their way to the one writer `W`.
pub struct Reorder<T, W> {
    state: Mutex<State<T, W>>,
    free: Receiver<T>,
}

struct State<T, W> {
    /// The ticket of the item to write next.
    next: u64,
    /// What is done and not written, by ticket.
    done: BTreeMap<u64, T>,
    /// Nobody's here while somebody is writing.
    writer: Option<W>,
    /// Where written items go, until somebody has failed. The channel is as long as there are items.
    give_back: Option<Sender<T>>,
    /// The first.
    failure: Option<Failure>,
}

impl<T, W> State<T, W> {
    fn take_next(&mut self) -> Option<T> {
        let item = self.done.remove(&self.next)?;
        self.next += 1;
        Some(item)
    }

    fn note(&mut self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            self.failure.get_or_insert(failure);
            // Who waits for an item gets to know: the last sender is gone.
            self.give_back = None;
        }
    }
}

impl<T, W> Reorder<T, W> {
    /// A buffer before `writer`, for so many `items`, which are free.
    pub fn new(writer: W, items: Vec<T>) -> Self {
        let (give_back, free) = bounded(items.len());
        for item in items {
            // There is room for each.
            let _ = give_back.send(item);
        }
        let (next, done) = (0, BTreeMap::new());
        let state = State { next, done, writer: Some(writer), give_back: Some(give_back), failure: None };
        Self { state: Mutex::new(state), free }
    }

    fn state(&self) -> MutexGuard<'_, State<T, W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An item that is free; waits for one. Nothing once somebody has failed.
    pub fn take(&self) -> Option<T> {
        self.free.recv().ok().filter(|_| !self.has_failed())
    }

    /// Puts in the item of `ticket` (the first is 0), and `write`s all that are next, unless another thread is about it. `Break`
    /// once somebody has failed: nothing is written any more.
    pub fn put(
        &self,
        ticket: u64,
        item: T,
        mut write: impl FnMut(&mut W, &T) -> Result<(), Failure>,
    ) -> ControlFlow<()> {
        let mut state = self.state();
        state.done.insert(ticket, item);
        if let Some(mut writer) = state.writer.take() {
            while state.failure.is_none()
                && let Some(item) = state.take_next()
            {
                drop(state);
                let written = write(&mut writer, &item);
                state = self.state();
                state.note(written);
                if let Some(give_back) = &state.give_back {
                    let _ = give_back.send(item);
                }
            }
            // The lock was held since there was nothing next: whoever puts in what is finds the writer.
            state.writer = Some(writer);
        }
        if state.failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Has the writer do something else, unless it is writing.
    pub fn meanwhile(&self, work: impl FnOnce(&mut W) -> Result<(), Failure>) {
        let mut state = self.state();
        if let Some(writer) = &mut state.writer {
            let worked = work(writer);
            state.note(worked);
        }
    }

    /// Lets everybody give up, for `failure`, unless they do already.
    pub fn fail(&self, failure: Failure) {
        self.state().note(Err(failure));
    }

    /// Lets everybody give up, if this thread panics before it drops the result: they would wait for its item.
    pub fn fail_if_panicking(&self) -> impl Drop + '_ {
        FailIfPanicking(self)
    }

    /// Whether somebody has failed.
    pub fn has_failed(&self) -> bool {
        self.state().failure.is_some()
    }

    /// The writer, and what has failed, once all threads have ended.
    pub fn into_writer(self) -> (Option<W>, Result<(), Failure>) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.writer, state.failure.map_or(Ok(()), Err))
    }
}

struct FailIfPanicking<'a, T, W>(&'a Reorder<T, W>);

impl<T, W> Drop for FailIfPanicking<'_, T, W> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(Failure::failed("a verifier thread ended by a bug, which it has said"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[allow(clippy::ptr_arg, reason = "it is the writer")]
    fn write(written: &mut Vec<u64>, item: &u64) -> Result<(), Failure> {
        written.push(*item);
        Ok(())
    }

    #[test]
    fn items_are_written_in_the_order_of_their_tickets_however_slow_a_thread_is() {
        let (reorder, tickets) = (Reorder::new(Vec::new(), vec![0; 5]), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while reorder.take().is_some() {
                        let ticket = tickets.fetch_add(1, Ordering::Relaxed);
                        if ticket >= 300 {
                            break;
                        }
                        if ticket.is_multiple_of(7) {
                            thread::sleep(Duration::from_micros(300));
                        }
                        assert!(reorder.put(ticket, ticket, write).is_continue());
                    }
                });
            }
        });
        let (written, result) = reorder.into_writer();
        assert_eq!(written.unwrap(), (0..300).collect::<Vec<_>>());
        result.unwrap();
    }

    #[test]
    fn one_that_is_far_ahead_waits_for_the_first() {
        let reorder = Reorder::new(Vec::new(), vec![0; 3]);
        let first = reorder.take().unwrap();
        for ticket in [1, 2] {
            reorder.take().unwrap();
            assert!(reorder.put(ticket, ticket, write).is_continue());
        }
        thread::scope(|scope| {
            let ahead = scope.spawn(|| reorder.take());
            thread::sleep(Duration::from_millis(20));
            assert!(!ahead.is_finished());
            assert!(reorder.put(0, first, write).is_continue());
            assert_eq!(ahead.join().unwrap(), Some(0), "that which was written first");
        });
        assert_eq!(reorder.into_writer().0.unwrap(), [0, 1, 2]);
    }

    #[test]
    fn after_a_failure_nothing_is_written_nobody_waits_and_the_first_one_is_told() {
        let reorder = Reorder::new(Vec::new(), vec![0]);
        reorder.take().unwrap();
        thread::scope(|scope| {
            let waits = scope.spawn(|| reorder.take());
            thread::sleep(Duration::from_millis(20));
            reorder.fail(Failure::failed("trap"));
            assert_eq!(waits.join().unwrap(), None);
        });
        reorder.fail(Failure::failed("another"));
        assert!(reorder.has_failed());
        assert!(reorder.put(0, 0, write).is_break());
        let (written, result) = reorder.into_writer();
        assert_eq!((written, result), (Some(Vec::new()), Err(Failure::failed("trap"))));
    }

    #[test]
    fn a_thread_that_panics_is_a_failure_of_all_and_one_that_ends_is_not() {
        let reorder = Reorder::new(Vec::new(), vec![0]);
        let work = |panics: bool| {
            let _failing = reorder.fail_if_panicking();
            assert!(!panics, "a bug");
        };
        thread::scope(|scope| {
            scope.spawn(|| work(false)).join().unwrap();
            assert!(!reorder.has_failed());
            scope.spawn(|| work(true)).join().unwrap_err();
        });
        assert!(reorder.has_failed());
        assert_eq!(reorder.take(), None, "although one is free");
        assert!(reorder.put(1, 1, write).is_break());
    }

    #[test]
    fn a_writer_that_fails_is_a_failure_of_all() {
        let reorder = Reorder::new(Vec::new(), vec![0, 0]);
        let fail = |_: &mut Vec<u64>, _: &u64| Err(Failure::failed("disk"));
        assert!(reorder.put(0, 0, fail).is_break());
        reorder.meanwhile(|_| Err(Failure::failed("another")));
        assert_eq!(reorder.into_writer().1, Err(Failure::failed("disk")));
    }
}
