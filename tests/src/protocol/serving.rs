//! A starter that has the place: binds, serves, publishes and looks after what it holds, until a stop begins.
//! `docs/protocol.md`, *Start* from step 4, and *Serving*; `core/src/lifecycle.rs`.

use super::Rule;
use super::kernel::PortUse;
use super::publish::Store;
use super::scenario::Kind;
use super::starter::At;
use super::world::{Turn, World};

/// Steps 4 and 5.
pub(super) fn serve(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    let runs = turn.scenario.starters[i] == Kind::Runs;
    let own = turn.world.instance(i);
    let stop = turn.first_of_a_stop();
    match (me.at, me.port) {
        (At::Bind, _) if me.is_asked => turn.step("is stopped before it binds", |w| {
            w.starters[i].at = At::LookAround;
        }),
        (At::Bind, _) => match me.port.or_else(|| turn.world.free_port()) {
            Some(port) => turn.step("binds a port", |w| {
                w.starters[i].port = Some(port);
                w.kernel.ports[usize::from(port)] = match runs {
                    true => PortUse::Held(own),
                    false => PortUse::Listening(own),
                };
                let next = if me.has_published {
                    At::Ready
                } else {
                    At::Probe
                };
                w.starters[i].at = next;
            }),
            None => turn.step("finds no free port", |w| w.starters[i].at = At::LookAround),
        },
        (At::Probe, Some(port)) => {
            let port = usize::from(port);
            let publish = |w: &mut World| {
                w.starters[i].store = Store::Create;
                w.starters[i].at = At::Publishing;
            };
            match turn.world.kernel.ports[port] {
                PortUse::Stranger if turn.keeps(Rule::AnswerIsOurs) => {
                    turn.step("is answered by a stranger, and fails", |w| {
                        w.starters[i].at = stop;
                    });
                }
                PortUse::Stranger => turn.step("is answered by a stranger", publish),
                _ => turn.step("serves, and answers itself", |w| {
                    w.kernel.ports[port] = PortUse::Listening(own);
                    publish(w);
                }),
            }
        }
        _ => {}
    }
}

/// Step 7, and what comes while it serves.
pub(super) fn look_after_it(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    let stop = turn.first_of_a_stop();
    if me.is_asked {
        return match me.at {
            At::Ready => turn.step("begins to stop", |w| w.starters[i].at = stop),
            _ if !turn.keeps(Rule::ReleaseAwaitsTheStore) => {
                turn.step("begins to stop, whatever its store does", |w| {
                    w.starters[i].at = stop;
                });
            }
            _ => turn.step("begins to stop, and ends the proof", |w| {
                w.disown(i, true);
                w.starters[i].at = At::Settle;
            }),
        };
    }
    match (me.at, me.store) {
        (At::Publishing, Store::Landed) => turn.step("is ready", |w| {
            w.starters[i].store = Store::Idle;
            w.starters[i].has_published = true;
            let port = me.port.map(usize::from);
            let is_free = port.is_some_and(|port| w.kernel.ports[port] == PortUse::Free);
            let binds_late = is_free && !me.is_shut_down;
            w.starters[i].at = if binds_late { At::Bind } else { At::Ready };
        }),
        (At::Publishing, Store::Failed) => turn.step("hears that nothing was published", |w| {
            w.starters[i].store = Store::Idle;
            w.starters[i].at = if me.has_published { At::Ready } else { stop };
        }),
        (At::Ready, _) => {
            let is_current = turn.world.is_current(&me.place);
            let record_is_its_own = turn.world.leads_to_record(me.place.dir, me.held);
            if !is_current {
                turn.step("finds its ownership lost", |w| w.again(i));
            } else if !record_is_its_own {
                turn.step("finds its record lost", |w| {
                    w.starters[i].store = Store::Create;
                    w.starters[i].at = At::Publishing;
                });
            }
        }
        _ => {}
    }
}

/// A stop that came during a publish: nothing is given back before that has come to its end.
pub(super) fn wait_for_the_store(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    let stop = turn.first_of_a_stop();
    match (me.at, me.store) {
        (At::Stuck, _) => turn.step("ends, stuck", |w| w.starters[i].at = At::Dying),
        (_, Store::Landed | Store::Failed) => turn.step("hears from the store", |w| {
            w.starters[i].store = Store::Idle;
            w.starters[i].at = stop;
        }),
        _ if turn.world.left.disk_errors > 0 => {
            turn.step("waits no longer: closes, and keeps the ownership", |w| {
                w.left.disk_errors -= 1;
                w.free_own_port(i);
                w.starters[i].at = At::Stuck;
            });
        }
        _ => {}
    }
}
