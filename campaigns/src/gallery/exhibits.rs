//! The exhibits: pieces of hostile modules, and what must become of the records that meet them.

/// What must become of a record on which a module does harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is signed as it should be: no harm was done to anybody but the module.
    Signed,
    /// It fails, with one of these of the signer's own statuses: runtimes differ.
    Fails(Vec<Failure>),
    /// It fails, with this status of the extension's.
    Says(String),
    /// Its signature is none. Whoever looks at it sees that: the signer if it verifies before release, or the consumer.
    Wrong,
    /// The same, and the module has spoiled itself: what it signs afterwards may be none either, or fail.
    Spoils,
    /// The module is not taken: the signer doesn't start with it.
    Refused,
}

/// Why the signer says that a record has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The module trapped, or failed the batch as a whole.
    Engine,
    /// It answered what no module may.
    Answer,
    /// It took too long.
    Deadline,
    /// It wanted too much memory.
    Memory,
}

impl Failure {
    /// By its name in the files.
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "trap" => Self::Engine,
            "bad-answer" => Self::Answer,
            "deadline" => Self::Deadline,
            "memory" => Self::Memory,
            _ => return None,
        })
    }

    /// What the record's line says then.
    pub fn status(self) -> &'static str {
        match self {
            Self::Engine => "EngineFailed",
            Self::Answer => "BadAnswer",
            Self::Deadline => "Deadline",
            Self::Memory => "OutOfMemory",
        }
    }
}

/// A hostile module, in the making.
#[derive(Clone, Debug)]
pub struct Exhibit {
    /// What it is called.
    pub name: String,
    /// What must become of guilty records.
    pub fate: Fate,
    /// What the signer must say of it: one of these. None if nothing need be said.
    pub words: Vec<String>,
    /// WebAssembly text: what comes in the place of the real module's exports of the same names.
    pub piece: String,
    /// Whether it uses more than WebAssembly 1.0 has.
    pub is_wide: bool,
    /// Whether guilty messages are longer than a batch usually is.
    pub is_large: bool,
    /// Bytes of custom section.
    pub padding: usize,
    /// What parts of the real module begin with that this one does without.
    dropped: Vec<String>,
}

/// The files of them.
const FILES: [&str; 5] = [
    include_str!("modules/runs.wat"),
    include_str!("modules/memory.wat"),
    include_str!("modules/answers.wat"),
    include_str!("modules/calls.wat"),
    include_str!("modules/shapes.wat"),
];

/// All of them. `within` and `beyond` are the steps of work that a record has time for, and has not.
///
/// # Errors
/// One of them is written wrongly.
pub fn all(within: u64, beyond: u64) -> Result<Vec<Exhibit>, String> {
    let mut exhibits = Vec::new();
    for file in FILES {
        for text in file.split(";;; ").skip(1) {
            let text = text.replace("@WITHIN@", &within.to_string()).replace("@BEYOND@", &beyond.to_string());
            exhibits.push(Exhibit::parse(&text)?);
        }
    }
    Ok(exhibits)
}

impl Exhibit {
    /// Reads `NAME | FATE | WORDS/OTHER WORDS`, and the piece that follows. Lines `;;@ wide`, `;;@ large`, `;;@ pad BYTES`
    /// and `;;@ drop BEGINNING` in it are for us.
    fn parse(text: &str) -> Result<Self, String> {
        let (head, piece) = text.split_once('\n').unwrap_or((text, ""));
        let [name, fate, words] = head.splitn(3, '|').map(str::trim).collect::<Vec<_>>()[..] else {
            return Err(format!("{head:?} is not NAME | FATE | WORDS"));
        };
        let fate = match fate.split_once(' ').unwrap_or((fate, "")) {
            ("signed", "") => Fate::Signed,
            ("says", status) => Fate::Says(status.to_owned()),
            ("wrong", "") => Fate::Wrong,
            ("spoils", "") => Fate::Spoils,
            ("refused", "") => Fate::Refused,
            (failures, "") => Fate::Fails(
                failures
                    .split('/')
                    .map(|failure| {
                        Failure::of(failure).ok_or_else(|| format!("{name}: no fate is {failure:?}"))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            _ => return Err(format!("{name}: there is no fate {fate:?}")),
        };
        let words = words.split('/').filter(|words| !words.is_empty()).map(str::to_owned).collect();
        let mut exhibit = Self {
            name: name.to_owned(),
            fate,
            words,
            piece: piece.to_owned(),
            is_wide: false,
            is_large: false,
            padding: 0,
            dropped: Vec::new(),
        };
        for order in piece.lines().filter_map(|line| line.strip_prefix(";;@ ")) {
            match order.split_once(' ').unwrap_or((order, "")) {
                ("wide", "") => exhibit.is_wide = true,
                ("large", "") => exhibit.is_large = true,
                ("pad", bytes) => {
                    exhibit.padding = bytes.parse().map_err(|_| format!("{name}: {order:?}"))?
                }
                ("drop", beginning) => exhibit.dropped.push(beginning.to_owned()),
                _ => return Err(format!("{name}: there is no {order:?}")),
            }
        }
        Ok(exhibit)
    }

    /// Whether it does without this part of the real module.
    pub fn drops(&self, item: &str) -> bool {
        self.dropped.iter().any(|beginning| item.starts_with(beginning.as_str()))
    }
}
