//! What people type: names, notes, e-mail addresses, passwords. Each is parsed once, at the door, and cannot be built wrong.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// Longest name of a thing, in characters (PRODUCT.md section 2).
pub const NAME_MAX: usize = 255;
/// Longest note, in characters (PRODUCT.md section 2).
pub const NOTE_MAX: usize = 4_096;
/// Shortest password, in characters (ASVS 5.0, V6.2.1).
pub const PASSWORD_MIN: usize = 8;
/// Longest password, in bytes: long enough for any pass phrase, short enough that hashing it stays cheap.
pub const PASSWORD_MAX: usize = 1_024;
/// Longest e-mail address, in bytes (RFC 5321).
pub const EMAIL_MAX: usize = 254;

/// What is wrong with one field of a form: which, a stable code, a sentence with the limit and the way out, and a link where one helps.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// The field's name in the form.
    pub field: &'static str,
    /// Stable code, as in `name.taken`.
    pub code: &'static str,
    /// The sentence to show.
    pub message: String,
    /// Where the sentence points, within the console.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
}

impl FieldError {
    /// An error of `field` without a link.
    pub fn new(field: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { field, code, message: message.into(), href: None }
    }
}

/// The name of a thing: trimmed, composed (NFC), 1 to 255 characters, with something to see in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Parses what was typed into `field`.
    pub fn parse(field: &'static str, typed: &str) -> Result<Self, FieldError> {
        let name: String = typed.trim().nfc().collect();
        if !name.chars().any(is_visible) {
            return Err(FieldError::new(field, "name.empty", "Give a name."));
        }
        let length = name.chars().count();
        if length > NAME_MAX {
            return Err(FieldError::new(field, "name.too_long", format!("The name has {length} characters. Use at most {NAME_MAX}.")));
        }
        if name.chars().any(|c| c.is_control() || is_bidi_control(c) || is_noncharacter(c)) {
            return Err(FieldError::new(
                field,
                "name.control",
                "The name holds characters that cannot be seen, such as line breaks or text-direction marks. Remove them.",
            ));
        }
        Ok(Self(name))
    }

    /// The name as shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key by which two names are the same: NFC and full case folding (PRODUCT.md section 2).
    pub fn key(&self) -> String {
        fold(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Folds text for comparing and searching: composed, case folded, composed again (folding can decompose).
pub fn fold(text: &str) -> String {
    let composed: String = text.trim().nfc().collect();
    caseless::default_case_fold_str(&composed).nfc().collect()
}

/// A note: up to 4,096 characters, line breaks as `\n`.
pub fn parse_note(field: &'static str, typed: &str) -> Result<String, FieldError> {
    let note: String = typed.replace("\r\n", "\n").replace('\r', "\n").trim().nfc().collect();
    let length = note.chars().count();
    if length > NOTE_MAX {
        return Err(FieldError::new(field, "note.too_long", format!("The note has {length} characters. Use at most {NOTE_MAX}.")));
    }
    if note.chars().any(|c| c.is_control() && c != '\n' && c != '\t' || is_noncharacter(c)) {
        return Err(FieldError::new(field, "note.control", "The note holds control characters. Remove them."));
    }
    Ok(note)
}

/// An e-mail address, the name that people sign in with. Only its shape is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Parses what was typed into `field`.
    pub fn parse(field: &'static str, typed: &str) -> Result<Self, FieldError> {
        let email = typed.trim();
        let shaped = email.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
        if !shaped || email.chars().any(|c| c.is_whitespace() || c.is_control() || is_bidi_control(c) || is_noncharacter(c)) {
            return Err(FieldError::new(field, "email.shape", "Give an e-mail address such as name@example.org."));
        }
        if email.len() > EMAIL_MAX {
            return Err(FieldError::new(field, "email.too_long", format!("The e-mail address is longer than {EMAIL_MAX} characters.")));
        }
        Ok(Self(email.nfc().collect()))
    }

    /// The address as typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key by which two addresses are the same.
    pub fn key(&self) -> String {
        fold(&self.0)
    }
}

/// Checks a new password; any character is welcome, spaces included, and nothing is cut off.
pub fn check_password(field: &'static str, password: &str, email: &str) -> Result<(), FieldError> {
    let length = password.chars().count();
    if length < PASSWORD_MIN {
        return Err(FieldError::new(
            field,
            "password.too_short",
            format!("Use at least {PASSWORD_MIN} characters; 15 or more are better. Several words make a good password."),
        ));
    }
    if password.len() > PASSWORD_MAX {
        return Err(FieldError::new(field, "password.too_long", format!("Use at most {PASSWORD_MAX} bytes.")));
    }
    let folded = fold(password);
    if COMMON_PASSWORDS.contains(&folded.as_str()) || folded == fold(email) {
        return Err(FieldError::new(field, "password.common", "This password is among the first that anybody would try. Use another one."));
    }
    Ok(())
}

/// Passwords of eight or more characters that lead every published list of leaked ones.
const COMMON_PASSWORDS: &[&str] = &[
    "12345678",
    "123456789",
    "1234567890",
    "87654321",
    "11111111",
    "00000000",
    "password",
    "password1",
    "password123",
    "passw0rd",
    "p@ssw0rd",
    "qwertyui",
    "qwerty123",
    "qwertyuiop",
    "1q2w3e4r",
    "1qaz2wsx",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "trustno1",
    "welcome1",
    "letmein1",
    "changeme",
    "changeit",
    "admin123",
    "administrator",
    "abcd1234",
    "abc12345",
    "zaq12wsx",
    "asdfghjk",
    "asdfasdf",
    "starwars",
    "computer",
    "michelle",
    "jennifer",
    "corvette",
    "mercedes",
    "internet",
    "whatever",
];

/// Characters that show nothing by themselves.
fn is_visible(c: char) -> bool {
    let blank = matches!(c, '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}');
    !(c.is_whitespace() || c.is_control() || blank)
}

/// Marks that change the direction of all text after them, and so could disguise a name.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Code points that are no characters and never will be; a page that held one would not be well-formed.
pub fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_composed() {
        assert_eq!(Name::parse("name", "  Cafe\u{301} \n").unwrap().as_str(), "Café");
        assert_eq!(Name::parse("name", &"x".repeat(255)).unwrap().as_str().len(), 255);
        assert_eq!(Name::parse("name", "../etc/passwd").unwrap().as_str(), "../etc/passwd");
    }

    #[test]
    fn a_name_that_shows_nothing_or_too_much_is_refused() {
        let rows = [
            ("", "name.empty"),
            ("   ", "name.empty"),
            ("\u{200b}", "name.empty"),
            ("\u{3164}", "name.empty"),
            (&*"x".repeat(256), "name.too_long"),
            ("a\nb", "name.control"),
            ("a\0b", "name.control"),
            ("a\u{202e}b", "name.control"),
            ("a\u{fffe}b", "name.control"),
            ("a\u{1ffff}b", "name.control"),
        ];
        for (typed, code) in rows {
            assert_eq!(Name::parse("name", typed).unwrap_err().code, code, "{typed:?}");
        }
    }

    #[test]
    fn two_spellings_of_a_name_share_a_key() {
        let rows = [("É", "e\u{301}"), ("straße", "STRASSE"), ("\u{212a}", "k"), ("Debian 13 ", " debian 13")];
        for (one, other) in rows {
            assert_eq!(Name::parse("name", one).unwrap().key(), Name::parse("name", other).unwrap().key(), "{one} {other}");
        }
        assert_ne!(fold("a"), fold("b"));
    }

    #[test]
    fn a_note_is_bounded_and_keeps_its_lines() {
        assert_eq!(parse_note("note", "a\r\nb\rc").unwrap(), "a\nb\nc");
        assert_eq!(parse_note("note", &"é".repeat(4_097)).unwrap_err().code, "note.too_long");
        assert_eq!(parse_note("note", "a\u{1b}[2J").unwrap_err().code, "note.control");
    }

    #[test]
    fn an_email_has_a_shape() {
        for bad in ["", "a", "@b", "a@", "a b@c", "a@b@c", "a@b\n"] {
            let trimmed_is_fine = bad == "a@b\n";
            assert_eq!(Email::parse("email", bad).is_ok(), trimmed_is_fine, "{bad:?}");
        }
        assert_eq!(Email::parse("email", " Ada@Example.org ").unwrap().key(), "ada@example.org");
    }

    #[test]
    fn a_password_is_long_enough_and_not_the_first_guess() {
        assert_eq!(check_password("password", "short", "a@b").unwrap_err().code, "password.too_short");
        assert_eq!(check_password("password", "Password", "a@b").unwrap_err().code, "password.common");
        assert_eq!(check_password("password", "ada@example.org", "Ada@example.org").unwrap_err().code, "password.common");
        assert_eq!(check_password("password", &"x".repeat(1_025), "a@b").unwrap_err().code, "password.too_long");
        assert!(check_password("password", "correct horse battery", "a@b").is_ok());
    }
}
