//! Names found on media, made fit to be shown.
//!
//! Media carry whatever their maker's tool let through: other character sets, control characters, direction marks that would turn the
//! page around a name. What cannot be read becomes the replacement character; nothing here refuses a file.

/// A name in single bytes: ASCII by the standard, UTF-8 in practice.
pub(super) fn from_bytes(bytes: &[u8]) -> Option<String> {
    cleaned(String::from_utf8_lossy(bytes).chars())
}

/// A name in two bytes per character, the higher first, as Joliet and UDF have it.
pub(super) fn from_wide(bytes: &[u8]) -> Option<String> {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair));
    cleaned(char::decode_utf16(units).map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)))
}

/// A UDF "dstring" (OSTA UDF 2.1.3): the compression id first, the length used in the field's last byte.
pub(super) fn from_dstring(field: &[u8]) -> Option<String> {
    let (&used, content) = field.split_last()?;
    let content = content.get(..usize::from(used))?;
    match content.split_first()? {
        // One byte per character is the first 256 of Unicode, not UTF-8.
        (8, characters) => cleaned(characters.iter().map(|byte| char::from(*byte))),
        (16, characters) => from_wide(characters),
        _ => None,
    }
}

fn cleaned(characters: impl Iterator<Item = char>) -> Option<String> {
    let kept: String = characters.filter(|character| !character.is_control() && !is_invisible(*character)).collect();
    let trimmed = kept.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// Marks that have no shape of their own but change how what stands around them is shown or compared.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_control_characters_padding_or_direction_marks() {
        let cases: [(&[u8], Option<&str>); 7] = [
            (b"DEBIAN 13           ", Some("DEBIAN 13")),
            (b"\0\0\0\0", None),
            (b"       ", None),
            (b"A\0B\x1b[31m\r\nC", Some("AB[31mC")),
            (b"<b>bold</b>", Some("<b>bold</b>")),
            ("\u{202e}gnp.exe\u{202c}".as_bytes(), Some("gnp.exe")),
            (b"\x93\xfa\x96{", Some("\u{fffd}\u{fffd}\u{fffd}{")),
        ];
        for (bytes, shown) in cases {
            assert_eq!(from_bytes(bytes).as_deref(), shown, "{bytes:?}");
        }
    }

    #[test]
    fn a_wide_name_may_have_any_script_and_broken_pairs() {
        assert_eq!(from_wide(&[0x65, 0xe5, 0x67, 0x2c, 0, 0]).as_deref(), Some("日本"));
        assert_eq!(from_wide(&[0xd8, 0x3d, 0, b'x', 0x41]).as_deref(), Some("\u{fffd}x"));
        assert_eq!(from_wide(&[]), None);
    }

    #[test]
    fn a_dstring_says_its_own_length_and_width() {
        assert_eq!(from_dstring(&[8, b'G', b'r', 0xfc, 0xdf, 0, 0, 5]).as_deref(), Some("Grüß"));
        assert_eq!(from_dstring(&[16, 0x65, 0xe5, 0, 0, 3]).as_deref(), Some("日"));
        for senseless in [&[8, b'x', 200][..], &[9, b'x', 2], &[8, b'x', 0], &[0], &[]] {
            assert_eq!(from_dstring(senseless), None, "{senseless:?}");
        }
    }
}
