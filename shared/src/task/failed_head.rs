//! The first failures of a task, as many as a list row can show, and their stored form.
//!
//! The stored form is compact, so that a task's item stays within one DynamoDB write unit.

use super::object_ids::encoding::{Bytes, Undecodable, encode, write_number};
use super::{FailedItem, NOT_FOUND, ObjectIds};

/// The most failures a list row shows.
pub const MAX_HEAD_ITEMS: usize = 10;
/// The most bytes of JSON for a list row's failures.
const MAX_HEAD_BYTES: usize = 1024;
/// The most bytes for a list row's failures in storage. The first failure may exceed it alone.
///
/// Ten UUIDs with the usual reasons fit.
const MAX_STORED_HEAD_BYTES: usize = 280;

/// The first byte of the stored form.
const VERSION: u8 = 1;

/// The first failures of a task, in the order of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedHead {
    items: Vec<FailedItem>,
    json_bytes: usize,
    is_full: bool,
}

impl FailedHead {
    /// Adds a failure. After the first failure that does not fit, no more are added.
    pub(super) fn push(&mut self, id: &str, detail: &str) {
        if self.is_full {
            return;
        }
        // The bytes of {"object_id":"…","detail":"…"} and of the comma or closing bracket after it.
        // The opening bracket is the 1 below. Only quotes and backslashes are escaped, to two bytes
        // each.
        let escaped = |text: &str| text.len() + text.matches(['"', '\\']).count();
        let bytes = escaped(id) + escaped(detail) + r#"{"object_id":"","detail":""},"#.len();
        self.is_full =
            self.items.len() == MAX_HEAD_ITEMS || self.json_bytes + bytes + 1 > MAX_HEAD_BYTES;
        if self.is_full {
            return;
        }
        self.items.push(FailedItem::new(id.to_owned(), detail));
        if self.items.len() > 1 && self.to_bytes().len() > MAX_STORED_HEAD_BYTES {
            self.items.pop();
            self.is_full = true;
            return;
        }
        self.json_bytes += bytes;
    }

    /// Returns whether there are no failures.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the failures.
    pub fn into_items(self) -> Vec<FailedItem> {
        self.items
    }

