//! The module cache: what is kept, promoted, evicted and refused, and that nothing of it ever fails a compilation.
#![cfg(feature = "wasmtime")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use extension_engine::cache::{
    CacheError, CacheKey, CacheLimits, CompiledModule, DiskCache, MemoryCache, ModuleCache, TierCounts,
    WarningSink, cache_key, with_fallback,
};
use extension_engine::{Batch, ExtensionKind, Limits, Module, Program, Runtime, Settings, Variant, compile};
use tempfile::TempDir;

/// A directory, and the warnings of the caches in it.
struct Place {
    folder: TempDir,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), warnings: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn sink(&self) -> WarningSink {
        let warnings = self.warnings.clone();
        Arc::new(move |warning| warnings.lock().unwrap().push(warning.to_string()))
    }

    fn disk(&self) -> Arc<DiskCache> {
        self.disk_of(64 << 20)
    }

    fn disk_of(&self, file_bytes: u64) -> Arc<DiskCache> {
        let limits = CacheLimits { file_bytes, ..CacheLimits::default() };
        Arc::new(DiskCache::open(&self.path(), &limits, self.sink()).unwrap())
    }

    /// The warnings since the last time.
    fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap())
    }

    /// The files with modules.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "module")).collect();
        files.sort();
        files
    }
}

fn memory(modules: usize) -> Arc<MemoryCache> {
    Arc::new(MemoryCache::new(&CacheLimits { modules, ..CacheLimits::default() }))
}

fn module(name: &str) -> Module {
    Module::built_in(name, Variant::Base).unwrap()
}

fn key(name: &str) -> CacheKey {
    cache_key(Runtime::Wasmtime, &module(name), &Limits::default()).unwrap()
}

fn compiled_by(runtime: Runtime, cache: Arc<dyn ModuleCache>, name: &str) -> Box<dyn Program> {
    let settings = Settings { cache, ..Settings::default() };
    compile(runtime, name, Some(&module(name)), &settings).unwrap()
}

fn compiled(cache: Arc<dyn ModuleCache>, name: &str) -> Box<dyn Program> {
    compiled_by(Runtime::Wasmtime, cache, name)
}

/// What the runtime made of the module.
fn artifact(name: &str) -> CompiledModule {
    let memory = memory(1);
    compiled(memory.clone(), name);
    memory.load(&key(name)).unwrap()
}

fn signature(program: &dyn Program) -> Vec<u8> {
    let mut engine = program.instantiate().unwrap();
    engine.set_key(&[7; 32]).unwrap();
    let mut batch = Batch::new(1, 5, 64).unwrap();
    batch.push(5, |message| message.copy_from_slice(b"hello")).unwrap();
    engine.run(ExtensionKind::Sign, &mut batch).unwrap();
    batch.output(0).to_vec()
}

fn counts(cache: &dyn ModuleCache) -> TierCounts {
    let [counts] = cache.counts().try_into().unwrap();
    counts
}

