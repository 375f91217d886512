//! What the three WebAssembly runtimes have in common: the conversation with an instance.

mod backup;
mod plan;

use std::ops::Range;
use std::sync::Arc;

use ringseal_abi::Status;
use zeroize::Zeroize;

#[cfg(feature = "wasmtime")]
pub(crate) use self::backup::wipe;
pub(crate) use self::backup::{Backup, Copy};
pub(crate) use self::plan::{Export, Fault, Plan};
use crate::{Batch, EngineError, ExtensionEngine, ExtensionKind, RunError};

/// What `HostGetElem` answers while there is no host state: there is no such element.
pub(crate) const GET_ELEM_ANSWER: i32 = ringseal_abi::HostStatus::Absent as i32;

/// What `HostReadElems` answers while there is no host state: all elements, of which there are none, were read.
pub(crate) const READ_ELEMS_ANSWER: i32 = ringseal_abi::HostStatus::Exists as i32;

/// Room at the head of the buffer for the extension's name and its NUL; a multiple of the record's alignment.
const NAME_ROOM: usize = 64;

/// What an instance's first buffer holds: a batch of usual size, so that there is no second one.
const BUFFER_LEN: usize = 64 * 1024;

/// An instance on one of the runtimes.
pub(crate) trait Guest: Send {
    /// Whether a call that is due ends with [`Fault::Deadline`].
    const CAN_BE_INTERRUPTED: bool;

    type Backup: Backup;

    /// The linear memory, as long as it is now.
    fn memory(&mut self) -> &mut [u8];

    /// The bytes of the linear memory at `range`, if that is within it.
    #[inline]
    fn bytes(&mut self, range: Range<usize>) -> Option<&mut [u8]> {
        self.memory().get_mut(range)
    }

    fn init(&mut self) -> Result<(), Fault>;
    fn finit(&mut self) -> Result<(), Fault>;
    fn malloc(&mut self, len: u32) -> Result<u32, Fault>;
    fn run(&mut self, name_ptr: u32, kind: u32, arg_ptr: u32) -> Result<i32, Fault>;
    fn reset(&mut self) -> Result<(), Fault>;

    /// Whether it has been refused more memory since this was last asked.
    fn was_refused_memory(&mut self) -> bool;
}

/// An instance and the buffer that it gave the host.
pub(crate) struct Engine<G: Guest> {
    guest: G,
    plan: Arc<Plan>,
    buffer_ptr: u32,
    buffer_len: usize,
    is_usable: bool,
    backup: G::Backup,
    /// Whether there is no backup, or one of another key or buffer.
    backup_is_due: bool,
    /// Whether the buffer is another one than the first, which was there when the key was installed: a module that lies
    /// about where the new one is has had its own data overwritten, and the backup has them so.
    is_enlarged: bool,
}

impl<G: Guest> Engine<G> {
    /// Initializes `guest`, a new instance, to run the extension of `plan`.
    pub(crate) fn start(guest: G, plan: &Arc<Plan>) -> Result<Self, EngineError> {
        let mut engine = Self {
            guest,
            plan: Arc::clone(plan),
            buffer_ptr: 0,
            buffer_len: 0,
            is_usable: true,
            backup: G::Backup::default(),
            backup_is_due: true,
            is_enlarged: false,
        };
        engine.call(Export::Init, 1, G::init)?;
        engine.take_buffer(BUFFER_LEN)?;
        Ok(engine)
    }

    /// Calls the instance, if it is usable, and gives it the time for `records`.
    #[inline(always)]
    fn call<T>(
        &mut self,
        export: Export,
        records: usize,
        call: impl FnOnce(&mut G) -> Result<T, Fault>,
    ) -> Result<T, RunError> {
        if !self.is_usable {
            return Err(EngineError::Unusable.into());
        }
        let watch = self.plan.watch(export, records, G::CAN_BE_INTERRUPTED)?;
        let result = call(&mut self.guest);
        drop(watch);
        result.map_err(|fault| self.fail(export, fault))
    }

