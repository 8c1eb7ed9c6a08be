//! The fields of a protobuf message, without copies.

use prost::encoding::decode_varint;

/// What is wrong with some bytes.
pub(crate) type Broken = &'static str;

/// A known field does not have the type that the protocol gives it.
pub(crate) const OTHER_TYPE: Broken = "a field is of another type";

/// The value of a field. No message here has fields of fixed width.
pub(crate) enum Field<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

/// The fields of a message, with their numbers. After an error there are no more.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// The number that comes next; nearly always it is one byte.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Broken> {
        match self.0 {
            [byte @ ..0x80, rest @ ..] => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => decode_varint(&mut self.0).map_err(|_| "a number that does not end"),
        }
    }

    #[inline]
    fn field(&mut self) -> Result<(u32, Field<'a>), Broken> {
        let key = u32::try_from(self.varint()?).map_err(|_| "a field's number is too high")?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed)?,
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => self.take(4).map(|_| Field::Fixed)?,
            _ => return Err("a field of no known kind"),
        };
        if key < 8 { Err("a field without a number") } else { Ok((key >> 3, field)) }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("a field longer than its message")?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), Broken>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// A name or a message for people.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Broken> {
    std::str::from_utf8(bytes).map_err(|_| "a name or text that is not UTF-8")
}