/// A tier that can nothing but fail, in its own words.
struct Broken(&'static str);

impl Broken {
    fn error(&self) -> CacheError {
        CacheError::Refused { path: self.0.into(), reason: "is broken".to_owned() }
    }
}

impl ModuleCache for Broken {
    fn load(&self, _: &CacheKey) -> Result<CompiledModule, CacheError> {
        Err(self.error())
    }

    fn save(&self, _: &CacheKey, _: &CompiledModule) -> Result<(), CacheError> {
        Err(self.error())
    }
}

#[test]
fn what_one_process_compiles_another_one_loads_and_it_signs_the_same() {
    let place = Place::new();
    for name in ["ecdsa", "schnorr"] {
        let expected = signature(&*compiled(place.disk(), name));
        let disk = place.disk();
        assert_eq!(signature(&*compiled(disk.clone(), name)), expected);
        let TierCounts { hits, misses, deserialized, saved, .. } = counts(&*disk);
        assert_eq!((hits, misses, deserialized, saved), (1, 0, 1, 0));
    }
    assert_eq!(place.files().len(), 2);
    for file in place.files() {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(place.warnings(), [""; 0]);
}

#[test]
fn memory_holds_the_modules_used_last() {
    let cache = memory(2);
    let artifacts = ["ecdsa", "schnorr", "null"].map(|name| (key(name), artifact(name)));
    let [(ecdsa, a), (schnorr, b), (null, c)] = &artifacts;
    cache.save(ecdsa, a).unwrap();
    cache.save(schnorr, b).unwrap();
    cache.load(ecdsa).unwrap();
    cache.save(null, c).unwrap();
    assert!(cache.load(schnorr).is_err_and(|error| error.is_miss()));
    cache.load(ecdsa).unwrap();
    cache.load(null).unwrap();
    assert_eq!((counts(&*cache).evicted, counts(&*cache).hits, counts(&*cache).misses), (1, 3, 1));
}

#[cfg(feature = "wasmi")]
#[test]
fn a_runtime_without_files_is_kept_in_memory_alone() {
    let place = Place::new();
    let (memory, disk) = (memory(4), place.disk());
    let both = with_fallback(memory.clone(), disk.clone(), place.sink());
    let expected = signature(&*compiled_by(Runtime::Wasmi, both.clone(), "ecdsa"));
    assert_eq!(signature(&*compiled_by(Runtime::Wasmi, both, "ecdsa")), expected);
    assert_eq!((counts(&*memory).hits, counts(&*memory).saved), (1, 1));
    assert_eq!((counts(&*disk).saved, place.files().len()), (0, 0));
    assert_eq!(place.warnings(), [""; 0]);
}

#[test]
fn a_hit_in_the_slower_tier_is_promoted_and_a_save_goes_to_all() {
    let place = Place::new();
    let (first, second, disk) = (memory(4), memory(4), place.disk());
    // Three tiers: a chain in a chain.
    let slow = with_fallback(second.clone(), disk.clone(), place.sink());
    let chain = with_fallback(first.clone(), slow, place.sink());
    compiled(chain.clone(), "null");
    for tier in chain.counts() {
        assert_eq!((tier.saved, tier.misses), (1, 1), "{tier:?}");
    }
    let empty = [memory(4), memory(4)];
    let slow = with_fallback(empty[1].clone(), disk.clone(), place.sink());
    let chain = with_fallback(empty[0].clone(), slow, place.sink());
    chain.load(&key("null")).unwrap();
    chain.load(&key("null")).unwrap();
    assert_eq!(counts(&*disk).hits, 1);
    for tier in empty {
        tier.load(&key("null")).unwrap();
    }
    assert_eq!(place.warnings(), [""; 0]);
}

#[test]
fn a_tier_that_fails_is_a_warning() {
    let place = Place::new();
    let good = memory(4);
    let chain = with_fallback(Arc::new(Broken("first")), good.clone(), place.sink());
    let expected = signature(&*compiled(chain.clone(), "ecdsa"));
    assert_eq!(
        place.warnings(),
        [
            "module cache: first is broken; it is compiled anew",
            "module cache: first is broken; it is not kept"
        ]
    );
    // A hit in the second: neither the first one's failure nor that of the promotion is in the way.
    assert_eq!(signature(&*compiled(chain, "ecdsa")), expected);
    assert_eq!(counts(&*good).hits, 1);
    assert_eq!(
        place.warnings(),
        [
            "module cache: first is broken; another tier is asked",
            "module cache: first is broken; it is not promoted"
        ]
    );
    let chain = with_fallback(good, Arc::new(Broken("second")), place.sink());
    assert_eq!(signature(&*compiled(chain.clone(), "ecdsa")), expected);
    assert_eq!(place.warnings(), [""; 0]);
    compiled(chain, "null");
    assert_eq!(
        place.warnings(),
        [
            "module cache: second is broken; it is compiled anew",
            "module cache: second is broken; it is not kept"
        ]
    );
}

#[test]
fn if_all_fail_the_first_ones_error_is_the_one_reported() {
    let place = Place::new();
    let broken = |name| Arc::new(Broken(name));
    let chain = with_fallback(broken("second"), broken("third"), place.sink());
    let chain = with_fallback(broken("first"), chain, place.sink());
    assert_eq!(chain.load(&key("null")).err().unwrap().to_string(), "first is broken");
    let saved = chain.save(&key("null"), &artifact("null"));
    assert_eq!(saved.unwrap_err().to_string(), "first is broken");
    let told = place.warnings();
    assert!(told.iter().all(|warning| !warning.contains("first")), "{told:?}");
    // And compiling goes on, of course.
    compiled(chain, "null");
    let missing = with_fallback(memory(1), broken("second"), place.sink());
    assert!(missing.load(&key("null")).is_err_and(|error| error.is_miss()));
}

/// Saves a module, hurts its file, and sees that it is refused in these words, deleted, and compiled anew.
fn refused(words: &str, hurt: impl FnOnce(&Place, &Path)) {
    let place = Place::new();
    compiled(place.disk(), "null");
    let [file] = place.files().try_into().unwrap();
    let sound = fs::read(&file).unwrap();
    // The control: as it is, it is loaded.
    let disk = place.disk();
    disk.load(&key("null")).unwrap();
    assert_eq!(counts(&*disk).deserialized, 1);
    hurt(&place, &file);
    let disk = place.disk();
    let error = disk.load(&key("null")).err().unwrap();
    assert!(error.is_miss(), "{words}: {error}");
    let TierCounts { hits, misses, refused, deserialized, .. } = counts(&*disk);
    assert_eq!((hits, misses, refused, deserialized), (0, 1, 1, 0), "{words}");
    let [warning] = place.warnings().try_into().unwrap();
    assert!(warning.contains(words) && warning.contains(&*file.to_string_lossy()), "{warning}");
    assert!(fs::symlink_metadata(&file).is_err(), "{words}: it is still there");
    compiled(disk, "null");
    assert_eq!(fs::read(&file).unwrap().len(), sound.len());
    place.disk().load(&key("null")).unwrap();
}

#[test]
fn a_file_that_was_changed_is_refused() {
    for (at, words) in [
        (0, "is no file of this cache"),
        (20, "holds another module"),
        (50, "holds another module"),
        (72, "holds another module"),
        (80, "holds another module"),
        (96, "is not as long as it says"),
        (110, "is not authentic"),
        (136, "is not authentic"),
        (5000, "is not authentic"),
    ] {
        refused(words, |_, file| {
            let mut bytes = fs::read(file).unwrap();
            bytes[at] ^= 4;
            fs::write(file, bytes).unwrap();
        });
    }
}

#[test]
fn a_file_that_was_cut_or_lengthened_is_refused() {
    for (len, words) in [(0, "is too short"), (135, "is too short"), (136, "as long"), (4000, "as long")] {
        refused(words, |_, file| File::options().write(true).open(file).unwrap().set_len(len).unwrap());
    }
    refused("as long as it says", |_, file| {
        let len = fs::metadata(file).unwrap().len();
        File::options().write(true).open(file).unwrap().set_len(len + 1).unwrap();
    });
}

#[test]
fn a_file_of_other_settings_or_of_another_module_under_this_name_is_refused() {
    for other in [
        CacheKey { version: "48.0.7".to_owned(), ..key("null") },
        CacheKey { settings: [1; 32], ..key("null") },
        key("schnorr"),
    ] {
        refused("holds another module", |place, file| {
            fs::remove_file(file).unwrap();
            place.disk().save(&other, &artifact("schnorr")).unwrap();
            let [saved] = place.files().try_into().unwrap();
            fs::rename(saved, file).unwrap();
        });
    }
}

#[test]
fn a_file_of_another_cache_is_refused() {
    refused("is not authentic", |_, file| {
        let foreign = Place::new();
        compiled(foreign.disk(), "null");
        fs::copy(foreign.files().first().unwrap(), file).unwrap();
    });
}

#[test]
fn what_is_no_private_file_of_ours_is_refused() {
    refused("is no regular file", |place, file| {
        let elsewhere = place.folder.path().join("elsewhere");
        fs::rename(file, &elsewhere).unwrap();
        symlink(elsewhere, file).unwrap();
    });
    refused("is no regular file", |_, file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    });
    refused("is no regular file", |_, file| {
        fs::remove_file(file).unwrap();
        // Nobody writes to it: who waits for that waits for ever.
        assert!(Command::new("mkfifo").args(["-m", "600"]).arg(file).status().unwrap().success());
    });
    for mode in [0o604, 0o640, 0o660, 0o620, 0o700] {
        refused("instead of 600", |_, file| fs::set_permissions(file, Permissions::from_mode(mode)).unwrap());
    }
    refused("is 6", |_, file| {
        // Longer than anything in this cache may be, and not read for that.
        File::options().write(true).open(file).unwrap().set_len((64 << 20) + 1).unwrap();
    });
}

#[test]
fn a_directory_that_is_not_ours_alone_is_refused() {
    let refused = |place: &Place, words: &str| {
        let opened = DiskCache::open(&place.path(), &CacheLimits::default(), place.sink());
        let error = opened.err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    };
    for mode in [0o701, 0o710, 0o750, 0o755, 0o770, 0o777, 0o702] {
        let place = Place::new();
        fs::create_dir(place.path()).unwrap();
        fs::set_permissions(place.path(), Permissions::from_mode(mode)).unwrap();
        refused(&place, "lets others in");
    }
    let place = Place::new();
    let elsewhere = place.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o700)).unwrap();
    symlink(elsewhere, place.path()).unwrap();
    refused(&place, "a symbolic link");
    let place = Place::new();
    fs::write(place.path(), "a file").unwrap();
    refused(&place, "make directory");
    for (key, words) in [(&[1; 31][..], "32 bytes"), (&[1; 33], "32 bytes"), (&[], "32 bytes")] {
        let place = Place::new();
        drop(place.disk());
        fs::write(place.path().join("key"), key).unwrap();
        refused(&place, words);
    }
    let place = Place::new();
    drop(place.disk());
    fs::set_permissions(place.path().join("key"), Permissions::from_mode(0o644)).unwrap();
    refused(&place, "instead of 600");
}