    /// Gives up the instance, for `fault`.
    #[cold]
    fn fail(&mut self, export: Export, fault: Fault) -> RunError {
        self.is_usable = false;
        let starved = self.guest.was_refused_memory() && matches!(fault, Fault::Trap(_));
        self.plan.error(export, if starved { Fault::OutOfMemory } else { fault })
    }

    /// Gets a buffer of `len` bytes, and puts the name at its head. An earlier one is left behind.
    fn take_buffer(&mut self, len: usize) -> Result<(), RunError> {
        // What is longer than the memory may ever be is asked for as the longest that can be.
        let asked = u32::try_from(len).unwrap_or(u32::MAX);
        let ptr = self.call(Export::Malloc, 1, |guest| guest.malloc(asked))?;
        if ptr == 0 {
            return Err(self.fail(Export::Malloc, Fault::OutOfMemory));
        }
        let refused = |reason| Box::new(EngineError::Buffer { ptr, len, reason });
        if !ptr.is_multiple_of(4) {
            return Err(refused("it is not a multiple of 4"));
        }
        let place = self.guest.memory().get_mut(ptr as usize..).and_then(|rest| rest.get_mut(..len));
        let place = place.ok_or_else(|| refused("that is not in the module's memory"))?;
        let name = self.plan.name.as_bytes();
        place[..name.len()].copy_from_slice(name);
        (self.buffer_ptr, self.buffer_len) = (ptr, len);
        Ok(())
    }

    /// Gets a buffer for batches of `len` bytes, from an instance that remembers nothing of the last ones.
    #[cold]
    fn enlarge_buffer(&mut self, len: usize) -> Result<(), RunError> {
        self.call(Export::Reset, 1, G::reset)?;
        self.backup.forget(self.guest.memory());
        (self.backup_is_due, self.is_enlarged) = (true, true);
        // Twice as long each time, so that all that are left behind are together no longer than the last one.
        self.take_buffer(len.max(2 * self.buffer_len))
    }

    fn take_backup(&mut self) {
        self.backup.take(self.guest.memory());
        self.backup_is_due = false;
    }

    /// The `len` bytes of the buffer that follow the name.
    #[inline]
    fn block(&mut self, len: usize) -> Result<&mut [u8], RunError> {
        let ptr = self.buffer_ptr;
        let start = ptr as usize + NAME_ROOM;
        let range: Range<usize> = start..start + len;
        self.guest.bytes(range).ok_or_else(|| lost(ptr, len))
    }

    #[inline(always)]
    fn run_block(&mut self, kind: ExtensionKind, batch: &mut Batch) -> Result<(), RunError> {
        let len = batch.block_len();
        let name_ptr = self.buffer_ptr;
        let arg_ptr = name_ptr + NAME_ROOM as u32;
        batch.write_block(kind, arg_ptr, self.block(len)?);
        let records = batch.len().max(1);
        let status = self.call(Export::Run, records, |guest| guest.run(name_ptr, kind as u32, arg_ptr))?;
        if status != Status::Ok as i32 {
            return Err(self.undo(status));
        }
        batch.read_block(kind, self.block(len)?);
        Ok(())
    }

    /// Takes back what a run has done that answered `status`, which is an error: it returned normally, so that memory
    /// is all that may have changed.
    #[cold]
    fn undo(&mut self, status: i32) -> RunError {
        if self.guest.was_refused_memory() {
            return self.fail(Export::Run, Fault::OutOfMemory);
        }
        self.is_usable = !self.is_enlarged && self.backup.restore(self.guest.memory());
        match Status::from_raw(status) {
            Some(status) => EngineError::Refused(status).into(),
            None => EngineError::UnknownStatus(status).into(),
        }
    }

    /// Sets the key. Afterwards wipes the secret from where the host has put it, whatever the module does in its reset; and
    /// what holds the old one, if it has been replaced.
    #[cold]
    fn install_key(&mut self, batch: &mut Batch) -> Result<(), RunError> {
        let result = self.run_block(ExtensionKind::SetKey, batch);
        self.block(batch.block_len())?.zeroize();
        if result.is_ok() && batch.len() == 1 && batch.status(0).is_ok() {
            self.backup.forget(self.guest.memory());
            self.backup_is_due = true;
        }
        result
    }
}

