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
    symlink(folder.join("nowhere"), folder.join("dangling")).unwrap();
    assert!(matches!(refusal(&folder.join("dangling")), AttachError::Symlink));
    let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
    assert!(matches!(refusal(&folder.join("socket")), AttachError::NotRegular));
    assert!(matches!(refusal(std::path::Path::new("/dev/null")), AttachError::NotRegular));
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
    for mode in [0o750, 0o705, 0o720, 0o702] {
        fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(mode)).unwrap();
        assert!(matches!(refusal(&path), AttachError::OpenFolder { mode: found, .. } if found == mode));
    }
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
    let folder = path.parent().unwrap();
    std::os::unix::fs::chown(folder, Some(65534), None).unwrap();
    assert!(matches!(refusal(&path), AttachError::OpenFolder { owner: 65534, .. }));
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    assert!(matches!(refusal(&path), AttachError::ForeignOwner { owner: 65534, .. }));
}

/// The other way round: root's ring, and somebody who is not root.
#[test]
fn somebody_else_is_told_whose_the_ring_is() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become somebody else");
        return;
    }
    let (_place, path) = ring_file();
    fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    let refused = std::thread::spawn(move || {
        // SAFETY: plain numbers; the system call, unlike libc's function, changes this thread alone, which ends here.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        assert_eq!(result, 0);
        refusal(&path)
    });
    let refused = refused.join().unwrap();
    assert!(matches!(refused, AttachError::ForeignOwner { owner: 0, uid: 65534 }), "{refused}");
}

#[test]
fn a_segment_is_held_to_the_same() {
    let place = Place::segment();
    let (path, file_path) = (place.path().unwrap(), place.file_path().unwrap());
    create(&path, &small()).unwrap();
    let refusal = || attach(&path).err().unwrap();
    fs::set_permissions(&file_path, Permissions::from_mode(0o660)).unwrap();
    assert!(matches!(refusal(), AttachError::TooOpen { mode: 0o660 }));
    fs::set_permissions(&file_path, Permissions::from_mode(0o600)).unwrap();
    let file = OpenOptions::new().write(true).open(&file_path).unwrap();
    put(&file, header::MAGIC, &[0; 8]);
    assert!(matches!(refusal(), AttachError::Magic));
    file.set_len(0).unwrap();
    assert!(matches!(refusal(), AttachError::TooShort { len: 0 }));
    fs::remove_file(&file_path).unwrap();
    assert!(matches!(refusal(), AttachError::Absent));
    symlink("/dev/null", &file_path).unwrap();
    assert!(matches!(refusal(), AttachError::Symlink));
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
    type Change = fn(&mut RingSpec);
    type Expected = fn(&AttachError) -> bool;
    let cases: [(Change, Expected); 14] = [
        (|s| s.layout_version = 2, |e| matches!(e, AttachError::Spec(SpecError::LayoutVersion(2)))),
        (|s| s.capacity = 0, |e| matches!(e, AttachError::Spec(SpecError::Capacity(0)))),
        (|s| s.capacity = 6, |e| matches!(e, AttachError::Spec(SpecError::Capacity(6)))),
        (|s| s.capacity = 1 << 31, |e| matches!(e, AttachError::Spec(SpecError::Capacity(_)))),
        (|s| s.capacity = 16, |e| matches!(e, AttachError::Size { .. })),
        (|s| s.capacity = 4, |e| matches!(e, AttachError::Size { .. })),
        (|s| s.stride = 128, |e| matches!(e, AttachError::Spec(SpecError::Stride { stride: 128, .. }))),
        (|s| s.stride = 1 << 31, |e| matches!(e, AttachError::Spec(SpecError::Stride { .. }))),
        // The message, or the signature before it, would reach into the next slot.
        (|s| s.message_capacity = s.stride, |e| matches!(e, AttachError::Spec(SpecError::Stride { .. }))),
        (|s| s.signature_capacity = s.stride, |e| matches!(e, AttachError::Spec(SpecError::Stride { .. }))),
        (
            |s| s.message_capacity = u32::MAX,
            |e| matches!(e, AttachError::Spec(SpecError::MessageCapacity(u32::MAX))),
        ),
        (
            |s| s.signature_capacity = u32::MAX,
            |e| matches!(e, AttachError::Spec(SpecError::SignatureCapacity(u32::MAX))),
        ),
        (|s| s.max_attempts = 0, |e| matches!(e, AttachError::Spec(SpecError::MaxAttempts(0)))),
        (|s| s.boot_id[0] ^= 1, |e| matches!(e, AttachError::OtherBoot)),
    ];
    for (index, (change, expected)) in cases.into_iter().enumerate() {
        let (_place, path) = ring_file();
        let mut spec = attach(&RingPath::from(path.as_path())).unwrap().spec().clone();
        change(&mut spec);
        forge(&path, &spec.to_archive());
        let refusal = refusal(&path);
        assert!(expected(&refusal), "case {index}: {refusal}");
    }
}

/// Puts an archive in the place of a ring's spec, with its length and checksum.
fn forge(path: &std::path::Path, archive: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    put(&file, header::SPEC, archive);
    put(&file, header::SPEC_LEN, &(archive.len() as u32).to_le_bytes());
    put(&file, header::SPEC_CRC32, &crc32fast::hash(archive).to_le_bytes());
}

#[test]
fn a_spec_that_is_none_is_refused_whatever_its_checksum_says() {
    let (_place, path) = ring_file();
    let archive = attach(&RingPath::from(path.as_path())).unwrap().spec().to_archive();
    // The one byte of a spec that not every value is one of: its clock, behind the maximum of attempts.
    let clock = archive.iter().position(|byte| *byte == small().max_attempts).unwrap() + 1;
    assert_eq!(archive[clock], crate::Clock::Monotonic as u8);
    let mut other_clock = archive.to_vec();
    other_clock[clock] = 99;
    let empty: &[u8] = &[];
    for bytes in [&other_clock[..], &archive[..archive.len() - 1], &archive[1..], empty] {
        forge(&path, bytes);
        let refusal = refusal(&path);
        assert!(
            matches!(refusal, AttachError::Spec(SpecError::Archive(_))),
            "{} bytes: {refusal}",
            bytes.len()
        );
    }
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