#[test]
fn the_files_used_longest_ago_make_room() {
    let place = Place::new();
    let disk = place.disk();
    let artifact = artifact("null");
    let keys: Vec<_> = (0..4).map(|i| CacheKey { settings: [i; 32], ..key("null") }).collect();
    disk.save(&keys[0], &artifact).unwrap();
    let len = fs::metadata(&place.files()[0]).unwrap().len();
    let disk = place.disk_of(3 * len);
    let now = SystemTime::now();
    for (age, key) in [(40, &keys[0]), (30, &keys[1]), (20, &keys[2])] {
        let before = place.files();
        disk.save(key, &artifact).unwrap();
        let new = place.files().into_iter().find(|file| !before.contains(file));
        let file = File::open(new.unwrap_or_else(|| place.files().remove(0))).unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
    }
    assert_eq!((place.files().len(), counts(&*disk).evicted), (3, 0));
    // The oldest is used, so that the next one is the oldest. What a dead process has left goes in any case.
    disk.load(&keys[0]).unwrap();
    fs::write(place.path().join(".new.0123"), "unfinished").unwrap();
    disk.save(&keys[3], &artifact).unwrap();
    assert_eq!((place.files().len(), counts(&*disk).evicted), (3, 2));
    assert!(!place.path().join(".new.0123").exists());
    assert!(disk.load(&keys[1]).is_err_and(|error| error.is_miss()));
    for key in [&keys[0], &keys[2], &keys[3]] {
        disk.load(key).unwrap();
    }
    let tiny = place.disk_of(len - 1);
    assert!(matches!(tiny.save(&keys[0], &artifact), Err(CacheError::TooLarge { .. })));
    assert_eq!(place.warnings(), [""; 0]);
}

