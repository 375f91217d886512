//! Where a run happens: a folder for its files, a private one for its ring, and a key.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cli::Failure;
use shmem_layout::RingPath;
use tempfile::TempDir;

use super::process::{Process, Ran, manner, run};
use super::session::Session;

/// The folders of one run, which are removed with it unless they are kept.
pub struct Site {
    session_programs: PathBuf,
    files: TempDir,
    rings: TempDir,
    public_key: String,
    environment: HashMap<&'static str, Vec<(String, String)>>,
}

impl Site {
    /// Makes folders and a key.
    ///
    /// # Errors
    /// They can't be made.
    pub fn new(session: &Session) -> Result<Self, Failure> {
        Self::with_ring_in(session, &place_for_rings())
    }

    /// The same, with the ring's own folder made in `place`.
    ///
    /// # Errors
    /// They can't be made.
    pub fn with_ring_in(session: &Session, place: &Path) -> Result<Self, Failure> {
        let cant = |error: io::Error| Failure::environment(format_args!("can't make a folder: {error}"));
        let private = || Permissions::from_mode(0o700);
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("campaign-");
        let files = builder.permissions(private()).tempdir().map_err(cant)?;
        let rings = builder.permissions(private()).tempdir_in(place).map_err(cant)?;
        let programs = session.program("");
        let mut site = Self {
            session_programs: programs,
            files,
            rings,
            public_key: String::new(),
            environment: HashMap::new(),
        };
        site.public_key =
            site.run("signer", &["keygen".into(), site.path("key").display().to_string()])?.stdout;
        Ok(site)
    }

    /// Adds a variable to the environment of each `program` that is started from now on.
    pub fn set_for(&mut self, program: &'static str, name: &str, value: String) {
        self.environment.entry(program).or_default().push((name.to_owned(), value));
    }

    /// Forgets all variables that were added.
    pub fn unset_all(&mut self) {
        self.environment.clear();
    }

    /// The path of a file of the run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The ring.
    pub fn ring(&self) -> PathBuf {
        self.rings.path().join("ring")
    }

    /// The same, as the ring's own crate takes it.
    pub fn ring_path(&self) -> RingPath {
        RingPath::File(self.ring())
    }

    /// The consumer's folder.
    pub fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// The public key: compressed SEC1, in hexadecimal digits.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// Makes the ring, by `ringctl create` with these arguments.
    ///
    /// # Errors
    /// It is refused.
    pub fn create_ring(&self, arguments: &[String]) -> Result<(), Failure> {
        let mut all = vec!["create".to_owned(), self.ring().display().to_string()];
        all.extend_from_slice(arguments);
        self.run("ringctl", &all).map(drop)
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// It is refused.
    pub fn close_ring(&self) -> Result<(), Failure> {
        self.run("ringctl", &["close".into(), self.ring().display().to_string()]).map(drop)
    }

    /// Runs one of the programs, which must end with exit code 0.
    ///
    /// # Errors
    /// It doesn't.
    pub fn run(&self, program: &str, arguments: &[String]) -> Result<Ran, Failure> {
        let ran = run(&self.session_programs.join(program), arguments)?;
        if !ran.status.success() {
            let manner = manner(ran.status);
            return Err(Failure::failed(format_args!("{program} {arguments:?}: {manner}: {}", ran.stderr)));
        }
        Ok(ran)
    }

    /// Starts a producer for `source`, with more arguments.
    ///
    /// # Errors
    /// It can't be started.
    pub fn producer(&self, source: &str, arguments: &[String]) -> Result<Process, Failure> {
        let name = format!("producer-{source}");
        self.role(&name, "producer", &["--source".into(), source.into()], arguments)
    }

    /// Starts a signer on `runtime`, with more arguments.
    ///
    /// # Errors
    /// It can't be started.
    pub fn signer(&self, runtime: &str, arguments: &[String]) -> Result<Process, Failure> {
        let key = self.path("key").display().to_string();
        self.role("signer", "signer", &["--runtime".into(), runtime.into(), "--key".into(), key], arguments)
    }

    /// Starts a consumer that writes to [`Site::out`], with more arguments.
    ///
    /// # Errors
    /// It can't be started.
    pub fn consumer(&self, arguments: &[String]) -> Result<Process, Failure> {
        let out = self.out().display().to_string();
        let first = ["--out".into(), out, "--public-key".into(), self.public_key.clone()];
        self.role("consumer", "consumer", &first, arguments)
    }

    fn role(&self, name: &str, program: &str, first: &[String], more: &[String]) -> Result<Process, Failure> {
        let ring = ["--ring".to_owned(), self.ring().display().to_string()];
        let arguments = ring.iter().chain(first).chain(more);
        let said = self.path(&format!("{name}.said"));
        Process::start_with(
            name,
            &self.session_programs.join(program),
            arguments,
            said,
            self.environment_of(program),
        )
    }

    fn environment_of(&self, program: &str) -> &[(String, String)] {
        self.environment.get(program).map_or(&[], Vec::as_slice)
    }

    /// Starts a `ringctl close`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn closer(&self) -> Result<Process, Failure> {
        let arguments = ["close".to_owned(), self.ring().display().to_string()];
        let program = self.session_programs.join("ringctl");
        Process::start_with(
            "ringctl",
            &program,
            arguments,
            self.path("ringctl.said"),
            self.environment_of("ringctl"),
        )
    }

    /// Keeps the folders, for somebody to look at what went wrong in them; says where they are.
    pub fn keep(self) -> String {
        let (files, rings) = (self.files.keep(), self.rings.keep());
        format!("kept {} and {}", files.display(), rings.display())
    }
}

/// Where rings are at home, and else where temporary files are.
fn place_for_rings() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let candidates = runtime.into_iter().chain([PathBuf::from("/dev/shm")]);
    candidates.into_iter().find(|place| is_usable(place)).unwrap_or_else(std::env::temp_dir)
}

fn is_usable(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|metadata| metadata.is_dir())
        && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}
