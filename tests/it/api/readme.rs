//! The lines that README.md shows for the API, run as they stand against the program itself.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use super::super::support::{app::ADMIN, iso_of};

const README: &str = include_str!("../../../README.md");

/// The lines of the first block of code below a heading.
fn block(heading: &str) -> &'static str {
    let section = README.split(&format!("\n## {heading}\n")).nth(1).expect("README.md has the section");
    section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the section has a block of code")
}

/// The program, in a folder of its own, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn with_settings<'command>(command: &'command mut Command, folder: &Path) -> &'command mut Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_vmimg")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    command
        .current_dir(folder)
        .env("PATH", path)
        .env("VMIMG_DATA_DIR", folder.join("data"))
        .env("VMIMG_STORAGE_ROOTS", folder)
        .env("VMIMG_LISTEN", "127.0.0.1:0")
        .env_remove("VMIMG_DATABASE_URL")
}

#[track_caller]
fn succeeded(done: Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}: {out}\n{err}", done.status);
    out.into_owned()
}

#[test]
fn the_lines_of_the_readme_upload_list_download_and_delete() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmimg"));
    let mut running = Running(with_settings(&mut command, folder).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let set_up =
        lines.map(Result::unwrap).find(|line| line.contains("/setup?code=")).expect("it says where to set it up").trim().to_owned();
    let origin = set_up.split("/setup").next().unwrap().to_owned();
    let fields = [
        ("code", set_up.split('=').nth(1).unwrap()),
        ("name", "Ada"),
        ("email", ADMIN.0),
        ("password", ADMIN.1),
        ("storage_name", "local"),
        ("storage_path", folder.join("data/storage").to_str().unwrap()),
    ]
    .map(|(name, value)| ["--data-urlencode".to_owned(), format!("{name}={value}")]);
    let mut curl = Command::new("curl");
    let sent = curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", &format!("Origin: {origin}"), &format!("{origin}/setup")]);
    let answered = sent.args(fields.concat()).output().expect("curl is installed: see tests/tools/setup");
    assert_eq!(succeeded(answered), "303");

    let bytes = iso_of("README", 3_000);
    fs::write(folder.join("debian.iso"), &bytes).unwrap();
    let script = block("API");
    for line in ["vmimg admin create-token", "-T debian.iso", "-o copy.iso", "-X DELETE", "$URL/images?"] {
        assert!(script.contains(line), "the lines do not show {line}");
    }
    assert!(script.contains("http://127.0.0.1:8080/"), "the address is the one that the service has by itself");
    let script = script.replace("http://127.0.0.1:8080", &origin);
    let mut bash = Command::new("bash");
    let shell = with_settings(&mut bash, folder).args(["-euo", "pipefail", "-s"]);
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let said = succeeded(shell.wait_with_output().unwrap());

    assert!(said.contains("\"name\":\"Debian 13\"") && said.contains("\"code\":\"available\"") && said.contains("\"next\":null"), "{said}");
    assert!(fs::read(folder.join("copy.iso")).unwrap() == bytes, "what came back is what was sent");
    let left: Vec<_> = fs::read_dir(folder.join("data/storage/images")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() <= 2, "{left:?}");
    let after = format!(
        "TOKEN=$(vmimg admin create-token {} --name look --scope read); curl -sf -H \"Authorization: Bearer $TOKEN\" {origin}/api/v1/images",
        ADMIN.0
    );
    let listed = with_settings(Command::new("bash").args(["-euc", &after]), folder).output().unwrap();
    assert_eq!(succeeded(listed), r#"{"items":[],"next":null}"#);
}