#[test]
fn what_is_listed_is_what_is_there_and_what_is_cleared_is_gone() {
    let place = Place::new();
    let disk = place.disk();
    compiled(disk.clone(), "ecdsa");
    compiled(disk.clone(), "null");
    fs::write(place.path().join(format!("{}.module", "0".repeat(64))), [9; 200]).unwrap();
    let entries = disk.entries().unwrap();
    let listed: Vec<_> = entries.iter().map(|entry| entry.key.module_sha256).collect();
    assert_eq!(listed, [module("null").sha256(), module("ecdsa").sha256()]);
    assert!(entries.iter().all(|entry| entry.is_authentic && entry.key.runtime == Runtime::Wasmtime));
    let mut bytes = fs::read(&place.files()[1]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&place.files()[1], bytes).unwrap();
    assert_eq!(disk.entries().unwrap().iter().filter(|entry| entry.is_authentic).count(), 1);
    assert_eq!(disk.clear().unwrap().0, 3);
    assert_eq!((disk.entries().unwrap().len(), place.files().len()), (0, 0));
    // Other processes have its key, and go on with it.
    compiled(disk, "null");
    place.disk().load(&key("null")).unwrap();
}

#[test]
fn a_directory_that_vanishes_is_a_warning() {
    let place = Place::new();
    let disk = place.disk();
    fs::remove_dir_all(place.path()).unwrap();
    signature(&*compiled(disk, "ecdsa"));
    let warnings = place.warnings();
    assert!(!warnings.is_empty() && warnings.iter().all(|line| line.contains("can't")), "{warnings:?}");
}

