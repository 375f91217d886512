//! A view tells what is there, and changes nothing: what watches a ring at work must not take part in it.

use std::fs;

use super::*;
use crate::{Stage, View};

#[test]
fn a_view_tells_what_is_there_and_changes_nothing() {
    for place in &Place::all(&small())[1..] {
        let view = View::open(&place.path().unwrap()).unwrap();
        let bytes = || fs::read(place.file_path().unwrap()).unwrap();
        assert_eq!((view.signed_by(), view.oldest(0)), (None, None), "an empty ring");

        let mut producer = place.attach().join_producer("a").unwrap();
        let mut signer = place.attach().join_signer().unwrap();
        for position in 0..3 {
            publish(&mut producer, position, b"message");
        }
        sign(&mut signer, 2);
        let before = bytes();
        let now = view.snapshot().unwrap();
        assert_eq!((now.first_unclaimed, now.first_unfreed, now.members.len()), (3, 0, 2));
        assert_eq!(view.hints().head, 3);
        let oldest = view.oldest(now.first_unfreed).unwrap();
        assert_eq!((oldest.sequence, oldest.stage), (0, Stage::Signed));
        assert!(oldest.written_ns.is_some_and(|written_ns| written_ns <= clock::now_ns()));
        let by = view.signed_by().unwrap();
        assert_eq!((by.sequence, by.module_id, by.generation, by.runtime), (1, 5, 6, 7));
        assert_eq!(view.oldest(2).unwrap().stage, Stage::Written);
        assert_eq!(view.oldest(3), None, "nobody has claimed that");
        assert_eq!(view.oldest(8), None, "the slot is on another lap");
        assert!(bytes() == before, "a look has changed the ring");

        let consumer = place.attach().join_consumer().unwrap();
        (0..2).for_each(|sequence| consumer.free(sequence).unwrap());
        assert_eq!(view.signed_by().map(|by| by.sequence), Some(1), "what is freed is remembered");
        assert_eq!(view.oldest(2).unwrap().sequence, 2);
    }
}

#[test]
fn a_view_is_refused_what_everybody_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = &Place::all(&small())[1];
    let path = place.file_path().unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(View::open(&place.path().unwrap()), Err(crate::AttachError::TooOpen { mode: 0o644 })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
    assert!(matches!(View::open(&place.path().unwrap()), Err(crate::AttachError::TooShort { len: 100 })));
}
