//! Memory for bytes on their way, in pages of its own.
//!
//! What a buffer was never filled with costs nothing, and what it was goes back to the system when the buffer is dropped. From the common
//! heap it would not: the connections of clients that fall silent by the thousand would be laid where large buffers had just been, and
//! hold all of that memory for as long as they live.

use memmap2::MmapMut;

/// Up to so many bytes a buffer is no page but a piece of the heap: thousands of clients stop after their first packet.
const SMALL: usize = 1024;

/// A buffer that is mapped when more than a few bytes arrive.
#[derive(Debug, Default)]
pub struct Buffer {
    room: Room,
    filled: usize,
}

#[derive(Debug)]
enum Room {
    Pages(MmapMut),
    /// The first few bytes; and where the system maps no more pages: a process has only so many ranges.
    Heap(Vec<u8>),
}

impl Default for Room {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl Room {
    fn of(capacity: usize) -> Self {
        if capacity <= SMALL {
            return Self::Heap(vec![0; capacity]);
        }
        MmapMut::map_anon(capacity).map_or_else(|_| Self::Heap(vec![0; capacity]), Self::Pages)
    }

    fn all(&self) -> &[u8] {
        match self {
            Self::Pages(pages) => pages,
            Self::Heap(bytes) => bytes,
        }
    }

    fn all_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Pages(pages) => pages,
            Self::Heap(bytes) => bytes,
        }
    }
}

impl Buffer {
    /// Adds `bytes`. Once they are more than a few, the buffer has room for `capacity` bytes, or for what is in it where that is more.
    pub fn append(&mut self, bytes: &[u8], capacity: usize) {
        let filled = self.filled + bytes.len();
        if filled > self.capacity() {
            let few = filled.next_power_of_two();
            let mut room = Room::of(if few <= SMALL { few } else { capacity.max(filled) });
            room.all_mut()[..self.filled].copy_from_slice(self.as_ref());
            self.room = room;
        }
        self.room.all_mut()[self.filled..filled].copy_from_slice(bytes);
        self.filled = filled;
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Forgets the bytes, not the room.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// Bytes for which there is room.
    pub fn capacity(&self) -> usize {
        self.room.all().len()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.room.all()[..self.filled]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_holds_what_was_added_to_it_and_grows_when_it_must() {
        let most = 8 * SMALL;
        let mut buffer = Buffer::default();
        assert_eq!((buffer.as_ref(), buffer.capacity(), buffer.is_empty()), (&b""[..], 0, true));
        buffer.append(b"", most);
        assert_eq!(buffer.capacity(), 0);
        buffer.append(b"abc", most);
        buffer.append(b"de", most);
        assert_eq!((buffer.as_ref(), buffer.len(), buffer.capacity()), (&b"abcde"[..], 5, 8));
        let many = vec![b'f'; SMALL];
        buffer.append(&many, most);
        assert_eq!((&buffer.as_ref()[..6], buffer.len(), buffer.capacity()), (&b"abcdef"[..], 5 + SMALL, most));
        assert!(matches!(buffer.room, Room::Pages(_)));
        buffer.append(&vec![b'g'; most], most);
        assert_eq!((buffer.as_ref()[5 + SMALL], buffer.capacity()), (b'g', 5 + SMALL + most));
        buffer.clear();
        buffer.append(b"x", most);
        assert_eq!((buffer.as_ref(), buffer.capacity()), (&b"x"[..], 5 + SMALL + most));
    }
}
