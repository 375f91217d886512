//! A module at work.

use wasmi::{Engine, Linker, Memory, Store};

/// An instance of a module that imports nothing.
pub struct Instance {
    store: Store<()>,
    instance: wasmi::Instance,
    memory: Memory,
}

impl Instance {
    /// Instantiates `module`.
    pub fn new(module: &[u8]) -> Result<Self, String> {
        let mut config = wasmi::Config::default();
        config.wasm_wide_arithmetic(true).wasm_simd(true);
        let engine = Engine::new(&config);
        let module = wasmi::Module::new(&engine, module).map_err(|error| error.to_string())?;
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module);
        let instance = instance.map_err(|error| error.to_string())?;
        let memory = instance.get_memory(&store, "memory").ok_or("it exports no memory")?;
        Ok(Self { store, instance, memory })
    }

    /// Runs `WasmInit`.
    pub fn init(&mut self) -> Result<(), String> {
        let init = self.instance.get_func(&self.store, "WasmInit").ok_or("it exports no WasmInit")?;
        init.call(&mut self.store, &[], &mut []).map_err(|error| format!("WasmInit: {error}"))
    }

    /// The linear memory.
    pub fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// The values of the exported globals, in words.
    pub fn globals(&self) -> String {
        let globals = self.instance.exports(&self.store).filter_map(|export| export.into_global());
        let shown: Vec<_> = globals.map(|global| format!("{:?}", global.get(&self.store))).collect();
        shown.join(", ")
    }
}
