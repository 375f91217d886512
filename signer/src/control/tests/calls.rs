//! Each call, through the client and the server.

use cli::Exit;

use super::support::Rig;

#[test]
fn status_says_all_there_is() {
    let rig = Rig::new();
    let json = rig.ctl(&["--json", "status"]).json();
    assert_eq!(json["pid"], 4711);
    let human = rig.ctl(&["status"]);
    assert_eq!(human.result, Ok(Exit::Done));
}
