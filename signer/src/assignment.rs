//! Which module serves a method: what the supervisor decides, a worker does, and the control directory remembers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cli::{Failure, Method};
use extension_engine::{EngineError, Limits, Module, Refusal, Runtime};
use serde::{Deserialize, Serialize};

/// A method, what runs it, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assignment {
    /// The method, by name.
    #[serde(with = "by_name")]
    pub method: Method,
    /// The runtime, by name.
    #[serde(with = "by_name")]
    pub runtime: Runtime,
    /// What messages call the module: its path, or `ecdsa.wide`; `native` for native code.
    pub label: String,
    /// The file with the module, an absolute path; none for a built-in one and for native code.
    pub path: Option<OsString>,
    /// The module's SHA-256 in hexadecimal digits; empty for native code.
    pub sha256: String,
    /// `base` or `wide`; empty for native code.
    pub variant: String,
    /// The generation that it came with.
    pub generation: u32,
    /// When that was, in milliseconds since 1970.
    pub since_unix_ms: u64,
}

/// What serves each method, in the order of [`Method::ALL`], and the last generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assignments {
    /// Counts the swaps: 1 before the first.
    pub generation: u32,
    /// What serves.
    pub present: [Assignment; 3],
    /// What served before: where a rollback leads.
    pub previous: [Option<Assignment>; 3],
}

/// What made a signature.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// The runtime's number in the ring: from 1 in the order of [`extension_engine::Runtime::ALL`], 0 for none.
    pub runtime: u32,
    /// The first eight bytes of the module's SHA-256; 0 for none.
    pub module_id: u64,
    /// The last swap that this worker knows of; 1 before the first.
    pub generation: u32,
}

impl Assignment {
    /// What comes with this program for `method` on `runtime`, in the variant that suits it best.
    pub fn built_in(method: Method, runtime: Runtime) -> Result<Self, EngineError> {
        let module =
            runtime.best_variant().map(|variant| Module::built_in(method.name(), variant)).transpose()?;
        Ok(Self::new(method, runtime, module.as_ref(), None))
    }

    /// The module in the file at `path`, which is read to be known again.
    pub fn of_file(
        method: Method,
        runtime: Runtime,
        path: &Path,
        limits: &Limits,
    ) -> Result<Self, EngineError> {
        if runtime == Runtime::Native {
            return Err(EngineError::NativeModule(path.display().to_string()));
        }
        let module = Module::from_file(path, limits)?;
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self::new(method, runtime, Some(&module), Some(absolute.into_os_string())))
    }

    /// `module`, which lies at `path` unless it is built in.
    pub fn new(method: Method, runtime: Runtime, module: Option<&Module>, path: Option<OsString>) -> Self {
        Self {
            method,
            runtime,
            label: module.map_or("native", Module::label).to_owned(),
            path,
            sha256: module.map(|module| hex::encode(module.sha256())).unwrap_or_default(),
            variant: module.map(|module| module.variant().name().to_owned()).unwrap_or_default(),
            generation: 1,
            since_unix_ms: unix_ms(),
        }
    }

    /// The module that replaces the built-in one, if one does: read from its file, and the same as it was.
    pub fn replacement(&self, limits: &Limits) -> Result<Option<Module>, EngineError> {
        let Some(path) = &self.path else { return Ok(None) };
        let module = Module::from_file(Path::new(path), limits)?;
        if hex::encode(module.sha256()) != self.sha256 {
            return Err(EngineError::Module { module: self.label.clone(), refusal: Refusal::Changed });
        }
        Ok(Some(module.called(&self.label)))
    }

    /// The same module on `runtime`; a built-in one in the variant that suits it best.
    pub fn on(&self, runtime: Runtime) -> Result<Self, EngineError> {
        match (&self.path, runtime) {
            (None, _) => Self::built_in(self.method, runtime),
            (Some(_), Runtime::Native) => Err(EngineError::NativeModule(self.label.clone())),
            (Some(_), _) => Ok(Self { runtime, ..self.clone() }),
        }
    }

    /// What the records say that this one signs, from the generation on that it came with.
    pub fn origin(&self) -> Origin {
        let module_id = u64::from_str_radix(self.sha256.get(..16).unwrap_or_default(), 16).unwrap_or(0);
        Origin { runtime: self.runtime as u32 + 1, module_id, generation: self.generation }
    }
}

