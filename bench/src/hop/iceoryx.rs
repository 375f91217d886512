//! iceoryx2's publish-subscribe, polled: samples of a fixed size, one publisher, one subscriber, nothing lost.

use std::collections::VecDeque;
use std::path::Path;

use iceoryx2::node::Node;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::sample_mut_uninit::SampleMutUninit;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

use crate::Result;
use crate::hop::shared::poll;
use crate::hop::transport::{BATCH, CAPACITY, Receiver, Sender};

type Payload<const LEN: usize> = [u8; LEN];
type Loan<const LEN: usize> = SampleMutUninit<ipc::Service, std::mem::MaybeUninit<Payload<LEN>>, ()>;

/// Its files are named after the contender's folder, so that they can be told from others' and be removed.
fn prefix(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    format!("iox2_{name}_")
}

/// Removes what a contender that was killed has left.
pub fn remove_leftovers(folder: &Path) {
    let prefix = prefix(folder);
    for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The node must outlive the service, and the service its ports.
struct Service<const LEN: usize> {
    factory: PortFactory<ipc::Service, Payload<LEN>, ()>,
    _node: Node<ipc::Service>,
}

impl<const LEN: usize> Service<LEN> {
    fn open(folder: &Path) -> Result<Self> {
        set_log_level(LogLevel::Fatal);
        let mut config = Config::default();
        config.global.prefix = FileName::new(prefix(folder).as_bytes()).map_err(|e| format!("{e:?}"))?;
        let root = iceoryx2::prelude::Path::new(folder.as_os_str().as_encoded_bytes())
            .map_err(|e| format!("{e:?}"))?;
        config.global.set_root_path(&root);
        let node = NodeBuilder::new().config(&config).create::<ipc::Service>()?;
        let factory = node
            .service_builder(&"hop".try_into()?)
            .publish_subscribe::<Payload<LEN>>()
            .max_publishers(1)
            .max_subscribers(1)
            .history_size(0)
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(CAPACITY)
            .subscriber_max_borrowed_samples(2)
            .open_or_create()?;
        Ok(Self { factory, _node: node })
    }
}

/// The publisher.
pub struct Publishing<const LEN: usize> {
    loans_ahead: bool,
    loan: Option<Loan<LEN>>,
    loans: VecDeque<Loan<LEN>>,
    publisher: Publisher<ipc::Service, Payload<LEN>, ()>,
    _service: Service<LEN>,
}

impl<const LEN: usize> Publishing<LEN> {
    /// Of the service of `folder`; whether a lone message's sample is loaned before the message is known.
    pub fn open(folder: &Path, loans_ahead: bool) -> Result<Self> {
        let service = Service::open(folder)?;
        let publisher = service
            .factory
            .publisher_builder()
            .max_loaned_samples(BATCH + 1)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        Ok(Self {
            loans_ahead,
            loan: None,
            loans: VecDeque::with_capacity(BATCH),
            publisher,
            _service: service,
        })
    }
}

fn send<const LEN: usize>(loan: Loan<LEN>, message: &[u8]) -> Result<()> {
    let message: &Payload<LEN> = message.try_into()?;
    match loan.write_payload(*message).send()? {
        1 => Ok(()),
        receivers => Err(format!("iceoryx2 delivered to {receivers} subscribers").into()),
    }
}

impl<const LEN: usize> Sender for Publishing<LEN> {
    fn prepare(&mut self) -> Result<()> {
        if self.loans_ahead {
            self.loan = Some(self.publisher.loan_uninit()?);
        }
        Ok(())
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let loan = match self.loan.take() {
            Some(loan) => loan,
            None => self.publisher.loan_uninit()?,
        };
        send(loan, message)
    }

    fn send_batch(&mut self, messages: &[u8], _acked: &dyn Fn() -> u64) -> Result<()> {
        let messages = messages.chunks_exact(LEN);
        for _ in 0..messages.len() {
            self.loans.push_back(self.publisher.loan_uninit()?);
        }
        for message in messages {
            send(self.loans.pop_front().ok_or("loaned before")?, message)?;
        }
        Ok(())
    }
}

/// The subscriber.
pub struct Subscribing<const LEN: usize> {
    subscriber: Subscriber<ipc::Service, Payload<LEN>, ()>,
    _service: Service<LEN>,
}

impl<const LEN: usize> Subscribing<LEN> {
    /// To the service of `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        let service = Service::open(folder)?;
        let subscriber = service.factory.subscriber_builder().buffer_size(CAPACITY).create()?;
        Ok(Self { subscriber, _service: service })
    }
}

impl<const LEN: usize> Receiver for Subscribing<LEN> {
    #[inline]
    fn receive(&mut self, _len: usize, into: &mut [u8]) -> Result<usize> {
        let mut count = 0;
        for chunk in into.chunks_exact_mut(LEN) {
            let next = || self.subscriber.receive().transpose();
            let sample = if count == 0 { Some(poll(next)?) } else { next() };
            let Some(sample) = sample else { break };
            chunk.copy_from_slice(sample?.payload());
            count += 1;
        }
        Ok(count)
    }
}
