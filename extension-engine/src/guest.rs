//! What the three WebAssembly runtimes have in common: the conversation with an instance.

use std::ops::Range;

use ringseal_abi::{Status, export};
use zeroize::Zeroize;

use crate::{Batch, EngineError, ExtensionEngine, ExtensionKind, Runtime};

/// What `HostGetElem` answers while there is no host state: there is no such element.
pub(crate) const GET_ELEM_ANSWER: i32 = ringseal_abi::HostStatus::Absent as i32;

/// What `HostReadElems` answers while there is no host state: all elements, of which there are none, were read.
pub(crate) const READ_ELEMS_ANSWER: i32 = ringseal_abi::HostStatus::Exists as i32;

/// Room at the head of the buffer for the extension's name and its NUL; a multiple of the record's alignment.
const NAME_ROOM: usize = 64;

/// What an instance's first buffer holds: a batch of usual size, so that there is no second one.
const BUFFER_LEN: usize = 64 * 1024;

/// An instance on one of the runtimes. Where a call fails, it gives the runtime's reason.
pub(crate) trait Guest: Send {
    const RUNTIME: Runtime;

    /// The linear memory, as long as it is now.
    fn memory(&mut self) -> &mut [u8];
    fn init(&mut self) -> Result<(), String>;
    fn finit(&mut self) -> Result<(), String>;
    fn malloc(&mut self, len: u32) -> Result<u32, String>;
    fn run(&mut self, name_ptr: u32, kind: u32, arg_ptr: u32) -> Result<i32, String>;
    fn reset(&mut self) -> Result<(), String>;
}

/// An instance and the buffer that it gave the host.
pub(crate) struct Engine<G: Guest> {
    guest: G,
    name: String,
    buffer_ptr: u32,
    buffer_len: usize,
    trapped: bool,
}

impl<G: Guest> Engine<G> {
    /// Initializes `guest`, a new instance, to run extension `name`.
    pub(crate) fn start(guest: G, name: &str) -> Result<Self, EngineError> {
        if name.len() >= NAME_ROOM || name.contains('\0') {
            return Err(EngineError::UnknownExtension(name.to_owned()));
        }
        let mut engine =
            Self { guest, name: format!("{name}\0"), buffer_ptr: 0, buffer_len: 0, trapped: false };
        engine.call(export::INIT, G::init)?;
        engine.take_buffer(BUFFER_LEN)?;
        Ok(engine)
    }

    /// Calls the instance, unless it has trapped before.
    fn call<T>(
        &mut self,
        export: &'static str,
        call: impl FnOnce(&mut G) -> Result<T, String>,
    ) -> Result<T, EngineError> {
        if self.trapped {
            return Err(EngineError::Unusable);
        }
        call(&mut self.guest).map_err(|reason| {
            self.trapped = true;
            EngineError::Trap { runtime: G::RUNTIME, export, reason }
        })
    }

    /// Gets a buffer of `len` bytes, and puts the name at its head. An earlier one is left behind: that happens once,
    /// and only to who runs a batch larger than usual.
    fn take_buffer(&mut self, len: usize) -> Result<(), EngineError> {
        let ptr = self.call(export::MALLOC, |guest| guest.malloc(len as u32))?;
        let refused = |reason| EngineError::Buffer { ptr, len, reason };
        if ptr == 0 {
            return Err(refused("the module has no memory for it"));
        }
        if !ptr.is_multiple_of(4) {
            return Err(refused("it is not a multiple of 4"));
        }
        let place = self.guest.memory().get_mut(ptr as usize..).and_then(|rest| rest.get_mut(..len));
        let place = place.ok_or_else(|| refused("that is not in the module's memory"))?;
        place[..self.name.len()].copy_from_slice(self.name.as_bytes());
        (self.buffer_ptr, self.buffer_len) = (ptr, len);
        Ok(())
    }

    /// The `len` bytes of the buffer that follow the name.
    fn block(&mut self, len: usize) -> Result<&mut [u8], EngineError> {
        let ptr = self.buffer_ptr;
        let start = ptr as usize + NAME_ROOM;
        let range: Range<usize> = start..start + len;
        let refused = EngineError::Buffer { ptr, len, reason: "that is no longer in the module's memory" };
        self.guest.memory().get_mut(range).ok_or(refused)
    }