impl Assignments {
    /// What the command line asks for.
    ///
    /// # Errors
    /// A module is none, or the runtime is not built in.
    pub fn from_arguments(
        runtime: Runtime,
        modules: &[(Method, PathBuf)],
        limits: &Limits,
    ) -> Result<Self, Failure> {
        let of = |method: Method| match modules.iter().find(|(name, _)| *name == method) {
            Some((_, path)) => Assignment::of_file(method, runtime, path, limits),
            None => Assignment::built_in(method, runtime),
        };
        let [ecdsa, schnorr, null] = Method::ALL.map(of);
        let present = || Ok([ecdsa?, schnorr?, null?]);
        let present = present().map_err(|error: EngineError| Failure::bad_input(error))?;
        Ok(Self { generation: 1, present, previous: [None, None, None] })
    }

    /// Goes on with what was `committed` before: what was swapped takes the place of what is asked for now, and
    /// generations go on from there.
    ///
    /// # Errors
    /// A built-in module is gone, or a runtime.
    pub fn take_over(&mut self, committed: Self) -> Result<(), EngineError> {
        let renewed = |assignment: Assignment| {
            assignment.runtime.is_available()?;
            // Another build may bring other built-in modules.
            let now = assignment.on(assignment.runtime)?;
            let Assignment { generation, since_unix_ms, .. } = assignment;
            Ok::<_, EngineError>(Assignment { generation, since_unix_ms, ..now })
        };
        self.generation = committed.generation;
        for (present, committed) in self.present.iter_mut().zip(committed.present) {
            if committed.generation > 1 {
                *present = renewed(committed)?;
            }
        }
        for (previous, committed) in self.previous.iter_mut().zip(committed.previous) {
            // Where a rollback would lead is no reason to refuse a start.
            *previous = committed.and_then(|committed| renewed(committed).ok());
        }
        Ok(())
    }

    /// What serves `method`.
    pub fn of(&self, method: Method) -> &Assignment {
        &self.present[index(method)]
    }

    /// What served `method` before.
    pub fn before(&self, method: Method) -> Option<&Assignment> {
        self.previous[index(method)].as_ref()
    }

    /// The same with `next` in its method's place, as the next generation.
    pub fn with(&self, next: Assignment) -> Self {
        let mut all = self.clone();
        let at = index(next.method);
        all.generation = next.generation;
        all.previous[at] = Some(std::mem::replace(&mut all.present[at], next));
        all
    }
}

/// Where a method is in the order of [`Method::ALL`].
pub(crate) fn index(method: Method) -> usize {
    method as usize - 1
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |time| time.as_millis() as u64)
}

/// Methods and runtimes, by the names that flags take.
mod by_name {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T, D: Deserializer<'de>>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtimes_number_in_the_ring_is_that_of_its_name() {
        let names = Runtime::ALL.map(Runtime::name);
        assert_eq!(names, cli::RUNTIME_NAMES);
    }

    #[test]
    fn a_rollback_leads_to_what_was_there_before() {
        let limits = Limits::default();
        let first = Assignments::from_arguments(Runtime::Native, &[], &limits).unwrap();
        assert_eq!(first.before(Method::Schnorr), None);
        let next =
            Assignment { generation: 2, label: "next".to_owned(), ..first.of(Method::Schnorr).clone() };
        let second = first.with(next.clone());
        assert_eq!((second.generation, second.of(Method::Schnorr)), (2, &next));
        assert_eq!(second.before(Method::Schnorr), Some(first.of(Method::Schnorr)));
        assert_eq!(second.of(Method::Ecdsa), first.of(Method::Ecdsa));
        let text = serde_json::to_string(&second).unwrap();
        assert_eq!(serde_json::from_str::<Assignments>(&text).unwrap(), second);
    }

    #[test]
    fn a_file_that_has_changed_since_is_not_taken_for_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ecdsa.wasm");
        let built_in = Module::built_in("ecdsa", extension_engine::Variant::Base).unwrap();
        std::fs::write(&path, built_in.bytes()).unwrap();
        let limits = Limits::default();
        let assignment = Assignment::of_file(Method::Ecdsa, Runtime::Wasmi, &path, &limits).unwrap();
        assert_eq!(assignment.replacement(&limits).unwrap().unwrap().sha256(), built_in.sha256());
        let other = Module::built_in("schnorr", extension_engine::Variant::Base).unwrap();
        std::fs::write(&path, other.bytes()).unwrap();
        let refused = assignment.replacement(&limits).err().unwrap().to_string();
        assert!(refused.contains("has changed"), "{refused}");
    }
}
