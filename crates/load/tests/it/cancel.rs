//! Requests that are given up on purpose: those that the seed draws, when their time is up, with what they had.

use crate::script::{Peer, comes_true, serve, settle};
use crate::trial::Trial;
use crate::truth::{quick, sim, slow};
use crate::words::{STREAM_HEAD, chunk, prompt, stream, token};
use std::sync::atomic::{AtomicUsize, Ordering};
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::Cancel;
use streamgauge_core::prompt::Content;
use streamgauge_core::record::Outcome;
use streamgauge_core::seed::Seed;

/// Two tokens and then nothing.
fn begin_and_hang(peer: &mut Peer) {
    peer.send(&format!("{STREAM_HEAD}{}", chunk(&format!("{}{}", token("a"), token("b")))));
    peer.hang();
}

#[test]
fn it_ends_after_its_delay_with_what_it_had_and_without_its_connection() {
    // The warm-up's three are answered: they are never given up, and would fail by their limit.
    let requests = AtomicUsize::new(0);
    let server = serve(move |peer| {
        while peer.request().is_some() {
            if requests.fetch_add(1, Ordering::SeqCst) >= 3 {
                return begin_and_hang(peer);
            }
            settle();
            peer.send(&stream(&["a"]));
        }
    });
    // Much longer than a server takes to begin an answer, on a busy machine too.
    let delay = Nanos::from_millis(500);
    let ended = Trial::at(server.addr()).slots(5).cancel(1.0, delay).warmup(3).requests(25).run();
    assert!(ended.warmup.iter().all(|finished| finished.record.is_ok()));
    assert_eq!(ended.finished.len(), 25);
    for record in ended.records() {
        assert_eq!((&record.outcome, record.chunks.len(), record.status), (&Outcome::Cancelled, 2, Some(200)));
        assert!(record.end >= record.sent.unwrap() + delay, "{record:?}");
        assert_eq!(record.retries, 0);
        crate::trial::in_order(record);
    }
    assert_eq!((server.accepted(), ended.facts.connections_opened), (25, 25));
    assert_eq!(ended.facts.ended_early, None, "it is no failure");
}

#[test]
fn which_ones_is_the_seeds_on_any_number_of_threads() {
    let sim = sim(slow(), &[]);
    let (share, delay) = (0.4, Nanos::from_millis(20));
    for threads in [1, 3] {
        let trial = Trial::at(sim.addr()).slots(12).threads(threads).cancel(share, delay);
        let ended = trial.prompts(vec![prompt(120)]).requests(48).run();
        for record in ended.records() {
            let cancelled = Cancel { share, delay }.picks(Seed(0), record.seq);
            assert_eq!(record.outcome, if cancelled { Outcome::Cancelled } else { Outcome::Ok }, "{}", record.seq);
        }
        assert_eq!(ended.finished.len(), 48);
        assert!(ended.records().iter().any(|record| record.is_ok()));
        assert!(ended.records().iter().any(|record| record.outcome == Outcome::Cancelled));
    }
}

#[test]
fn one_that_ends_before_its_delay_is_what_it_is() {
    let sim = sim(quick(), &[]);
    Trial::at(sim.addr()).slots(2).cancel(1.0, Nanos::from_millis(50_000)).requests(20).run().all_ok(20);
}

#[test]
fn without_a_delay_it_is_sent_and_given_up() {
    let requests = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let server = serve(move |peer| {
        if peer.request().is_some() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        peer.hang();
    });
    let ended = Trial::at(server.addr()).slots(2).cancel(1.0, Nanos::ZERO).requests(10).run();
    assert!(ended.records().iter().all(|record| record.outcome == Outcome::Cancelled && record.sent.is_some()));
    assert_eq!(ended.finished.len(), 10);
    // The server may read a request long after it was given up.
    assert!(comes_true(|| requests.load(Ordering::SeqCst) == 10), "{requests:?}");
}

#[test]
fn the_delay_counts_from_when_all_of_it_was_handed_over() {
    // More than any socket buffers hold, and a server that does not read at first.
    let mut large = prompt(5);
    large.content = Content::Texts(vec!["x".repeat(32 << 20)]);
    let server = serve(|peer| {
        peer.await_bytes();
        settle();
        settle();
        peer.request();
        peer.hang();
    });
    let delay = Nanos::from_millis(40);
    let ended = Trial::at(server.addr()).cancel(1.0, delay).prompts(vec![large]).requests(1).run();
    let record = &ended.only().record;
    assert_eq!(record.outcome, Outcome::Cancelled);
    // The script's two waits begin after the first bytes of the request were sent.
    assert!(record.end - record.sent.unwrap() > Nanos::from_millis(200), "{record:?}");
}
