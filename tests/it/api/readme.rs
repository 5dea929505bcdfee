//! The lines that README.md shows for the API and the command line, run as they stand against the program itself.

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
        .env_remove("VMIMG_BINARY")
}

#[track_caller]
fn succeeded(done: Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}: {out}\n{err}", done.status);
    out.into_owned()
}

/// Starts the program and sets it up through its own form; answers it and its address.
fn served(folder: &Path) -> (Running, String) {
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
    (running, origin)
}

/// Runs lines in a shell, as somebody would who has the program in their path.
fn shell(folder: &Path, origin: &str, lines: &str) -> Output {
    let mut bash = Command::new("bash");
    let shell = with_settings(&mut bash, folder).args(["-euo", "pipefail", "-s"]).env("VMIMG_URL", origin);
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    shell.wait_with_output().unwrap()
}

/// What is left when every image was deleted.
#[track_caller]
fn nothing_is_left(folder: &Path, origin: &str) {
    let left: Vec<_> = fs::read_dir(folder.join("data/storage/images")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() <= 2, "{left:?}");
    let look = format!(
        "TOKEN=$(vmimg admin create-token {} --name look --scope read); curl -sf -H \"Authorization: Bearer $TOKEN\" {origin}/api/v1/images",
        ADMIN.0
    );
    assert_eq!(succeeded(shell(folder, origin, &look)), r#"{"items":[],"next":null}"#);
}

/// Runs the lines below a heading on a new service and looks that they show these words, that the file came back as it was sent, and that
/// nothing is left; answers what they printed. Where they name the service's usual address, they get this one's.
fn run_lines(heading: &str, shows: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (_running, origin) = served(folder);
    let bytes = iso_of("README", 3_000);
    fs::write(folder.join("debian.iso"), &bytes).unwrap();
    let script = block(heading);
    for line in shows {
        assert!(script.contains(line), "the lines do not show {line}");
    }
    let said = succeeded(shell(folder, &origin, &script.replace("http://127.0.0.1:8080", &origin)));
    assert!(fs::read(folder.join("copy.iso")).unwrap() == bytes, "what came back is what was sent");
    nothing_is_left(folder, &origin);
    said
}

#[test]
fn the_lines_of_the_readme_upload_list_download_and_delete() {
    // The address is the one that the service has by itself.
    let shows = ["vmimg admin create-token", "-T debian.iso", "-o copy.iso", "-X DELETE", "$URL/images?", "http://127.0.0.1:8080/"];
    let said = run_lines("API", &shows);
    assert!(said.contains("\"name\":\"Debian 13\"") && said.contains("\"code\":\"available\"") && said.contains("\"next\":null"), "{said}");
}

#[test]
fn the_commands_of_the_readme_do_the_same() {
    let said = run_lines("Command line", &["image upload", "image list", "image download", "image delete", "storage list"]);
    assert!(said.contains("Debian 13") && said.contains("Available") && said.contains("local"), "{said}");
}

#[test]
fn commands_say_by_their_exit_code_what_became_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (_running, origin) = served(folder);
    fs::write(folder.join("a.iso"), iso_of("CODES", 400)).unwrap();
    fs::write(folder.join("b.iso"), b"no medium at all").unwrap();
    let token = format!("export VMIMG_TOKEN=$(vmimg admin create-token {} --name codes --scope images --scope download)", ADMIN.0);
    let rows = [
        ("vmimg image upload a.iso --name One", 0, "Available"),
        ("vmimg image show One -o json", 0, "\"sha256\""),
        ("vmimg image upload a.iso --name One", 3, "name"),
        ("vmimg image upload b.iso", 1, "ISO"),
        ("vmimg image upload missing.iso", 1, "missing.iso"),
        ("vmimg image upload a.iso --name Two --sha256 \"$(printf %064d 0)\"", 3, "SHA-256"),
        ("vmimg image show Nothing", 3, "Nothing"),
        ("vmimg image download One --to a.iso", 1, "a.iso"),
        ("vmimg image download One --to - | sha256sum | cut -d ' ' -f 1 | diff - <(sha256sum a.iso | cut -d ' ' -f 1)", 0, ""),
        ("vmimg image delete One < /dev/null", 1, "--yes"),
        ("VMIMG_TOKEN=nonsense vmimg image list", 1, "token"),
        ("vmimg storage remove local --yes", 3, "scope"),
        ("VMIMG_TOKEN=vmi_$(printf %043d 0) vmimg image list", 3, "token"),
        ("vmimg --url http://127.0.0.1:1 image list", 2, "--url"),
        ("vmimg image list --url http://127.0.0.1:1", 4, "127.0.0.1:1"),
        ("vmimg image list --limit many", 2, "many"),
        ("vmimg image delete One --yes", 0, "One"),
    ];
    let mut wrong = Vec::new();
    for (line, code, words) in rows {
        let done = shell(folder, &origin, &format!("{token}\n{line}\n"));
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        if done.status.code() != Some(code) || !said.contains(words) {
            wrong.push(format!("{line}: {} instead of {code} and {words}: {said}", done.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