    /// Returns the stored form of the failures.
    ///
    /// It is a version byte, the length of the encoded ids and the encoded ids, then for each
    /// failure the number of its detail, and then the details. [`NOT_FOUND`] has the number 0 and
    /// is not stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut details: Vec<&str> = Vec::new();
        let mut numbers = Vec::new();
        for item in &self.items {
            numbers.push(match item.detail.as_ref() {
                NOT_FOUND => 0,
                detail => {
                    let known = details.iter().position(|known| *known == detail);
                    1 + known.unwrap_or_else(|| {
                        details.push(detail);
                        details.len() - 1
                    })
                }
            });
        }
        let ids = encode(self.items.iter().map(|item| item.object_id.as_str()));
        let mut bytes = vec![VERSION];
        write_number(&mut bytes, ids.len());
        bytes.extend(ids);
        for number in numbers {
            write_number(&mut bytes, number);
        }
        for detail in details {
            write_number(&mut bytes, detail.len());
            bytes.extend_from_slice(detail.as_bytes());
        }
        bytes
    }

    /// Reads failures from the bytes that [`Self::to_bytes`] made.
    ///
    /// # Errors
    /// If the bytes have another version, or are damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut left = Bytes(bytes);
        if left.take(1)? != [VERSION] {
            return Err(Undecodable);
        }
        let ids = left.number()?;
        let ids = ObjectIds::from_bytes(left.take(ids)?)?;
        if ids.len() > MAX_HEAD_ITEMS {
            return Err(Undecodable);
        }
        let numbers = ids.iter().map(|_| left.number());
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        let mut details = vec![NOT_FOUND];
        for _ in 0..numbers
            .iter()
            .copied()
            .max()
            .unwrap_or(0)
            .min(MAX_HEAD_ITEMS)
        {
            let length = left.number()?;
            let detail = str::from_utf8(left.take(length)?);
            details.push(detail.map_err(|_| Undecodable)?);
        }
        if !left.0.is_empty() {
            return Err(Undecodable);
        }
        let items = ids.iter().zip(numbers).map(|(id, number)| {
            let detail = details.get(number).ok_or(Undecodable)?;
            Ok(FailedItem::new(id.to_owned(), detail))
        });
        Ok(Self {
            items: items.collect::<Result<_, _>>()?,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(number: u128) -> String {
        uuid::Uuid::from_u128(number << 64 | number).to_string()
    }

    fn of(failures: &[(String, &str)]) -> FailedHead {
        let mut head = FailedHead::default();
        for (id, detail) in failures {
            head.push(id, detail);
        }
        head
    }

    #[test]
    fn failures_come_back_as_they_were() {
        let stories: [&[(String, &str)]; 4] = [
            &[(uuid(1), NOT_FOUND), (uuid(2), NOT_FOUND)],
            &[(uuid(1), "no"), ("🗑️".into(), NOT_FOUND), (uuid(3), "no")],
            &[("a".into(), ""), ("b".into(), "\"'\\"), ("c".into(), "é")],
            &[("x".repeat(900), NOT_FOUND)],
        ];
        for failures in stories {
            let head = of(failures);
            let back = FailedHead::from_bytes(&head.to_bytes()).unwrap();
            let items = back.into_items();
            assert_eq!(items, head.into_items());
            assert_eq!(items.len(), failures.len());
        }
    }

    #[test]
    fn ten_failures_are_read_and_eleven_are_damage() {
        let ten: Vec<_> = (0..10).map(|n| (uuid(n), NOT_FOUND)).collect();
        let mut head = of(&ten);
        assert_eq!(
            FailedHead::from_bytes(&head.to_bytes())
                .unwrap()
                .items
                .len(),
            10
        );
        head.items.push(FailedItem::new(uuid(10), NOT_FOUND));
        assert_eq!(FailedHead::from_bytes(&head.to_bytes()), Err(Undecodable));
    }

    #[test]
    fn failures_that_fill_a_row_to_the_last_byte_are_shown() {
        let empty = r#"[{"object_id":"","detail":"no"}]"#.len();
        let fits = of(&[("x".repeat(MAX_HEAD_BYTES - empty), "no")]);
        assert_eq!(fits.into_items().len(), 1);
        let too_long = of(&[("x".repeat(MAX_HEAD_BYTES - empty + 1), "no")]);
        assert!(too_long.is_empty());
        // JSON has two bytes for each of these.
        let quotes = (MAX_HEAD_BYTES - empty) / 2;
        assert_eq!(of(&[("\"".repeat(quotes), "no")]).into_items().len(), 1);
        assert!(of(&[("\"".repeat(quotes + 1), "no")]).is_empty());
    }

    #[test]
    fn failures_that_fill_the_room_in_storage_to_the_last_byte_are_stored() {
        let stored = |length| {
            let mut both = of(&[("a".into(), NOT_FOUND)]);
            both.items
                .push(FailedItem::new("x".repeat(length), NOT_FOUND));
            both.to_bytes().len()
        };
        let most = (1..300).rfind(|length| stored(*length) <= MAX_STORED_HEAD_BYTES);
        let most = most.unwrap();
        assert_eq!(stored(most), MAX_STORED_HEAD_BYTES);
        for (length, shown) in [(most, 2), (most + 1, 1)] {
            let head = of(&[("a".into(), NOT_FOUND), ("x".repeat(length), NOT_FOUND)]);
            assert_eq!(head.into_items().len(), shown);
        }
    }

    #[test]
    fn ten_uuids_with_the_usual_detail_take_less_than_two_hundred_bytes() {
        let absent: Vec<_> = (0..20).map(|n| (uuid(n), NOT_FOUND)).collect();
        let head = of(&absent);
        assert!(head.to_bytes().len() <= 180, "{}", head.to_bytes().len());
        assert_eq!(head.into_items().len(), MAX_HEAD_ITEMS);
        let detail =
            "Gave up after 5 tries: The vector store is out of reach, or closed the connection";
        let given_up: Vec<_> = (0..20).map(|n| (uuid(n), detail)).collect();
        // As many as a kilobyte of JSON has room for.
        let shown = MAX_HEAD_BYTES / (detail.len() + 36 + 29);
        assert_eq!(of(&given_up).into_items().len(), shown);
    }

    #[test]
    fn as_many_are_stored_as_have_room_whatever_their_ids_are_like() {
        for length in 1..=60 {
            for uuids in 0..4 {
                let failures: Vec<_> = (0..MAX_HEAD_ITEMS)
                    .map(|n| {
                        if n % 4 < uuids {
                            (uuid(n as u128), NOT_FOUND)
                        } else {
                            (format!("{n}{}", "x".repeat(length)), ["no", "nor"][n % 2])
                        }
                    })
                    .collect();
                let head = of(&failures);
                assert!(head.to_bytes().len() <= MAX_STORED_HEAD_BYTES);
                let (stored, json) = (head.items.len(), head.json_bytes);
                if let Some((id, detail)) = failures.get(stored) {
                    let mut more = head;
                    more.items.push(FailedItem::new(id.clone(), detail));
                    let has_room = more.to_bytes().len() <= MAX_STORED_HEAD_BYTES;
                    let shown = json + id.len() + detail.len() + 29 < MAX_HEAD_BYTES;
                    assert!(!(has_room && shown), "{stored} of {failures:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_failure_is_shown_even_where_it_costs_a_write_unit() {
        let id = |n: u32| format!("{n}{}", "x".repeat(300));
        let head = of(&[(id(1), NOT_FOUND), (id(2), NOT_FOUND), (uuid(3), NOT_FOUND)]);
        let items = head.into_items();
        assert_eq!(items.len(), 1, "and none after one that was left out");
        assert_eq!(items[0].object_id, id(1));
        assert!(of(&[("x".repeat(1024), NOT_FOUND)]).is_empty());
    }

    #[test]
    fn what_is_damaged_is_refused_or_other_failures_and_never_a_panic() {
        let whole = of(&[
            (uuid(1), "no"),
            ("b".into(), NOT_FOUND),
            ("c".into(), "nor"),
        ])
        .to_bytes();
        for end in 0..whole.len() {
            assert_eq!(
                FailedHead::from_bytes(&whole[..end]),
                Err(Undecodable),
                "{end}"
            );
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert_eq!(FailedHead::from_bytes(&longer), Err(Undecodable));
        let mut other = whole.clone();
        other[0] = 2;
        assert_eq!(FailedHead::from_bytes(&other), Err(Undecodable));
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                if let Ok(head) = FailedHead::from_bytes(&damaged) {
                    assert!(head.into_items().len() <= MAX_HEAD_ITEMS);
                }
            }
        }
    }
}