    fn run_block(&mut self, kind: ExtensionKind, batch: &mut Batch) -> Result<(), EngineError> {
        let len = batch.block_len();
        let name_ptr = self.buffer_ptr;
        let arg_ptr = name_ptr + NAME_ROOM as u32;
        batch.write_block(kind, arg_ptr, self.block(len)?);
        let status = self.call(export::RUN, |guest| guest.run(name_ptr, kind as u32, arg_ptr))?;
        match Status::from_raw(status) {
            Some(Status::Ok) => batch.read_block(kind, self.block(len)?),
            Some(status) => return Err(EngineError::Refused(status)),
            None => return Err(EngineError::UnknownStatus(status)),
        }
        Ok(())
    }
}

impl<G: Guest> ExtensionEngine for Engine<G> {
    fn run(&mut self, kind: ExtensionKind, batch: &mut Batch) -> Result<(), EngineError> {
        batch.forget_answers();
        if NAME_ROOM + batch.block_len_max() > self.buffer_len {
            self.take_buffer(NAME_ROOM + batch.block_len_max())?;
        }
        let result = self.run_block(kind, batch);
        if kind == ExtensionKind::SetKey {
            // Whatever the module does in its reset: the secret is gone from where the host has put it.
            self.block(batch.block_len())?.zeroize();
        }
        result
    }

    fn reset(&mut self) -> Result<(), EngineError> {
        self.call(export::RESET, G::reset)
    }
}

impl<G: Guest> Drop for Engine<G> {
    /// The module wipes its key; then the host wipes everything, for the module may have trapped or not bothered.
    fn drop(&mut self) {
        if !self.trapped {
            // Nobody is left to hear of a failure.
            let _ = self.guest.finit();
        }
        self.guest.memory().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that does nothing, over a memory that outlives it.
    struct Fake<'a> {
        memory: &'a mut [u8],
        run: Result<i32, String>,
    }

    impl Guest for Fake<'_> {
        const RUNTIME: Runtime = Runtime::Wasmtime;

        fn memory(&mut self) -> &mut [u8] {
            self.memory
        }

        fn init(&mut self) -> Result<(), String> {
            Ok(())
        }

        fn finit(&mut self) -> Result<(), String> {
            Ok(())
        }

        fn malloc(&mut self, _len: u32) -> Result<u32, String> {
            Ok(4096)
        }

        fn run(&mut self, _name_ptr: u32, _kind: u32, _arg_ptr: u32) -> Result<i32, String> {
            self.run.clone()
        }

        fn reset(&mut self) -> Result<(), String> {
            Ok(())
        }
    }

    fn contains(memory: &[u8], secret: &[u8]) -> bool {
        memory.windows(secret.len()).any(|window| window == secret)
    }

    #[test]
    fn a_secret_is_gone_from_the_guests_buffer_however_the_run_went() {
        let secret = [0x5e; 32];
        for run in [Ok(0), Ok(3), Ok(77), Err("trap".to_owned())] {
            let mut memory = vec![0; 128 * 1024];
            let mut engine = Engine::start(Fake { memory: &mut memory, run }, "fake").unwrap();
            // This guest sets no status, so that no key was installed, whatever it says to the batch.
            engine.set_key(&secret).unwrap_err();
            assert!(!contains(engine.guest.memory(), &secret));
        }
    }

    #[test]
    fn a_dropped_instance_leaves_an_empty_memory_even_after_a_trap() {
        for run in [Ok(0), Err("trap".to_owned())] {
            let mut memory = vec![0x5e; 128 * 1024];
            let mut engine = Engine::start(Fake { memory: &mut memory, run }, "fake").unwrap();
            let mut batch = Batch::new(1, 1, 1).unwrap();
            // That it traps is the point of the second.
            let _ = engine.run(ExtensionKind::Sign, &mut batch);
            drop(engine);
            assert!(memory.iter().all(|byte| *byte == 0));
        }
    }
}
