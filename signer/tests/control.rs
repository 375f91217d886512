//! `signer ctl`, as a program.

mod support;

use support::{Rig, output, signer};

#[test]
fn nobody_to_ask_has_an_exit_code_of_its_own() {
    let rig = Rig::new();
    let folder = rig.path("control");
    for call in [&["status"][..], &["watch", "--json"], &["swap", "ecdsa", "--rollback"], &["drain"]] {
        let ended = output(signer().arg("ctl").arg("--control").arg(&folder).args(call));
        ended.says(3, "nobody serves there");
        ended.says(3, folder.to_str().unwrap());
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn each_bad_argument_is_named() {
    let cases: [(&[&str], &str); 7] = [
        (&["status"], "--control DIR is missing"),
        (&[], "--help"),
        (&["--control", "x", "stop"], "unrecognized subcommand 'stop'"),
        (&["--control", "x", "swap"], "<METHOD>"),
        (&["--control", "x", "swap", "ecdsa"], "PATH, --builtin, --rollback or --runtime"),
        (&["--control", "x", "limits", "--deadline", "0"], "20..=3600000"),
        (&["--control", "x", "rotate", "new.pem"], "unexpected argument 'new.pem'"),
    ];
    for (arguments, words) in cases {
        output(signer().arg("ctl").args(arguments)).says(2, words);
    }
}
