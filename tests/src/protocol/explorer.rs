//! Goes through every state that a scenario can lead to, breadth first: what it finds wrong comes with a shortest way there.
//!
//! Written here because it is short. stateright would do the same, with a web server and a dozen more packages, and would
//! still leave steps, rules and traces to be told.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::safety::Violation;
use super::scenario::Scenario;
use super::world::{Next, Who, World};

/// How an exploration ended.
#[derive(Debug)]
pub struct Explored {
    /// How many different states there are; where something is wrong, how many were seen before that.
    pub states: usize,
    /// How many steps lead from one to another.
    pub steps: usize,
    /// What is wrong, if anything is.
    pub counterexample: Option<Counterexample>,
}

/// What is wrong, and how it came to it.
#[derive(Debug)]
pub struct Counterexample {
    /// What.
    pub violation: Violation,
    /// Who did what, from the beginning.
    pub trace: Vec<(Who, &'static str)>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}:", self.violation)?;
        for (number, (who, did)) in self.trace.iter().enumerate() {
            writeln!(f, "{:>4}  {who:<18} {did}", number + 1)?;
        }
        Ok(())
    }
}

/// How a state was first come to.
struct Reached {
    before: u32,
    who: Who,
    did: &'static str,
}

/// Explores a scenario, to its end or to the first violation.
///
/// States are told apart by fingerprints of 64 bits, as TLC and stateright do: among ten million, the odds that any two are
/// taken for one are one in 300,000.
#[must_use]
pub fn explore(scenario: &Scenario) -> Explored {
    let first = World::new(scenario);
    let mut seen = HashSet::from([fingerprint(&first)]);
    let mut reached = vec![Reached {
        before: 0,
        who: Who::Fate,
        did: "nothing",
    }];
    let (mut now, mut then) = (vec![(0, first)], Vec::new());
    let mut steps = 0;
    let mut nexts: Vec<Next> = Vec::new();
    while !now.is_empty() {
        for (before, world) in now.drain(..) {
            nexts.clear();
            world.steps(scenario, &mut nexts);
            steps += nexts.len();
            for Next { who, did, world } in nexts.drain(..) {
                if !seen.insert(fingerprint(&world)) {
                    continue;
                }
                let number = u32::try_from(reached.len()).expect("there is no room for more");
                reached.push(Reached { before, who, did });
                if let Some(violation) = world.broken {
                    let counterexample = Some(Counterexample {
                        violation,
                        trace: trace(&reached, number),
                    });
                    return Explored {
                        states: reached.len(),
                        steps,
                        counterexample,
                    };
                }
                then.push((number, world));
            }
        }
        std::mem::swap(&mut now, &mut then);
    }
    Explored {
        states: reached.len(),
        steps,
        counterexample: None,
    }
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

fn trace(reached: &[Reached], mut number: u32) -> Vec<(Who, &'static str)> {
    let mut trace = Vec::new();
    while number > 0 {
        let Reached { before, who, did } = &reached[number as usize];
        trace.push((*who, *did));
        number = *before;
    }
    trace.reverse();
    trace
}
