//! The wall clock is stepped while a run goes on: the kernel's stamps jump with it, and nothing that is measured moves.

use crate::script::serve;
use crate::trial::{Ended, Trial, now};
use crate::truth::{READINGS, fits, matched, sim_on, slow};
use crate::words::{DONE, LAST_CHUNK, STREAM_HEAD, chunk, token};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::time::Duration;
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::plan::ExportLevel;
use streamgauge_load::Finished;

#[test]
fn stamps_keep_to_the_servers_account_however_often_the_wall_clock_is_set() {
    let (clock, steps) = SystemClock::with_steps();
    let sim = sim_on(clock, slow(), &[]);
    let over = AtomicBool::new(false);
    let trial = Trial::at(sim.addr()).clock(clock).slots(4).requests(60).export(ExportLevel::Raw);
    let (ended, times) = std::thread::scope(|scope| {
        let stepper = scope.spawn(|| {
            // A minute ahead, one behind, two ahead, two behind: never back to where it was. Between two steps more requests are answered
            // than there are slots, so that the client has read something in between, however slow it is.
            let (mut times, mut answered) = (0, 0);
            while !over.load(Ordering::SeqCst) {
                if sim.log().len() >= answered {
                    times += 1;
                    answered = sim.log().len() + 5;
                    let minutes = Nanos::from_millis(60_000 * times);
                    steps.step(if times % 2 == 1 { minutes } else { -minutes });
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            times
        });
        let ended = trial.run();
        over.store(true, Ordering::SeqCst);
        (ended, stepper.join().unwrap())
    });
    assert!(times >= 5, "{times}");
    ended.all_ok(60);
    let logs = sim.stop().unwrap();
    for (finished, log) in matched(&ended.finished, &logs) {
        fits(finished, log);
        assert!(log.received <= finished.record.first_byte.unwrap() + READINGS);
    }
    if cfg!(target_os = "linux") {
        let chunks: Vec<_> = ended.records().iter().flat_map(|record| record.chunks.clone()).collect();
        let placed = chunks.iter().filter(|chunk| chunk.lag.is_some()).count();
        // Only a stamp from between two steps that no read came between has no place.
        assert!(placed * 10 >= chunks.len() * 9, "{placed} of {}", chunks.len());
    }
}

#[test]
fn what_waits_for_a_late_client_while_the_wall_clock_is_set_keeps_its_time() {
    let (clock, steps) = SystemClock::with_steps();
    let sim = sim_on(clock, slow(), &[]);
    let trial = Trial::at(sim.addr()).clock(clock).slots(4).requests(120).export(ExportLevel::Raw);
    let (sink, batches) = sync_channel(0);
    // It takes records more slowly than they leave, so that the load thread stands still and answers pile up; then the wall
    // clock is set, and then the load goes on.
    let collector = std::thread::spawn(move || {
        let (mut finished, mut minutes) = (Vec::<Finished>::new(), 0);
        loop {
            std::thread::sleep(Duration::from_millis(150));
            minutes = if minutes > 0 { -minutes } else { 1 - minutes };
            steps.step(Nanos::from_millis(60_000 * minutes));
            match batches.recv() {
                Ok(batch) => finished.extend(batch),
                Err(_) => return finished,
            }
        }
    });
    let facts = streamgauge_load::run(trial.job(), trial.control.clone(), sink).unwrap().finish(|_| {});
    let mut finished = collector.join().unwrap();
    finished.sort_by_key(|finished| finished.record.seq);
    let ended = Ended { finished, warmup: Vec::new(), facts };
    ended.all_ok(120);
    let logs = sim.stop().unwrap();
    for (finished, log) in matched(&ended.finished, &logs) {
        fits(finished, log);
    }
    if cfg!(target_os = "linux") {
        // It was late, and knows by how much.
        let records = ended.records();
        let lags = records.iter().flat_map(|record| &record.chunks).filter_map(|chunk| chunk.lag);
        assert!(lags.max().unwrap() >= Nanos::from_millis(5), "the client was never late");
    }
}

#[test]
fn a_step_between_a_request_and_its_answer_is_in_no_time() {
    for step in [3_600_000, -3_600_000].map(Nanos::from_millis) {
        let (clock, steps) = SystemClock::with_steps();
        let (tell, told) = channel();
        let server = serve(move |peer| {
            while peer.request().is_some() {
                let received = now(&clock);
                steps.step(step);
                let left = now(&clock);
                peer.send(&format!("{STREAM_HEAD}{}", chunk(&token("a"))));
                std::thread::sleep(Duration::from_millis(20));
                // Not back to where it was: who is so late as to see both steps at once sees that there were some.
                steps.step(Nanos(-step.0 / 2));
                let last = now(&clock);
                // Before the run can end.
                tell.send((received, left, last)).unwrap();
                peer.send(&format!("{}{LAST_CHUNK}", chunk(&format!("{}{DONE}", token("b")))));
            }
        });
        let ended = Trial::at(server.addr()).clock(clock).requests(6).run();
        ended.all_ok(6);
        let seen: Vec<_> = told.try_iter().collect();
        let records = ended.records();
        for (index, record) in records.iter().enumerate() {
            let (received, left, last) = seen[index];
            assert!(record.sent.unwrap() <= received + READINGS, "{step} {record:?}");
            assert!(record.first_byte.unwrap() + READINGS >= left, "{step} {record:?} {left}");
            let [first, second] = record.chunks.as_slice() else { panic!("{record:?}") };
            assert!(first.at + READINGS >= left && second.at + READINGS >= last, "{step} {record:?} {left} {last}");
            // Whatever had been read was there before the next request came.
            if let Some((next, ..)) = seen.get(index + 1) {
                assert!(second.at <= *next + READINGS && record.end <= *next + READINGS, "{step} {record:?} {next}");
            }
        }
    }
}