#[cold]
fn lost(ptr: u32, len: usize) -> RunError {
    EngineError::Buffer { ptr, len, reason: "that is no longer in the module's memory" }.into()
}

impl<G: Guest> ExtensionEngine for Engine<G> {
    fn run(&mut self, kind: ExtensionKind, batch: &mut Batch) -> Result<(), RunError> {
        batch.forget_answers();
        let len = NAME_ROOM + batch.block_len();
        if len > self.buffer_len {
            self.enlarge_buffer(len)?;
        }
        if kind == ExtensionKind::SetKey {
            return self.install_key(batch);
        }
        if self.backup_is_due {
            self.reset()?;
        }
        self.run_block(kind, batch)
    }

    fn reset(&mut self) -> Result<(), RunError> {
        self.call(Export::Reset, 1, G::reset)?;
        if self.backup_is_due {
            self.take_backup();
        }
        Ok(())
    }

    fn is_usable(&self) -> bool {
        self.is_usable
    }

    fn memory(&mut self) -> Option<&[u8]> {
        Some(self.guest.memory())
    }
}

impl<G: Guest> Drop for Engine<G> {
    /// The module wipes its key; then the host wipes everything, for the module may have trapped or not bothered.
    fn drop(&mut self) {
        // Nobody is left to hear of a failure.
        let _ = self.call(Export::Finit, 1, G::finit);
        self.backup.wipe(self.guest.memory());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Module, Runtime, Variant};

    /// A guest that does nothing, over a memory that outlives it.
    struct Fake<'a> {
        memory: &'a mut [u8],
        run: Result<i32, Fault>,
    }

    impl Guest for Fake<'_> {
        const CAN_BE_INTERRUPTED: bool = true;
        type Backup = Copy;

        fn memory(&mut self) -> &mut [u8] {
            self.memory
        }

        fn init(&mut self) -> Result<(), Fault> {
            Ok(())
        }

        fn finit(&mut self) -> Result<(), Fault> {
            Ok(())
        }

        fn malloc(&mut self, _len: u32) -> Result<u32, Fault> {
            Ok(4096)
        }

        fn run(&mut self, _name_ptr: u32, _kind: u32, _arg_ptr: u32) -> Result<i32, Fault> {
            self.run.clone()
        }

        fn reset(&mut self) -> Result<(), Fault> {
            Ok(())
        }

        fn was_refused_memory(&mut self) -> bool {
            false
        }
    }

    fn start(memory: &mut [u8], run: Result<i32, Fault>) -> Engine<Fake<'_>> {
        let module = Module::built_in("null", Variant::Base).unwrap();
        let plan = Plan::new(Runtime::Wasmtime, "fake", &module, &Limits::default()).unwrap();
        Engine::start(Fake { memory, run }, &Arc::new(plan)).unwrap()
    }

    fn contains(memory: &[u8], secret: &[u8]) -> bool {
        memory.windows(secret.len()).any(|window| window == secret)
    }

    #[test]
    fn a_secret_is_gone_from_the_guests_buffer_however_the_run_went() {
        let secret = [0x5e; 32];
        for run in [Ok(0), Ok(3), Ok(77), Err(Fault::Trap("trap".to_owned())), Err(Fault::Deadline)] {
            let mut memory = vec![0; 128 * 1024];
            let mut engine = start(&mut memory, run);
            // This guest sets no status, so that no key was installed, whatever it says to the batch.
            engine.set_key(&secret).unwrap_err();
            assert!(!contains(engine.guest.memory(), &secret));
        }
    }

    #[test]
    fn a_dropped_instance_leaves_an_empty_memory_even_after_a_trap() {
        for run in [Ok(0), Err(Fault::Trap("trap".to_owned()))] {
            let mut memory = vec![0x5e; 128 * 1024];
            let mut engine = start(&mut memory, run);
            let mut batch = Batch::new(1, 1, 1).unwrap();
            // That it traps is the point of the second.
            let _ = engine.run(ExtensionKind::Sign, &mut batch);
            drop(engine);
            assert!(memory.iter().all(|byte| *byte == 0));
        }
    }
}
