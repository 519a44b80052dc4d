//! Whose a structure is, as several samples have it.

/// Votes that give a structure an owner, and how many of them may be for another in turn.
const VOTES: usize = 2;
const DISSENT: usize = 10;

/// A structure's owner, as the accesses around one of its samples have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    pub time: u64,
    pub header: u64,
}

/// The time from the first to the last vote for one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spell {
    pub header: u64,
    pub first: u64,
    pub last: u64,
    votes: usize,
}

impl Spell {
    pub fn covers(&self, time: u64) -> bool {
        (self.first..=self.last).contains(&time)
    }
}

/// The owners that a structure had one after the other. A single vote for another is a mistake, two
/// in turn are a new owner.
pub fn spells(votes: &mut [Vote]) -> Vec<Spell> {
    votes.sort_unstable();
    let mut spells: Vec<Spell> = Vec::new();
    let mut dissent = 0;
    let mut other: Option<Vote> = None;
    for vote in votes.iter() {
        let begin = |first: u64, votes: usize| Spell {
            header: vote.header,
            first,
            last: vote.time,
            votes,
        };
        match (spells.last_mut(), other) {
            (Some(spell), _) if spell.header == vote.header => {
                spell.last = vote.time;
                spell.votes += 1;
                dissent += usize::from(other.take().is_some());
            }
            (Some(_), Some(before)) if before.header == vote.header => {
                spells.push(begin(before.time, 2));
                other = None;
            }
            (Some(_), _) => other = Some(*vote),
            (None, _) => spells.push(begin(vote.time, 1)),
        }
    }
    let agreed = |spell: &Spell| spell.votes >= VOTES && spell.votes >= DISSENT * dissent;
    spells.retain(agreed);
    spells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(headers: &[u64]) -> Vec<Vote> {
        let timed = headers.iter().zip(10u64..);
        timed.map(|(&header, time)| Vote { time, header }).collect()
    }

    fn spell(header: u64, first: u64, last: u64, votes: usize) -> Spell {
        Spell {
            header,
            first,
            last,
            votes,
        }
    }

    #[test]
    fn one_vote_is_none() {
        assert_eq!(spells(&mut votes(&[7])), []);
        assert_eq!(spells(&mut votes(&[7, 7])), [spell(7, 10, 11, 2)]);
    }

    #[test]
    fn two_votes_in_turn_for_another_are_a_new_owner() {
        // The first owner's last vote is at 12, the second's first at 13.
        let said = [7, 7, 7, 8, 8, 8, 8];
        let expected = [spell(7, 10, 12, 3), spell(8, 13, 16, 4)];
        assert_eq!(spells(&mut votes(&said)), expected);
    }

    #[test]
    fn one_dissenting_vote_in_ten_is_a_mistake_and_more_are_doubt() {
        let mut said = vec![7; 11];
        said[5] = 8;
        assert_eq!(spells(&mut votes(&said)), [spell(7, 10, 20, 10)]);
        said.pop();
        assert_eq!(spells(&mut votes(&said)), []);
    }
}
