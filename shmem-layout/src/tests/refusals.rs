//! Every refusal of attach has its own error: what a path leads to, and what its bytes say, are allegations.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};

use super::*;
use crate::layout::header;
use crate::{AttachError, CreateError, SpecError};

fn ring_file() -> (Place, PathBuf) {
    let [_, file, _] = Place::all(&small());
    let path = file.file_path().unwrap();
    (file, path)
}

fn refusal(path: &std::path::Path) -> AttachError {
    match attach(&RingPath::from(path)) {
        Ok(_) => panic!("{} was let in", path.display()),
        Err(refusal) => refusal,
    }
}

#[test]
fn a_path_that_leads_elsewhere_is_refused() {
    let (_place, path) = ring_file();
    let folder = path.parent().unwrap();
    let link = folder.join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(refusal(&link), AttachError::Symlink));
    assert!(matches!(refusal(&folder.join("nothing")), AttachError::Absent));
    assert!(matches!(refusal(folder), AttachError::NotRegular));
    rustix::fs::mknodat(rustix::fs::CWD, folder.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    assert!(matches!(refusal(&folder.join("fifo")), AttachError::NotRegular));
    fs::hard_link(&path, folder.join("other-name")).unwrap();
    assert!(matches!(refusal(&path), AttachError::HardLinked { links: 2 }));
}

#[test]
fn a_ring_that_others_can_reach_is_refused() {
    let (_place, path) = ring_file();
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(matches!(refusal(&path), AttachError::TooOpen { mode: found } if found == mode));
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(refusal(&path), AttachError::OpenFolder { mode: 0o755, .. }));
    let made = create(&RingPath::from(path.with_file_name("new").as_path()), &small());
    assert!(matches!(made, Err(CreateError::Folder(AttachError::OpenFolder { .. }))), "{made:?}");
}

#[test]
fn another_users_ring_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a file away");
        return;
    }
    let (_place, path) = ring_file();
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    assert!(matches!(refusal(&path), AttachError::ForeignOwner { owner: 65534, .. }));
}

#[test]
fn bytes_that_are_no_ring_are_refused() {
    type Damage = fn(&File);
    type Expected = fn(&AttachError) -> bool;
    let cases: [(&str, Damage, Expected); 9] = [
        ("empty", |f| f.set_len(0).unwrap(), |e| matches!(e, AttachError::TooShort { len: 0 })),
        ("header cut", |f| f.set_len(100).unwrap(), |e| matches!(e, AttachError::TooShort { len: 100 })),
        ("last slot cut", |f| f.set_len(9000).unwrap(), |e| matches!(e, AttachError::Size { len: 9000, .. })),
        (
            "longer",
            |f| f.set_len(1 << 20).unwrap(),
            |e| matches!(e, AttachError::Size { len: 0x10_0000, .. }),
        ),
        ("magic", |f| put(f, header::MAGIC, b"RINGSEAX"), |e| matches!(e, AttachError::Magic)),
        (
            "version",
            |f| put(f, header::LAYOUT_VERSION, &[9]),
            |e| matches!(e, AttachError::Version { found: 9 }),
        ),
        (
            "spec length",
            |f| put(f, header::SPEC_LEN, &[0xFF; 4]),
            |e| matches!(e, AttachError::SpecLen { len: u32::MAX }),
        ),
        ("checksum", |f| put(f, header::SPEC_CRC32, &[1, 2, 3, 4]), |e| matches!(e, AttachError::Checksum)),
        ("spec", |f| put(f, header::SPEC + 4, &[3]), |e| matches!(e, AttachError::Checksum)),
    ];
    for (name, damage, expected) in cases {
        let (_place, path) = ring_file();
        damage(&OpenOptions::new().write(true).open(&path).unwrap());
        let refusal = refusal(&path);
        assert!(expected(&refusal), "{name}: {refusal}");
    }
}

fn put(file: &File, offset: usize, bytes: &[u8]) {
    file.write_all_at(bytes, offset as u64).unwrap();
}

/// A checksum is no secret: a forger gets it right, and the spec is checked all the same.
#[test]
fn a_forged_spec_with_a_right_checksum_is_refused() {
    let forge = |change: fn(&mut RingSpec)| {
        let (_place, path) = ring_file();
        let mut spec = attach(&RingPath::from(path.as_path())).unwrap().spec().clone();
        change(&mut spec);
        let archive = spec.to_archive();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        put(&file, header::SPEC, &archive);
        put(&file, header::SPEC_CRC32, &crc32fast::hash(&archive).to_le_bytes());
        refusal(&path)
    };
    assert!(matches!(forge(|s| s.capacity = 0), AttachError::Spec(SpecError::Capacity(0))));
    assert!(matches!(forge(|s| s.capacity = 6), AttachError::Spec(SpecError::Capacity(6))));
    assert!(matches!(forge(|s| s.stride = 128), AttachError::Spec(SpecError::Stride { stride: 128, .. })));
    assert!(matches!(forge(|s| s.capacity = 16), AttachError::Size { .. }));
    assert!(matches!(forge(|s| s.boot_id[0] ^= 1), AttachError::OtherBoot));
}

#[test]
fn creating_over_something_or_without_room_leaves_things_as_they_were() {
    for place in Place::all(&small()).iter().skip(1) {
        let path = place.path().unwrap();
        let before = attach(&path).unwrap().spec().ring_id;
        assert!(matches!(create(&path, &small()), Err(CreateError::Exists)));
        assert_eq!(attach(&path).unwrap().spec().ring_id, before);
    }
    let folder = private_folder();
    let too_large = RingOptions { capacity: 1 << 24, message_capacity: 1 << 20, ..small() };
    for path in [RingPath::File(folder.path().join("ring")), Place::segment().path().unwrap()] {
        let refused = create(&path, &too_large);
        assert!(matches!(refused, Err(CreateError::Room { .. } | CreateError::Make(_))), "{refused:?}");
        assert!(!path.file_path().exists(), "left behind");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "left behind");
}

#[test]
fn a_new_ring_is_private_and_really_there() {
    for place in Place::all(&small()).iter().skip(1) {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(place.file_path().unwrap()).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o600);
        assert!(metadata.blocks() * 512 >= metadata.len(), "a sparse ring is a SIGBUS to come");
    }
}

#[test]
fn ring_paths_are_read_as_they_are_written() {
    for (text, expected) in
        [("shm:a", RingPath::Segment("a".into())), ("/x/y", RingPath::File("/x/y".into()))]
    {
        let path: RingPath = text.parse().unwrap();
        assert_eq!((path.to_string().as_str(), &path), (text, &expected));
    }
    for text in ["", "shm:", "shm:a/b", "shm:..", "shm:.hidden"] {
        assert!(text.parse::<RingPath>().is_err(), "{text}");
    }
}
