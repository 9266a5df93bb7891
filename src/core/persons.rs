//! Which citizens are one person.
//!
//! Every personnummer has a citizen of its own, under which everything that
//! comes about that number is stored. A change of personnummer joins two of
//! them, and they are one person for as long as the change stands; one that is
//! recalled or corrected parts them again, each with what is its own.

use std::collections::{BTreeMap, BTreeSet};

use super::ids::CitizenId;

/// Citizens that are joined, as pairs, in both directions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Persons {
    pairs: BTreeMap<CitizenId, BTreeSet<CitizenId>>,
}

impl Persons {
    /// Joins two citizens; returns whether that is news.
    pub fn join(&mut self, one: CitizenId, other: CitizenId) -> bool {
        self.pairs.entry(other).or_default().insert(one);
        self.pairs.entry(one).or_default().insert(other)
    }

    /// Parts two citizens that were joined with one another; returns whether they
    /// were. They stay one person where others still join them.
    pub fn part(&mut self, one: CitizenId, other: CitizenId) -> bool {
        let mut were = false;
        for (from, to) in [(one, other), (other, one)] {
            if let Some(partners) = self.pairs.get_mut(&from) {
                were |= partners.remove(&to);
                if partners.is_empty() {
                    self.pairs.remove(&from);
                }
            }
        }
        were
    }

    /// Returns whether anybody else is the same person. Hardly anybody is.
    #[must_use]
    pub fn is_joined(&self, citizen: CitizenId) -> bool {
        self.pairs.contains_key(&citizen)
    }

    /// Returns every citizen that is the same person, in order, the given one
    /// included. Costs in proportion to that.
    #[must_use]
    pub fn all_of(&self, citizen: CitizenId) -> Vec<CitizenId> {
        if !self.is_joined(citizen) {
            return vec![citizen];
        }
        let mut found = BTreeSet::from([citizen]);
        let mut left = vec![citizen];
        while let Some(id) = left.pop() {
            let partners = self.pairs.get(&id).into_iter().flatten();
            left.extend(partners.copied().filter(|partner| found.insert(*partner)));
        }
        found.into_iter().collect()
    }

    /// Returns the citizen that stands for the person: the first of all. What
    /// has to be in one place for all of them is there.
    #[must_use]
    pub fn first_of(&self, citizen: CitizenId) -> CitizenId {
        if !self.is_joined(citizen) {
            return citizen;
        }
        self.all_of(citizen).first().copied().unwrap_or(citizen)
    }

    /// Returns the partners that a citizen is joined with directly.
    pub fn partners(&self, citizen: CitizenId) -> impl Iterator<Item = CitizenId> + '_ {
        self.pairs.get(&citizen).into_iter().flatten().copied()
    }

    /// Returns who stands for whom.
    #[must_use]
    pub fn joined(&self) -> Joined {
        Joined(self.pairs.keys().map(|id| (*id, self.first_of(*id))).collect())
    }
}

/// Who stands for everybody who is joined with somebody, as of a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined(BTreeMap<CitizenId, CitizenId>);

impl Joined {
    /// Returns the citizen that stands for the person.
    #[must_use]
    pub fn first_of(&self, citizen: CitizenId) -> CitizenId {
        self.0.get(&citizen).copied().unwrap_or(citizen)
    }

    /// Takes over who are one person now, in place of whoever each of them was one
    /// with before.
    pub fn regroup(&mut self, person: &[CitizenId]) {
        for id in person {
            match person.first().filter(|_| person.len() > 1) {
                Some(first) => self.0.insert(*id, *first),
                None => self.0.remove(id),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(number: u32) -> CitizenId {
        CitizenId(number)
    }

    #[test]
    fn joined_and_parted() {
        let mut persons = Persons::default();
        assert_eq!((persons.all_of(id(3)), persons.first_of(id(3))), (vec![id(3)], id(3)));
        assert!(persons.join(id(3), id(2)) && persons.join(id(3), id(7)) && !persons.join(id(2), id(3)));
        assert_eq!((persons.all_of(id(7)), persons.first_of(id(7))), (vec![id(2), id(3), id(7)], id(2)));
        let mut joined = persons.joined();
        assert_eq!(joined, Joined(BTreeMap::from([(id(2), id(2)), (id(3), id(2)), (id(7), id(2))])));
        assert_eq!([1, 2, 3, 7].map(|one| joined.first_of(id(one))), [1, 2, 2, 2].map(id));
        assert!(persons.part(id(2), id(3)) && !persons.part(id(2), id(3)));
        assert_eq!((persons.all_of(id(2)), persons.all_of(id(7))), (vec![id(2)], vec![id(3), id(7)]));
        [id(2), id(3)].iter().for_each(|one| joined.regroup(&persons.all_of(*one)));
        assert_eq!(joined, persons.joined());
        // Around a circle they stay one.
        assert!(persons.join(id(2), id(7)) && persons.join(id(2), id(3)) && persons.part(id(3), id(7)));
        assert_eq!(persons.all_of(id(7)), [id(2), id(3), id(7)]);
        assert!(persons.part(id(2), id(7)) && persons.part(id(2), id(3)));
        assert_eq!(persons, Persons::default());
    }
}
