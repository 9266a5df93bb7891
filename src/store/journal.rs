//! The rows of the journal: many admissions in one, since sled pays for every
//! row. Outside of what is sealed stand only numbers that mean nothing without
//! the keys, so that opening can rebuild its indexes without unsealing.

use super::codec::{Input, Output, Undecodable};

/// A row is full when it has this many bytes.
const FULL: usize = 11 * 1024;

/// One event in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub seq: u64,
    /// The citizen's slot.
    pub slot: u32,
    /// The fingerprint of the event's mark.
    pub mark: u64,
    /// The fingerprints of the ids of its WSBs and of the event's own id.
    pub wsb_ids: Vec<u64>,
    /// The admission.
    pub sealed: &'a [u8],
}

/// Rows that are being filled.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pages: Vec<(u64, Vec<u8>)>,
}

impl Pages {
    /// Appends an event; places must ascend.
    pub fn push(&mut self, entry: &Entry<'_>) {
        if self.pages.last().is_none_or(|(_, page)| page.len() + entry.sealed.len() > FULL) {
            let mut page = Vec::with_capacity(FULL + 1024);
            page.u8(1);
            self.pages.push((entry.seq, page));
        }
        let Some((first, page)) = self.pages.last_mut() else { return };
        page.varint(entry.seq - *first);
        page.u32(entry.slot);
        page.u64(entry.mark);
        page.varint(entry.wsb_ids.len() as u64);
        entry.wsb_ids.iter().for_each(|id| page.u64(*id));
        page.bytes(entry.sealed);
    }

    /// Takes the rows, each with the place of its first event.
    pub fn take(&mut self) -> Vec<(u64, Vec<u8>)> {
        std::mem::take(&mut self.pages)
    }
}

/// Returns the events of a row.
pub(super) fn entries(first: u64, page: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, Undecodable>> {
    let mut input = Input::new(page, "a row of the journal");
    let mut version = Some(());
    std::iter::from_fn(move || {
        if version.take().is_some()
            && let Err(error) = input.version()
        {
            input = Input::new(&[], "a row of the journal");
            return Some(Err(error));
        }
        (!input.is_empty()).then(|| {
            let entry = entry(first, &mut input);
            if entry.is_err() {
                input = Input::new(&[], "a row of the journal");
            }
            entry
        })
    })
}

fn entry<'a>(first: u64, input: &mut Input<'a>) -> Result<Entry<'a>, Undecodable> {
    let seq = first.checked_add(input.varint()?).ok_or(input.error())?;
    let (slot, mark) = (input.u32()?, input.u64()?);
    let wsb_ids = (0..input.count()?).map(|_| input.u64()).collect::<Result<_, _>>()?;
    Ok(Entry { seq, slot, mark, wsb_ids, sealed: input.bytes()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_and_come_back() {
        let sealed = vec![5; 300];
        let all: Vec<Entry<'_>> = (10..200)
            .map(|seq| Entry { seq, slot: seq as u32 * 7, mark: seq << 40, wsb_ids: vec![seq; seq as usize % 4], sealed: &sealed })
            .collect();
        let mut pages = Pages::default();
        all.iter().for_each(|entry| pages.push(entry));
        let pages = pages.take();
        assert!(pages.len() > 4 && pages.iter().all(|(_, page)| page.len() < 12 * 1024));
        let read: Vec<_> = pages.iter().flat_map(|(first, page)| entries(*first, page)).collect::<Result<_, _>>().expect("entries");
        assert_eq!(read, all);
        for len in 0..pages[0].1.len() {
            let page = &pages[0].1[..len];
            assert!(entries(10, page).filter(Result::is_err).count() <= 1);
        }
        assert!(entries(10, &[2]).next().is_some_and(|entry| entry.is_err()));
    }
}
