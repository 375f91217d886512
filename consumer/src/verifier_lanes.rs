//! Verification in several threads, between the ring's one reader and the one writer of the output.
//!
//! Each thread is a lane with a bounded channel on either side. Batches are dealt out in turn and gathered in the
//! same turn, so they leave in the order in which they came, without anybody sorting.

use std::io;
use std::thread::{self, JoinHandle};

use cli::Failure;
use crossbeam::channel::{Receiver, Sender, bounded};

use crate::record::Batch;

/// Batches that may wait on either side of a lane: enough to hide a stall, few enough to bound memory.
const BATCHES_PER_CHANNEL: usize = 2;

/// Where batches go in.
pub struct Dealer {
    lanes: Vec<Sender<Batch>>,
    next: usize,
}

/// Where verified batches come out.
pub struct Gatherer {
    lanes: Vec<GatheringEnd>,
    next: usize,
}

struct GatheringEnd {
    given: Receiver<Result<Batch, Failure>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts `threads` lanes (at least one). Each calls `make` for a verifying function of its own, on its own thread,
/// so that the function may hold what can't change threads. They end when the dealer is dropped.
///
/// # Errors
/// `make` failed: its error. A thread can't be started: environment.
pub fn start<V>(
    threads: usize,
    make: impl Fn() -> Result<V, Failure> + Clone + Send + 'static,
) -> Result<(Dealer, Gatherer), Failure>
where
    V: FnMut(&mut Batch) -> Result<(), Failure>,
{
    let mut dealer = Dealer { lanes: Vec::new(), next: 0 };
    let mut gatherer = Gatherer { lanes: Vec::new(), next: 0 };
    let mut ready = Vec::new();
    for lane in 0..threads.max(1) {
        let (deal, dealt) = bounded(BATCHES_PER_CHANNEL);
        let (give, given) = bounded(BATCHES_PER_CHANNEL);
        let (say_ready, is_ready) = bounded(1);
        let make = make.clone();
        let work = move || run_lane(make(), &say_ready, &dealt, &give);
        let thread = thread::Builder::new().name(format!("verify-{lane}")).spawn(work).map_err(no_thread)?;
        dealer.lanes.push(deal);
        gatherer.lanes.push(GatheringEnd { given, thread: Some(thread) });
        ready.push(is_ready);
    }
    for is_ready in ready {
        is_ready.recv().unwrap_or_else(|_| Err(lane_died()))?;
    }
    Ok((dealer, gatherer))
}

fn run_lane<V: FnMut(&mut Batch) -> Result<(), Failure>>(
    made: Result<V, Failure>,
    say_ready: &Sender<Result<(), Failure>>,
    dealt: &Receiver<Batch>,
    give: &Sender<Result<Batch, Failure>>,
) {
    // Nobody listens any more when another lane could not be made.
    let mut verify = match made {
        Ok(verify) => {
            let _ = say_ready.send(Ok(()));
            verify
        }
        Err(failure) => {
            let _ = say_ready.send(Err(failure));
            return;
        }
    };
    for mut batch in dealt {
        let verified = verify(&mut batch).map(|()| batch);
        if give.send(verified).is_err() {
            return;
        }
    }
}

fn no_thread(error: io::Error) -> Failure {
    Failure::environment(format_args!("verifier thread: {error}; ask for fewer with --verify-threads"))
}

fn lane_died() -> Failure {
    Failure::failed("a verifier thread ended before its work was done")
}

impl Dealer {
    /// Hands `batch` to the next lane; waits while that lane is full.
    ///
    /// # Errors
    /// The lane has ended.
    pub fn deal(&mut self, batch: Batch) -> Result<(), Failure> {
        self.lanes[self.next].send(batch).map_err(|_| lane_died())?;
        self.next = (self.next + 1) % self.lanes.len();
        Ok(())
    }
}

impl Gatherer {
    /// The next batch in the order of dealing; waits for it. `None` once the dealer is gone and all is gathered.
    ///
    /// # Errors
    /// Verifying the batch failed, or its lane died.
    pub fn gather(&mut self) -> Result<Option<Batch>, Failure> {
        let lane = &mut self.lanes[self.next];
        match lane.given.recv() {
            Ok(verified) => {
                self.next = (self.next + 1) % self.lanes.len();
                verified.map(Some)
            }
            Err(_) => match lane.thread.take().map(JoinHandle::join) {
                Some(Err(_)) => Err(lane_died()),
                Some(Ok(())) | None => Ok(None),
            },
        }
    }

    /// How many batches may be dealt before the first is gathered without [`Dealer::deal`] waiting for ever: for a
    /// single thread that does both.
    pub fn capacity(&self) -> usize {
        self.lanes.len() * 2 * BATCHES_PER_CHANNEL
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn batch(sequence: u64) -> Batch {
        let mut batch = Batch::new(1, 0);
        batch.push().unwrap().sequence = sequence;
        batch
    }

    #[test]
    fn batches_leave_in_the_order_they_came_however_slow_a_lane_is() {
        let make = || {
            Ok(|batch: &mut Batch| {
                if batch.records()[0].sequence.is_multiple_of(3) {
                    thread::sleep(Duration::from_millis(2));
                }
                Ok(())
            })
        };
        let (mut dealer, mut gatherer) = start(3, make).unwrap();
        let feeder = thread::spawn(move || (0..50).try_for_each(|sequence| dealer.deal(batch(sequence))));
        let gathered: Vec<_> = std::iter::from_fn(|| gatherer.gather().unwrap())
            .map(|batch| batch.records()[0].sequence)
            .collect();
        feeder.join().unwrap().unwrap();
        assert_eq!(gathered, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn one_thread_may_deal_up_to_the_capacity_before_it_gathers() {
        let (mut dealer, mut gatherer) = start(2, || Ok(|_: &mut Batch| Ok(()))).unwrap();
        for sequence in 0..gatherer.capacity() as u64 {
            dealer.deal(batch(sequence)).unwrap();
        }
        for sequence in 0..gatherer.capacity() as u64 {
            assert_eq!(gatherer.gather().unwrap().unwrap().records()[0].sequence, sequence);
        }
        drop(dealer);
        assert!(gatherer.gather().unwrap().is_none());
    }

    #[test]
    fn a_verifier_that_cannot_be_made_is_an_error_before_the_run() {
        type Verify = fn(&mut Batch) -> Result<(), Failure>;
        let failure = start(2, || Err::<Verify, _>(Failure::bad_input("no key"))).err().unwrap();
        assert_eq!(failure, Failure::bad_input("no key"));
    }

    #[test]
    fn a_lane_that_fails_or_dies_is_an_error_and_not_the_end_of_the_stream() {
        let fail = || Ok(|_: &mut Batch| Err(Failure::failed("trap")));
        let (mut dealer, mut gatherer) = start(1, fail).unwrap();
        dealer.deal(batch(0)).unwrap();
        assert_eq!(gatherer.gather().unwrap_err(), Failure::failed("trap"));

        let die = || Ok(|_: &mut Batch| panic!("a bug"));
        let (mut dealer, mut gatherer) = start(1, die).unwrap();
        dealer.deal(batch(0)).unwrap();
        assert_eq!(gatherer.gather().unwrap_err(), lane_died());
    }
}