#[test]
fn threads_that_miss_at_once_compile_once() {
    let place = Place::new();
    // Each with a view of the directory of its own, as if they were processes; and all with one memory.
    let alone: Vec<_> = (0..4).map(|_| place.disk() as Arc<dyn ModuleCache>).collect();
    let shared = memory(4);
    let together: Vec<_> = (0..4).map(|_| shared.clone() as Arc<dyn ModuleCache>).collect();
    for caches in [&alone, &together] {
        thread::scope(|scope| {
            for cache in caches {
                scope.spawn(|| signature(&*compiled(cache.clone(), "ecdsa")));
            }
        });
    }
    let saved: u64 = alone.iter().map(|disk| counts(&**disk).saved).sum();
    assert_eq!((saved, counts(&*shared).saved), (1, 1));
    assert_eq!(place.warnings(), [""; 0]);
}

/// What a process of the test below runs.
#[test]
fn child() {
    let Some(folder) = env::var_os("RINGSEAL_TEST_CACHE") else { return };
    let sink: WarningSink = Arc::new(|warning| panic!("{warning}"));
    let disk = Arc::new(DiskCache::open(Path::new(&folder), &CacheLimits::default(), sink).unwrap());
    signature(&*compiled(disk.clone(), "schnorr"));
    println!("saved {}", counts(&*disk).saved);
}

#[test]
fn processes_that_miss_at_once_compile_once() {
    let place = Place::new();
    let start = || {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env("RINGSEAL_TEST_CACHE", place.path());
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..3).map(|_| start()).collect();
    let mut saved = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).unwrap();
        saved += said.matches("saved 1").count();
        assert_eq!(said.matches("saved ").count(), 1, "{said}");
    }
    assert_eq!(saved, 1);
}
