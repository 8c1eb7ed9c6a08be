//! Users with a rhythm: each has its requests at its own fixed times, one at a time, and none is left out.

use crate::open_loop::unsent;
use crate::script::{Peer, serve, serve_and_drain, settle};
use crate::trial::Trial;
use crate::truth::{quick, sim};
use crate::words::stream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use streamgauge_core::arrival::Rate;
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::Places;
use streamgauge_core::record::{Outcome, Record};
use streamgauge_core::schedule::steady_due;
use streamgauge_load::Control;

fn due(record: &Record, started: Nanos, rate: f64) -> Nanos {
    started + steady_due(record.seq, Rate::try_new(rate).unwrap()).at
}

#[test]
fn together_they_are_one_steady_rate_and_each_has_every_nth() {
    let sim = sim(quick(), &[]);
    for threads in [1, 2] {
        let ended = Trial::at(sim.addr()).users(4, 150.0).threads(threads).warmup(6).requests(60).run();
        ended.all_ok(60);
        assert_eq!(ended.warmup.len(), 6);
        for record in ended.records() {
            assert_eq!(u64::from(record.slot), record.seq % 4);
            assert_eq!(record.due, Some(due(record, ended.facts.started, 150.0)));
            assert!(record.issued >= record.due.unwrap());
            assert_eq!(record.turnaround, None, "the pauses are the user's");
        }
        assert_eq!(ended.facts.connections_opened, 4);
    }
}

#[test]
fn a_user_whose_answer_is_late_goes_on_as_soon_as_it_is_there_and_holds_up_nobody() {
    // The first connection's first answer comes when the others have had nearly all of theirs.
    let answered = AtomicUsize::new(0);
    let server = serve(move |peer| {
        let mut waits = peer.number == 0;
        while peer.request().is_some() {
            while std::mem::take(&mut waits) {
                while answered.load(Ordering::SeqCst) < 36 {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            peer.send(&stream(&["a"]));
            answered.fetch_add(1, Ordering::SeqCst);
        }
    });
    let ended = Trial::at(server.addr()).users(3, 200.0).requests(60).run();
    ended.all_ok(60);
    let of = |slot: u32| -> Vec<&Record> { ended.records().into_iter().filter(|record| record.slot == slot).collect() };
    let late = (0..3).find(|slot| of(*slot)[0].end > of((*slot + 1) % 3)[10].end).unwrap();
    let (mine, stalled) = (of(late), of(late)[0]);
    assert!(mine.is_sorted_by(|one, other| one.end <= other.issued), "one at a time");
    assert!(mine.iter().skip(1).any(|record| record.due.unwrap() < stalled.end), "some were due meanwhile");
    for record in ended.records() {
        assert_eq!(record.due, Some(due(record, ended.facts.started, 200.0)), "a late answer moves no due time");
    }
    let others = ended.records().into_iter().filter(|record| record.slot != late);
    assert!(others.filter(|record| record.sent.unwrap() < stalled.end).count() >= 36);
}

#[test]
fn what_was_due_and_never_sent_is_put_down() {
    let server = serve(Peer::hang);
    let (span, grace) = (Nanos::from_millis(100), Nanos::from_millis(200));
    let ended = Trial::at(server.addr()).users(2, 100.0).threads(2).duration(span).grace(grace).run();
    let records = ended.records();
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record.outcome == Outcome::CutOff));
    assert!(records[..2].iter().all(|record| record.sent.is_some()));
    assert!(records[2..].iter().all(|record| unsent(record)));
    assert!(records.iter().all(|record| record.due == Some(due(record, ended.facts.started, 100.0))));
}

#[test]
fn a_drain_does_not_wait_for_what_is_not_yet_due() {
    let control = Control::default();
    let server = serve_and_drain(&control);
    Trial::at(server.addr()).users(3, 1e-3).threads(2).requests(50).control(&control).run().all_ok(1);
}

#[test]
fn what_would_have_been_due_after_a_drain_is_not_put_down() {
    let control = Control::default();
    let remote = control.clone();
    let server = serve(move |peer| {
        while peer.request().is_some() {
            remote.drain();
            settle();
            settle();
            peer.send(&stream(&["a"]));
        }
    });
    let ended = Trial::at(server.addr()).users(1, 20.0).endless().control(&control).run();
    let records = ended.records();
    assert!(records[0].is_ok() && records[1..].iter().all(|record| unsent(record)));
    // A request each 50 ms while the answer took 300 ms; the thread has most of them to hear of the drain.
    assert!(records[records.len() - 1].due.unwrap() + Nanos::from_millis(60) < records[0].end, "{}", records.len());
}

#[test]
fn they_keep_to_a_prefill_cap_and_the_wait_is_part_of_the_time_from_due() {
    let sim = sim(quick(), &[]);
    let trial = Trial::at(sim.addr()).users(5, 2_000.0).prefill(Places::all(1)).threads(2).requests(60);
    let ended = trial.run();
    ended.all_ok(60);
    let spans = ended.records().into_iter().map(|record| (record.issued, record.chunks[0].at));
    assert_eq!(crate::trial::most_at_once(spans), 1);
    assert!(ended.records().iter().all(|record| record.due == Some(due(record, ended.facts.started, 2_000.0))));
}
