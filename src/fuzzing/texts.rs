//! What people type, and names of files: whatever is accepted is fit to be kept, shown, and compared.

use std::path::{Component, Path, PathBuf};

use crate::{
    domain::{
        ids::ImageId,
        text::{self, Email, NAME_MAX, NOTE_MAX, Name},
        upload,
    },
    operations::add_storage::allowed_path,
};

/// Checks a text as a name, a note, an e-mail address, a file's name, an identifier and a folder.
pub fn check(data: &[u8]) {
    let Ok(typed) = std::str::from_utf8(data) else { return };
    if let Ok(name) = Name::parse("name", typed) {
        let length = name.as_str().chars().count();
        assert!((1..=NAME_MAX).contains(&length), "a name of {length} characters");
        assert!(!name.as_str().chars().any(char::is_control), "a control character in a name");
        assert_eq!(Name::parse("name", name.as_str()).as_ref(), Ok(&name), "a name as shown is that name");
        assert!(!name.key().is_empty(), "a name without a key");
    }
    let key = text::fold(typed);
    assert_eq!(text::fold(&key), key, "a key is its own key");
    if let Ok(note) = text::parse_note("note", typed) {
        assert!(note.chars().count() <= NOTE_MAX && !note.contains('\r'));
        assert_eq!(text::parse_note("note", &note), Ok(note.clone()), "a note as shown is that note");
    }
    if let Ok(email) = Email::parse("email", typed) {
        assert_eq!(Email::parse("email", email.as_str()).as_ref(), Ok(&email), "an address as shown is that address");
        assert!(!email.as_str().contains(['\r', '\n', '\0']));
    }
    let _ = text::check_password("password", typed, "ada@example.org");

    let file = upload::clean_name(typed);
    assert!(!file.contains(['/', '\\']) && !file.chars().any(char::is_control) && file.chars().count() <= 255);
    assert_eq!(upload::clean_name(&file), file);
    if upload::check_file(typed, None, 1).is_ok() {
        assert!(upload::base_name(typed).to_lowercase().ends_with(".iso"));
    }
    if let Ok(id) = typed.parse::<ImageId>() {
        assert_eq!(id.to_string(), typed, "an identifier has one spelling");
    }

    let (root, data_dir) = (PathBuf::from("/srv"), Path::new("/var/lib/vmimg"));
    if let Ok(path) = allowed_path(&[root.clone(), data_dir.to_owned()], data_dir, typed, "path") {
        let plain = path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
        assert!(plain && path.is_absolute() && (path.starts_with(&root) || path.starts_with(data_dir)), "{}", path.display());
        assert!(path != root && path != data_dir);
    }
}
